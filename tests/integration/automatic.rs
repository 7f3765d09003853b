//! Policies mute by themselves what they forbid, and nothing else.

use livekit_double::{Join, Method, Publish};
use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::{Kind, KindDetail};
use serde_json::Value;

use crate::support::TestApp;

const WEBINAR: &str = r#"
policies:
  - name: webinar-mics
    match: { room: ["webinar-*"], type: [AUDIO], source: [MICROPHONE, UNKNOWN] }
    unless: { attributes: { role: host } }
    effect: mute
  - name: agents-may-speak
    match: { kind: [AGENT] }
    effect: exempt
    priority: 1000
    reason: voice agents must be heard
"#;

#[tokio::test]
async fn what_a_policy_forbids_is_muted_and_who_is_spared_is_heard() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    app.room("standup", "acme");
    let host = Join::new("host").attribute("role", "host");
    let cases = [
        ("webinar-1", host, Publish::microphone(), false),
        (
            "webinar-1",
            Join::new("attendee"),
            Publish::microphone(),
            true,
        ),
        (
            "webinar-1",
            Join::new("sourceless"),
            Publish::new(TrackSource::Unknown),
            true,
        ),
        (
            "webinar-1",
            Join::new("filmed"),
            Publish::new(TrackSource::Camera),
            false,
        ),
        (
            "webinar-1",
            Join::new("agent").kind(Kind::Agent),
            Publish::microphone(),
            false,
        ),
        (
            "standup",
            Join::new("colleague"),
            Publish::microphone(),
            false,
        ),
    ];
    let published: Vec<_> = cases
        .into_iter()
        .map(|(room, join, publish, muted)| {
            let identity = join.identity.clone();
            (room, identity, app.publish(room, join, publish).sid, muted)
        })
        .collect();
    app.settle().await;
    for (room, identity, sid, muted) in &published {
        assert_eq!(app.is_muted(room, identity, sid), *muted, "{identity}");
        let settlement = app.settlement(sid).await;
        let expect = if *muted { "muted" } else { "nothing" };
        assert_eq!(settlement.as_deref(), Some(expect), "{identity}");
    }
    let mut history = app.lines("action = 'mute'").await;
    history.sort();
    assert_eq!(
        history,
        [
            "webhook mute done - acme webinar-1 attendee MICROPHONE webinar-mics@1",
            "webhook mute done - acme webinar-1 sourceless UNKNOWN webinar-mics@1",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn dry_run_policies_leave_a_row_and_nothing_else() {
    let app = TestApp::new().await;
    app.apply(
        "
policies:
  - { name: dry, match: { room: [dry] }, effect: mute, mode: dry_run }
  - { name: mics, match: { room: [exempt] }, effect: mute }
  - { name: dry-exempt, match: { room: [exempt] }, effect: exempt, mode: dry_run, priority: 200, reason: they paid }
  - { name: both, match: { room: [both] }, effect: mute }
  - { name: both-dry, match: { room: [both] }, effect: mute, mode: dry_run, priority: 500 }
  - { name: off, match: { room: [off] }, effect: mute, mode: off }
",
    )
    .await;
    let mut muted = Vec::new();
    for room in ["dry", "exempt", "both", "off"] {
        app.room(room, "acme");
        let sid = app
            .publish(room, Join::new("vip"), Publish::microphone())
            .sid;
        app.settle().await;
        muted.push((room, app.is_muted(room, "vip", &sid)));
    }
    // An exemption in dry run exempts nobody in earnest.
    let expected = [
        ("dry", false),
        ("exempt", true),
        ("both", true),
        ("off", false),
    ];
    assert_eq!(muted, expected);
    let dry: Vec<_> = app.lines("outcome = 'dry_run'").await;
    assert_eq!(
        dry,
        [
            "webhook mute dry_run - acme dry vip MICROPHONE dry@1",
            "webhook exempt dry_run - acme exempt vip MICROPHONE dry-exempt@1",
        ]
    );
    let would = app.sql("select count(*) from would_have_muted").await;
    assert_eq!(would.as_deref(), Some("2"));
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_track_that_is_muted_already_gets_its_decision_and_its_mute() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    // The usual pre-join flow: published muted, unmuted later, and no webhook tells of that.
    let publish = Publish {
        muted: true,
        ..Publish::microphone()
    };
    let sid = app.publish("webinar-1", Join::new("shy"), publish).sid;
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    let decision = app.stored("decision", &sid).await;
    assert_eq!(decision["enforced"]["policy"]["name"], "webinar-mics");
    assert_eq!(app.stored("facts", &sid).await["track"]["muted"], true);
    // It was made, and it made nobody quiet who was not.
    let made = "select concat_ws(' ', mutes, unchanged, participants, rooms) from policy_effect";
    assert_eq!(app.sql(made).await.as_deref(), Some("\"0 1 0 0\""));
    app.finish().await;
}

#[tokio::test]
async fn what_a_dry_run_policy_would_have_muted_is_told_from_what_was_muted_already() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: dry, match: {}, effect: mute, mode: dry_run }]")
        .await;
    app.room("r", "acme");
    for muted in [true, false] {
        let publish = Publish {
            muted,
            ..Publish::microphone()
        };
        app.publish("r", Join::new(if muted { "shy" } else { "loud" }), publish);
    }
    app.settle().await;
    for (identity, changed) in [("shy", "false"), ("loud", "true")] {
        let row = format!("select changed from would_have_muted where identity = '{identity}'");
        assert_eq!(app.sql(&row).await.as_deref(), Some(changed), "{identity}");
    }
    let would = "select would_have_acted from policy_effect";
    assert_eq!(app.sql(would).await.as_deref(), Some("1"));
    app.finish().await;
}

