//! The report, as people and programs read it.

use serde_json::json;

use super::{key, now, policy, sides, totals, track};
use crate::backtest::draft::Draft;
use crate::backtest::events::Published;
use crate::backtest::report::{Asked, Report, Truncated, TruncatedBy};
use crate::backtest::since::Range;
use crate::policy::Policy;

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
    let sides = sides(&live(), draft());
    let asked = Asked {
        range: Range::read("7d", None, now()).unwrap(),
        tenant: None,
        is_tenants_own: false,
        alone: false,
        oldest: Some("2026-03-04T00:00:00Z".parse().unwrap()),
        truncated,
    };
    Report::new(asked, &sides, totals(&sides, &tracks(), 2))
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
    };
    insta::assert_json_snapshot!(report(Some(truncated)));
}
