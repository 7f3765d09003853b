//! Backtests over REST: what a draft would have done with stored events.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use livekit_double::{Join, Publish};
use livekit_protocol::participant_info::Kind;
use quell_clock::{Clock, ManualClock};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};

/// The operator mutes microphones in webinars but for hosts; acme's agents speak.
const LIVE: &str = r#"
policies:
  - name: webinar-mics
    match: { room: "webinar-*" }
    unless: { attributes: { role: host } }
    effect: mute
    overridable: true
  - name: agents
    owner: acme
    match: { kind: AGENT }
    effect: exempt
    reason: agents must be heard
  - name: quiet
    owner: globex
    match: { room: "call-*" }
    effect: mute
"#;

/// Tracks of acme and of globex, a second apart and all dealt with: three are muted, one is exempted,
/// two are left alone.
pub(crate) async fn a_day() -> TestApp {
    let hands = ManualClock::new(Clock::system().now() - TimeDelta::minutes(10));
    let app = Setup::default().clock(hands.clock()).start().await;
    app.apply(LIVE).await;
    let host = |name: &str| Join::new(name).attribute("role", "host");
    for (room, tenant, join) in [
        ("webinar-1", "acme", Join::new("ann")),
        ("webinar-1", "acme", Join::new("ben")),
        ("webinar-1", "acme", host("host")),
        ("webinar-1", "acme", Join::new("bot").kind(Kind::Agent)),
        ("call-1", "acme", Join::new("ann")),
        ("call-2", "globex", Join::new("eve")),
    ] {
        app.room(room, tenant);
        hands.advance(TimeDelta::seconds(1));
        app.publish(room, join, Publish::microphone());
    }
    app.settle().await;
    hands.advance(TimeDelta::seconds(1));
    app
}

pub(crate) async fn backtest(app: &TestApp, token: &str, path: &str, body: &Value) -> Answer {
    Answer::to(app.api(Method::POST, token, path).json(body)).await
}

/// `live muted-exempted-left, draft muted-exempted-left: +newly muted -no longer ~by another =same ?not compared`
pub(crate) fn tracks(view: &Value) -> String {
    let count = |of: &Value| of["tracks"].as_u64().unwrap().to_string();
    let dispositions = |of: &Value| {
        ["muted", "exempted", "left_alone"]
            .map(|key| count(&of[key]))
            .join("-")
    };
    let changes = &view["changes"];
    format!(
        "{}, {}: +{} -{} ~{} ={} ?{}",
        dispositions(&view["live"]),
        dispositions(&view["draft"]),
        count(&changes["newly_muted"]),
        count(&changes["no_longer_muted"]),
        count(&changes["muted_by_another"]),
        count(&changes["same"]),
        count(&view["not_compared"]),
    )
}

/// `change room/identity: live by -> draft by` of each sample.
fn samples(report: &Value) -> Vec<String> {
    let by = |decision: &Value| {
        let by = decision["by"]["name"].as_str().unwrap_or("-");
        format!("{} {by}", decision["disposition"].as_str().unwrap())
    };
    let samples = report["samples"].as_array().unwrap().iter();
    samples
        .map(|sample| {
            let text = |key: &str| sample[key].as_str().unwrap();
            let (live, draft) = (by(&sample["live"]), by(&sample["draft"]));
            format!(
                "{} {}/{}: {live} -> {draft}",
                text("change"),
                text("room"),
                text("identity")
            )
        })
        .collect()
}

pub(crate) fn acmes_draft() -> Value {
    json!({"policies": [
        {"name": "calls", "match": {"room": "call-*"}, "effect": "mute"},
        {"name": "agents", "match": {"kind": "AGENT"}, "effect": "exempt", "mode": "off",
         "reason": "agents must be heard"},
    ]})
}

