//! When windows are open, one line an example.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proptest::prelude::*;

use super::write::line;
use crate::Window;

pub(super) fn at(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .to_utc()
}

pub(super) fn window(text: &str) -> Window {
    let (cron, rest) = text.split_once(" for ").unwrap();
    let (duration, zone) = rest.split_once(" in ").unwrap();
    Window::new(cron, duration, zone).unwrap_or_else(|diagnostic| panic!("{text}: {diagnostic}"))
}

pub(super) fn in_words(window: &Window, now: DateTime<Utc>) -> String {
    let state = window.state_at(now);
    assert_eq!(state.is_open, window.is_open(now), "{window:?} at {now}");
    let word = if state.is_open { "open" } else { "closed" };
    let time = |at: Option<DateTime<Utc>>| match at {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => "ever".to_owned(),
    };
    format!(
        "{word} from {} until {}",
        time(state.from),
        time(state.until)
    )
}

/// A window, a time, and what the window is then.
const STATES: &[(&str, &str, &str)] = &[
    // The night of the manual: Monday to Friday, German time.
    (
        "0 22 * * MON-FRI for 8h in Europe/Berlin",
        "2026-03-02T20:59:59.999Z",
        "closed from 2026-02-28T05:00:00Z until 2026-03-02T21:00:00Z",
    ),
    (
        "0 22 * * MON-FRI for 8h in Europe/Berlin",
        "2026-03-02T21:00:00Z",
        "open from 2026-03-02T21:00:00Z until 2026-03-03T05:00:00Z",
    ),
    (
        "0 22 * * MON-FRI for 8h in Europe/Berlin",
        "2026-03-03T04:59:59.999Z",
        "open from 2026-03-02T21:00:00Z until 2026-03-03T05:00:00Z",
    ),
    (
        "0 22 * * MON-FRI for 8h in Europe/Berlin",
        "2026-03-03T05:00:00Z",
        "closed from 2026-03-03T05:00:00Z until 2026-03-03T21:00:00Z",
    ),
    // 02:30 is skipped: it opens at 03:00, when clocks change.
    (
        "30 2 * * * for 1h in Europe/Berlin",
        "2026-03-29T01:00:00Z",
        "open from 2026-03-29T01:00:00Z until 2026-03-29T02:00:00Z",
    ),
    // 02:30 comes twice: it opens the first time only.
    (
        "30 2 * * * for 1h in Europe/Berlin",
        "2026-10-25T00:30:00Z",
        "open from 2026-10-25T00:30:00Z until 2026-10-25T01:30:00Z",
    ),
    (
        "30 2 * * * for 1h in Europe/Berlin",
        "2026-10-25T01:30:00Z",
        "closed from 2026-10-25T01:30:00Z until 2026-10-26T01:30:00Z",
    ),
    // Eight hours are eight hours, also in the night that has nine.
    (
        "0 22 * * SAT for 8h in Europe/Berlin",
        "2026-10-25T00:00:00Z",
        "open from 2026-10-24T20:00:00Z until 2026-10-25T04:00:00Z",
    ),
    // By the minute, all of Monday to Friday.
    (
        "* * * * MON-FRI for 1m in Europe/Berlin",
        "2026-03-04T12:00:00Z",
        "open from 2026-03-01T23:00:00Z until 2026-03-06T23:00:00Z",
    ),
    (
        "* * * * * for 1m in UTC",
        "2026-03-04T12:00:00Z",
        "open from ever until ever",
    ),
    (
        "0 0 * * * for 1d in UTC",
        "2026-03-04T12:00:00Z",
        "open from ever until ever",
    ),
    (
        "0 0 * * * for 1d in Europe/Berlin",
        "2026-03-04T12:00:00Z",
        "open from 2025-10-26T23:00:00Z until 2026-10-25T22:00:00Z",
    ),
    // Over the end of the day, the week and the year.
    (
        "0 22-2 * * * for 1h in UTC",
        "2026-03-04T00:10:00Z",
        "open from 2026-03-03T22:00:00Z until 2026-03-04T03:00:00Z",
    ),
    (
        "0 0 * * SAT-SUN for 24h in UTC",
        "2026-03-07T10:00:00Z",
        "open from 2026-03-07T00:00:00Z until 2026-03-09T00:00:00Z",
    ),
    (
        "0 0 * NOV-FEB * for 24h in UTC",
        "2026-01-01T00:00:00Z",
        "open from 2025-11-01T00:00:00Z until 2026-03-01T00:00:00Z",
    ),
    // Once in four years, and once in eight.
    (
        "0 0 29 2 * for 1d in UTC",
        "2026-01-01T00:00:00Z",
        "closed from 2024-03-01T00:00:00Z until 2028-02-29T00:00:00Z",
    ),
    (
        "0 0 29 FEB * for 1d in UTC",
        "2100-02-28T23:59:59Z",
        "closed from 2096-03-01T00:00:00Z until 2104-02-29T00:00:00Z",
    ),
    (
        "0 0 29 FEB * for 1d in UTC",
        "2104-02-29T23:59:59Z",
        "open from 2104-02-29T00:00:00Z until 2104-03-01T00:00:00Z",
    ),
    // Samoa had no 30 December 2011: what opens then opens as the 31st begins ...
    (
        "0 12 30 * * for 1h in Pacific/Apia",
        "2011-12-30T10:00:00Z",
        "open from 2011-12-30T10:00:00Z until 2011-12-30T11:00:00Z",
    ),
    // ... what opens all through the 30th opens but once ...
    (
        "*/5 0-23 30 * * for 10m in Pacific/Apia",
        "2011-12-30T10:05:00Z",
        "open from 2011-12-30T10:00:00Z until 2011-12-30T10:10:00Z",
    ),
    // ... and what goes by the clock does not open then.
    (
        "*/5 * 30 * * for 10m in Pacific/Apia",
        "2011-12-30T10:05:00Z",
        "closed from 2011-12-01T10:05:00Z until 2012-01-29T10:00:00Z",
    ),
    (
        "0 12 * * * for 1h in Pacific/Apia",
        "2011-12-30T10:00:00Z",
        "open from 2011-12-30T10:00:00Z until 2011-12-30T11:00:00Z",
    ),
    (
        "0 */12 * * * for 1h in Pacific/Apia",
        "2011-12-30T09:59:59Z",
        "closed from 2011-12-29T23:00:00Z until 2011-12-30T10:00:00Z",
    ),
    (
        "*/5 5-23 * * * for 10m in Pacific/Apia",
        "2011-12-30T10:05:00Z",
        "open from 2011-12-29T15:00:00Z until 2011-12-30T10:10:00Z",
    ),
    (
        "*/5 * 29,30 * * for 10m in Pacific/Apia",
        "2011-12-30T09:00:00Z",
        "open from 2011-12-29T10:00:00Z until 2011-12-30T10:05:00Z",
    ),
    (
        "*/5 5-23 * * * for 10m in Pacific/Apia",
        "2011-12-30T09:00:00Z",
        "open from 2011-12-29T15:00:00Z until 2011-12-30T10:10:00Z",
    ),
    // The longest way back, and on.
    (
        "0 0 29 FEB * for 1d in UTC",
        "2104-02-28T23:59:59Z",
        "closed from 2096-03-01T00:00:00Z until 2104-02-29T00:00:00Z",
    ),
    (
        "0 0 29 FEB * for 1d in UTC",
        "2096-03-01T00:00:00Z",
        "closed from 2096-03-01T00:00:00Z until 2104-02-29T00:00:00Z",
    ),
    // Not long enough to reach the next one.
    (
        "30 * * * * for 45m in UTC",
        "2026-03-04T12:40:00Z",
        "open from 2026-03-04T12:30:00Z until 2026-03-04T13:15:00Z",
    ),
];

