//! Whether any of several windows is open, and the stretch of time around now in which that stays so.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Window;

/// What stays open for so long is taken to be always open.
const SIGHT: TimeDelta = TimeDelta::days(9 * 366);

/// Whether windows are open, and for how long they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct State {
    /// Whether any is open.
    pub is_open: bool,
    /// Since when that is so; none where that is more than 9 years ago.
    pub from: Option<DateTime<Utc>>,
    /// Until when that is so; none where that is more than 9 years away.
    pub until: Option<DateTime<Utc>>,
}

/// The state of several windows together. Without windows nothing is ever open.
pub(super) fn of(windows: &[Window], now: DateTime<Utc>) -> State {
    if windows.iter().any(|window| window.open_run(now).is_some()) {
        return State {
            is_open: true,
            from: open_from(windows, now),
            until: open_until(windows, now, SIGHT),
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

/// When none is open any more; none where that is more than `sight` away.
pub(super) fn open_until(
    windows: &[Window],
    now: DateTime<Utc>,
    sight: TimeDelta,
) -> Option<DateTime<Utc>> {
    let limit = now.checked_add_signed(sight)?;
    let mut until = now;
    while until < limit {
        let run = |window: &Window| window.open_run(until).map(|(_, end)| end);
        match windows.iter().filter_map(run).max() {
            Some(end) if end > until => until = end,
            _ => return Some(until),
        }
    }
    None
}

fn open_from(windows: &[Window], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let limit = now.checked_sub_signed(SIGHT)?;
    // Starts are whole seconds: what was open a second before one was open until then.
    let mut before = now;
    let mut from = None;
    while before > limit {
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
