//! The report as text for a terminal.

use std::fmt;

use chrono::{DateTime, Utc};

use super::by_policy::{EffectCounts, LiveVsDraft, PolicyRow};
use super::count::Counted;
use super::disposition::{ChangeKind, Disposition, View};
use super::report::Report;
use super::sample::{Sample, SampleDecision};
use super::tally::DraftComparison;
use crate::draft::{DraftChange, DraftPolicy};
use quell_policy::PolicyKey;
use quell_policy::terminal::{cut, without_controls};

/// At most this many policies are shown; JSON has more.
const POLICIES_SHOWN_MAX: usize = 20;
/// Names are cut here: LiveKit allows long ones.
const NAME_CHARS_MAX: usize = 48;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = match &self.owner {
            Some(tenant) => format!("the rooms of {}", shown(tenant.as_str())),
            None => "all rooms".to_owned(),
        };
        writeln!(
            f,
            "Backtest over {rooms}, {} to {}",
            time(self.range.since),
            time(self.range.until)
        )?;
        writeln!(f, "{} published", counts_text(self.published))?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {}", without_controls(warning))?;
        }
        self.write_draft(f)?;
        write_comparison(f, "WHAT IS DONE", &self.enforced)?;
        if self.any_dry_run {
            let title = "IF THE DRY-RUN POLICIES (mode: dry_run) WERE ENFORCED TOO";
            write_comparison(f, title, &self.dry_run)?;
        }
        self.write_recorded(f)?;
        self.write_excluded(f)?;
        self.write_swept(f)?;
        self.write_policies(f)?;
        self.write_samples(f)
    }
}

impl Report {
    fn write_draft(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nTHE DRAFT")?;
        for drafted in &self.draft.policies {
            let DraftPolicy {
                policy,
                change,
                effect,
                mode,
                fields,
            } = drafted;
            write!(
                f,
                "  {:<9}  {}  {effect}, {mode}",
                change.as_str(),
                shown(&policy.to_string())
            )?;
            if *change == DraftChange::Updated {
                write!(f, "; changed: {}", fields.join(", "))?;
            }
            writeln!(f)?;
        }
        if self.draft.policies_left_off > 0 {
            writeln!(f, "  and {} more", self.draft.policies_left_off)?;
        }
        match (self.draft.others, self.draft.alone) {
            (0, _) => Ok(()),
            (others, true) => writeln!(f, "  left out   {others} more that are stored"),
            (others, false) => writeln!(f, "  as stored  {others} more"),
        }
    }

    fn write_recorded(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded: Vec<_> = self
            .recorded
            .iter()
            .map(|(settlement, tracks)| format!("{settlement} {}", grouped(*tracks)))
            .collect();
        writeln!(f, "\nAs it ended then: {}", recorded.join(", "))
    }

    fn write_swept(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(swept) = self.swept.filter(|swept| swept.tracks > 0) else {
            return Ok(());
        };
        let more = if swept.at_least { " and more" } else { "" };
        writeln!(
            f,
            "\nSWEEPS, not among the tracks above: {}{more} times a sweep acted on a track, or could not decide",
            grouped(swept.tracks)
        )?;
        writeln!(
            f,
            "  muted by what is live {}, by the draft {}: {} newly, {} no longer; not compared {}",
            grouped(swept.live),
            grouped(swept.draft),
            grouped(swept.newly_muted),
            grouped(swept.no_longer_muted),
            grouped(swept.excluded)
        )
    }

