//! For whom a caller acts, and why: recorded beside the caller's id.

use quell_jwt::{Algorithm, EncodingKey, Header};
use reqwest::{Method as Http, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{ACME, Answer, OPERATOR, Setup, TestApp};

const HS256: &str = "a-secret-of-at-least-thirty-two-bytes";

/// `phase action on_behalf_of reason` of all rows, in the order in which they were written.
async fn told(app: &TestApp) -> Vec<String> {
    let rows = "select concat_ws(' | ', phase, action, coalesce(on_behalf_of, '-'), coalesce(reason, '-')) from audit_log order by seq";
    sqlx::query_scalar(rows).fetch_all(&app.pool).await.unwrap()
}

fn with_reason(app: &TestApp, sid: &str, reason: &Value) -> RequestBuilder {
    app.mute(ACME, "standup", "speaker", sid, true)
        .json(&json!({
            "room_name": "standup", "participant_identity": "speaker", "track_sid": sid, "muted": true,
            "reason": reason,
        }))
}

#[tokio::test]
async fn the_person_and_the_reason_of_a_mute_are_in_both_its_rows() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let request = with_reason(&app, &sid, &json!("zu laut"));
    let answer = Answer::to(request.header("X-Actor", "Jürgen <j@acme.example>")).await;
    let four = json!({
        "room_name": "standup", "participant_identity": "speaker", "track_sid": sid, "muted": true,
    });
    assert_eq!(
        (answer.status, answer.json()),
        (200, four),
        "as without them"
    );
    let request = app.mute(ACME, "standup", "speaker", &sid, false);
    let answer = Answer::to(request.header("X-Reason", "their turn")).await;
    assert_eq!(answer.status, 200);
    // Of what reaches nothing, too.
    let request = app.mute(ACME, "nowhere", "speaker", &sid, false);
    let answer = Answer::to(
        request
            .header("X-Actor", "ann")
            .header("X-Reason", "why not"),
    )
    .await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        told(&app).await,
        [
            "intent | mute | Jürgen <j@acme.example> | zu laut",
            "outcome | mute | Jürgen <j@acme.example> | zu laut",
            "intent | unmute | - | their turn",
            "outcome | unmute | - | their turn",
            "outcome | unmute | ann | why not",
        ]
    );
    let silence = "select concat_ws(' | ', muted_by, muted_on_behalf_of, mute_reason, unmuted_by, coalesce(unmuted_on_behalf_of, '-'), unmute_reason) from silences";
    assert_eq!(
        app.sql(silence).await.as_deref(),
        Some("\"acme | Jürgen <j@acme.example> | zu laut | acme | - | their turn\"")
    );
    let found = Answer::to(app.api(Http::GET, ACME, "/v1/audit?on_behalf_of=ann")).await;
    let found = found.json();
    let found = found["actions"].as_array().unwrap();
    assert_eq!(found.len(), 0, "a refusal in no room of its own");
    let found = Answer::to(app.api(Http::GET, OPERATOR, "/v1/audit?on_behalf_of=ann")).await;
    let found = found.json();
    assert_eq!(found["actions"][0]["reason"], "why not", "{found}");
    app.finish().await;
}

#[tokio::test]
async fn changes_of_policies_tell_it_too() {
    let app = Setup::default().start_without_webhooks().await;
    let policy = json!({"match": {"room": ["standup"]}, "effect": "mute", "mode": "off"});
    let put = app.api(Http::PUT, ACME, "/v1/policies/mics").json(&policy);
    let put = put
        .header("X-Actor", "ann")
        .header("X-Reason", "quiet, please");
    assert_eq!(Answer::to(put).await.status, 201);
    let delete = app.api(Http::DELETE, ACME, "/v1/policies/mics");
    let delete = delete.header("If-Match", "\"1\"").header("X-Actor", "ben");
    assert_eq!(Answer::to(delete).await.status, 204);
    assert_eq!(
        told(&app).await,
        [
            "outcome | policy.create | ann | quiet, please",
            "outcome | policy.delete | ben | -",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_and_nothing_is_done() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let mute = || app.mute(ACME, "standup", "speaker", &sid, true);
    let long = "x".repeat(257);
    for (request, error) in [
        (mute().header("X-Actor", " "), "X-Actor must be 1 to 256"),
        (mute().header("X-Actor", &long), "X-Actor must be 1 to 256"),
        (
            mute().header("X-Actor", "cli:root"),
            "X-Actor must be 1 to 256",
        ),
        (
            mute().header("X-Actor", "a").header("X-Actor", "b"),
            "must be there once",
        ),
        (
            with_reason(&app, &sid, &json!(["loud"])),
            "`reason` must be a string",
        ),
        (
            with_reason(&app, &sid, &json!("x".repeat(501))),
            "more than 500",
        ),
        (
            with_reason(&app, &sid, &json!("loud")).header("X-Reason", "loud"),
            "two reasons",
        ),
    ] {
        let answer = Answer::to(request).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{error}");
        assert!(answer.body.contains(error), "{error}: {}", answer.body);
    }
    assert!(!app.is_muted("standup", "speaker", &sid));
    assert_eq!(app.count("select count(*) from audit_log").await, 0);
    app.finish().await;
}

/// Whoever has a token could say that it is anybody.
#[tokio::test]
async fn of_a_jwt_its_claim_says_it_and_no_header() {
    let setup = Setup::default()
        .env("QUELL_JWT_SECRET", HS256)
        .env("QUELL_JWT_ACTOR_CLAIM", "act")
        .env("AUTH_REQUIRED", "false");
    let app = setup.start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let token = |act: Value| {
        let claims = json!({"sub": "acme", "exp": app.now().timestamp() + 3600, "act": act});
        let key = EncodingKey::from_secret(HS256.as_bytes());
        quell_jwt::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
    };
    let mute = |token: &str| app.mute(token, "standup", "speaker", &sid, true);
    // RFC 8693, 4.1 has an object.
    for act in [json!("ann"), json!({"sub": "ann"})] {
        assert_eq!(Answer::to(mute(&token(act))).await.status, 200);
    }
    let answer = Answer::to(mute(&token(json!(7)))).await;
    assert_eq!(answer.outcome(), "401 UNAUTHORIZED");
    assert!(
        answer.body.contains("actor claim names nobody"),
        "{}",
        answer.body
    );
    let answer = Answer::to(mute(&token(json!("ann"))).header("X-Actor", "ben")).await;
    assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
    let nobody = app
        .http
        .post(format!("{}/livekit/participant/mute", app.url));
    let answer = Answer::to(nobody.header("X-Actor", "ben").json(&json!({}))).await;
    assert!(
        answer.body.contains("with an API secret only"),
        "{}",
        answer.body
    );
    assert_eq!(
        told(&app).await,
        [
            "intent | mute | ann | -",
            "outcome | mute | ann | -",
            "intent | mute | ann | -",
            "outcome | mute | ann | -",
        ]
    );
    app.finish().await;
}
