//! Time zones: what a clock on the wall shows at an instant, and when it first shows a time.
//!
//! ```text
//! local:  01:00 ---- 02:00)[03:00 ----      put forward: 02:30 is never shown
//! local:  02:00 ---- 03:00)[02:00 ----      put back: 02:30 is shown twice
//! ```

use std::str::FromStr;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, TZ_VARIANTS, Tz, TzOffset};

use crate::diagnostic::Diagnostic;
use crate::terminal::quoted;

/// In no zone since 1970 were clocks put back by more than a day, or to another second than the first of
/// a minute, or changed twice within a week; a test verifies this.
const PUT_BACK_MAX: TimeDelta = TimeDelta::hours(25);
/// Less than the week that lies at least between two changes of a clock.
const CHANGES_APART: TimeDelta = TimeDelta::days(6);
const NAME_HINT: &str =
    "a name of the time zone database, such as Europe/Berlin, America/New_York or UTC";
/// A name is suggested where at most this many letters differ.
const LETTERS_WRONG_MAX: usize = 2;

/// Reads the name of a zone.
pub(crate) fn parse(name: &str) -> Result<Tz, Diagnostic> {
    Tz::from_str(name).map_err(|_| {
        let hint = if is_offset(name) {
            "an offset changes over the year: name a place, such as Europe/Berlin, or UTC"
                .to_owned()
        } else if let Some(near) = probably(name) {
            format!("did you mean {near}?")
        } else {
            NAME_HINT.to_owned()
        };
        Diagnostic::new(format!("there is no time zone {}", quoted(name)), hint)
    })
}

fn is_offset(name: &str) -> bool {
    name.contains(['+', '-']) && !name.contains('/') && name.contains(|c: char| c.is_ascii_digit())
}

/// The zone that was probably meant. A name without a slash is a city or another writing of a
/// whole name; short ones are not guessed (`PST` is far from `EST`).
fn probably(name: &str) -> Option<&'static str> {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let plain_name = plain(name);
    if let Some(same) = names().find(|known| plain(known) == plain_name) {
        return Some(same);
    }
    let city = |known: &&str| known.rsplit('/').next().map(plain).as_ref() == Some(&plain_name);
    if let Some(same) = names().find(city) {
        return Some(same);
    }
    let distance = |known: &'static str| {
        let distance = strsim::damerau_levenshtein(&plain_name, &plain(known));
        (distance, known)
    };
    name.contains('/')
        .then(|| names().map(distance).min_by_key(|(distance, _)| *distance))?
        .filter(|(distance, _)| *distance <= LETTERS_WRONG_MAX)
        .map(|(_, known)| known)
}

/// What clocks show there; none where the calendar ends.
pub(super) fn local(zone: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    let utc = at.naive_utc();
    utc.checked_add_offset(zone.offset_from_utc_datetime(&utc).fix())
}

/// The latest time that clocks there have shown by then. It is later than what they show only after they
/// were put back, until they reach it again.
pub(super) fn shown(zone: Tz, at: DateTime<Utc>) -> Option<NaiveDateTime> {
    let now = local(zone, at)?;
    let Some(earlier) = at.checked_sub_signed(PUT_BACK_MAX) else {
        return Some(now);
    };
    if offset_seconds(zone, earlier) <= offset_seconds(zone, at) {
        return Some(now);
    }
    let change = change_between(zone, earlier, at)?;
    let before = local(zone, change.checked_sub_signed(TimeDelta::seconds(1))?)?;
    Some(before.max(now))
}

/// When clocks there show a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// At these two instants, which are mostly the same one.
    Shown(DateTime<Utc>, DateTime<Utc>),
    /// Never: this change skips it.
    Skipped(Transition),
}

pub(super) fn showing(zone: Tz, local: NaiveDateTime) -> Option<Showing> {
    let instant = |local: NaiveDateTime, offset: TzOffset| {
        Some(local.checked_sub_offset(offset.fix())?.and_utc())
    };
    match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::Single(offset) => {
            let at = instant(local, offset)?;
            Some(Showing::Shown(at, at))
        }
        MappedLocalTime::Ambiguous(first, second) => Some(Showing::Shown(
            instant(local, first)?,
            instant(local, second)?,
        )),
        MappedLocalTime::None => {
            let gap = GapInfo::new(&local, &zone)?;
            let (before, offset) = gap.begin?;
            Some(Showing::Skipped(Transition {
                at: instant(before, offset)?,
                before,
                after: gap.end?.naive_local(),
            }))
        }
    }
}

/// When clocks there first show this time; where they skip it, when they first show a later one.
pub(super) fn instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    showing(zone, local).map(|showing| match showing {
        Showing::Shown(first, _) => first,
        Showing::Skipped(change) => change.at,
    })
}

/// The change that puts clocks back within a day after that instant.
pub(super) fn put_back_after(zone: Tz, at: DateTime<Utc>) -> Option<Transition> {
    let later = at.checked_add_signed(PUT_BACK_MAX)?;
    if offset_seconds(zone, at) <= offset_seconds(zone, later) {
        return None;
    }
    change_at(zone, change_between(zone, at, later)?)
}

/// Whether clocks there have the same offset from UTC at both instants.
pub(super) fn same_offset(zone: Tz, one: DateTime<Utc>, other: DateTime<Utc>) -> bool {
    offset_seconds(zone, one) == offset_seconds(zone, other)
}

/// A time that clocks are put forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    /// When.
    pub(super) at: DateTime<Utc>,
    /// What clocks would show then without the change.
    pub(super) before: NaiveDateTime,
    /// What they show then.
    pub(super) after: NaiveDateTime,
}

/// The changes from one instant to another, in order.
pub(super) fn changes(
    zone: Tz,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> impl Iterator<Item = Transition> {
    let next = move |at: &DateTime<Utc>| at.checked_add_signed(CHANGES_APART).filter(|at| *at < to);
    std::iter::successors(Some(from), next).filter_map(move |at| {
        let end = at.checked_add_signed(CHANGES_APART)?.min(to);
        if same_offset(zone, at, end) {
            return None;
        }
        change_at(zone, change_between(zone, at, end)?)
    })
}

fn change_at(zone: Tz, at: DateTime<Utc>) -> Option<Transition> {
    let second = TimeDelta::seconds(1);
    let last = local(zone, at.checked_sub_signed(second)?)?;
    Some(Transition {
        at,
        before: last.checked_add_signed(second)?,
        after: local(zone, at)?,
    })
}

fn offset_seconds(zone: Tz, at: DateTime<Utc>) -> i32 {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc());
    offset.fix().local_minus_utc()
}

/// The first second with another offset than at `from`; there is one by `to`.
fn change_between(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let old = offset_seconds(zone, from);
    let (mut before, mut after) = (from.timestamp(), to.timestamp());
    while after - before > 1 {
        let middle = before.midpoint(after);
        if offset_seconds(zone, DateTime::from_timestamp(middle, 0)?) == old {
            before = middle;
        } else {
            after = middle;
        }
    }
    DateTime::from_timestamp(after, 0)
}
