//! Windows: a cron line, a duration and a time zone, a line each; below them, times in Unix seconds.
#![no_main]

use chrono::{DateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use libfuzzer_sys::fuzz_target;
use quell_fuzz::samples;
use quell_policy::window::{Length, State, Window};

/// An input asks about at most this many times.
const TIMES_MAX: usize = 4;
/// How many stretches of being open or closed are followed from each of those times on.
const STRETCHES: usize = 3;
/// How many times within a stretch are looked at.
const PROBES: i32 = 16;
/// The years that policies are about; beyond them nothing is promised but an answer.
const YEARS_UNIX_SECS: std::ops::Range<i64> = 0..253_000_000_000;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (cron, duration, timezone) = (line(), line(), line());
    let window = match Window::new(cron, duration, timezone) {
        Ok(window) => window,
        Err(fault) => return assert!(!fault.message.trim().is_empty()),
    };
    assert_eq!(window.cron(), cron);
    assert_eq!(window.duration().to_string(), duration);
    assert_eq!(Length::parse(duration).as_ref(), Ok(window.duration()));
    let again = Window::new(window.cron(), duration, window.timezone());
    assert_eq!(again.as_ref(), Ok(&window));
    let given = lines.filter_map(|line| line.parse().ok()).take(TIMES_MAX);
    for seconds in given.chain([samples::noon().timestamp()]) {
        let mut next = DateTime::from_timestamp(seconds, 0);
        // Most of the time a window is closed: those after it are looked at as well.
        for _ in 0..STRETCHES {
            let Some(at) = next else {
                break;
            };
            let state = window.state_at(at);
            assert_eq!(is_open(&window, at), state.is_open);
            if YEARS_UNIX_SECS.contains(&at.timestamp()) {
                check(&window, &state, at);
                goes_by_the_clock(&window, at);
            }
            next = state.until;
        }
    }
});

/// It is as it is from one change to the next, and otherwise at both ends.
fn check(window: &Window, state: &State, at: DateTime<Utc>) {
    let second = TimeDelta::seconds(1);
    if let Some(from) = state.from {
        assert!(from <= at, "{state:?}");
        assert_ne!(is_open(window, from - second), state.is_open, "{state:?}");
    }
    if let Some(until) = state.until {
        assert!(at < until, "{state:?}");
        assert_ne!(is_open(window, until), state.is_open, "{state:?}");
        assert_eq!(is_open(window, until - second), state.is_open, "{state:?}");
    }
    let from = state.from.unwrap_or(at);
    let step = (state.until.unwrap_or(at) - from) / PROBES;
    for probe in 0..PROBES {
        let between = from + step * probe;
        assert_eq!(
            is_open(window, between),
            state.is_open,
            "{between} {state:?}"
        );
    }
    assert_eq!(is_open(window, at), state.is_open);
}

/// With a `*` in its hour, what matters is what clocks show. A window of a minute is open while they show
/// what the line names, as it is in a zone whose clocks show the same then and never change.
fn goes_by_the_clock(window: &Window, at: DateTime<Utc>) {
    let mut fields = window.cron().split_ascii_whitespace();
    let any_hour = fields.nth(1).is_some_and(|hour| hour.contains('*'));
    let hours = whole_hours(window.timezone(), at);
    // A minute of clocks that changed in the middle of one may last longer.
    if let Some(hours) = hours.filter(|hours| {
        any_hour && whole_hours(window.timezone(), at - TimeDelta::minutes(1)) == Some(*hours)
    }) {
        // Names of the database have the sign the other way round.
        let fixed = format!("Etc/GMT{:+}", -hours);
        let open_in = |zone: &str| {
            let window = Window::new(window.cron(), "1m", zone);
            window.is_ok_and(|window| window.is_open(at))
        };
        assert_eq!(open_in(window.timezone()), open_in(&fixed), "{at} {fixed}");
    }
}

/// How many hours clocks are ahead of UTC then, where these are whole.
fn whole_hours(zone: &str, at: DateTime<Utc>) -> Option<i32> {
    let zone: Tz = zone.parse().ok()?;
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let seconds = offset.local_minus_utc();
    (seconds % 3600 == 0).then_some(seconds / 3600)
}

/// Whether it is open then: what it remembers of other times, and follows from there, must be what
/// one says that knows of nothing.
fn is_open(window: &Window, at: DateTime<Utc>) -> bool {
    let fresh = Window::new(
        window.cron(),
        &window.duration().to_string(),
        window.timezone(),
    );
    let fresh = fresh.unwrap_or_else(|fault| panic!("refused the second time: {}", fault.message));
    let is_open = fresh.is_open(at);
    assert_eq!(window.is_open(at), is_open, "{at}");
    is_open
}