    fn write_excluded(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let excluded = &self.excluded;
        if excluded.tracks == 0 {
            return Ok(());
        }
        writeln!(
            f,
            "\nNOT COMPARED: {} tracks, for what was not recorded",
            grouped(excluded.tracks)
        )?;
        for group in &excluded.missing {
            let facts = if group.facts.is_empty() {
                "facts that policies of others ask for".to_owned()
            } else {
                group.facts.join(", ")
            };
            let why = if group.by_event_alone {
                "LiveKit was not asked: the event alone had decided"
            } else {
                "LiveKit did not answer, or had nothing to show"
            };
            writeln!(f, "{:>12}  without {facts} ({why})", grouped(group.tracks))?;
        }
        for (tracks, what) in [
            (excluded.missing_left_off, "without other facts"),
            (
                excluded.not_settled,
                "still to be dealt with: nothing is recorded yet",
            ),
            (excluded.without_facts, "given up before anything was known"),
            (
                excluded.unreadable,
                "recorded in a way that this version does not read",
            ),
        ] {
            if tracks > 0 {
                writeln!(f, "{:>12}  {what}", grouped(tracks))?;
            }
        }
        Ok(())
    }

    fn write_policies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.policies.is_empty() {
            return Ok(());
        }
        heading(f, "TRACKS BY POLICY")?;
        for row in self.policies.iter().take(POLICIES_SHOWN_MAX) {
            self.write_policy(f, row)?;
        }
        let more = self.policies.len().saturating_sub(POLICIES_SHOWN_MAX) + self.policies_left_off;
        if more > 0 {
            writeln!(f, "  and {more} more policies")?;
        }
        Ok(())
    }

    fn write_policy(&self, f: &mut fmt::Formatter<'_>, row: &PolicyRow) -> fmt::Result {
        writeln!(f, "  {}", shown(&row.policy.to_string()))?;
        let mut views = vec![("", row.enforced)];
        if self.any_dry_run && row.dry_run != row.enforced {
            views.push((" with those in dry run", row.dry_run));
        }
        for (with, EffectCounts { mutes, exempts }) in views {
            for (what, tracks) in [("mutes", mutes), ("exempts", exempts)] {
                if tracks != LiveVsDraft::default() {
                    line(f, &format!("    {what}{with}"), tracks.live, tracks.draft)?;
                }
            }
        }
        Ok(())
    }

    fn write_samples(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for sample in &self.samples {
            let kind = (sample.view, sample.change);
            if before != Some(kind) {
                before = Some(kind);
                let count = self
                    .samples
                    .iter()
                    .filter(|other| (other.view, other.change) == kind);
                let comparison = match sample.view {
                    View::Enforced => &self.enforced,
                    View::DryRun => &self.dry_run,
                };
                let (title, all) = match sample.change {
                    ChangeKind::NewlyMuted => ("newly muted", comparison.changes.newly_muted),
                    ChangeKind::NoLongerMuted => {
                        ("no longer muted", comparison.changes.no_longer_muted)
                    }
                    ChangeKind::MutedByAnother => (
                        "muted by another policy",
                        comparison.changes.muted_by_another,
                    ),
                    ChangeKind::Same => ("the same", comparison.changes.same),
                    ChangeKind::NotCompared => ("not compared", comparison.not_compared),
                };
                let dry_run = match sample.view {
                    View::Enforced => "",
                    View::DryRun => ", if the dry-run policies were enforced too",
                };
                let (count, all) = (count.count(), grouped(all.tracks));
                writeln!(f, "\nSAMPLES, {title}{dry_run} ({count} of {all})")?;
            }
            write_sample(f, sample)?;
        }
        Ok(())
    }
}

fn write_sample(f: &mut fmt::Formatter<'_>, sample: &Sample) -> fmt::Result {
    writeln!(
        f,
        "  {}  {} ({})  {}  {}  {}",
        time(sample.at),
        shown(&sample.room),
        shown(&sample.room_sid),
        shown(&sample.identity),
        shown(&sample.source),
        shown(&sample.track_sid),
    )?;
    if sample.missing.is_empty() {
        writeln!(
            f,
            "    live: {}; draft: {}",
            decision_text(&sample.live),
            decision_text(&sample.draft)
        )
    } else {
        let missing = sample.missing.join(", ");
        writeln!(
            f,
            "    live: {}; draft: {}; without {missing}",
            decision_text(&sample.live),
            decision_text(&sample.draft)
        )
    }
}

