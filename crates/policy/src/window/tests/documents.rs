//! Limits in time as documents have them: refusals, warnings, and what is stored.

use crate::window::Window;
use crate::window::state::{Through, open_through};
use crate::{Document, Policy, Problem};

fn load(limits: &str) -> String {
    let yaml =
        format!("policies:\n- name: p\n  match: {{ type: AUDIO }}\n  effect: mute\n  {limits}\n");
    match Document::load([("p.yaml", yaml.as_str())]) {
        Ok(checked) => {
            let warnings: Vec<_> = checked.warnings.iter().map(Problem::to_string).collect();
            if warnings.is_empty() {
                "fine".to_owned()
            } else {
                warnings.join("\n")
            }
        }
        Err(problems) => format!("refused\n{problems}"),
    }
}

fn told(limits: &[&str]) -> String {
    let lines: Vec<_> = limits
        .iter()
        .map(|limits| format!("{limits}\n    {}", load(limits).replace('\n', "\n    ")))
        .collect();
    lines.join("\n")
}

#[test]
fn bad_limits_are_refused_with_their_place() {
    let seen = told(&[
        "active: []",
        "active: {}",
        "active: '0 22 * * *'",
        "active: [{ cron: '0 22 * * *', duration: 8h }]",
        "active: [{ cron: '0 22 * * *', duration: 8, timezone: UTC }]",
        "active: [{ cron: '0 22 * * 1-5', duration: 30s, timezone: Berlin }]",
        "active: [{ cron: 5, duration: 8h, timezone: UTC, until: 6 }]",
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: UTC }, { cron: '0 25 * * *', duration: 1h, timezone: UTC }]",
        "not_before: 2026-03-01",
        "not_before: 2026-03-01T12:00:00",
        "not_before: 2026-03-01 12:00",
        "not_before: 2026-02-29T12:00:00Z",
        "not_before: tomorrow",
        "not_before: 1770000000",
        "not_before: 2016-12-31T23:59:60Z",
        "not_before: 1969-12-31T23:59:59Z",
        "not_before: 9999-12-31T23:59:59-01:00",
        "not_after: []",
        "first: 10",
        "first: 0m",
        "first: 8d",
        "not_before: 2026-03-01T00:00:00Z\n  not_after: 2026-03-01T01:00:00+01:00",
        "not_before: 2026-03-02T00:00:00Z\n  not_after: 2026-03-01T01:00:00+01:00",
        "not_before: 2026-03-02T00:00:00Z\n  not_after: 2026-03-03T00:00:00Z\n  active: { cron: '0 12 * * SAT', duration: 1h, timezone: UTC }",
    ]);
    insta::assert_snapshot!("bad_limits", seen);
}

#[test]
fn windows_that_are_probably_not_meant_are_warned_of() {
    let seen = told(&[
        // Nothing to say of these.
        "active: [{ cron: '0 22 * * MON-FRI', duration: 8h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: UTC }]",
        "active: [{ cron: '0 8 * * *', duration: 8h, timezone: Europe/Berlin }]",
        "active: [{ cron: '30 2 * * MON-SAT', duration: 1h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 0 * * *', duration: 23h, timezone: UTC }]",
        "active: [{ cron: '0 0 29 2 *', duration: 1d, timezone: UTC }]",
        "not_before: 2026-03-02T00:00:00Z\n  not_after: 2026-03-08T00:00:00Z\n  active: { cron: '0 12 * * SAT', duration: 1h, timezone: UTC }",
        // In no time that clocks change in.
        "not_before: 2026-06-01T00:00:00Z\n  not_after: 2026-09-01T00:00:00Z\n  active: [{ cron: '30 2 * * *', duration: 1h, timezone: Europe/Berlin }]",
        "not_before: 2026-06-01T00:00:00Z\n  not_after: 2026-12-01T00:00:00Z\n  active: [{ cron: '30 2 * * *', duration: 1h, timezone: Europe/Berlin }]",
        // Always open.
        "active: [{ cron: '0 0 * * *', duration: 1d, timezone: UTC }]",
        "active: [{ cron: '* * * * *', duration: 1m, timezone: UTC }]",
        "active: [{ cron: '0 0 * * *', duration: 25h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 0 * * MON', duration: 7d, timezone: UTC }]",
        "active: [{ cron: '0 0 * * *', duration: 12h, timezone: UTC }, { cron: '0 12 * * *', duration: 12h, timezone: UTC }]",
        // Always open from the one limit to the other, and not so.
        "not_before: 2026-03-02T00:00:00Z\n  not_after: 2026-03-08T00:00:00Z\n  active: { cron: '0 0 * 3 *', duration: 1d, timezone: UTC }",
        "not_before: 2026-03-02T00:00:00Z\n  not_after: 2026-04-01T00:00:01Z\n  active: { cron: '0 0 * 3 *', duration: 1d, timezone: UTC }",
        "not_before: 2026-03-02T00:00:00Z\n  active: { cron: '0 0 * 3 *', duration: 1d, timezone: UTC }",
        // Open all through a leap year, and not in the next.
        "active: [{ cron: '0 0 * 1,2,4-12 *', duration: 1d, timezone: UTC }, { cron: '0 0 7-31 3 *', duration: 1d, timezone: UTC }, { cron: '0 0 29 2 *', duration: 7d, timezone: UTC }]",
        // Nearly so.
        "active: [{ cron: '0 0 * * *', duration: 12h, timezone: UTC }, { cron: '1 12 * * *', duration: 719m, timezone: UTC }]",
        "active: [{ cron: '0 0 * 1-11 *', duration: 1d, timezone: UTC }]",
        "active: [{ cron: '0 0 1-28,30,31 * *', duration: 1d, timezone: UTC }]",
        // Clocks change while it is open.
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 0 * * *', duration: 24h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 22 * * SAT', duration: 4h, timezone: Australia/Lord_Howe }]",
        "active: [{ cron: '0 0 * * *', duration: 3h, timezone: Africa/Casablanca }]",
        // They skip its start, or show it twice.
        "active: [{ cron: '30 2 * * *', duration: 1h, timezone: Europe/Berlin }]",
        "active: [{ cron: '30 1 * * SUN', duration: 1h, timezone: America/New_York }]",
        "active: [{ cron: '*/10 * * * *', duration: 10m, timezone: Europe/Berlin }]",
        // All hours are meant.
        "active: [{ cron: '*/15 0-23 * * *', duration: 10m, timezone: Europe/Berlin }]",
        // The sign of a zone's name is turned around.
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: Etc/GMT+5 }]",
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: Etc/GMT-14 }]",
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: Etc/GMT }]",
        // They go on as before through a change ...
        "active: [{ cron: '*/15 * * * *', duration: 10m, timezone: Europe/Berlin }]",
        "active: [{ cron: '30 * * * *', duration: 45m, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 */3 * * *', duration: 1h, timezone: Europe/Berlin }]",
        "active: [{ cron: '*/30 * * * *', duration: 10m, timezone: Australia/Lord_Howe }]",
        // ... stay open over it ...
        "active: [{ cron: '0 */2 * * *', duration: 3h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 */12,2-3 * * *', duration: 1h, timezone: Europe/Berlin }]",
        // ... or do not.
        "active: [{ cron: '0 */2 * * *', duration: 30m, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 */2 * * *', duration: 150m, timezone: Europe/Berlin }]",
        "not_before: 2026-06-01T00:00:00Z\n  not_after: 2026-12-01T00:00:00Z\n  active: [{ cron: '0 */2 * * *', duration: 30m, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 * * * *', duration: 50m, timezone: Australia/Lord_Howe }]",
        "active: [{ cron: '0 */6 * * *', duration: 4h, timezone: Europe/Berlin }]",
        // Only in the years in which that day is the last Sunday of March.
        "active: [{ cron: '30 2 25 3 *', duration: 1h, timezone: Europe/Berlin }]",
        "active: [{ cron: '0 22 * * *', duration: 8h, timezone: UTC }, { cron: '0 22 * * *', duration: 8h, timezone: Europe/Paris }]",
    ]);
    insta::assert_snapshot!("window_lints", seen);
}