#[tokio::test]
async fn facts_and_decision_are_stored_with_the_event_muted_or_not() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    let metadata = r#"{"auth_id":"acme","topic":"sales"}"#;
    app.simulator.create_room("webinar-1", Some(metadata));
    let named = Join {
        name: "Ann".to_owned(),
        metadata: r#"{"seat":7}"#.to_owned(),
        ..Join::new("ann")
    };
    let muted = app.publish("webinar-1", named, Publish::microphone()).sid;
    app.settle().await;
    let host = Join::new("host").attribute("role", "host");
    let exempt = app.publish("webinar-1", host, Publish::microphone()).sid;
    app.settle().await;
    let agent = Join::new("agent").kind(Kind::Agent);
    let exempted = app.publish("webinar-1", agent, Publish::microphone()).sid;
    app.settle().await;
    for (name, sid) in [("muted", muted), ("exempt", exempt), ("exempted", exempted)] {
        for column in ["facts", "decision"] {
            let mut stored = app.stored(column, &sid).await;
            redact(&mut stored);
            insta::assert_json_snapshot!(format!("{column}_{name}"), stored);
        }
        let tenant = format!("select tenant from webhook_event where track_sid = '{sid}'");
        assert_eq!(app.sql(&tenant).await.as_deref(), Some("acme"), "{name}");
    }
    app.finish().await;
}

/// Whom a policy's own `unless` spares, it was never about.
#[tokio::test]
async fn whom_an_exemption_left_alone_is_a_row() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let agent = || Join::new("agent").kind(Kind::Agent);
    app.publish("webinar-1", agent(), Publish::microphone());
    let host = Join::new("host").attribute("role", "host");
    app.publish("webinar-1", host, Publish::microphone());
    let muted = Publish {
        muted: true,
        ..Publish::microphone()
    };
    app.publish("webinar-1", Join::new("silent").kind(Kind::Agent), muted);
    app.settle().await;
    let rows = "select string_agg(concat_ws(' ', origin, identity, outcome, policy_name, before, after -> 'exempted_from' ->> 'name', coalesce(changed::text, '-')), ', ' order by started_at)
                from moderation_history where action = 'exempt'";
    assert_eq!(
        app.sql(rows).await.as_deref(),
        Some(r#""webhook agent done agents-may-speak {""muted"": false} webinar-mics -""#)
    );
    let exempted = "select exempted from policy_effect where policy_name = 'agents-may-speak'";
    assert_eq!(app.count(exempted).await, 1);
    app.finish().await;
}

/// Who calls by phone through a connector has the kind of all connectors.
#[tokio::test]
async fn callers_are_told_from_others_of_their_kind_by_its_details() {
    let app = TestApp::new().await;
    app.apply(
        "
policies:
  - { name: phones, match: { kind_details: [CONNECTOR_TWILIO, CONNECTOR_WHATSAPP] }, effect: mute }
  - name: relayed
    match: { type: AUDIO }
    when: '\"FORWARDED\" in participant.kind_details && size(participant.kind_details) == 1'
    effect: mute
",
    )
    .await;
    app.room("call-1", "acme");
    let connector = |identity: &str| Join::new(identity).kind(Kind::Connector);
    let twilio = connector("twilio").kind_detail(KindDetail::ConnectorTwilio);
    let both = connector("both")
        .kind_detail(KindDetail::Forwarded)
        .kind_detail(KindDetail::ConnectorWhatsapp);
    let cases = [
        (twilio, "phones"),
        (both, "phones"),
        (
            connector("forwarded").kind_detail(KindDetail::Forwarded),
            "relayed",
        ),
        (connector("plain"), "nothing"),
        (Join::new("ann"), "nothing"),
    ];
    let mut facts = Vec::new();
    for (join, expect) in cases {
        let identity = join.identity.clone();
        let sid = app.publish("call-1", join, Publish::microphone()).sid;
        app.settle().await;
        let decision = app.stored("decision", &sid).await;
        let enforced = &decision["enforced"];
        let by = enforced["policy"]["name"].as_str().unwrap_or("nothing");
        assert_eq!(by, expect, "{identity}");
        assert_eq!(
            app.is_muted("call-1", &identity, &sid),
            by != "nothing",
            "{identity}"
        );
        let participant = &app.stored("facts", &sid).await["participant"];
        facts.push((
            identity,
            participant["kind"].clone(),
            participant["kind_details"].clone(),
        ));
    }
    insta::assert_json_snapshot!("kind_details", facts);
    app.finish().await;
}

/// Takes out what is another in every run.
fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match key.as_str() {
                    "at" | "created_at" | "joined_at" => *field = "[time]".into(),
                    "num_participants" | "num_publishers" => *field = "[lags]".into(),
                    _ => redact(field),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => {
            if let Some(prefix) = ["RM_", "PA_", "TR_"].iter().find(|p| text.starts_with(**p)) {
                *text = format!("{prefix}[id]");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
