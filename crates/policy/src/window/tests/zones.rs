//! What is taken for granted of time zones.

use chrono::{DateTime, TimeDelta, Timelike, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::states::at;
use crate::window::zone;

/// `shown` looks a day back for one change, and `changes` goes by steps of six days. Starts are looked
/// for at the first second of a minute, which clocks that are put back into the middle of one do not show.
#[test]
fn clocks_are_changed_a_week_apart_and_put_back_by_less_than_a_day() {
    let mut seen = 0;
    for zone in TZ_VARIANTS {
        let mut last: Option<DateTime<Utc>> = None;
        for change in zone::changes(zone, at("1970-01-01T00:00:00Z"), at("2101-01-01T00:00:00Z")) {
            seen += 1;
            assert!(
                change.before - change.after < TimeDelta::days(1),
                "{zone} is put back by a day at {}",
                change.at
            );
            assert!(
                change.after > change.before || change.after.second() == 0,
                "{zone} is put back to {}",
                change.after
            );
            if let Some(last) = last {
                let apart = change.at - last;
                assert!(
                    apart > TimeDelta::days(6),
                    "{zone} changes twice by {}",
                    change.at
                );
            }
            last = Some(change.at);
        }
    }
    assert!(seen > 30_000, "{seen} changes");
}

#[test]
fn local_times_are_the_first_instant_that_shows_them() {
    for (zone, local, instant) in [
        (Tz::UTC, "2026-03-29T02:30:00", "2026-03-29T02:30:00Z"),
        (
            Tz::Europe__Berlin,
            "2026-03-29T01:59:00",
            "2026-03-29T00:59:00Z",
        ),
        // Skipped: the instant of the change.
        (
            Tz::Europe__Berlin,
            "2026-03-29T02:00:00",
            "2026-03-29T01:00:00Z",
        ),
        (
            Tz::Europe__Berlin,
            "2026-03-29T02:59:00",
            "2026-03-29T01:00:00Z",
        ),
        (
            Tz::Europe__Berlin,
            "2026-03-29T03:00:00",
            "2026-03-29T01:00:00Z",
        ),
        // Twice: the first.
        (
            Tz::Europe__Berlin,
            "2026-10-25T02:00:00",
            "2026-10-25T00:00:00Z",
        ),
        (
            Tz::Europe__Berlin,
            "2026-10-25T02:59:00",
            "2026-10-25T00:59:00Z",
        ),
        (
            Tz::Europe__Berlin,
            "2026-10-25T03:00:00",
            "2026-10-25T02:00:00Z",
        ),
        (
            Tz::Australia__Lord_Howe,
            "2026-10-04T02:15:00",
            "2026-10-03T15:30:00Z",
        ),
        (
            Tz::Australia__Lord_Howe,
            "2026-04-05T01:45:00",
            "2026-04-04T14:45:00Z",
        ),
        (
            Tz::Pacific__Apia,
            "2011-12-30T12:00:00",
            "2011-12-30T10:00:00Z",
        ),
        (
            Tz::Africa__Casablanca,
            "2026-02-15T02:30:00",
            "2026-02-15T01:30:00Z",
        ),
        (
            Tz::Africa__Casablanca,
            "2026-03-22T02:30:00",
            "2026-03-22T02:00:00Z",
        ),
    ] {
        let local: chrono::NaiveDateTime = local.parse().unwrap();
        assert_eq!(
            zone::instant(zone, local),
            Some(at(instant)),
            "{zone} {local}"
        );
        // Nothing later was shown before, and it was shown by then.
        let shown = |at| zone::shown(zone, at).unwrap();
        assert!(shown(at(instant)) >= local, "{zone} {local}");
        assert!(
            shown(at(instant) - TimeDelta::seconds(1)) < local,
            "{zone} {local}"
        );
    }
}

#[test]
fn clocks_that_were_put_back_have_shown_more_than_they_show() {
    let shown = |text: &str| {
        zone::shown(Tz::Europe__Berlin, at(text))
            .unwrap()
            .to_string()
    };
    for (text, local) in [
        ("2026-10-25T00:59:59Z", "2026-10-25 02:59:59"),
        ("2026-10-25T01:00:00Z", "2026-10-25 02:59:59"),
        ("2026-10-25T01:55:00Z", "2026-10-25 02:59:59"),
        ("2026-10-25T01:59:59Z", "2026-10-25 02:59:59"),
        ("2026-10-25T02:00:00Z", "2026-10-25 03:00:00"),
        ("2026-10-26T02:00:00Z", "2026-10-26 03:00:00"),
    ] {
        assert_eq!(shown(text), local, "{text}");
    }
}

#[test]
fn changes_are_found_with_what_clocks_show() {
    let changes: Vec<_> = zone::changes(
        Tz::Europe__Berlin,
        at("2026-01-01T00:00:00Z"),
        at("2027-01-01T00:00:00Z"),
    )
    .map(|change| {
        (
            change.at,
            change.before.to_string(),
            change.after.to_string(),
        )
    })
    .collect();
    let expected = [
        (
            at("2026-03-29T01:00:00Z"),
            "2026-03-29 02:00:00",
            "2026-03-29 03:00:00",
        ),
        (
            at("2026-10-25T01:00:00Z"),
            "2026-10-25 03:00:00",
            "2026-10-25 02:00:00",
        ),
    ]
    .map(|(at, before, after)| (at, before.to_owned(), after.to_owned()));
    assert_eq!(changes, expected);
    let none = zone::changes(
        Tz::UTC,
        at("1970-01-01T00:00:00Z"),
        at("2037-01-01T00:00:00Z"),
    );
    assert_eq!(none.count(), 0);
}
