//! `POST /v1/explain`: by facts, by an event then and now, and by who is in a room.

use livekit_double::{Join, Publish};
use quell::policy_store::{self, At, Seeing};
use quell_policy::StoredPolicy;
use quell_policy::TenantId;
use reqwest::Method as Verb;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, OPERATOR, Setup, TestApp};

pub(crate) const WEBINAR: &str = r#"
policies:
  - name: webinar-mics
    match: { room: ["webinar-*"], type: [AUDIO], source: [MICROPHONE, UNKNOWN] }
    unless: { attributes: { role: [host, moderator] } }
    effect: mute
  - name: phones
    match: { kind: SIP }
    effect: mute
    priority: 200
  - name: agents-may-speak
    match: { kind: [AGENT] }
    effect: exempt
    priority: 1000
    reason: voice agents must be heard
  - name: cameras-trial
    match: { source: CAMERA }
    effect: mute
    mode: dry_run
  - name: quiet-rooms
    owner: acme
    match: { room: "quiet-*" }
    effect: mute
  - name: theirs
    owner: globex
    match: {}
    effect: mute
"#;

/// What is answered to this question.
pub(crate) async fn why(app: &TestApp, token: &str, question: &Value) -> Answer {
    let request = app.api(Verb::POST, token, "/v1/explain").json(question);
    Answer::to(request).await
}

/// The same, where it is an answer.
pub(crate) async fn told(app: &TestApp, token: &str, question: &Value) -> Value {
    let answer = why(app, token, question).await;
    assert_eq!(answer.status, 200, "{question}: {answer:?}");
    answer.json()
}

/// The id of the event that told of this track.
pub(crate) fn event_id(app: &TestApp, track_sid: &str) -> String {
    app.event_of(track_sid).id
}

/// `owner/name outcome clause`, one a candidate.
fn candidates(answer: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let candidates = answer["candidates"].as_array().unwrap().iter();
    candidates
        .map(|one| {
            let (policy, failed) = (&one["policy"], &one["failed"]);
            let owner = text(&policy["owner"]);
            let (name, outcome) = (text(&policy["name"]), text(&one["outcome"]));
            format!("{owner}/{name} {outcome} {}", text(&failed["clause"]))
        })
        .collect()
}

#[tokio::test]
async fn facts_are_answered_with_every_candidate_and_its_first_clause_that_fails() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    let question = json!({
        "facts": {
            "room": {"name": "webinar-1", "tenant": "acme"},
            "participant": {"identity": "ann", "kind": "STANDARD"},
            "track": {"source": "MICROPHONE"},
        },
        "at": "2026-03-02T22:30:00+01:00",
    });
    let answer = told(&app, OPERATOR, &question).await;
    insta::assert_json_snapshot!("answer_to_facts", answer);
    // Nothing was asked of LiveKit, nothing was done and nothing was written.
    assert_eq!(app.simulator.calls(), []);
    assert_eq!(app.lines("action not like 'policy.%'").await, [""; 0]);
    // What it answers of the facts can be asked again, and made complete.
    let mut facts = answer["facts"].clone();
    facts["participant"]["attributes"] = json!({"role": "guest"});
    let question = json!({"facts": facts, "at": "2026-03-02T21:30:00Z"});
    let answer = told(&app, OPERATOR, &question).await;
    assert_eq!(
        answer["summary"],
        "muted by (operator)/webinar-mics (revision 1, priority 100)"
    );
    assert_eq!(answer["winner"]["name"], "webinar-mics");
    assert_eq!(answer["provenance"]["missing"], json!([]));
    app.finish().await;
}

fn recorded_as_of(answer: &Value) -> Value {
    answer["recorded"]["decision"]["as_of"].clone()
}

