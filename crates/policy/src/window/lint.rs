//! What is allowed in windows and probably not meant: always open, or clocks that change.
//!
//! Reading a policy knows no clock, so the years that are looked at are fixed: the same document
//! has the same warnings at any time.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::state::{self, Through};
use super::{Window, zone};
use crate::diagnostic::Diagnostic;

/// Noon of 2026-01-01, 2028-01-01 and 2037-12-31.
const FIRST: DateTime<Utc> = noon(1_767_268_800);
const LEAP_YEAR: DateTime<Utc> = noon(1_830_340_800);
const LAST: DateTime<Utc> = noon(2_145_873_600);

const fn noon(seconds: i64) -> DateTime<Utc> {
    match DateTime::from_timestamp(seconds, 0) {
        Some(at) => at,
        None => DateTime::UNIX_EPOCH,
    }
}

/// That these windows together are always open, as far as that is soon found: from the one limit
/// to the other, or else through a leap year and the year after it.
pub(crate) fn always_open(
    windows: &[Window],
    begins: Option<DateTime<Utc>>,
    ends: Option<DateTime<Utc>>,
) -> Option<&'static str> {
    let limits = begins.zip(ends).filter(|(begins, ends)| begins < ends);
    let in_force = limits.map_or(Through::Unsure, |(begins, ends)| {
        state::open_through(windows, begins, ends.signed_duration_since(begins))
    });
    let years = || state::open_through(windows, LEAP_YEAR, TimeDelta::days(366 + 365));
    match in_force {
        Through::Open => Some("this is always open while the policy is in force"),
        Through::Closes(_) => None,
        Through::Unsure => (years() == Through::Open)
            .then_some("this is always open in 2028 and 2029, the years that were looked at"),
    }
}

/// All hours of a day, a bit each.
const ALL_HOURS: u32 = (1 << 24) - 1;

/// A zone whose name says the opposite of what it seems to.
fn turned_zone(window: &Window) -> Option<Diagnostic> {
    let name = window.timezone();
    let offset = name
        .strip_prefix("Etc/GMT")
        .filter(|offset| !matches!(*offset, "" | "0" | "+0" | "-0"))?;
    let is = match offset.strip_prefix('+') {
        Some(hours) => format!("UTC-{hours}"),
        None => format!("UTC+{}", offset.trim_start_matches('-')),
    };
    Some(Diagnostic::new(
        format!("{name} is {is}: these names turn the sign around"),
        "name a place, such as `timezone: Europe/Berlin`",
    ))
}

/// What is not as it seems in a window: its zone, or what the next change of clocks does to it; of
/// those changes that come while the policy is in force.
pub(crate) fn of(
    window: &Window,
    begins: Option<DateTime<Utc>>,
    ends: Option<DateTime<Utc>>,
) -> Option<Diagnostic> {
    if let Some(turned) = turned_zone(window) {
        return Some(turned);
    }
    let zone = window.0.zone;
    let first = begins.map_or(FIRST, |begins| begins.max(FIRST));
    let last = ends.map_or(LAST, |ends| ends.min(LAST));
    if last <= first {
        return None;
    }
    zone::changes(zone, first, last).find_map(|change| {
        let named = if window.0.cron.any_hour {
            out_of_step(window, &change)
        } else {
            named_in(window, &change)
                .next()
                .filter(|_| !stays_open(window, &change))
        };
        match named {
            Some(named) => Some(start_at(window, &change, named)),
            None => end_after(window, &change),
        }
    })
}

/// What is named of the time that clocks skip, or show twice.
fn named_in(window: &Window, change: &zone::Transition) -> impl Iterator<Item = NaiveDateTime> {
    let (from, to) = (
        change.before.min(change.after),
        change.before.max(change.after),
    );
    let next = move |from: NaiveDateTime| window.0.cron.next(from).filter(|named| *named < to);
    std::iter::successors(next(from), move |named| {
        next(named.checked_add_signed(TimeDelta::minutes(1))?)
    })
}

