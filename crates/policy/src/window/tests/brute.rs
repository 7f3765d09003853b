//! Windows against a walk over every minute, which is too slow to use and too plain to be wrong.
//!
//! The walk goes by UTC, where every minute exists once, and reads what the clock on the wall shows
//! (always one thing). Where the hour of a line has a `*`, a start is whenever the clock comes to show a
//! minute that is named; else it is when the clock first shows that minute or a later one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use chrono::{DateTime, Datelike, DurationRound, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use super::write::{Line, line};
use crate::Window;
use crate::window::{State, state, zone};

const ZONES: [Tz; 15] = [
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
    // Changes at midnight.
    Tz::America__Sao_Paulo,
    Tz::America__Havana,
    Tz::Asia__Beirut,
    // Two hours of summer time.
    Tz::Antarctica__Troll,
    // Winter time is what is saved there.
    Tz::Europe__Dublin,
    // 44 minutes and a half off, until 1972.
    Tz::Africa__Monrovia,
];
const CASES: u32 = 400;
/// The cases are divided among them.
const THREADS: u32 = 4;
const CHECKS_PER_CASE: usize = 250;
const DAY_MINUTES: i64 = 24 * 60;
/// Steps in a minute: no offset since 1970 had other seconds than 0 and 30.
const TICKS: i64 = 2;
/// A day and a half: to each side of a change of clocks.
const HALF_MINUTES: i64 = 36 * 60;

fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    let offset = zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    at.naive_utc() + TimeDelta::seconds(offset.local_minus_utc().into())
}

/// A window's line: for each field, which values are named; and the answer for one whole day.
struct Named {
    fields: [[bool; 60]; 5],
    /// A day, counted from 1970, and whether the line names it.
    day: Option<(i64, bool)>,
}

impl Named {
    fn new(line: &Line) -> Self {
        let fields = [
            &line.minute,
            &line.hour,
            &line.day,
            &line.month,
            &line.weekday,
        ];
        let fields = fields.map(|field| {
            let mut named = [false; 60];
            for value in &field.values {
                named[usize::try_from(*value).unwrap()] = true;
            }
            named
        });
        Self { fields, day: None }
    }

    fn field(&self, field: usize, value: impl TryInto<usize>) -> bool {
        self.fields[field][value.try_into().ok().unwrap()]
    }

    /// Whether the line names this minute, counted from 1970.
    fn has(&mut self, local: i64) -> bool {
        let of_day = local.rem_euclid(DAY_MINUTES);
        self.field(0, of_day % 60) && self.field(1, of_day / 60) && self.has_day(local)
    }

    fn has_day(&mut self, local: i64) -> bool {
        let day = local.div_euclid(DAY_MINUTES);
        if let Some((known, has)) = self.day
            && known == day
        {
            return has;
        }
        let date = DateTime::UNIX_EPOCH.date_naive() + TimeDelta::days(day);
        let has = self.field(2, date.day())
            && self.field(3, date.month())
            && self.field(4, date.weekday().num_days_from_sunday());
        self.day = Some((day, has));
        has
    }
}

/// What the clock on the wall shows, in minutes from 1970, at each of `count` ticks.
fn minutes_shown(zone: Tz, begin: DateTime<Utc>, ticks_per_minute: i64, count: i64) -> Vec<i64> {
    let tick_seconds = 60 / ticks_per_minute;
    let offset = |seconds: i64| {
        let at = DateTime::from_timestamp(seconds, 0).unwrap();
        (shown(zone, at) - at.naive_utc()).num_seconds()
    };
    let mut minutes = Vec::new();
    let mut at = begin.timestamp();
    let end = at + count * tick_seconds;
    while at < end {
        // Clocks are not changed twice within a day: offsets that agree at both ends of an hour hold in it.
        let next = end.min(at + 3600);
        let (first, last) = (offset(at), offset(next));
        while at < next {
            let offset = if first == last { first } else { offset(at) };
            minutes.push((at + offset).div_euclid(60));
            at += tick_seconds;
        }
    }
    minutes
}