#[tokio::test]
async fn an_event_is_explained_by_the_policies_of_then_and_by_those_of_now() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let id = event_id(&app, &ann.sid);
    let facts = app.stored("facts", &ann.sid).await;
    let decision = app.stored("decision", &ann.sid).await;
    assert_eq!(decision["as_of"], 6);
    let muted = "muted by (operator)/webinar-mics (revision 1, priority 100)";
    let changed = WEBINAR.replace("\"webinar-*\"", "\"town-*\"");
    app.apply(&changed.replace("[AGENT]", "[STANDARD]")).await;

    for token in [ACME, OPERATOR] {
        let question = json!({"event_id": id});
        let then = told(&app, token, &question).await;
        assert_eq!(then["policies"], "then");
        assert_eq!(then["summary"], muted);
        assert_eq!(then["facts"], facts);
        assert_eq!(then["decision"]["enforced"], decision["enforced"]);
        // How many changes all of them have made is not a tenant's to know.
        let as_of = |number: i32| {
            if token == ACME {
                Value::Null
            } else {
                number.into()
            }
        };
        assert_eq!(then["decision"]["as_of"], as_of(6));
        assert_eq!(recorded_as_of(&then), as_of(6));
        assert_eq!(then["at"], decision["at"]);
        assert_eq!(
            then["provenance"]["calls"],
            json!(["ListRooms", "GetParticipant"])
        );
        let sources = &then["provenance"]["sources"];
        assert_eq!(sources["room.name"], "event");
        assert_eq!(sources["room.tenant"], "ListRooms");
        assert_eq!(sources["participant.kind"], "GetParticipant");
        assert_eq!(sources["participant.sid"], "GetParticipant");
        assert_eq!(sources["track.source"], "GetParticipant");
        let recorded = &then["recorded"];
        assert_eq!(recorded["event_id"], id.as_str());
        assert_eq!(recorded["settlement"], "muted");
        assert_eq!(recorded["same_as_recorded"], true);
        assert_eq!(recorded["differs"], json!([]));
        assert_eq!(recorded["decision"]["enforced"], decision["enforced"]);
        let asked_for = told(&app, token, &json!({"event_id": id, "policies": "then"})).await;
        assert_eq!(asked_for, then);

        let question = json!({"event_id": id, "policies": "now"});
        let now = told(&app, token, &question).await;
        assert_eq!(now["policies"], "now");
        assert_eq!(now["summary"], "left alone: no mute applies");
        assert_eq!(now["facts"], facts);
        assert_eq!(now["at"], decision["at"]);
        assert_eq!(now["decision"]["as_of"], as_of(8));
        assert_eq!(now["recorded"]["same_as_recorded"], false);
        assert_eq!(
            now["recorded"]["differs"][0],
            format!("enforced: then {muted}, now left alone: no mute applies")
        );
        assert_eq!(now["recorded"]["decision"], then["recorded"]["decision"]);
    }

    // What a room's policies were is the part of all of them that sees the room.
    for tenant in [Some("acme"), Some("nobody"), None] {
        let tenant = tenant.map(|id| TenantId::new(id).unwrap());
        let sorted = |mut rows: Vec<StoredPolicy>| {
            rows.sort_by_key(|row| row.key.clone());
            format!("{rows:?}")
        };
        let at = At::Snapshot(7);
        let mut all = policy_store::as_of(&app.state().pool, at, Seeing::AnyRoom)
            .await
            .unwrap();
        all.retain(|row| row.key.owner.is_operator() || row.key.owner.tenant() == tenant.as_ref());
        let of_room =
            policy_store::as_of(&app.state().pool, at, Seeing::RoomOf(tenant.as_ref())).await;
        assert_eq!(sorted(of_room.unwrap()), sorted(all), "{tenant:?}");
    }

    // Another time may be asked about.
    let question = json!({"event_id": id, "at": "2026-03-02T22:30:00Z"});
    let answer = told(&app, ACME, &question).await;
    assert_eq!(answer["at"], "2026-03-02T22:30:00Z");
    assert_eq!(answer["recorded"]["same_as_recorded"], true);

    // A decision that does not say which policies it was made by is repeated by its time.
    let forget = "update webhook_event set decision = (decision::jsonb - 'as_of')::json
                  where decision is not null";
    sqlx::query(forget).execute(&app.pool).await.unwrap();
    let then = told(&app, OPERATOR, &json!({"event_id": id})).await;
    assert_eq!(then["recorded"]["same_as_recorded"], true);
    assert_eq!(recorded_as_of(&then), Value::Null);
    assert_eq!(then["decision"]["as_of"], 6);
    assert_eq!(app.mute_calls().len(), 1, "nothing is muted by asking");
    app.finish().await;
}

#[tokio::test]
async fn a_decision_before_the_first_policy_is_repeated_without_any() {
    let app = TestApp::new().await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    assert_eq!(app.stored("decision", &ann.sid).await["as_of"], 0);
    app.apply(WEBINAR).await;
    // A change that was committed before the decision was made, and not seen by it yet.
    let later = "update webhook_event
                 set decision = jsonb_set(decision::jsonb, '{at}', '\"2100-01-01T00:00:00Z\"')::json
                 where decision is not null";
    sqlx::query(later).execute(&app.pool).await.unwrap();
    let question = json!({"event_id": event_id(&app, &ann.sid)});
    let then = told(&app, OPERATOR, &question).await;
    assert_eq!(then["summary"], "left alone: no mute applies");
    assert_eq!(candidates(&then), [""; 0]);
    assert_eq!(then["recorded"]["same_as_recorded"], true);
    app.finish().await;
}