#[tokio::test]
async fn a_tenant_tries_its_policies_on_its_own_rooms_beside_everything_that_is_live() {
    let app = a_day().await;
    let answer = backtest(&app, ACME, "/v1/backtest", &acmes_draft()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let report = answer.json();
    assert_eq!(report["owner"], "acme");
    assert_eq!(
        report["published"],
        json!({"tracks": 5, "rooms": 2, "participants": 5})
    );
    assert_eq!(tracks(&report["enforced"]), "2-1-2, 4-0-1: +2 -0 ~0 =3 ?0");
    assert_eq!(report["recorded"], json!({"muted": 2, "nothing": 3}));
    assert_eq!(
        samples(&report),
        [
            "newly_muted webinar-1/bot: exempted agents -> muted webinar-mics",
            "newly_muted call-1/ann: left_alone - -> muted calls",
        ]
    );
    let changed = report["draft"]["policies"].as_array().unwrap().iter();
    let changed: Vec<_> = changed
        .map(|policy| policy["change"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["created", "updated"]);
    // What others have is neither counted nor told of.
    assert_eq!(report["draft"]["others"], 0);
    assert!(
        !answer.body.contains("globex") && !answer.body.contains("call-2"),
        "{answer:?}"
    );

    // An operator sees the same by naming the tenant, and all rooms without.
    let by_operator = backtest(&app, OPERATOR, "/v1/backtest?owner=acme", &acmes_draft()).await;
    assert_eq!(by_operator.json()["enforced"], report["enforced"]);
    let all = json!({"policies": [{"name": "mics", "match": {"source": "MICROPHONE"}, "effect": "mute"}]});
    let all = backtest(&app, OPERATOR, "/v1/backtest", &all).await.json();
    assert_eq!(tracks(&all["enforced"]), "3-1-2, 6-0-0: +3 -0 ~3 =0 ?0");
    let warning = all["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("policies[0]."), "{warning}");
    app.finish().await;
}

#[tokio::test]
async fn the_operators_reasons_are_no_tenants_to_read() {
    let app = TestApp::new().await;
    app.apply(
        "policies: [{ name: vip, match: { identity: ann }, effect: exempt, reason: she pays },
                      { name: own, owner: acme, match: { identity: ben }, effect: exempt, reason: he leads }]",
    )
    .await;
    app.room("call-1", "acme");
    for name in ["ann", "ben"] {
        app.publish("call-1", Join::new(name), Publish::microphone());
    }
    app.settle().await;
    let draft = json!({"policies": [
        {"name": "own", "match": {}, "effect": "mute"},
        {"name": "all", "match": {}, "effect": "mute", "mode": "dry_run"},
    ]});
    let without =
        json!({"policies": [{"name": "calls", "match": {}, "effect": "mute"}], "alone": true});
    for (token, path) in [
        (ACME, "/v1/backtest"),
        (OPERATOR, "/v1/backtest?owner=acme"),
    ] {
        // Nothing live mutes, so that the draft's mutes are what the exemptions are beside.
        let report = backtest(&app, token, path, &draft).await.json();
        assert_eq!(tracks(&report["enforced"]), "0-0-2, 1-1-0: +1 -0 ~0 =1 ?0");
        assert_eq!(report["draft"]["others"], i32::from(token != ACME));
        let report = backtest(&app, token, path, &without).await.json();
        assert_eq!(tracks(&report["enforced"]), "0-0-2, 2-0-0: +2 -0 ~0 =0 ?0");
    }
    // Live now mutes: the exemptions show why they exempt, to those who may read them.
    app.apply("policies: [{ name: calls, owner: acme, match: { room: call-1 }, effect: mute }]")
        .await;
    for (token, path, reasons) in [
        (ACME, "/v1/backtest", BTreeSet::from(["he leads"])),
        (
            OPERATOR,
            "/v1/backtest?owner=acme",
            BTreeSet::from(["she pays", "he leads"]),
        ),
    ] {
        let report = backtest(&app, token, path, &without).await.json();
        let samples = report["samples"].as_array().unwrap().iter();
        let shown: BTreeSet<_> = samples
            .filter_map(|sample| sample["live"]["reason"].as_str())
            .collect();
        assert_eq!(shown, reasons);
        assert_eq!(tracks(&report["enforced"]), "0-2-0, 2-0-0: +2 -0 ~0 =0 ?0");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_was_not_recorded_is_counted_apart_and_never_guessed() {
    let app = TestApp::new().await;
    // Only the operator's policies: the event alone decides, and LiveKit is not asked.
    app.apply("policies: [{ name: lobby, match: { room: lobby }, effect: mute }]")
        .await;
    app.room("call-1", "acme");
    app.publish("call-1", Join::new("ann"), Publish::microphone());
    app.publish(
        "call-1",
        Join::new("sip").kind(Kind::Sip),
        Publish::microphone(),
    );
    app.settle().await;
    let draft = |mode: &str| json!({"policies": [{"name": "sip", "match": {"kind": "SIP"}, "effect": "mute", "mode": mode}]});
    let report = backtest(&app, OPERATOR, "/v1/backtest", &draft("enforce"))
        .await
        .json();
    assert_eq!(tracks(&report["enforced"]), "0-0-0, 0-0-0: +0 -0 ~0 =0 ?2");
    assert_eq!(
        report["excluded"]["missing"],
        json!([{"facts": ["participant.kind"], "by_event_alone": true, "tracks": 2}])
    );
    let told = report["notes"].to_string();
    assert!(told.contains("mode: dry_run"), "{told}");
    // Where an event said itself whose room it was, acme's drafts are tried on it.
    sqlx::query("update webhook_event set tenant = 'acme'")
        .execute(&app.pool)
        .await
        .unwrap();
    let calls =
        json!({"policies": [{"name": "calls", "match": {"room": "call-*"}, "effect": "mute"}]});
    for (token, path) in [
        (ACME, "/v1/backtest"),
        (OPERATOR, "/v1/backtest?owner=acme"),
    ] {
        let report = backtest(&app, token, path, &calls).await.json();
        assert_eq!(tracks(&report["enforced"]), "0-0-2, 2-0-0: +2 -0 ~0 =0 ?0");
    }

    // As the note says: in dry run, the draft makes quell record what it asks for.
    app.apply("policies: [{ name: sip, match: { kind: SIP }, effect: mute, mode: dry_run }]")
        .await;
    app.room("call-2", "acme");
    app.publish("call-2", Join::new("ann"), Publish::microphone());
    app.publish(
        "call-2",
        Join::new("sip").kind(Kind::Sip),
        Publish::microphone(),
    );
    app.settle().await;
    let report = backtest(&app, OPERATOR, "/v1/backtest", &draft("enforce"))
        .await
        .json();
    assert_eq!(tracks(&report["enforced"]), "0-0-2, 1-0-1: +1 -0 ~0 =1 ?2");
    assert_eq!(tracks(&report["dry_run"]), "1-0-1, 1-0-1: +0 -0 ~0 =2 ?2");
    // Taken out of dry run, nothing that is done changes, and something that would be.
    let report = backtest(&app, OPERATOR, "/v1/backtest", &draft("off"))
        .await
        .json();
    assert_eq!(tracks(&report["enforced"]), "0-0-4, 0-0-4: +0 -0 ~0 =4 ?0");
    assert_eq!(tracks(&report["dry_run"]), "1-0-1, 0-0-2: +0 -1 ~0 =1 ?2");
    app.finish().await;
}

#[tokio::test]
async fn a_bad_request_says_what_is_wrong_with_it() {
    let app = a_day().await;
    let good = json!({"name": "a", "match": {"room": "x"}, "effect": "mute"});
    for (body, code, text) in [
        (
            json!({"policies": [good], "since": "a week"}),
            "INVALID_REQUEST",
            "write how long ago",
        ),
        (
            json!({"policies": [good], "since": "1h", "until": "2h"}),
            "INVALID_REQUEST",
            "is not before",
        ),
        (
            json!({"policies": [good], "samples": 101}),
            "INVALID_REQUEST",
            "at most 100",
        ),
        (
            json!({"policies": [good], "sinse": "7d"}),
            "INVALID_REQUEST",
            "unknown field `sinse`",
        ),
        (
            json!({"policies": [good], "without": ["quiet"], "alone": true}),
            "INVALID_REQUEST",
            "`alone`",
        ),
        (json!({}), "INVALID_REQUEST", "there is no draft"),
        (
            json!({"policies": [good, good]}),
            "INVALID_REQUEST",
            "acme/a stands in the draft twice",
        ),
        (
            json!({"without": ["webinar-mics"]}),
            "INVALID_REQUEST",
            "no stored policy acme/webinar-mics",
        ),
        (
            json!({"policies": [good, {"name": "b"}]}),
            "INVALID_POLICY",
            "policies[1]: the key `match` is missing",
        ),
        (
            json!({"policies": [{"name": "c", "owner": "globex", "match": {}, "effect": "mute"}]}),
            "INVALID_POLICY",
            "policies[0].owner",
        ),
    ] {
        let answer = backtest(&app, ACME, "/v1/backtest", &body).await;
        assert_eq!(answer.outcome(), format!("400 {code}"), "{body}");
        assert!(answer.error().contains(text), "{}", answer.error());
    }
    // A key twice is refused wherever it stands.
    let twice = r#"{"policies": [{"name": "a", "name": "b", "match": {}, "effect": "mute"}]}"#;
    let request = app.api(Method::POST, ACME, "/v1/backtest");
    let answer = Answer::to(
        request
            .header("Content-Type", "application/json")
            .body(twice),
    )
    .await;
    assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
    assert_eq!(answer.error(), "the body has a key twice: policies[0].name");
    let request = app.api(Method::POST, ACME, "/v1/backtest");
    assert_eq!(
        Answer::to(request.body("{}")).await.outcome(),
        "400 INVALID_REQUEST"
    );
    let large = json!({"since": "x".repeat(1 << 20)});
    let answer = backtest(&app, ACME, "/v1/backtest", &large).await;
    assert_eq!(answer.outcome(), "413 PAYLOAD_TOO_LARGE");

    let body = json!({"policies": [good]});
    let answer = backtest(&app, "no-such-secret", "/v1/backtest", &body).await;
    assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    let answer = backtest(&app, ACME, "/v1/backtest?owner=globex", &body).await;
    assert_eq!(answer.outcome(), "403 FORBIDDEN");
    let before = json!({"policies": [good], "since": "2d", "until": "1d"});
    for (token, text) in [
        (OPERATOR, "the oldest event is of 2"),
        (GLOBEX, "in rooms of which globex was recorded"),
    ] {
        let answer = backtest(&app, token, "/v1/backtest", &before).await;
        assert_eq!(answer.outcome(), "404 NO_EVENTS");
        assert!(answer.error().contains(text), "{}", answer.error());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_tenant_is_not_told_of_the_operators_dry_run_elsewhere() {
    let app = a_day().await;
    let trial = |room: &str| {
        format!(
            "policies: [{{ name: trial, match: {{ room: {room} }}, effect: mute, mode: dry_run }}]"
        )
    };
    for (room, is_told) in [("board", false), ("call-2", false), ("call-1", true)] {
        app.apply(&trial(room)).await;
        for (token, is_told) in [(ACME, is_told), (OPERATOR, true)] {
            let body = json!({"policies": [{"name": "new", "match": {}, "effect": "mute"}]});
            let report = backtest(&app, token, "/v1/backtest", &body).await.json();
            assert_eq!(report["any_dry_run"], is_told, "{room} {token}");
        }
    }
    app.finish().await;
}
