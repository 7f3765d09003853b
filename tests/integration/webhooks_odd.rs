//! Events that a store could stumble over: nobody escapes by what it is called, or by the day.

use chrono::TimeDelta;
use livekit_double::{Join, Outcome, Publish};
use quell_clock::{Clock, ManualClock};
use serde_json::json;
use url::Url;

use crate::support::{ACME, Answer, GLOBEX, Setup};

const MUTE_ALL: &str = r"
policies:
  - name: silence
    match: { type: [AUDIO] }
    effect: mute
";

#[tokio::test]
async fn what_postgres_cannot_hold_is_stored_and_muted_all_the_same() {
    let long: String = (0..3000).map(|_| rand::random::<char>()).collect();
    let nul = "with\0nul";
    let app = Setup::default().start().await;
    app.apply(MUTE_ALL).await;
    let cases = [
        ("named", "acme", "p", nul),
        ("identified", "acme", nul, "mic"),
        ("a\0room", "acme", "p", "mic"),
        ("owned", nul, "p", "mic"),
        ("long-named", "acme", "p", &long),
        ("long-identified", "acme", &long, "mic"),
        (&long, "acme", "p", "mic"),
        ("long-owned", &long, "p", "mic"),
    ];
    let mut published = Vec::new();
    for (room, tenant, identity, name) in cases {
        app.room(room, tenant);
        let publish = Publish {
            name: name.to_owned(),
            ..Publish::microphone()
        };
        let join = Join::new(identity).attribute(name, name);
        let sid = app.publish(room, join, publish).sid;
        published.push((room, identity, sid));
    }
    app.settle().await;
    for (room, identity, sid) in &published {
        let what: String = room.chars().take(20).collect();
        let settlement = app.settlement(sid).await;
        assert_eq!(settlement.as_deref(), Some("muted"), "{what:?}");
        assert!(app.is_muted(room, identity, sid), "{what:?}");
    }
    let replaced = "select count(*) from moderation_history
                    where outcome = 'done' and identity = E'with\\uFFFDnul'";
    assert_eq!(app.count(replaced).await, 1);
    let done = "select count(*) from moderation_history where outcome = 'done' and action = 'mute'";
    assert_eq!(app.count(done).await, 8);
    app.finish().await;
}

/// Maintenance makes partitions two weeks ahead; quell may have been down for longer.
#[tokio::test]
async fn an_event_of_a_day_without_a_partition_is_stored_and_muted() {
    for days in [40, -40] {
        let hands = ManualClock::new(Clock::system().now());
        let app = Setup::default().clock(hands.clock()).start().await;
        app.apply(MUTE_ALL).await;
        hands.advance(TimeDelta::days(days));
        let day = app.now().format("webhook_event_%Y%m%d").to_string();
        let is_there = |name: String| async {
            sqlx::query_scalar::<_, bool>("select to_regclass($1) is not null")
                .bind(name)
                .fetch_one(&app.pool)
                .await
                .unwrap()
        };
        assert!(!is_there(day.clone()).await, "{day}");
        app.room("r", "acme");
        let sid = app.publish("r", Join::new("p"), Publish::microphone()).sid;
        app.settle().await;
        assert!(is_there(day.clone()).await, "{day}");
        let stored = "select count(*) from webhook_event";
        assert_eq!(app.count(stored).await, 3);
        assert!(app.is_muted("r", "p", &sid));
        app.finish().await;
    }
}

