//! Whether any of several windows is open, and the stretch of time around now in which that stays so.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Window;

/// Windows that stay open for longer than this are taken to be always open.
const SIGHT: TimeDelta = TimeDelta::days(9 * 366);
/// To follow one stretch, windows are asked at most this many times together, which takes some 20 ms.
/// Without a limit, many windows that take turns by the minute would be asked millions of times.
const ASKED_MAX: usize = 100_000;

/// Windows that take turns are followed so far, for what only has to be asked again then.
const TURN_STEPS_MAX: usize = 16;

/// Whether windows are open, and for how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether any is open.
    pub is_open: bool,
    /// The start of this stretch; none where it is more than 9 years ago, or takes too long to find.
    pub from: Option<DateTime<Utc>>,
    /// The end of this stretch; none where it is more than 9 years away, or takes too long to find.
    pub until: Option<DateTime<Utc>>,
}

/// The state of several windows together. Without windows nothing is ever open.
pub(super) fn of(windows: &[Window], now: DateTime<Utc>) -> State {
    if windows.iter().any(|window| window.open_run(now).is_some()) {
        return State {
            is_open: true,
            from: open_from(windows, now),
            until: match open_through(windows, now, SIGHT) {
                Through::Closes(at) => Some(at),
                Through::Open | Through::Unsure => None,
            },
        };
    }
    State {
        is_open: false,
        from: windows
            .iter()
            .filter_map(|window| window.last_end(now))
            .max(),
        until: windows
            .iter()
            .filter_map(|window| window.next_start(now))
            .min(),
    }
}

/// An instant at which the windows open or close next, or before which they do not: it takes few steps to find.
pub(super) fn next_turn(windows: &[Window], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut until = now;
    for _ in 0..TURN_STEPS_MAX {
        let run = |window: &Window| window.open_run(until).map(|(_, end)| end);
        match windows.iter().filter_map(run).max() {
            Some(end) if end > until => until = end,
            _ => break,
        }
    }
    if until > now {
        return Some(until);
    }
    windows
        .iter()
        .filter_map(|window| window.next_start(now))
        .min()
}

/// Whether windows stay open from an instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Through {
    /// Some window is open at every instant up to the limit.
    Open,
    /// The last of them closes then.
    Closes(DateTime<Utc>),
    /// It takes too long to find out.
    Unsure,
}

/// Whether some window is open all the time from `now` to `sight` later.
pub(super) fn open_through(windows: &[Window], now: DateTime<Utc>, sight: TimeDelta) -> Through {
    let Some(limit) = now.checked_add_signed(sight) else {
        return Through::Unsure;
    };
    let mut until = now;
    for _ in 0..steps_max(windows) {
        if until >= limit {
            return Through::Open;
        }
        let run = |window: &Window| window.open_run(until).map(|(_, end)| end);
        match windows.iter().filter_map(run).max() {
            Some(end) if end > until => until = end,
            _ => return Through::Closes(until),
        }
    }
    Through::Unsure
}

/// The most steps from one window to the next: each step asks all windows.
fn steps_max(windows: &[Window]) -> usize {
    ASKED_MAX / windows.len().max(1)
}

fn open_from(windows: &[Window], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let limit = now.checked_sub_signed(SIGHT)?;
    // Starts are whole seconds: what was open a second before one was open until then.
    let mut before = now;
    let mut from = None;
    for _ in 0..steps_max(windows) {
        if before <= limit {
            break;
        }
        let opened = |window: &Window| window.opened_by(before);
        match windows.iter().filter_map(opened).min() {
            Some(start) if start <= before => {
                from = Some(start);
                before = start.checked_sub_signed(TimeDelta::seconds(1))?;
            }
            _ => return from,
        }
    }
    None
}
