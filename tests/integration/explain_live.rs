//! `POST /v1/explain` of who is in a room.

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use serde_json::{Value, json};

use crate::explain::{WEBINAR, told, why};
use crate::support::{ACME, Setup};

#[tokio::test]
async fn who_is_in_a_room_is_explained_track_by_track() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = || Join::new("ann").attribute("role", "guest");
    let mic = app.publish("webinar-1", ann(), Publish::microphone());
    let camera = Publish::new(TrackSource::Camera);
    let camera = app.simulator.publish("webinar-1", "ann", camera).unwrap();
    let question = json!({"room": "webinar-1", "identity": "ann"});
    let answer = told(&app, ACME, &question).await;
    assert_eq!(answer["left_off"], 0);
    let tracks = answer["tracks"].as_array().unwrap();
    let said: Vec<_> = tracks
        .iter()
        .map(|track| {
            let sid = track["facts"]["track"]["sid"].as_str().unwrap();
            (
                sid,
                track["summary"].as_str().unwrap(),
                &track["dry_run_summary"],
            )
        })
        .collect();
    let trial = Value::from("muted by (operator)/cameras-trial (revision 1, priority 100)");
    let expect = [
        (
            mic.sid.as_str(),
            "muted by (operator)/webinar-mics (revision 1, priority 100)",
            &Value::Null,
        ),
        (camera.sid.as_str(), "left alone: no mute applies", &trial),
    ];
    for line in &expect {
        assert!(said.contains(line), "{said:?}");
    }
    assert_eq!(said.len(), 2);
    let track = &tracks[0];
    assert_eq!(track["facts"]["room"]["tenant"], "acme");
    assert_eq!(track["facts"]["participant"]["attributes"]["role"], "guest");
    assert_eq!(track["facts"]["event"]["type"], "track_published");
    assert_eq!(
        track["provenance"]["calls"],
        json!(["ListRooms", "GetParticipant"])
    );
    let sources = track["provenance"]["sources"].as_object().unwrap();
    assert_eq!(sources["room.name"], "request");
    assert_eq!(sources["event.type"], "assumed");
    assert_eq!(sources["room.num_participants"], "ListRooms");
    assert_eq!(sources["track.muted"], "GetParticipant");
    assert!(!sources.values().any(|source| source == "unknown"));
    assert_eq!(track["recorded"], Value::Null);
    assert_eq!(app.simulator.calls().len(), 2, "both are asked for once");

    let question = json!({"room": "webinar-1", "identity": "ann", "track": camera.sid});
    let one = told(&app, ACME, &question).await;
    assert_eq!(one["tracks"].as_array().unwrap().len(), 1);
    assert_eq!(one["tracks"][0]["facts"]["track"]["source"], "CAMERA");
    app.simulator.join("webinar-1", Join::new("quiet"));
    let none = told(
        &app,
        ACME,
        &json!({"room": "webinar-1", "identity": "quiet"}),
    )
    .await;
    assert_eq!(none, json!({"tracks": [], "left_off": 0}));
    for _ in 0..20 {
        let screen = Publish::new(TrackSource::ScreenShare);
        app.simulator.publish("webinar-1", "quiet", screen).unwrap();
    }
    app.simulator
        .publish("webinar-1", "quiet", Publish::microphone())
        .unwrap();
    let many = told(
        &app,
        ACME,
        &json!({"room": "webinar-1", "identity": "quiet"}),
    )
    .await;
    assert_eq!(many["tracks"].as_array().unwrap().len(), 20);
    assert_eq!(many["left_off"], 1);
    assert!(app.mute_calls().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn livekits_trouble_is_told_apart() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "300");
    let app = setup.start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let question = json!({"room": "standup", "identity": "speaker", "track": sid});
    for (kind, expect) in [
        (FaultKind::Unavailable, "502 LIVEKIT_FAILED"),
        (FaultKind::Html502, "502 LIVEKIT_FAILED"),
        (FaultKind::Hang, "503 LIVEKIT_UNAVAILABLE"),
        (FaultKind::Cut, "503 LIVEKIT_UNAVAILABLE"),
    ] {
        for method in [Method::ListRooms, Method::GetParticipant] {
            app.simulator.set_faults([Fault::of(method, kind)]);
            let answer = why(&app, ACME, &question).await;
            assert_eq!(answer.outcome(), expect, "{kind:?} {method:?}");
            assert!(answer.error().contains(method.name()), "{answer:?}");
        }
    }
    app.simulator.set_faults([]);
    assert_eq!(why(&app, ACME, &question).await.status, 200);
    app.finish().await;

    let app = Setup::default().without("LIVEKIT_URL").start().await;
    let answer = why(&app, ACME, &question).await;
    assert_eq!(answer.outcome(), "503 LIVEKIT_NOT_CONFIGURED");
    let facts = json!({"facts": {"room": {"name": "r"}, "participant": {"identity": "p"}}});
    assert_eq!(why(&app, ACME, &facts).await.status, 200);
    app.finish().await;
}