/// As backends write it, and strict readers refuse it.
#[tokio::test]
async fn careless_metadata_hides_no_tenant_and_no_key() {
    let app = Setup::default().start().await;
    let tenants = MUTE_ALL.replace(
        "name: silence",
        "name: silence\n    owner: acme\n    when: room.metadata.quiet == true",
    );
    app.apply(&tenants).await;
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let beside = [r#""half \ud83d""#, "1e400", "NaN", &deep];
    for (index, careless) in beside.into_iter().enumerate() {
        let room = format!("room-{index}");
        let metadata =
            format!(r#"{{"before":{careless},"auth_id":"acme","quiet":true,"x":{careless}}}"#);
        app.simulator.create_room(&room, Some(&metadata));
        let join = Join {
            metadata: metadata.clone(),
            ..Join::new("p")
        };
        let sid = app.publish(&room, join, Publish::microphone()).sid;
        app.settle().await;
        assert!(app.is_muted(&room, "p", &sid), "{careless}");
        let facts = app.stored("facts", &sid).await;
        assert_eq!(facts["room"]["tenant"], "acme", "{careless}");
        assert_eq!(
            facts["participant"]["metadata"]["quiet"], true,
            "{careless}"
        );
        let unmute = app.mute(ACME, &room, "p", &sid, false);
        assert_eq!(Answer::to(unmute).await.status, 200, "{careless}");
    }
    let named =
        "select count(*) from webhook_event where tenant = 'acme' and event = 'room_started'";
    assert_eq!(app.count(named).await, 4);
    // Two of them: nobody's, whoever asks.
    let twice = r#"{"auth_id":"acme","auth_id":"globex","quiet":true}"#;
    app.simulator.create_room("twice", Some(twice));
    let sid = app
        .publish("twice", Join::new("p"), Publish::microphone())
        .sid;
    app.settle().await;
    assert!(!app.is_muted("twice", "p", &sid));
    for token in [ACME, GLOBEX] {
        let answer = Answer::to(app.mute(token, "twice", "p", &sid, true)).await;
        assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    }
    let tenant =
        "select count(*) from moderation_history where room_name = 'twice' and tenant is not null";
    assert_eq!(app.count(tenant).await, 0);
    app.finish().await;
}

/// A key that the reader of JSON gives a meaning of its own.
#[tokio::test]
async fn no_key_of_a_participant_loses_its_events_or_their_explanation() {
    let app = Setup::default().start().await;
    app.apply(MUTE_ALL).await;
    app.room("r", "acme");
    let key = "$serde_json::private::RawValue";
    let join = Join {
        metadata: json!({ key: "x" }).to_string(),
        ..Join::new("p").attribute(key, "x").attribute("seat", "7")
    };
    let sid = app.publish("r", join, Publish::microphone()).sid;
    app.settle().await;
    assert!(app.is_muted("r", "p", &sid));
    let events = "select count(*) from webhook_event where identity = 'p'";
    assert_eq!(app.count(events).await, 2);
    let question = json!({ "event_id": app.event_of(&sid).id });
    let explain = app
        .api(reqwest::Method::POST, ACME, "/v1/explain")
        .json(&question);
    let answer = Answer::to(explain).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // As text: this test's own reader would stumble over the key.
    assert!(
        answer.body.contains(r#""same_as_recorded":true"#),
        "{answer:?}"
    );
    app.finish().await;
}

/// LiveKit's own limits, and with them a webhook of some 1.5 MiB.
#[tokio::test]
async fn as_much_metadata_as_livekit_takes_is_stored_and_muted() {
    let app = Setup::default().start().await;
    app.apply(MUTE_ALL).await;
    let metadata = |rest: &str| {
        let text = "\"'".repeat((512 << 10) / 3 - 20);
        format!(
            r#"{{"auth_id":"acme","{rest}":{}}}"#,
            serde_json::json!(text)
        )
    };
    let (room, participant) = (metadata("room"), metadata("p"));
    assert!(room.len() > 511 << 10 && room.len() <= 512 << 10);
    app.simulator.create_room("r", Some(&room));
    let join = Join {
        metadata: participant.clone(),
        ..Join::new("p")
    };
    let sid = app.publish("r", join, Publish::microphone()).sid;
    app.settle().await;
    assert!(app.is_muted("r", "p", &sid));
    let stored = "select count(*) from webhook_event
                  where event = 'participant_joined' and tenant = 'acme' and length(body::text) > 1500000";
    assert_eq!(app.count(stored).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn bodies_beyond_32_mib_at_once_are_asked_for_again_later() {
    const SMALL: usize = 64 << 10;
    const SMALL_ALL: usize = 4 << 20;
    const LARGE_ALL: usize = 28 << 20;
    let app = Setup::default().start_without_webhooks().await;
    let inbox = &app.state().inbox;
    let takes = |bytes: usize| {
        let mut reservation = inbox.reservation();
        reservation.grow(bytes).map(|()| reservation)
    };
    app.simulator.create_room("r", None);
    let webhook = app.last_webhook();
    let bytes = webhook.body.len();
    let blocked = app.block_events().await;
    let waiting = app.webhook(Some(&webhook.token), webhook.body.clone());
    let checks = async {
        app.wait_blocked().await;
        // Large bodies leave small ones their share, of which the event that waits has its part.
        let large = takes(LARGE_ALL).unwrap();
        takes(SMALL + 1).unwrap_err();
        let mut small: Vec<_> = (1..SMALL_ALL / SMALL)
            .map(|_| takes(SMALL).unwrap())
            .collect();
        takes(SMALL - bytes + 1).unwrap_err();
        small.push(takes(SMALL - bytes).unwrap());
        let answer = app
            .webhook(Some(&webhook.token), webhook.body.clone())
            .await;
        assert_eq!(answer.outcome(), "503 UNAVAILABLE");
        assert!(
            answer.error().contains("too many events are waiting"),
            "{answer:?}"
        );
        drop((large, small));
        blocked.release().await;
    };
    let (answer, ()) = tokio::join!(waiting, checks);
    assert_eq!(answer.status, 200, "{answer:?}");
    // What was stored, refused or no event has given its place back.
    for body in [webhook.body.clone(), b"{}".to_vec()] {
        let signed = app.signed(body, app.now());
        app.webhook(Some(&signed.token), signed.body).await;
    }
    app.wait_for("all is free again", async || {
        let small: Vec<_> = (0..SMALL_ALL / SMALL).map(|_| takes(SMALL)).collect();
        takes(LARGE_ALL).is_ok() && small.iter().all(Result::is_ok)
    })
    .await;
    // A body that grows moves from one share to the other.
    let mut growing = inbox.reservation();
    growing.grow(SMALL).unwrap();
    growing.grow(LARGE_ALL - SMALL).unwrap();
    growing.grow(1).unwrap_err();
    drop(growing);
    takes(LARGE_ALL).unwrap();
    app.finish().await;
}

#[tokio::test]
async fn a_slash_too_many_in_the_webhooks_url_loses_no_event() {
    let app = Setup::default().start_without_webhooks().await;
    for (index, path) in [
        "/livekit/webhook",
        "/livekit/webhook/",
        "//livekit/webhook",
        "/livekit/webhook//?x=1",
    ]
    .into_iter()
    .enumerate()
    {
        app.simulator.create_room(&format!("r{index}"), None);
        let webhook = app.last_webhook();
        let url = Url::parse(&format!("{}{path}", app.url)).unwrap();
        let outcomes = app.simulator.post_webhook(&url, &webhook, 1).await;
        assert_eq!(outcomes, [Outcome::Status(200)], "{path}");
    }
    assert_eq!(app.count("select count(*) from webhook_event").await, 4);
    let sid = app.speaker("standup", "acme");
    let mute = app
        .mute(ACME, "standup", "speaker", &sid, true)
        .build()
        .unwrap();
    let body = mute.body().unwrap().as_bytes().unwrap().to_vec();
    let url = format!("{}/livekit/participant/mute/?api_key={ACME}", app.url);
    let mute = app
        .http
        .post(url)
        .header("Content-Type", "application/json")
        .body(body);
    assert_eq!(Answer::to(mute).await.status, 200);
    app.finish().await;
}

#[tokio::test]
async fn the_names_of_the_proto_file_are_as_good_as_camel_case() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply(MUTE_ALL).await;
    let sid = app.speaker("r", "acme");
    let event = app.event_of(&sid);
    let (room, track) = (event.room.unwrap(), event.track.unwrap());
    let snake = json!({
        "id": event.id, "event": "track_published", "created_at": event.created_at,
        "room": {"sid": room.sid, "name": room.name, "creation_time": null},
        "participant": {"identity": "speaker", "joined_at": "0"},
        "track": {"sid": track.sid, "type": 0, "source": 2, "mime_type": "audio/opus"},
    });
    for status in ["stored", "duplicate"] {
        let answer = app.send_event(&snake).await;
        assert_eq!(answer.status, 200, "{status}: {answer:?}");
    }
    app.settle().await;
    assert!(app.is_muted("r", "speaker", &sid));
    assert_eq!(
        app.stored("facts", &sid).await["event"]["created_at"],
        event.created_at
    );
    app.finish().await;
}
