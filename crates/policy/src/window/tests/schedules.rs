//! What a policy's limits in time say together, and in words.

use std::fmt::Write;

use chrono::TimeDelta;

use super::states::at;
use crate::tests::make::{facts, policies, set};
use crate::window::Unmet;
use crate::{Fact, Facts, Schedule, Tri};

fn schedule(limits: &str) -> Schedule {
    let yaml =
        format!("policies: [{{ name: p, match: {{ type: AUDIO }}, effect: mute, {limits} }}]");
    policies(&yaml)[0].schedule()
}

fn made_at(created_at: Option<&str>) -> Facts {
    let mut facts = facts();
    facts.room.created_at =
        created_at.map_or(Fact::Unknown, |text| Fact::Known(at(text).timestamp()));
    facts
}

const NIGHTS: &str =
    "active: [{ cron: '0 22 * * MON-FRI', duration: 8h, timezone: Europe/Berlin }]";
const BOTH: &str = "active: [{ cron: '0 22 * * MON-FRI', duration: 8h, timezone: UTC }, \
                    { cron: '0 4 * * *', duration: 4h, timezone: UTC }], \
                    not_before: 2026-03-02T00:00:00Z, not_after: 2026-04-01T02:00:00+02:00";

#[test]
fn all_limits_hold_together_and_any_of_the_windows() {
    let mut told = String::new();
    for (limits, cases) in [
        ("priority: 1", vec!["2026-03-02T12:00:00Z"]),
        (NIGHTS, vec!["2026-03-02T20:59:59Z", "2026-03-02T21:00:00Z"]),
        (
            BOTH,
            vec![
                "2026-03-01T23:59:59.999Z",
                "2026-03-02T00:00:00Z",
                "2026-03-02T04:00:00Z",
                "2026-03-03T05:00:00Z",
                "2026-03-03T12:00:00Z",
                "2026-03-31T23:59:59.999Z",
                "2026-04-01T00:00:00Z",
                "2026-04-01T05:00:00Z",
            ],
        ),
        (
            "not_before: 2026-03-02T00:00:00Z",
            vec!["2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z"],
        ),
        (
            "not_after: 2026-03-02T00:00:00Z",
            vec!["2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z"],
        ),
    ] {
        writeln!(told, "{limits}").unwrap();
        let schedule = schedule(limits);
        assert_eq!(schedule.is_always(), limits == "priority: 1");
        for now in cases {
            let now = at(now);
            let holds = schedule.holds(&facts(), now);
            let why = schedule.explain(&facts(), now);
            assert_eq!(
                why.as_ref().map_or(Tri::True, Unmet::tri),
                holds,
                "{limits} at {now}"
            );
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            writeln!(told, "  {now}: {holds:?}{why}").unwrap();
        }
    }
    insta::assert_snapshot!("schedules", told);
}

#[test]
fn the_first_minutes_of_a_room_are_counted_from_its_making() {
    let first = schedule("first: 10m");
    let mut told = String::new();
    for made in [
        Some("2026-03-02T11:50:00Z"),
        Some("2026-03-02T11:50:01Z"),
        // Our clock may be behind LiveKit's: it has just begun.
        Some("2026-03-02T12:00:05Z"),
        Some("2026-02-27T10:00:00Z"),
        Some("2026-03-02T08:30:00Z"),
        Some("1970-01-01T00:00:00Z"),
        None,
    ] {
        let (facts, now) = (made_at(made), at("2026-03-02T12:00:00Z"));
        let holds = first.holds(&facts, now);
        let why = first.explain(&facts, now);
        assert_eq!(why.as_ref().map_or(Tri::True, Unmet::tri), holds);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        writeln!(told, "{}: {holds:?}{why}", made.unwrap_or("not known")).unwrap();
    }
    insta::assert_snapshot!("first", told);
    let mut ends = facts();
    for created_at in [i64::MIN, i64::MAX] {
        ends.room.created_at = Fact::Known(created_at);
        let holds = first.holds(&ends, at("2026-03-02T12:00:00Z"));
        assert_eq!(holds, Tri::from(created_at == i64::MAX));
        drop(
            first
                .explain(&ends, at("2026-03-02T12:00:00Z"))
                .map(|why| why.to_string()),
        );
    }
}

