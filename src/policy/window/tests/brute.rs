//! Windows against a walk over every minute, which is too slow to use and too plain to be wrong.
//!
//! The walk goes by UTC, where every minute exists once, and reads what the clock on the wall shows
//! (always one thing). A start is the first UTC minute at which the clock shows that time or a later one.

use std::cell::Cell;
use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::write::{Line, line};
use crate::policy::Window;

const ZONES: [Tz; 9] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    // Half an hour of summer time.
    Tz::Australia__Lord_Howe,
    // It lost 2011-12-30.
    Tz::Pacific__Apia,
    // Summer time all the year, but for Ramadan.
    Tz::Africa__Casablanca,
    Tz::UTC,
    // Half an hour off, and changed its clocks a minute after midnight.
    Tz::America__St_Johns,
    Tz::Asia__Kathmandu,
    // Winter in June.
    Tz::America__Santiago,
];
const WINDOWS: u32 = 400;
const CHECKS_PER_WINDOW: usize = 250;
const DAY_MINUTES: i64 = 24 * 60;
/// A day and a half: to each side of a change of clocks.
const HALF_MINUTES: i64 = 36 * 60;

fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    at.naive_utc() + TimeDelta::seconds(offset.local_minus_utc().into())
}

/// Which values of each field are named, by value.
struct Named([[bool; 60]; 5]);

impl Named {
    fn new(line: &Line) -> Self {
        let fields = [
            &line.minute,
            &line.hour,
            &line.day,
            &line.month,
            &line.weekday,
        ];
        Self(fields.map(|field| {
            let mut named = [false; 60];
            for value in &field.values {
                named[usize::try_from(*value).unwrap()] = true;
            }
            named
        }))
    }

    fn has(&self, local: NaiveDateTime) -> bool {
        let has = |field: usize, value: u32| self.0[field][usize::try_from(value).unwrap()];
        has(0, local.minute())
            && has(1, local.hour())
            && has(2, local.day())
            && has(3, local.month())
            && has(4, local.weekday().num_days_from_sunday())
    }
}

/// Open or closed, minute by minute, from `begin` on.
fn walk(line: &Line, zone: Tz, duration: i64, begin: DateTime<Utc>, minutes: i64) -> Vec<bool> {
    let minute = TimeDelta::minutes(1);
    let named = Named::new(line);
    let mut last_start = None;
    // What opened more than `duration` ago has closed. Clocks are put back by a day at most.
    let early = -duration - DAY_MINUTES;
    let mut at_utc = begin + TimeDelta::minutes(early);
    let mut reached = shown(zone, at_utc);
    let mut open = Vec::new();
    for at in early..minutes {
        let local = shown(zone, at_utc);
        while reached < local {
            reached += minute;
            if named.has(reached) {
                last_start = Some(at);
            }
        }
        if at >= 0 {
            open.push(last_start.is_some_and(|start| at < start + duration));
        }
        at_utc += minute;
    }
    open
}

/// The hours in which clocks are changed, and days that are not in every year.
fn times() -> BTreeMap<&'static str, Vec<DateTime<Utc>>> {
    let utc = |year, month, day| Utc.with_ymd_and_hms(year, month, day, 0, 0, 0).unwrap();
    let leap = [
        utc(2000, 2, 29),
        utc(2023, 3, 1),
        utc(2024, 2, 29),
        utc(2096, 2, 29),
        utc(2100, 3, 1),
        utc(2104, 2, 29),
    ];
    ZONES
        .iter()
        .map(|zone| {
            let mut times = leap.to_vec();
            for (from, to) in [(1985, 1987), (2011, 2013), (2024, 2027)] {
                let (mut at, to) = (utc(from, 1, 1), utc(to, 1, 1));
                while at < to {
                    let next = at + TimeDelta::hours(1);
                    let step = shown(*zone, next) - shown(*zone, at);
                    if step > TimeDelta::days(1) {
                        // A whole day lost is worth a second and a third look.
                        times.extend([at; 8]);
                    } else if step != TimeDelta::hours(1) {
                        times.push(at);
                    }
                    at = next;
                }
            }
            (zone.name(), times)
        })
        .collect()
}

#[derive(Debug)]
struct Case {
    line: Line,
    zone: Tz,
    duration: i64,
    around: DateTime<Utc>,
    /// Seconds from there.
    nows: Vec<i64>,
}

fn case() -> impl Strategy<Value = Case> {
    let times = times();
    let place = select(ZONES.to_vec()).prop_flat_map(move |zone| {
        let times = times[zone.name()].clone();
        (Just(zone), select(times))
    });
    let duration = prop_oneof![
        4 => select(vec![1, 30, 59, 60, 61, 90, 8 * 60, 23 * 60, DAY_MINUTES, 25 * 60, 7 * DAY_MINUTES]),
        1 => 1_i64..=3 * 60,
        1 => 1_i64..=7 * DAY_MINUTES,
    ];
    // Hours around most of all, and a day and a half.
    let now = prop_oneof![
        -4 * 3600_i64..4 * 3600,
        -HALF_MINUTES * 60..HALF_MINUTES * 60
    ];
    let nows = proptest::collection::vec(now, CHECKS_PER_WINDOW);
    (line(), place, duration, nows).prop_map(|(line, (zone, around), duration, nows)| Case {
        line,
        zone,
        duration,
        around,
        nows,
    })
}

#[test]
fn windows_are_open_when_a_walk_over_all_minutes_says_so() {
    let checks = Cell::new(0_usize);
    let open = Cell::new(0_usize);
    let config = Config {
        cases: WINDOWS,
        max_shrink_iters: 500,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&case(), |case| {
            let Case {
                line,
                zone,
                duration,
                around,
                nows,
            } = case;
            let window = Window::new(&line.text(), &format!("{duration}m"), zone.name());
            let window = window.map_err(|fault| TestCaseError::fail(fault.to_string()))?;
            let begin = around - TimeDelta::minutes(HALF_MINUTES);
            let walked = walk(&line, zone, duration, begin, 2 * HALF_MINUTES);
            for (index, seconds) in nows.into_iter().enumerate() {
                let now = around + TimeDelta::seconds(seconds);
                let at = usize::try_from((now - begin).num_minutes()).unwrap();
                let wanted = walked[at];
                prop_assert_eq!(window.is_open(now), wanted, "{} {}", window.cron(), now);
                checks.set(checks.get() + 1);
                open.set(open.get() + usize::from(wanted));
                if index % 10 == 0 {
                    let before = walked[..at].iter().rposition(|open| *open != wanted);
                    let after = walked[at..].iter().position(|open| *open != wanted);
                    let time = |minutes: usize| {
                        begin + TimeDelta::minutes(i64::try_from(minutes).unwrap())
                    };
                    let state = window.state_at(now);
                    prop_assert_eq!(state.is_open, wanted);
                    match before {
                        Some(before) => {
                            prop_assert_eq!(state.from, Some(time(before + 1)), "{}", now);
                        }
                        None => prop_assert!(state.from.is_none_or(|from| from <= begin)),
                    }
                    match after {
                        Some(after) => {
                            prop_assert_eq!(state.until, Some(time(at + after)), "{}", now);
                        }
                        None => prop_assert!(
                            state.until.is_none_or(|until| time(walked.len()) <= until)
                        ),
                    }
                }
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(checks.get() >= 100_000, "{} checks", checks.get());
    // It would prove little if nearly all were closed, or open.
    assert!(
        open.get() > 20_000 && open.get() < 80_000,
        "{} open",
        open.get()
    );
}