#[tokio::test]
async fn whatever_became_of_an_event_it_can_be_asked_about() {
    let setup = Setup::default().env("QUELL_WORKERS", "0");
    let app = setup.start().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.simulator
        .wait_delivered(crate::support::BOUND)
        .await
        .unwrap();
    // Nobody has worked on it: what the event says itself is known, and by whom it may be muted.
    let id = event_id(&app, &ann.sid);
    let open = told(&app, OPERATOR, &json!({"event_id": id})).await;
    assert_eq!(open["recorded"]["settlement"], Value::Null);
    assert_eq!(open["recorded"]["decision"], Value::Null);
    assert_eq!(open["recorded"]["same_as_recorded"], Value::Null);
    assert_eq!(open["provenance"]["calls"], json!([]));
    assert_eq!(open["provenance"]["sources"]["track.source"], "event");
    assert_eq!(
        open["provenance"]["missing"],
        json!(["room.tenant", "participant.kind", "participant.attributes"])
    );
    assert_eq!(open["winner"], Value::Null);
    assert_eq!(open["decision"]["enforced"]["verdict"], "indeterminate");
    let words = open["summary"].as_str().unwrap();
    assert!(words.starts_with("not decided: room.tenant, "), "{words}");
    assert_eq!(
        candidates(&open),
        [
            "-/agents-may-speak depends match.kind",
            "-/phones depends match.kind",
            "-/webinar-mics depends unless",
            "globex/theirs depends owner",
            "-/cameras-trial does_not_apply match.source",
            "acme/quiet-rooms does_not_apply match.room",
        ]
    );
    // Whose room it is is not known: it is the operator's to ask about.
    let answer = why(&app, ACME, &json!({"event_id": id})).await;
    assert_eq!(answer.outcome(), "404 EVENT_NOT_FOUND");
    // No decision is made on anything but a new track.
    let joined = "select event_id from webhook_event where event = 'participant_joined'";
    let joined = app.sql(joined).await.unwrap();
    let answer = why(&app, OPERATOR, &json!({"event_id": joined})).await;
    assert_eq!(answer.outcome(), "409 EVENT_NOT_DECIDED_ON");
    assert!(answer.error().contains("participant_joined"), "{answer:?}");
    // What cannot be read is said to be so.
    let unreadable =
        "update webhook_event set facts = '{\"room\": 7}' where event = 'track_published'";
    sqlx::query(unreadable).execute(&app.pool).await.unwrap();
    let answer = why(&app, OPERATOR, &json!({"event_id": id})).await;
    assert_eq!(answer.outcome(), "409 EVENT_NOT_READABLE");
    app.finish_with_work_left().await;
}

#[tokio::test]
async fn the_newest_of_several_events_of_one_id_is_meant() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let older = "
        insert into webhook_event (created_at, event_id, event, tenant, body, facts)
        select created_at - interval '1 hour', event_id, event, 'globex', body,
               replace(facts::text, 'ann', 'bob')::json
        from webhook_event where event = 'track_published'";
    sqlx::query(older).execute(&app.pool).await.unwrap();
    let question = json!({"event_id": event_id(&app, &ann.sid)});
    for (token, identity) in [
        (OPERATOR, "ann"),
        (ACME, "ann"),
        (crate::support::GLOBEX, "bob"),
    ] {
        let answer = told(&app, token, &question).await;
        assert_eq!(answer["facts"]["participant"]["identity"], identity);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_policy_of_then_that_cannot_be_read_is_told_of_and_now_is_answered() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let id = event_id(&app, &ann.sid);
    let newer = "
        insert into policy_revision (name, revision, change, document, author, managed_by)
        values ('from-the-future', 1, 'create', '{\"name\": \"from-the-future\", \"moon\": 1}', 'x', 'rest')";
    sqlx::query(newer).execute(&app.pool).await.unwrap();
    let later = "update webhook_event
                 set decision = jsonb_set(decision::jsonb, '{as_of}', '7')::json
                 where decision is not null";
    sqlx::query(later).execute(&app.pool).await.unwrap();
    let answer = why(&app, ACME, &json!({"event_id": id})).await;
    assert_eq!(answer.outcome(), "409 DECISION_NOT_REPEATABLE");
    assert!(!answer.body.contains("future"), "{answer:?}");
    let now = told(&app, ACME, &json!({"event_id": id, "policies": "now"})).await;
    assert_eq!(now["recorded"]["same_as_recorded"], true);
    app.finish().await;
}

#[tokio::test]
async fn facts_that_are_too_long_to_be_recorded_are_unknown_to_an_explanation_that_says_so() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let padded = Join::new("ann").attribute("bio", "x".repeat(60_000));
    let ann = app.publish("webinar-1", padded, Publish::microphone());
    app.settle().await;
    // What was decided on is what there was.
    assert!(app.is_muted("webinar-1", "ann", &ann.sid));
    let facts = app.stored("facts", &ann.sid).await;
    assert!(facts.to_string().len() < 20_000);
    assert_eq!(facts["left_out"][0]["fact"], "participant.attributes");
    assert_eq!(facts["left_out"][0]["bytes"], 60_010);
    let question = json!({"event_id": event_id(&app, &ann.sid)});
    let then = told(&app, OPERATOR, &question).await;
    assert_eq!(then["recorded"]["settlement"], "muted");
    assert_eq!(then["facts"]["participant"]["attributes"], Value::Null);
    let warning = then["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("`participant.attributes` had 60010 bytes"),
        "{warning}"
    );
    let missing = then["provenance"]["missing"].to_string();
    assert!(missing.contains("participant.attributes"), "{missing}");
    app.finish().await;
}