/// Open or closed, half a minute by half a minute, from `begin` on.
fn walk(line: &Line, zone: Tz, duration: i64, begin: DateTime<Utc>, minutes: i64) -> Vec<bool> {
    // Elsewhere each minute that clocks show is a minute of UTC.
    let ticks = if zone == Tz::Africa__Monrovia {
        TICKS
    } else {
        1
    };
    let mut named = Named::new(line);
    let mut last_start = None;
    // What opened more than `duration` ago has closed. Clocks are put back by a day at most.
    let early = duration + DAY_MINUTES;
    let from = begin - TimeDelta::minutes(early);
    let all_shown = minutes_shown(zone, from, ticks, (early + minutes) * ticks);
    let mut shows = all_shown[0];
    let mut reached = shows;
    let mut open = Vec::new();
    for (at, local) in (-early * ticks..).zip(all_shown) {
        if line.any_hour() && shows != local && named.has(local) {
            last_start = Some(at);
        }
        while !line.any_hour() && reached < local {
            reached += 1;
            if named.has(reached) {
                last_start = Some(at);
            }
        }
        shows = local;
        if at >= 0 {
            let is_open = last_start.is_some_and(|start| at < start + duration * ticks);
            open.extend((0..TICKS / ticks).map(|_| is_open));
        }
    }
    open
}

fn utc(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, month, day, 0, 0, 0).unwrap()
}

/// Days that are not in every year, and the days after where they are not.
fn leap_days() -> [DateTime<Utc>; 6] {
    [
        utc(2000, 2, 29),
        utc(2023, 3, 1),
        utc(2024, 2, 29),
        utc(2096, 2, 29),
        utc(2100, 3, 1),
        utc(2104, 2, 29),
    ]
}

/// The hours in which clocks are changed, and leap days.
fn times() -> BTreeMap<&'static str, Vec<DateTime<Utc>>> {
    ZONES
        .iter()
        .map(|zone| {
            let mut times = leap_days().to_vec();
            for (from, to) in [(1972, 1973), (1985, 1987), (2011, 2013), (2024, 2027)] {
                let (mut at, to) = (utc(from, 1, 1), utc(to, 1, 1));
                let mut local = shown(*zone, at);
                while at < to {
                    let next = at + TimeDelta::hours(1);
                    let then = shown(*zone, next);
                    let step = then - local;
                    if step > TimeDelta::days(1) {
                        // A whole day lost is worth a second and a third look.
                        times.extend([at; 8]);
                    } else if step != TimeDelta::hours(1) {
                        times.push(at);
                    }
                    (at, local) = (next, then);
                }
            }
            (zone.name(), times)
        })
        .collect()
}

/// A line, its zone and for how many minutes it stays open.
type Opens = (Line, Tz, i64);

#[derive(Debug)]
struct Case {
    windows: Vec<Opens>,
    /// In the first one's zone.
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
    let duration = || {
        prop_oneof![
            4 => select(vec![1, 30, 59, 60, 61, 90, 8 * 60, 23 * 60, DAY_MINUTES, 25 * 60, 7 * DAY_MINUTES]),
            1 => 1_i64..=3 * 60,
            1 => 1_i64..=7 * DAY_MINUTES,
        ]
    };
    // Hours around most of all, and a day and a half.
    let now = prop_oneof![
        -4 * 3600_i64..4 * 3600,
        -HALF_MINUTES * 60..HALF_MINUTES * 60
    ];
    let nows = proptest::collection::vec(now, CHECKS_PER_CASE);
    let other = (line(), select(ZONES.to_vec()), duration());
    let others = prop_oneof![
        2 => Just(Vec::new()),
        1 => proptest::collection::vec(other, 1..=2),
    ];
    (line(), duration(), others, place, nows).prop_map(|(line, length, others, place, nows)| {
        let (zone, around) = place;
        Case {
            windows: std::iter::once((line, zone, length))
                .chain(others)
                .collect(),
            around,
            nows,
        }
    })
}

/// What was looked at: a proof of nothing proves nothing.
#[derive(Default)]
struct Seen {
    open: usize,
    by_zone: BTreeMap<&'static str, usize>,
    at_leap_days: usize,
    of_several: usize,
    any_hour: usize,
}

