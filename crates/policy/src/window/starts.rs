//! The instants at which a cron line opens a window, by the clocks of a zone.
//!
//! ```text
//! clocks show     1:30  1:45  3:00  3:15      2:30  2:45  2:00  2:15  2:30  2:45  3:00
//! `*/15 * * * *`    |     |     |     |         |     |     |     |     |     |     |
//! `*/15 1-3 * * *`  |     |     |     |         |     |                             |
//! `30 2 * * *`                  |               |
//! ```
//!
//! With a `*` in its hour, a line opens a window whenever clocks begin to show a minute that it names:
//! each time that they show it, and never where they skip it. A line that names its hours opens
//! a window when clocks first show that minute, or a later one.

use chrono::{DateTime, DurationRound, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::cron::Cron;
use super::zone::{self, Showing};

const MINUTE: TimeDelta = TimeDelta::minutes(1);
const NANOSECOND: TimeDelta = TimeDelta::nanoseconds(1);

/// The last start, not after that instant.
pub(super) fn last(cron: &Cron, zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let reached = zone::shown(zone, at)?;
    if !cron.any_hour {
        return zone::instant(zone, cron.previous(reached)?);
    }
    let now = zone::local(zone, at)?;
    let start = last_shown(cron, zone, now, at);
    // Clocks that were put back have shown later times before.
    let before = (reached > now)
        .then(|| cron.previous(reached).filter(|named| *named > now))
        .flatten()
        .and_then(|named| zone::instant(zone, named));
    start.max(before)
}

/// The first start after that instant.
pub(super) fn next(cron: &Cron, zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if !cron.any_hour {
        let later = zone::shown(zone, at)?.checked_add_signed(NANOSECOND)?;
        return zone::instant(zone, cron.next(later)?);
    }
    let start = next_shown(cron, zone, at);
    // Clocks that are put back show earlier times again.
    let again = zone::put_back_after(zone, at).and_then(|change| {
        let named = cron.next(change.after)?;
        let since = named.signed_duration_since(change.after);
        (named < change.before).then(|| change.at.checked_add_signed(since))?
    });
    start.into_iter().chain(again).min()
}

/// The last time that clocks begin to show a minute that is named and not after `now`, by `at`.
fn last_shown(
    cron: &Cron,
    zone: Tz,
    mut now: NaiveDateTime,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    loop {
        let named = cron.previous(now)?;
        match zone::showing(zone, named)? {
            Showing::Shown(first, second) => {
                return Some(if second <= at { second } else { first });
            }
            // They begin in the middle of that minute.
            Showing::Skipped(change) if change.after.signed_duration_since(named) < MINUTE => {
                return Some(change.at);
            }
            Showing::Skipped(change) => now = change.before.checked_sub_signed(NANOSECOND)?,
        }
    }
}

/// The first time after `at` that clocks begin to show a minute that is named and after what they show then.
fn next_shown(cron: &Cron, zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut later = zone::local(zone, at)?.checked_add_signed(NANOSECOND)?;
    loop {
        match zone::showing(zone, cron.next(later)?)? {
            Showing::Shown(first, second) => {
                return Some(if first > at { first } else { second });
            }
            Showing::Skipped(change) if cron.names(change.after.duration_trunc(MINUTE).ok()?) => {
                return Some(change.at);
            }
            Showing::Skipped(change) => later = change.after,
        }
    }
}