#[test]
fn what_is_written_is_what_is_stored() {
    let yaml = "
policies:
  - name: p
    match: { type: AUDIO }
    effect: mute
    active:
      - { cron: '*/5  22-2 * * sat-SUN', duration: 90m, timezone: US/Eastern }
      - cron: 0 8 1 * *
        duration: 1h30m
        timezone: UTC
    not_before: 2026-03-01T00:00:00+01:00
    not_after: '2026-09-01T00:00:00.5Z'
    first: 2d
";
    let document = Document::load([("p.yaml", yaml)]).unwrap().value;
    let json = document.policies[0].to_json();
    insta::assert_snapshot!(
        "stored_limits",
        serde_json::to_string_pretty(&json).unwrap()
    );
    assert_eq!(
        Policy::from_stored(&json, &crate::Owner::Operator).unwrap(),
        document.policies[0]
    );
    // The same over REST.
    let over_rest =
        Policy::from_json(json.to_string().as_bytes(), &crate::Owner::Operator).unwrap();
    assert_eq!(over_rest.value, document.policies[0]);
    let again = document.to_yaml().unwrap();
    insta::assert_snapshot!("limits_as_yaml", again);
    assert_eq!(
        Document::load([("p.yaml", again.as_str())]).unwrap().value,
        document
    );
}

/// Stored policies are read on every change of any: they were judged when they were written.
#[test]
fn a_single_window_needs_no_list_and_stored_ones_no_judging() {
    let one = r#"{"name": "p", "match": {"type": "AUDIO"}, "effect": "mute",
        "active": {"cron": "* * * * *", "duration": "1m", "timezone": "UTC"}}"#;
    let checked = Policy::from_json(one.as_bytes(), &crate::Owner::Operator).unwrap();
    assert_eq!(checked.value.active.len(), 1);
    assert_eq!(checked.warnings.len(), 1);
    let mut json = checked.value.to_json();
    assert_eq!(json["active"].as_array().map(Vec::len), Some(1));
    // What would be refused today, by another time zone database, say, is still read.
    json["active"][0]["cron"] = "0 12 * * SAT".into();
    json["not_before"] = "2026-03-02T00:00:00Z".into();
    json["not_after"] = "2026-03-03T00:00:00Z".into();
    assert!(Policy::from_json(json.to_string().as_bytes(), &crate::Owner::Operator).is_err());
    assert!(Policy::from_stored(&json, &crate::Owner::Operator).is_ok());
}

/// A hundred windows that take turns by the minute: following them through a year would take a minute.
#[test]
fn many_windows_are_not_followed_for_ever() {
    let windows: Vec<_> = (0..100)
        .map(|n| {
            format!(
                "{{ cron: '{} * * * *', duration: 1m, timezone: UTC }}",
                n % 60
            )
        })
        .collect();
    let parsed: Vec<_> = (0..100)
        .map(|n| Window::new(&format!("{} * * * *", n % 60), "1m", "UTC").unwrap())
        .collect();
    let year = chrono::TimeDelta::days(366);
    let through = open_through(&parsed, chrono::DateTime::UNIX_EPOCH, year);
    assert_eq!(through, Through::Unsure);
    assert_eq!(load(&format!("active: [{}]", windows.join(", "))), "fine");
}