fn decision_text(decision: &SampleDecision) -> String {
    let name = |policy: &PolicyKey| shown(&policy.to_string());
    let by = decision.by.as_ref().map(name).unwrap_or_default();
    match decision.disposition {
        Disposition::Muted => format!("muted by {by}"),
        Disposition::Exempted => {
            let mute = decision.mute.as_ref().map(name).unwrap_or_default();
            let reason = decision.reason.as_deref().map(shown);
            let reason = reason
                .map(|reason| format!(": {reason}"))
                .unwrap_or_default();
            format!("exempted from {mute} by {by}{reason}")
        }
        Disposition::LeftAlone if by.is_empty() => "left alone".to_owned(),
        Disposition::LeftAlone => format!("left alone by the `unless` of {by}"),
        Disposition::NotDecided => "not decided".to_owned(),
    }
}

fn write_comparison(f: &mut fmt::Formatter<'_>, title: &str, of: &DraftComparison) -> fmt::Result {
    heading(f, title)?;
    for (what, live, draft) in [
        ("muted", of.live.muted, of.draft.muted),
        (
            "exempted by an exemption",
            of.live.exempted,
            of.draft.exempted,
        ),
        ("left alone", of.live.left_alone, of.draft.left_alone),
    ] {
        line(f, &format!("  {what}: tracks"), live.tracks, draft.tracks)?;
        line(f, "    rooms", live.rooms, draft.rooms)?;
        line(f, "    participants", live.participants, draft.participants)?;
    }
    writeln!(f)?;
    for (what, counted) in [
        ("newly muted", of.changes.newly_muted),
        ("no longer muted", of.changes.no_longer_muted),
        ("muted by another policy", of.changes.muted_by_another),
        ("the same", of.changes.same),
        ("not compared", of.not_compared),
    ] {
        writeln!(f, "  {what:<26}{}", counts_text(counted))?;
    }
    Ok(())
}

fn heading(f: &mut fmt::Formatter<'_>, title: &str) -> fmt::Result {
    // A title that is too long for the first column has the column names below it.
    if title.chars().count() > 34 {
        writeln!(f, "\n{title}")?;
        return writeln!(
            f,
            "{:<34}{:>12}{:>12}{:>12}",
            "", "live", "draft", "difference"
        );
    }
    writeln!(
        f,
        "\n{title:<34}{:>12}{:>12}{:>12}",
        "live", "draft", "difference"
    )
}

fn line(f: &mut fmt::Formatter<'_>, what: &str, live: u64, draft: u64) -> fmt::Result {
    let difference = LiveVsDraft { live, draft }.difference();
    let sign = match difference {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    let size = u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX);
    let difference = format!("{sign}{}", grouped(size));
    writeln!(
        f,
        "{what:<34}{:>12}{:>12}{difference:>12}",
        grouped(live),
        grouped(draft)
    )
}

fn counts_text(counted: Counted) -> String {
    let Counted {
        tracks,
        rooms,
        participants,
    } = counted;
    let of = |count: u64, one: &str| {
        let plural = if count == 1 { "" } else { "s" };
        format!("{} {one}{plural}", grouped(count))
    };
    if tracks == 0 {
        return "0 tracks".to_owned();
    }
    format!(
        "{} of {} in {}",
        of(tracks, "track"),
        of(participants, "participant"),
        of(rooms, "room")
    )
}

/// A number with commas: `1,234,567`.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(at: DateTime<Utc>) -> impl fmt::Display {
    at.format("%Y-%m-%d %H:%M:%SZ")
}

/// Text that others chose, safe for one line of a terminal: without control characters, and cut.
fn shown(text: &str) -> String {
    let text = without_controls(text).replace('\t', "\u{fffd}");
    cut(&text, NAME_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor_or_hide_text() {
        for c in [
            '\u{1b}', '\n', '\t', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}',
        ] {
            assert_eq!(shown(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
        }
        assert_eq!(shown("ä 漢字"), "ä 漢字");
        let long = "x".repeat(NAME_CHARS_MAX);
        assert_eq!(shown(&long), long);
        assert_eq!(shown(&format!("{long}y")), format!("{long}..."));
    }
}