/// A start of a window that follows what clocks show which is lost, or comes once more, so that the
/// window closes or opens as it does on no other day. Where it starts as often before the change as
/// after it, all goes on: a start every hour is one every hour.
fn out_of_step(window: &Window, change: &zone::Transition) -> Option<NaiveDateTime> {
    let forward = change.before < change.after;
    let shift = change.after.signed_duration_since(change.before).abs();
    named_in(window, change).find(|named| {
        let in_step = named.checked_add_signed(shift);
        if in_step.is_none_or(|later| window.0.cron.names(later)) {
            return false;
        }
        let again = named.signed_duration_since(change.after);
        let before = TimeDelta::seconds(if forward { 0 } else { again.num_seconds() } - 1);
        let Some(before) = change.at.checked_add_signed(before) else {
            return false;
        };
        let opens = window.next_start(before);
        opens.is_some_and(|opens| window.last_end(before).is_none_or(|end| end < opens))
    })
}

/// Whether clocks skip a start of a window that is open anyway, from before the skipped time on.
fn stays_open(window: &Window, change: &zone::Transition) -> bool {
    let before = change.at.checked_sub_signed(TimeDelta::seconds(1));
    let start = before.and_then(|before| window.last_start(before));
    let end = start.and_then(|start| window.end_of(start));
    change.before < change.after && end.is_some_and(|end| end >= change.at)
}

/// A start in the time that clocks skip, or show twice.
fn start_at(window: &Window, change: &zone::Transition, named: NaiveDateTime) -> Diagnostic {
    let on = format!(
        "{} on {}",
        window.timezone(),
        change.before.format("%Y-%m-%d")
    );
    let named = named.format("%H:%M");
    let (any_hour, forward) = (window.0.cron.any_hour, change.before < change.after);
    let what = if forward { "skip" } else { "show twice" };
    let then = match (any_hour, forward) {
        (true, true) => "it does not open then".to_owned(),
        (true, false) => "it opens both times".to_owned(),
        (false, true) => format!("it opens at {} then", change.after.format("%H:%M")),
        (false, false) => "it opens the first time only".to_owned(),
    };
    Diagnostic::new(
        format!("it starts at a time that clocks {what}: {named} in {on}; {then}"),
        if !any_hour && window.0.cron.hours == ALL_HOURS {
            "write `*` for the hour: it then opens as often as clocks show that minute"
        } else if any_hour {
            "name the hours instead of `*`, or write `timezone: UTC`, if that is not meant"
        } else {
            "start at another hour, or write `timezone: UTC`, if that is not meant"
        },
    )
}

/// An end that clocks do not show at the usual time, for they change while it is open.
fn end_after(window: &Window, change: &zone::Transition) -> Option<Diagnostic> {
    let zone = window.0.zone;
    let start = window.last_start(change.at.checked_sub_signed(TimeDelta::seconds(1))?)?;
    let end = window.end_of(start)?;
    let stays_open = || window.last_start(end).is_some_and(|next| next > start);
    if end <= change.at || stays_open() {
        return None;
    }
    let started = zone::local(zone, start)?;
    let shift = change.after.signed_duration_since(change.before);
    let in_step = started.checked_add_signed(shift)?;
    if window.0.cron.any_hour && window.0.cron.names(in_step) {
        return None;
    }
    let usual = started.checked_add_signed(window.0.length.delta())?;
    Some(Diagnostic::new(
        format!(
            "clocks change while it is open: in {} on {}, it closes at {} and not at {}",
            window.timezone(),
            change.before.format("%Y-%m-%d"),
            zone::local(zone, end)?.format("%H:%M"),
            usual.format("%H:%M"),
        ),
        "a duration is elapsed time; write `timezone: UTC` if clocks are not to matter",
    ))
}
