//! Windows: a cron line, a duration and a time zone, a line each; below them, times in Unix seconds.
#![no_main]

use chrono::{DateTime, TimeDelta, Utc};
use libfuzzer_sys::fuzz_target;
use quell_fuzz::policy::window::{Length, State, Window};
use quell_fuzz::samples;

/// So many times are asked about.
const TIMES_MAX: usize = 8;
/// The years that policies are about; beyond them nothing is promised but an answer.
const YEARS_UNIX_SECS: std::ops::Range<i64> = 0..253_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (cron, duration, timezone) = (line(), line(), line());
    let read = || Window::new(cron, duration, timezone);
    let window = match read() {
        Ok(window) => window,
        Err(fault) => {
            assert!(!fault.message.trim().is_empty());
            return;
        }
    };
    assert_eq!(window.cron(), cron);
    assert_eq!(window.duration().to_string(), duration);
    assert_eq!(Length::parse(duration).as_ref(), Ok(window.duration()));
    let again = Window::new(window.cron(), duration, window.timezone());
    assert_eq!(again.as_ref(), Ok(&window));
    let given = lines.filter_map(|line| line.parse().ok()).take(TIMES_MAX);
    for seconds in given.chain([samples::noon().timestamp()]) {
        let Some(at) = DateTime::from_timestamp(seconds, 0) else {
            continue;
        };
        // What it remembers of other times changes no answer.
        let Ok(fresh) = read() else {
            panic!("refused the second time");
        };
        let state = fresh.state_at(at);
        assert_eq!(window.is_open(at), state.is_open);
        if YEARS_UNIX_SECS.contains(&seconds) {
            check(&window, &state, at);
        }
    }
});

/// It is as it is from one change to the next, and otherwise at both ends.
fn check(window: &Window, state: &State, at: DateTime<Utc>) {
    let second = TimeDelta::seconds(1);
    let is_open = |at: DateTime<Utc>| {
        assert_eq!(window.is_open(at), window.state_at(at).is_open, "{at}");
        window.is_open(at)
    };
    if let Some(from) = state.from {
        assert!(from <= at, "{state:?}");
        assert_eq!(is_open(from), state.is_open, "{state:?}");
        assert_ne!(is_open(from - second), state.is_open, "{state:?}");
    }
    if let Some(until) = state.until {
        assert!(at < until, "{state:?}");
        assert_eq!(is_open(until - second), state.is_open, "{state:?}");
        assert_ne!(is_open(until), state.is_open, "{state:?}");
        let halfway = at + (until - at) / 2;
        assert_eq!(is_open(halfway), state.is_open, "{state:?}");
    }
    assert_eq!(is_open(at), state.is_open);
}