fn check_some(cases: u32, seen: &Mutex<Seen>) {
    let config = Config {
        cases,
        max_shrink_iters: 500,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&case(), |case| {
            let read = |(line, zone, minutes): &Opens| {
                Window::new(&line.text(), &format!("{minutes}m"), zone.name())
            };
            let windows: Result<Vec<_>, _> = case.windows.iter().map(read).collect();
            let windows =
                windows.map_err(|diagnostic| TestCaseError::fail(diagnostic.to_string()))?;
            let begin = case.around - TimeDelta::minutes(HALF_MINUTES);
            let mut walked = vec![false; usize::try_from(TICKS * 2 * HALF_MINUTES).unwrap()];
            for (line, zone, minutes) in &case.windows {
                let one = walk(line, *zone, *minutes, begin, 2 * HALF_MINUTES);
                walked
                    .iter_mut()
                    .zip(one)
                    .for_each(|(any, one)| *any |= one);
            }
            for (index, seconds) in case.nows.iter().enumerate() {
                let now = case.around + TimeDelta::seconds(*seconds);
                let at = usize::try_from((now - begin).num_seconds() * TICKS / 60).unwrap();
                let is_open = windows.iter().any(|window| window.is_open(now));
                prop_assert_eq!(is_open, walked[at], "{:?} {}", &windows, now);
                if index % 10 == 0 {
                    is_so_for(&walked, begin, at, &state::of(&windows, now))?;
                }
            }
            let checks = case.nows.len();
            let open = |at: &i64| {
                windows
                    .iter()
                    .any(|window| window.is_open(case.around + TimeDelta::seconds(*at)))
            };
            let count = case.nows.iter().filter(|at| open(at)).count();
            let mut seen = seen.lock().unwrap();
            seen.open += count;
            *seen.by_zone.entry(case.windows[0].1.name()).or_default() += checks;
            seen.at_leap_days += if leap_days().contains(&case.around) {
                checks
            } else {
                0
            };
            let any_hour = case.windows[0].0.any_hour();
            seen.any_hour += if any_hour { checks } else { 0 };
            seen.of_several += if windows.len() > 1 { checks } else { 0 };
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn windows_are_open_when_a_walk_over_all_minutes_says_so() {
    let seen = Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| check_some(CASES / THREADS, &seen));
        }
    });
    let seen = seen.into_inner().unwrap();
    let checks: usize = seen.by_zone.values().sum();
    assert!(checks >= 100_000, "{checks} checks");
    // It would prove little if nearly all were closed, or open.
    let share = 100 * seen.open / checks;
    assert!((20..80).contains(&share), "{share} % open");
    for zone in ZONES {
        let of_zone = seen.by_zone.get(zone.name()).copied().unwrap_or_default();
        assert!(of_zone >= 2_000, "{zone}: {of_zone} checks");
    }
    assert!(
        seen.at_leap_days >= 10_000,
        "{} at leap days",
        seen.at_leap_days
    );
    assert!(seen.any_hour >= 40_000, "{} by the clock", seen.any_hour);
    assert!(seen.of_several >= 20_000, "{} of several", seen.of_several);
}

/// Every seventh change of clocks since 1970, in all zones.
#[test]
fn windows_are_as_walked_when_clocks_change_anywhere() {
    let (begin, end) = (utc(1970, 1, 2), utc(2038, 1, 1));
    let mut runner = TestRunner::deterministic();
    let changes = TZ_VARIANTS
        .iter()
        .flat_map(|zone| zone::changes(*zone, begin, end).map(|change| (*zone, change.at)));
    let mut seen = 0;
    for (zone, at) in changes.step_by(7) {
        let line = line().new_tree(&mut runner).unwrap().current();
        let minutes = 30;
        let window = Window::new(&line.text(), "30m", zone.name()).unwrap();
        let hours = 3;
        let begin = at.duration_trunc(TimeDelta::minutes(1)).unwrap() - TimeDelta::hours(hours);
        let walked = walk(&line, zone, minutes, begin, 2 * hours * 60);
        for (step, is_open) in (0..).zip(&walked) {
            let now = begin + TimeDelta::seconds(step * 60 / TICKS);
            assert_eq!(window.is_open(now), *is_open, "{window:?} {now}");
            seen += 1;
        }
    }
    assert!(seen > 1_000_000, "{seen} checks");
}

/// Whether the stretch around this step is as it was walked.
fn is_so_for(
    walked: &[bool],
    begin: DateTime<Utc>,
    at: usize,
    state: &State,
) -> Result<(), TestCaseError> {
    let expected = walked[at];
    let time =
        |ticks: usize| begin + TimeDelta::seconds(i64::try_from(ticks).unwrap() * 60 / TICKS);
    prop_assert_eq!(state.is_open, expected);
    match walked[..at].iter().rposition(|open| *open != expected) {
        Some(before) => prop_assert_eq!(state.from, Some(time(before + 1))),
        None => prop_assert!(state.from.is_none_or(|from| from <= begin)),
    }
    match walked[at..].iter().position(|open| *open != expected) {
        Some(after) => prop_assert_eq!(state.until, Some(time(at + after))),
        None => prop_assert!(state.until.is_none_or(|until| time(walked.len()) <= until)),
    }
    Ok(())
}
