//! Cron lines against the `cron` crate, and why it does not do the work itself.

use std::str::FromStr;

use chrono::{DateTime, TimeZone, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::write::{Field, Line, WEEKDAYS, line};
use crate::window::cron::Cron;

/// In words that it understands as we do: values one by one, weekdays by name, seconds first.
fn for_the_crate(line: &Line) -> cron::Schedule {
    let list = |field: &Field, names: &[&str]| {
        let word = |value: &u32| match names.get(usize::try_from(*value).unwrap()) {
            Some(name) => (*name).to_owned(),
            None => value.to_string(),
        };
        let words: Vec<_> = field.values.iter().map(word).collect();
        words.join(",")
    };
    let text = format!(
        "0 {} {} {} {} {}",
        list(&line.minute, &[]),
        list(&line.hour, &[]),
        list(&line.day, &[]),
        list(&line.month, &[]),
        list(&line.weekday, &WEEKDAYS),
    );
    cron::Schedule::from_str(&text).unwrap()
}

proptest! {
    #[test]
    fn the_next_and_the_previous_minute_are_those_of_the_crate(
        // Up to 2089: the crate ends with 2100, and the leap day before that is in 2096.
        line in line(), seconds in 300_000_000_i64..3_780_000_000,
    ) {
        let ours = Cron::parse(&line.text()).unwrap();
        let theirs = for_the_crate(&line);
        let at = DateTime::from_timestamp(seconds, 0).unwrap();
        let next = ours.next(at.naive_utc() + chrono::TimeDelta::seconds(1));
        prop_assert_eq!(next.map(|next| next.and_utc()), theirs.after(&at).next(), "{}", line.text());
        let previous = ours.previous(at.naive_utc() - chrono::TimeDelta::seconds(1));
        prop_assert_eq!(
            previous.map(|previous| previous.and_utc()),
            theirs.after(&at).next_back(),
            "{}", line.text()
        );
    }
}

/// Where the crate does otherwise than windows need. Where one of these changes, it may serve after all.
#[test]
fn the_crate_has_traps() {
    let schedule = |text: &str| cron::Schedule::from_str(text);
    let utc = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();

    // Its calendar ends with 2100; asked from later on, it leaves out months as well.
    let nightly = schedule("0 0 22 * * *").unwrap();
    assert_eq!(nightly.after(&utc("2100-12-31T23:00:00Z")).next(), None);
    assert_eq!(
        nightly.after(&utc("2103-05-01T12:00:00Z")).next_back(),
        Some(utc("2100-04-30T22:00:00Z"))
    );
    let leap = schedule("0 0 0 29 2 *").unwrap();
    assert_eq!(leap.after(&utc("2100-06-01T00:00:00Z")).next(), None);

    // It counts weekdays from 1 for Sunday, where cron has 0 (and 1 for Monday).
    let first = schedule("0 0 0 * * 1").unwrap();
    let sunday = utc("2026-03-01T00:00:00Z");
    assert_eq!(
        first.after(&utc("2026-02-24T00:00:00Z")).next(),
        Some(sunday)
    );

    // Ranges do not go over the end, and it never says that a date does not exist.
    for refused in ["0 0 22-2 * * *", "0 0 0 * * SAT-SUN", "0 0 0 * NOV-FEB *"] {
        assert!(schedule(refused).is_err(), "{refused}");
    }
    assert_eq!(
        schedule("0 0 0 30 2 *").unwrap().after(&sunday).next(),
        None
    );

    // In a zone, it leaves out what clocks skip and starts twice at what they show twice.
    let half_past_two = schedule("0 30 2 * * *").unwrap();
    let berlin = |y, m, d, h| {
        Tz::Europe__Berlin
            .with_ymd_and_hms(y, m, d, h, 0, 0)
            .unwrap()
    };
    let day = |at: &DateTime<Tz>| at.format("%m-%d").to_string();
    let in_spring: Vec<_> = half_past_two
        .after(&berlin(2026, 3, 28, 0))
        .take(2)
        .collect();
    assert_eq!(
        in_spring.iter().map(day).collect::<Vec<_>>(),
        ["03-28", "03-30"]
    );
    let in_autumn: Vec<_> = half_past_two
        .after(&berlin(2026, 10, 25, 0))
        .take(2)
        .collect();
    assert_eq!(
        in_autumn.iter().map(day).collect::<Vec<_>>(),
        ["10-25", "10-25"]
    );
    let _: DateTime<Utc> = sunday;
}
