//! A moderator mutes and unmutes by hand, and the audit says so.

use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::{
    ListRoomsResponse, MuteRoomTrackResponse, ParticipantInfo, Room, TrackInfo, TrackSource,
};
use prost::Message;
use serde_json::json;

use crate::support::{ACME, Answer, BOUND, Setup, Stub};

#[tokio::test]
async fn a_track_is_muted_and_unmuted_and_every_action_is_two_audit_rows() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    for (id, muted, before) in [
        ("first", true, false),
        ("again", true, true),
        ("unmute", false, true),
        ("unmute-again", false, false),
    ] {
        let request = app.mute(ACME, "standup", "speaker", &sid, muted);
        let answer = Answer::to(request.header("X-Request-Id", id)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let same_four = json!({
            "room_name": "standup",
            "participant_identity": "speaker",
            "track_sid": sid,
            "muted": muted,
        });
        assert_eq!(answer.json(), same_four, "{id}");
        assert_eq!(app.is_muted("standup", "speaker", &sid), muted, "{id}");
        let action = if muted { "mute" } else { "unmute" };
        let on = "acme acme standup speaker MICROPHONE";
        assert_eq!(
            app.trail(id).await,
            [
                format!("intent manual {action} - {on} {before}->-"),
                format!("outcome manual {action} done {on} {before}->{muted}"),
            ]
        );
    }
    // What changed nothing is told apart, in the rows and in the numbers.
    for (id, changed) in [
        ("first", "true"),
        ("again", "false"),
        ("unmute", "true"),
        ("unmute-again", "false"),
    ] {
        let row = format!("select changed from moderation_history where request_id = '{id}'");
        assert_eq!(app.sql(&row).await.as_deref(), Some(changed), "{id}");
    }
    let numbers = "select concat_ws(' ', mutes, mutes_by_people, unmutes, unchanged) from actions_by_participant";
    assert_eq!(app.sql(numbers).await.as_deref(), Some("\"1 1 1 2\""));
    let room_sid = app.simulator.room("standup").unwrap().sid;
    let complete: i64 = sqlx::query_scalar(
        "select count(*) from moderation_history
         where room_sid = $1 and track_sid = $2 and latency_ms > 0 and settled_at >= started_at",
    )
    .bind(room_sid)
    .bind(&sid)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(
        complete, 4,
        "each says which room, which track and how long"
    );
    app.finish().await;
}

/// Both looked before either acted; the second finds what the first made of it.
#[tokio::test]
async fn of_mutes_at_once_one_changed_the_track() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    // All of them have looked before the first is through.
    let slow = FaultKind::Latency(Duration::from_millis(300));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, slow)]);
    let mute = || Answer::to(app.mute(ACME, "standup", "speaker", &sid, true));
    for answer in <[_; 3]>::from(tokio::join!(mute(), mute(), mute())) {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let rows = "select string_agg(changed || ' ' || (before ->> 'muted'), ', ' order by settled_at) from moderation_history";
    assert_eq!(
        app.sql(rows).await.as_deref(),
        Some("\"true false, false true, false true\"")
    );
    let numbers = "select concat_ws(' ', mutes, unchanged) from actions_by_participant";
    assert_eq!(app.sql(numbers).await.as_deref(), Some("\"1 2\""));
    // What the participant does itself since then is seen by looking.
    app.simulator
        .set_self_muted("standup", "speaker", &sid, false)
        .unwrap();
    assert_eq!(mute().await.status, 200);
    assert_eq!(app.sql(numbers).await.as_deref(), Some("\"2 2\""));
    app.finish().await;
}

#[tokio::test]
async fn a_request_without_an_id_of_its_own_gets_one() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    for header in [None, Some(""), Some("x".repeat(129).as_str())] {
        let mut request = app.mute(ACME, "standup", "speaker", &sid, true);
        if let Some(id) = header {
            request = request.header("X-Request-Id", id);
        }
        assert_eq!(Answer::to(request).await.status, 200);
    }
    let ids = "select count(distinct request_id::uuid) from audit_log";
    assert_eq!(app.count(ids).await, 3);
    app.finish().await;
}

#[tokio::test]
async fn names_are_used_exactly_as_given() {
    let app = Setup::default().start_without_webhooks().await;
    let names = [
        "all hands",
        " padded ",
        "padded",
        "team/a",
        "../up",
        "a%2Fb",
        "a/b",
        "Standup",
        "standup",
        "räume 会議 🔇",
        "ra\u{308}ume",
        "räume",
        "a?b#c&d=e+f",
        r#""quoted" \ 'twice'"#,
        "tab\tand\nline",
    ];
    let sids = names.map(|name| {
        app.room(name, "acme");
        app.publish(name, Join::new(name), Publish::microphone())
            .sid
    });
    for (name, sid) in names.iter().zip(&sids) {
        let answer = Answer::to(app.mute(ACME, name, name, sid, true)).await;
        assert_eq!(answer.status, 200, "{name:?}: {answer:?}");
        assert_eq!(answer.json()["room_name"], *name);
        assert_eq!(answer.json()["participant_identity"], *name);
        let stored: i64 = sqlx::query_scalar(
            "select count(*) from moderation_history where room_name = $1 and identity = $1",
        )
        .bind(name)
        .fetch_one(&app.pool)
        .await
        .unwrap();
        assert_eq!(stored, 1, "{name:?}");
    }
    let muted: Vec<_> = app.mute_calls().into_iter().map(|call| call.room).collect();
    assert_eq!(muted, names);
    for near in ["all hands ", "Padded", "team%2Fa", "STANDUP", "räume"] {
        let sid = &sids[0];
        if !names.contains(&near) {
            let answer = Answer::to(app.mute(ACME, near, near, sid, true)).await;
            assert_eq!(answer.status, 404, "{near:?}");
        }
    }
    app.finish().await;
}

