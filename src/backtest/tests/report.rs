//! The report, as people and programs read it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{key, now, policy, sets, stored, totals, totals_for, track};
use crate::access::Viewer;
use crate::backtest::events::{Cursor, Published};
use crate::backtest::report::{Report, ReportScope, Truncated, TruncatedBy};
use crate::backtest::time_range::TimeRange;
use crate::draft::Draft;
use crate::test_data::viewer;
use quell_policy::Policy;

fn live() -> Vec<Policy> {
    vec![
        policy(
            "webinar-mics",
            &json!({"match": {"room": "webinar-*"}, "unless": {"identity": "host"}}),
        ),
        policy("sip", &json!({"match": {"kind": "SIP"}, "priority": 300})),
        policy("acme/old", &json!({"match": {"room": "lobby"}})),
    ]
}

fn draft() -> Draft {
    Draft {
        policies: vec![
            policy(
                "webinar-mics",
                &json!({"match": {"room": ["webinar-*", "lecture"]}, "unless": {"identity": "host"}}),
            ),
            policy("sip", &json!({"match": {"kind": "SIP"}, "priority": 300})),
            policy(
                "hosts-speak",
                &json!({
                    "effect": "exempt", "match": {"attributes": {"role": "host"}}, "reason": "they lead",
                }),
            ),
            policy(
                "agents",
                &json!({"match": {"kind": "AGENT"}, "mode": "dry_run"}),
            ),
        ],
        without: vec![key("acme/old")],
        alone: false,
    }
}

fn tracks() -> Vec<Published> {
    let known = |kind: &str, role: &str| json!({"tenant": "acme", "kind": kind, "attributes": {"role": role}});
    let mut tracks = vec![
        track(90, "webinar-1", "ann", &known("STANDARD", "guest")),
        track(80, "webinar-1", "ben", &known("STANDARD", "host")),
        track(70, "webinar-1", "host", &known("STANDARD", "guest")),
        track(60, "lecture", "cat", &known("STANDARD", "guest")),
        track(50, "lecture", "sip-1", &known("SIP", "guest")),
        track(40, "lobby", "dan", &known("STANDARD", "guest")),
        track(30, "lobby", "bot\u{1b}[2J", &known("AGENT", "guest")),
        track(20, "webinar-1", "eve", &json!({})),
        track(
            15,
            "webinar-2",
            "eve",
            &json!({"tenant": null, "kind": "STANDARD"}),
        ),
        track(10, "webinar-2", "fay", &known("STANDARD", "guest")),
        track(5, "webinar-2", "fay", &known("STANDARD", "guest")),
    ];
    for (index, settlement) in [
        (0, Some("muted")),
        (8, Some("gone")),
        (9, None),
        (10, Some("dead_letter")),
    ] {
        tracks[index].settlement = settlement.map(str::to_owned);
    }
    tracks[9].facts = None;
    tracks[10].facts = Some("{}".to_owned());
    tracks
}

fn report(truncated: Option<Truncated>) -> Report {
    let sets = sets(&live(), draft());
    let scope = ReportScope {
        swept: None,
        range: TimeRange::read("7d", None, now()).unwrap(),
        tenant: None,
        viewer: Viewer::Operator,
        alone: false,
        oldest: Some("2026-03-04T00:00:00Z".parse().unwrap()),
        truncated,
        warnings: Vec::new(),
    };
    Report::new(scope, &sets, totals(&sets, &tracks(), 2))
}

#[test]
fn for_people() {
    insta::assert_snapshot!(report(None));
}

#[test]
fn for_programs() {
    let truncated = Truncated {
        at: "2026-03-05T00:00:00Z".parse().unwrap(),
        by: TruncatedBy::Time,
        next: Cursor::before("2026-03-05T00:00:00Z".parse().unwrap()),
    };
    insta::assert_json_snapshot!(report(Some(truncated)));
}

