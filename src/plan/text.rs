//! A plan for people.

use std::fmt;

use super::report::{Plan, PlannedTrack};
use quell_policy::terminal::without_controls;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for policy in &self.policies {
            let name = without_controls(&policy.policy.to_string());
            writeln!(f, "{:<9}  {name}", policy.change.as_str())?;
        }
        if !self.policies.is_empty() {
            writeln!(f)?;
        }
        for room in &self.rooms {
            let tenant = room.tenant.as_ref();
            let of = tenant.map_or_else(String::new, |tenant| format!(" of {tenant}"));
            let heading = format!("{}{of}", room.room);
            writeln!(f, "{}", without_controls(&heading))?;
            for (sign, what, tracks) in [
                ("-", "would be silenced", &room.tracks.would_silence),
                (
                    "+",
                    "would no longer be forbidden",
                    &room.tracks.no_longer_forbidden,
                ),
                (" ", "stays silent", &room.tracks.stays_silent),
                (" ", "is let speak by a person", &room.tracks.let_speak),
                ("?", "cannot be decided", &room.tracks.undecided),
            ] {
                for track in tracks {
                    writeln!(f, "  {sign} {}", line(track, what))?;
                }
            }
            if room.left_off > 0 {
                writeln!(f, "    and {} more", room.left_off)?;
            }
        }
        if !self.rooms.is_empty() {
            writeln!(f)?;
        }
        let counts = &self.counts;
        writeln!(
            f,
            "{} would be silenced, {} no longer forbidden, {} stay silent, {} let speak, in {} rooms",
            counts.would_silence,
            counts.no_longer_forbidden,
            counts.stays_silent,
            counts.let_speak,
            counts.rooms,
        )?;
        for (count, what) in [
            (
                counts.undecided,
                "tracks cannot be decided: a fact is unknown",
            ),
            (counts.failed, "rooms could not be read: see the log"),
            (
                counts.skipped,
                "rooms or participants have too much metadata to be read",
            ),
        ] {
            if count > 0 {
                writeln!(f, "{count} {what}")?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}", without_controls(warning))?;
        }
        if !self.is_whole {
            writeln!(f, "the time was over before all rooms were read")?;
        }
        if let Some(next) = &self.next {
            let next = without_controls(next);
            writeln!(f, "not all are named; go on with: --after {next:?}")?;
        }
        Ok(())
    }
}

fn line(track: &PlannedTrack, what: &str) -> String {
    let by = track.policy.as_ref();
    let by = by.map_or_else(String::new, |policy| format!(" by {policy}"));
    let muted = if track.muted { ", muted" } else { "" };
    without_controls(&format!(
        "{}  {}  {}{muted}: {what}{by}",
        track.identity, track.source, track.track_sid
    ))
}