/// Postgres has no NUL, and no index entry over 2704 bytes: neither may be a way out.
#[tokio::test]
async fn names_that_postgres_cannot_hold_are_muted_all_the_same() {
    let app = Setup::default().start_without_webhooks().await;
    let long: String = (0..3000).map(|_| rand::random::<char>()).collect();
    for (room, identity) in [
        ("with\0nul", "with\0nul"),
        (long.as_str(), "p"),
        ("r", long.as_str()),
    ] {
        app.room(room, "acme");
        let track = app.publish(room, Join::new(identity), Publish::microphone());
        let answer = Answer::to(app.mute(ACME, room, identity, &track.sid, true)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["room_name"], room);
        assert!(app.is_muted(room, identity, &track.sid));
    }
    let done = "select count(*) from moderation_history where outcome = 'done'";
    assert_eq!(app.count(done).await, 3);
    let missing = Answer::to(app.mute(ACME, &long, &long, &long, true)).await;
    assert_eq!(missing.outcome(), "404 PARTICIPANT_NOT_FOUND");
    app.finish().await;
}

#[tokio::test]
async fn the_answer_is_the_state_that_livekit_reports_and_not_the_one_asked_for() {
    let livekit = Stub::start(|request| {
        let track = TrackInfo {
            sid: "TR_1".to_owned(),
            source: TrackSource::Microphone.into(),
            muted: false,
            ..TrackInfo::default()
        };
        match request.path.rsplit('/').next() {
            Some("ListRooms") => protobuf(&ListRoomsResponse {
                rooms: vec![Room {
                    name: "r".to_owned(),
                    metadata: r#"{"auth_id":"acme"}"#.to_owned(),
                    ..Room::default()
                }],
            }),
            Some("GetParticipant") => protobuf(&ParticipantInfo {
                identity: "p".to_owned(),
                tracks: vec![track],
                ..ParticipantInfo::default()
            }),
            _ => protobuf(&MuteRoomTrackResponse { track: Some(track) }),
        }
    })
    .await;
    let setup = Setup::default().env("LIVEKIT_URL", &livekit.url);
    let app = setup.start_without_webhooks().await;
    let request = app.mute(ACME, "r", "p", "TR_1", true);
    let answer = Answer::to(request.header("X-Request-Id", "id")).await;
    assert_eq!(answer.json()["muted"], false, "{answer:?}");
    let outcome = app.trail("id").await.pop();
    let expect = "outcome manual mute done acme acme r p MICROPHONE false->false";
    assert_eq!(outcome.as_deref(), Some(expect));
    app.finish().await;
}

fn protobuf(message: &impl Message) -> Response {
    let content_type = [(CONTENT_TYPE, "application/protobuf")];
    (content_type, message.encode_to_vec()).into_response()
}

#[tokio::test]
async fn a_track_that_ends_during_the_call_is_not_there() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let latency = FaultKind::Latency(Duration::from_millis(500));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, latency)]);
    let request = app.mute(ACME, "standup", "speaker", &sid, true);
    let (answer, ()) = tokio::join!(Answer::to(request.header("X-Request-Id", "id")), async {
        let called = |_: &_| !app.mute_calls().is_empty();
        app.simulator.wait_until(BOUND, called).await.unwrap();
        app.simulator.unpublish("standup", "speaker", &sid).unwrap();
    });
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    let on = "acme acme standup speaker MICROPHONE false->-";
    assert_eq!(
        app.trail("id").await,
        [
            format!("intent manual mute - {on}"),
            format!("outcome manual mute gone {on}"),
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn two_moderators_on_one_track_act_one_after_the_other_and_both_are_answered() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("standup", "acme");
    let latency = FaultKind::Latency(Duration::from_millis(300));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, latency)]);
    let ask = |muted| Answer::to(app.mute(ACME, "standup", "speaker", &sid, muted));
    let answers = tokio::join!(ask(true), ask(false), ask(true), ask(false));
    for (answer, muted) in [
        (answers.0, true),
        (answers.1, false),
        (answers.2, true),
        (answers.3, false),
    ] {
        assert_eq!(answer.json()["muted"], muted, "{answer:?}");
    }
    // Whoever overlapped would have written its intent before the other's outcome.
    let rows: Vec<(String, sqlx::types::Uuid)> =
        sqlx::query_as("select phase, action_id from audit_log order by seq")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), 8);
    for pair in rows.chunks(2) {
        assert_eq!(pair[0].0, "intent", "{rows:?}");
        assert_eq!(pair[1].0, "outcome", "{rows:?}");
        assert_eq!(pair[0].1, pair[1].1, "{rows:?}");
    }
    let last = app.mute_calls().pop().unwrap();
    let is_muted = app.is_muted("standup", "speaker", &sid);
    assert_eq!(last.muted, Some(is_muted), "the last one stands");
    app.finish().await;
}

#[tokio::test]
async fn livekit_behind_a_path_prefix_is_reached() {
    let urls: [fn(String) -> String; 3] = [
        |url| url,
        |url| format!("{url}/"),
        |url| url.replacen("http://", "ws://", 1),
    ];
    for url in urls {
        let setup = Setup::default()
            .simulator(|simulator| simulator.prefix = Some("/proxy/livekit".to_owned()));
        let app = setup.livekit_url(url).start_without_webhooks().await;
        let sid = app.speaker("standup", "acme");
        let answer = Answer::to(app.mute(ACME, "standup", "speaker", &sid, true)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(app.is_muted("standup", "speaker", &sid));
        app.finish().await;
    }
}