/// What a tenant reads of its own rooms.
fn any_dry_run(live: &[Policy], policies: Vec<Policy>) -> bool {
    let draft = Draft {
        policies,
        ..Draft::default()
    };
    let tenant = Some("acme");
    let own = viewer(tenant);
    let sets = draft.over(stored(live), own.tenant()).unwrap();
    let known = json!({"tenant": "acme", "kind": "STANDARD"});
    let tracks = [track(1, "lobby", "ann", &known)];
    let scope = ReportScope {
        swept: None,
        range: TimeRange::read("7d", None, now()).unwrap(),
        tenant: own.tenant().cloned(),
        viewer: own,
        alone: false,
        oldest: None,
        truncated: None,
        warnings: Vec::new(),
    };
    Report::new(scope, &sets, totals_for(tenant, &sets, &tracks, 2)).any_dry_run
}

#[test]
fn a_tenant_learns_of_anothers_dry_run_only_where_it_is_about_its_rooms() {
    let own = |mode: &str| {
        vec![policy(
            "acme/own",
            &json!({"mode": mode, "match": {"room": "x"}}),
        )]
    };
    let dry_run = |fields: Value| {
        let mut all = json!({"mode": "dry_run"});
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        [policy("operators", &all)]
    };
    let elsewhere = dry_run(json!({"match": {"room": "webinar-*"}}));
    let here = dry_run(json!({"match": {"room": "lobby"}}));
    let maybe_here = dry_run(json!({"match": {"attributes": {"role": "guest"}}}));
    assert!(!any_dry_run(&elsewhere, own("enforce")));
    assert!(any_dry_run(&here, own("enforce")));
    assert!(any_dry_run(&maybe_here, own("enforce")));
    // It may know its own, live or in the draft.
    assert!(any_dry_run(&elsewhere, own("dry_run")));
    assert!(any_dry_run(&own("dry_run"), own("enforce")));
    // One whose `unless` holds does not apply.
    let exempts = dry_run(json!({"match": {"room": "lobby"}, "unless": {"identity": "ann"}}));
    assert!(!any_dry_run(&exempts, own("enforce")));
}

const MANUAL: &str = include_str!("../../../docs/POLICIES.md");

#[test]
fn every_field_of_a_report_is_in_the_manual() {
    fn keys(json: &Value, path: &str, found: &mut BTreeSet<String>) {
        match json {
            Value::Object(fields) => {
                for (key, value) in fields {
                    // Its keys are settlements.
                    if path != "recorded" {
                        found.insert(format!("{path} {key}").trim().to_owned());
                    }
                    keys(value, key, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, path, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut report = report(Some(Truncated {
        at: now(),
        by: TruncatedBy::Time,
        next: Cursor::before(now()),
    }));
    report.warnings.push("doubtful".to_owned());
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(&report).unwrap(), "", &mut found);
    // Optional fields are present.
    for seldom in [
        "samples missing",
        "live mute",
        "live reason",
        "policies fields",
    ] {
        let draft = seldom.replace("live", "draft");
        assert!(
            found.contains(seldom) || found.contains(&draft),
            "{seldom}: {found:?}"
        );
    }
    let (_, section) = MANUAL.split_once("\n## Try it on what was\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (_, fields) = section.split_once("Fields of the report").unwrap();
    // A field in several places is documented in each row.
    for (row, field) in [
        ("draft", "policies_left_off"),
        ("policies_left_off", "policies_left_off"),
        ("excluded", "missing_left_off"),
        ("truncated", "next"),
    ] {
        let mut rows = fields.lines().filter(|line| {
            let first = line.split('|').nth(1).unwrap_or_default();
            first.contains(&format!("`{row}`"))
        });
        assert!(
            rows.any(|line| line.contains(&format!("`{field}`"))),
            "{row}: {field}"
        );
    }
    let words = found.iter().filter_map(|path| path.split(' ').next_back());
    for word in words.chain([
        "created",
        "updated",
        "removed",
        "unchanged",
        "enforced",
        "dry_run",
        "muted",
        "exempted",
        "left_alone",
        "not_decided",
        "newly_muted",
        "no_longer_muted",
        "muted_by_another",
        "same",
        "not_compared",
        "tracks",
        "time",
        "open",
    ]) {
        assert!(fields.contains(&format!("`{word}`")), "{word}");
    }
    for code in [
        "NO_EVENTS",
        "BACKTEST_BUSY",
        "BACKTEST_FAILED",
        "AUTH_SERVICE_UNAVAILABLE",
    ] {
        assert!(section.contains(&format!("`{code}`")), "{code}");
    }
}