#[test]
fn windows_open_at_their_starts_and_close_after_their_duration() {
    for (text, now, state) in STATES {
        assert_eq!(in_words(&window(text), at(now)), *state, "{text} at {now}");
    }
}

#[test]
fn windows_at_the_ends_of_the_calendar_are_closed_and_do_no_harm() {
    for text in [
        "0 0 * * * for 7d in Pacific/Kiritimati",
        "59 23 31 12 * for 7d in Pacific/Niue",
        "0 0 29 2 * for 1m in UTC",
    ] {
        for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
            let window = window(text);
            let near = [
                Some(now),
                now.checked_add_signed(TimeDelta::days(1)),
                now.checked_sub_signed(TimeDelta::days(1)),
            ];
            for near in near.into_iter().flatten() {
                assert_eq!(window.is_open(near), window.state_at(near).is_open);
            }
        }
    }
}

proptest! {
    /// What a window remembers never changes what it answers.
    #[test]
    fn a_window_that_was_asked_before_answers_like_a_new_one(
        line in line(),
        minutes in 1_u32..10_080,
        zone in proptest::sample::select(vec!["Europe/Berlin", "Pacific/Apia", "UTC"]),
        nows in proptest::collection::vec(-20_000_000_000_i64..20_000_000_000, 1..20),
        steps in proptest::collection::vec(-100_000_i64..100_000, 1..20),
    ) {
        let new = || Window::new(&line.text(), &format!("{minutes}m"), zone).unwrap();
        let asked = new();
        let clone = asked.clone();
        for now in nows {
            for step in &steps {
                let now = DateTime::from_timestamp(now + step, 999_999_999).unwrap();
                let answer = new().is_open(now);
                prop_assert_eq!(asked.is_open(now), answer, "{:?} {}", &asked, now);
                prop_assert_eq!(clone.is_open(now), answer);
                prop_assert_eq!(asked.is_open(now), answer);
            }
        }
    }
}

/// What is remembered has room for the years 1425 to 2514.
#[test]
fn a_stretch_out_of_range_is_not_taken_for_another() {
    let asked = window("0 0 * * * for 12h in UTC");
    for (far, seconds) in [
        ("2600-01-01T01:00:00Z", -(1_i64 << 35)),
        ("1300-01-01T01:00:00Z", 1 << 35),
    ] {
        assert!(asked.is_open(at(far)));
        let other = at(far) + TimeDelta::seconds(seconds);
        let fresh = window("0 0 * * * for 12h in UTC");
        assert_eq!(asked.is_open(other), fresh.is_open(other), "{other}");
    }
}

#[test]
fn threads_that_ask_about_different_times_do_not_mix_them_up() {
    let window = window("0 22 * * MON-FRI for 8h in Europe/Berlin");
    std::thread::scope(|scope| {
        for year in 2020..2024 {
            let window = &window;
            scope.spawn(move || {
                let begin = at(&format!("{year}-01-01T00:00:00Z"));
                for hour in 0..2_000 {
                    let now = begin + TimeDelta::hours(hour);
                    let fresh = Window::new(window.cron(), "8h", window.timezone()).unwrap();
                    assert_eq!(window.is_open(now), fresh.is_open(now), "{now}");
                }
            });
        }
    });
}
