//! Webhooks that are not LiveKit's, or no events, are refused; what is merely new is not.

use chrono::TimeDelta;
use livekit_double::ApiKey;
use livekit_double::sign_webhook;
use serde_json::{Value, json};

use crate::support::{Setup, TestApp};

const OTHER_SECRET: &str = "another-secret-that-is-long-enough-0123";

fn event(app: &TestApp) -> Value {
    json!({
        "event": "room_started",
        "id": "EV_1",
        "createdAt": app.now().timestamp().to_string(),
        "room": {"sid": "RM_1", "name": "r"},
    })
}

async fn stored(app: &TestApp) -> i64 {
    app.count("select count(*) from webhook_event").await
}

#[tokio::test]
async fn what_livekit_did_not_sign_now_for_this_body_is_401_and_not_stored() {
    let app = Setup::default().start_without_webhooks().await;
    let body = event(&app).to_string();
    let now = app.now();
    let good = app.signed(body.as_str(), now).token;
    let by = |key: &str, secret: &str| {
        let key = ApiKey {
            key: key.to_owned(),
            secret: secret.into(),
        };
        sign_webhook(&key, body.as_bytes(), now).unwrap()
    };
    let ago = |seconds| {
        let then = now - TimeDelta::seconds(seconds);
        app.signed(body.as_str(), then).token
    };
    let own = &app.livekit_key().key;
    let secret = secrecy::ExposeSecret::expose_secret(&app.livekit_key().secret);
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("{good}")
    };
    let changed = body.replacen("\"r\"", "\"s\"", 1);
    let cases = [
        ("no header", None, &body),
        ("an empty header", Some(String::new()), &body),
        ("no token", Some("Bearer ".to_owned()), &body),
        ("no JWT", Some("token".to_owned()), &body),
        ("another secret", Some(by(own, OTHER_SECRET)), &body),
        ("another key's name", Some(by("other", secret)), &body),
        ("expired", Some(ago(300 + 90)), &body),
        ("not valid yet", Some(ago(-120)), &body),
        ("no signature", Some(format!("{header}.{claims}.")), &body),
        (
            "alg none",
            Some(format!("eyJhbGciOiJub25lIn0.{claims}.{signature}")),
            &body,
        ),
        ("another body", Some(good.clone()), &changed),
        ("a byte more", Some(good.clone()), &format!("{body} ")),
        (
            "a byte less",
            Some(good.clone()),
            &body[..body.len() - 1].to_owned(),
        ),
        ("two tokens", Some(format!("{good} {good}")), &body),
    ];
    for (what, authorization, body) in cases {
        let answer = app.webhook(authorization.as_deref(), body.as_str()).await;
        assert_eq!(answer.outcome(), "401 UNAUTHORIZED", "{what}");
    }
    assert_eq!(stored(&app).await, 0);
    // The control, and the 60 s by which clocks may differ.
    for authorization in [
        good.clone(),
        format!("Bearer {good}"),
        format!("bearer {good}"),
        ago(300 + 30),
        ago(-30),
    ] {
        let answer = app.webhook(Some(&authorization), body.as_str()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(stored(&app).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn keys_can_be_rotated() {
    let setup = Setup::default().env(
        "QUELL_WEBHOOK_KEYS_JSON",
        &json!({ "next": OTHER_SECRET }).to_string(),
    );
    let app = setup.start_without_webhooks().await;
    let next = ApiKey {
        key: "next".to_owned(),
        secret: OTHER_SECRET.into(),
    };
    for (key, id) in [(app.livekit_key(), "EV_old"), (&next, "EV_new")] {
        let mut event = event(&app);
        event["id"] = id.into();
        let body = event.to_string();
        let token = sign_webhook(key, body.as_bytes(), app.now()).unwrap();
        assert_eq!(app.webhook(Some(&token), body).await.status, 200, "{id}");
    }
    assert_eq!(stored(&app).await, 2);
    app.finish().await;
}

#[tokio::test]
async fn without_any_key_webhooks_are_asked_for_again_later() {
    let app = Setup::default()
        .without("LIVEKIT_API_KEY")
        .start_without_webhooks()
        .await;
    let answer = app.send_event(&event(&app)).await;
    assert_eq!(answer.outcome(), "503 LIVEKIT_NOT_CONFIGURED");
    assert!(answer.error().contains("LIVEKIT_API_KEY"), "{answer:?}");
    assert_eq!(stored(&app).await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_signed_body_that_is_no_event_is_400() {
    let app = Setup::default().start_without_webhooks().await;
    let good = event(&app);
    let with = |name: &str, value: Value| {
        let mut event = good.clone();
        event[name] = value;
        event.to_string()
    };
    let published = with("event", "track_published".into());
    let off = |minutes: i64| {
        let then = app.now() + TimeDelta::minutes(minutes);
        with("createdAt", then.timestamp().to_string().into())
    };
    for (body, named) in [
        (String::new(), "JSON"),
        ("null".to_owned(), "event"),
        ("[]".to_owned(), "event"),
        ("{}".to_owned(), "`id`"),
        ("hello".to_owned(), "JSON"),
        (format!("{good}{good}"), "JSON"),
        (with("id", "".into()), "`id`"),
        (with("id", 7.into()), "id"),
        (with("event", "".into()), "`event`"),
        (with("createdAt", "0".into()), "createdAt"),
        (with("createdAt", "soon".into()), "createdAt"),
        (with("createdAt", (-5).into()), "createdAt"),
        (with("room", "r".into()), "room"),
        (published, "participant.identity"),
        (with("room", "r".repeat(100_000).into()), "room"),
        (off(-11), "createdAt"),
        (off(11), "createdAt"),
        (off(1_000_000), "createdAt"),
    ] {
        let signed = app.signed(body.as_str(), app.now());
        let answer = app.webhook(Some(&signed.token), signed.body).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{body}");
        assert!(answer.error().contains(named), "{body}: {}", answer.error());
        assert!(answer.error().len() < 1_000, "{}", answer.error().len());
    }
    let signed = app.signed(vec![0xff, 0xfe], app.now());
    let answer = app.webhook(Some(&signed.token), signed.body).await;
    assert_eq!(answer.outcome(), "400 INVALID_REQUEST");
    assert_eq!(stored(&app).await, 0);
    for minutes in [-9, 9] {
        let signed = app.signed(off(minutes), app.now());
        let answer = app.webhook(Some(&signed.token), signed.body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_may_have_8_mib_and_not_a_byte_more() {
    let app = Setup::default().start_without_webhooks().await;
    let good = event(&app).to_string();
    for (bytes, expect) in [((8 << 20) + 1, "413 PAYLOAD_TOO_LARGE"), (8 << 20, "200")] {
        let body = format!("{good}{}", " ".repeat(bytes - good.len()));
        let signed = app.signed(body, app.now());
        let answer = app.webhook(Some(&signed.token), signed.body).await;
        assert_eq!(answer.outcome(), expect, "{bytes}");
    }
    assert_eq!(stored(&app).await, 1);
    app.finish().await;
}

/// A newer LiveKit must not blind us.
#[tokio::test]
async fn unknown_events_fields_and_enum_values_pass() {
    let app = Setup::default().env("QUELL_WORKERS", "0");
    let app = app.start_without_webhooks().await;
    let created_at = app.now().timestamp();
    let event = |id: usize, more: Value| {
        let mut event = json!({"event": "room_levitated", "id": format!("EV_{id}")});
        event["createdAt"] = created_at.to_string().into();
        let fields = event.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        event
    };
    let (room, participant) = (
        json!({"sid": "RM_1", "name": "r"}),
        json!({"sid": "PA_1", "identity": "p"}),
    );
    let published = |track: Value| json!({"event": "track_published", "room": room, "participant": participant, "track": track});
    let cases = [
        json!({}),
        json!({"createdAt": created_at}),
        json!({"egressInfo": {"egressId": "EG_1", "status": "EGRESS_NEW"}}),
        json!({"room": {"sid": "RM_1", "levitation": [1, {"x": null}]}}),
        json!({"numDropped": 7, "participant": {"kind": "TELEPATH", "state": 99}}),
        published(json!({"sid": "TR_1", "source": "HOLOGRAM"})),
        published(json!({"sid": "TR_2", "source": 99, "type": 99})),
        published(json!({"sid": "TR_3", "type": "SMELL", "audioFeatures": ["TF_NEW"]})),
        published(json!({"sid": "TR_4", "encryption": "ROT13", "layers": [{"quality": "ULTRA"}]})),
    ];
    let count = cases.len();
    for (id, more) in cases.into_iter().enumerate() {
        let event = event(id, more);
        let answer = app.send_event(&event).await;
        assert_eq!(answer.status, 200, "{event}: {answer:?}");
    }
    assert_eq!(stored(&app).await, i64::try_from(count).unwrap());
    assert_eq!(app.count("select count(*) from job").await, 4);
    app.finish_with_work_left().await;
}