#[test]
fn an_unknown_age_matters_only_where_the_rest_holds() {
    let both = schedule("first: 10m, not_after: 2026-03-02T12:00:00Z");
    for (now, made, holds) in [
        ("2026-03-02T11:59:00Z", None, Tri::Unknown),
        (
            "2026-03-02T11:59:00Z",
            Some("2026-03-02T11:55:00Z"),
            Tri::True,
        ),
        (
            "2026-03-02T11:59:00Z",
            Some("2026-03-02T11:45:00Z"),
            Tri::False,
        ),
        ("2026-03-02T12:00:00Z", None, Tri::False),
    ] {
        assert_eq!(both.holds(&made_at(made), at(now)), holds, "{now} {made:?}");
    }
}

#[test]
fn a_policy_is_about_a_track_only_when_it_is_in_force() {
    let yaml = |limits: &str, unless: &str| {
        format!(
            "policies: [{{ name: p, match: {{ type: AUDIO }}, {unless} effect: mute, {limits} }}]"
        )
    };
    let ask = |yaml: &str, facts: &Facts, now: &str| {
        let set = set(&policies(yaml));
        let (policy, _) = set.visible(facts).next().unwrap();
        let answer = policy.ask(facts, at(now));
        (answer.applies(), answer.exempt())
    };
    let facts = made_at(None);
    let (open, closed) = ("2026-03-02T21:00:00Z", "2026-03-02T20:59:59Z");
    let exempted = "unless: { identity: 'attendee-*' },";
    for (limits, unless, now, answer) in [
        (NIGHTS, "", open, (Tri::True, Tri::False)),
        (NIGHTS, "", closed, (Tri::False, Tri::False)),
        (NIGHTS, exempted, open, (Tri::False, Tri::True)),
        (NIGHTS, exempted, closed, (Tri::False, Tri::False)),
        ("first: 1h", "", open, (Tri::Unknown, Tri::False)),
        ("first: 1h", exempted, open, (Tri::False, Tri::Unknown)),
    ] {
        assert_eq!(
            ask(&yaml(limits, unless), &facts, now),
            answer,
            "{limits} {unless} {now}"
        );
    }
}

const ALWAYS_AGAIN: &str = "active: [{ cron: '*/2 * * * *', duration: 1m, timezone: UTC }, { cron: '1-59/2 * * * *', duration: 1m, timezone: UTC }]";

/// By the minute, from one to two days later.
#[test]
fn the_next_change_is_the_first_minute_at_which_it_is_otherwise() {
    for limits in [
        "priority: 1",
        NIGHTS,
        BOTH,
        "not_before: 2026-03-02T00:00:00Z",
        "not_after: 2026-03-02T00:00:00Z",
        "not_before: 2026-03-02T10:00:00Z, not_after: 2026-03-02T10:30:00Z",
        "active: [{ cron: '*/20 * * * *', duration: 10m, timezone: UTC }], not_before: 2026-03-01T23:45:00Z, not_after: 2026-03-02T00:25:00Z",
        ALWAYS_AGAIN,
        "active: [{ cron: '0 3 * * *', duration: 1h, timezone: UTC }], not_before: 2026-03-02T03:30:00Z, not_after: 2026-03-02T04:30:00Z",
        "first: 10m",
    ] {
        let schedule = schedule(limits);
        for begin in [
            "2026-03-01T12:00:00Z",
            "2026-03-02T03:59:00Z",
            "2026-03-31T22:00:00Z",
        ] {
            let begin = at(begin);
            let minute = |n: i64| begin + TimeDelta::minutes(n);
            for to in [true, false] {
                let mut minutes = (1..=2 * 1440).map(|n| (minute(n - 1), minute(n)));
                let is_change = |(before, now): &(_, _)| {
                    schedule.is_in_time(*before) != to && schedule.is_in_time(*now) == to
                };
                let walked = minutes.find(is_change).map(|(_, now)| now);
                let told = schedule.next_change(begin, to);
                let told = told.filter(|told| *told <= minute(2 * 1440));
                if limits == ALWAYS_AGAIN {
                    // What takes turns without an end is asked again before.
                    assert!(told.is_some() && walked.is_none(), "{told:?} {walked:?}");
                } else {
                    assert_eq!(told, walked, "{limits} from {begin}, to {to}");
                }
            }
        }
    }
}
