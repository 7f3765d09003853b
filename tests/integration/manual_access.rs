//! Who may mute where, and that nobody learns of what is not theirs.

use std::time::{Duration, Instant};

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use quell_jwt::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};

const TRACK: &str = "TR_AMonly";
const HS256: &str = "a-secret-of-callers-jwts-0123456789abcdef";

fn microphone() -> Publish {
    Publish {
        sid: Some(TRACK.to_owned()),
        ..Publish::microphone()
    }
}

#[tokio::test]
async fn only_the_rooms_own_tenant_acts_and_a_caller_without_an_id_anywhere() {
    let setup = Setup::default().env("AUTH_REQUIRED", "false");
    let app = setup.start_without_webhooks().await;
    let cases = [
        (r#"{"auth_id":"acme"}"#, "acme", true),
        (r#"{"auth_id":"acme","title":"x"}"#, "acme", true),
        (r#"{"auth_id":"globex"}"#, "globex", false),
        (r#"{"auth_id":"Acme"}"#, "Acme", false),
        (r#"{"auth_id":" acme"}"#, " acme", false),
        (r#"{"auth_id":"acme "}"#, "acme ", false),
        (r#"{"auth_id":"acme\u0000"}"#, "-", false),
        (r#"{"auth_id":""}"#, "-", false),
        (r#"{"auth_id":" \t"}"#, "-", false),
        (r#"{"auth_id":null}"#, "-", false),
        (r#"{"auth_id":7}"#, "-", false),
        (r#"{"auth_id":true}"#, "-", false),
        (r#"{"auth_id":["acme"]}"#, "-", false),
        (r#"{"auth_id":{"id":"acme"}}"#, "-", false),
        (r#"{"AUTH_ID":"acme"}"#, "-", false),
        ("{}", "-", false),
        (r#"["auth_id","acme"]"#, "-", false),
        (r#""acme""#, "-", false),
        (r#"[{"auth_id":"acme"}]"#, "-", false),
        (r#"{"auth_id":"acme""#, "-", false),
        ("acme", "-", false),
        ("", "-", false),
    ];
    for (index, (metadata, tenant, allowed)) in cases.into_iter().enumerate() {
        let room = format!("room-{index}");
        app.simulator.create_room(&room, Some(metadata));
        let sid = app
            .publish(&room, Join::new("speaker"), Publish::microphone())
            .sid;
        let id = format!("acme-{index}");
        let request = app.mute(ACME, &room, "speaker", &sid, true);
        let answer = Answer::to(request.header("X-Request-Id", &id)).await;
        if allowed {
            assert_eq!(answer.status, 200, "{metadata}: {answer:?}");
        } else {
            let masked = "404 PARTICIPANT_NOT_FOUND";
            assert_eq!(answer.outcome(), masked, "{metadata}");
            assert!(!app.is_muted(&room, "speaker", &sid), "{metadata}");
            let on = format!("acme {tenant} {room} speaker -");
            let refusal = format!("outcome manual mute refused {on} -->-");
            assert_eq!(app.trail(&id).await, [refusal], "{metadata}");
        }
        let id = format!("nobody-{index}");
        let answer = Answer::to(nobody(&app, &room, &sid, &id)).await;
        assert_eq!(answer.status, 200, "{metadata}: {answer:?}");
        let done = format!("done - {tenant} {room} speaker MICROPHONE {allowed}->true");
        let outcome = app.trail(&id).await.pop().unwrap();
        assert_eq!(outcome, format!("outcome manual mute {done}"), "{metadata}");
    }
    let allowed = cases.iter().filter(|case| case.2).count();
    assert_eq!(app.mute_calls().len(), cases.len() + allowed);
    app.finish().await;
}

fn nobody(app: &TestApp, room: &str, sid: &str, request_id: &str) -> reqwest::RequestBuilder {
    app.http
        .post(format!("{}/livekit/participant/mute", app.url))
        .header("X-Request-Id", request_id)
        .json(&json!({
            "room_name": room,
            "participant_identity": "speaker",
            "track_sid": sid,
            "muted": true,
        }))
}

#[tokio::test]
async fn an_operator_mutes_by_hand_in_its_own_rooms_only() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("theirs", "acme");
    let own = app.speaker("own", "ops");
    let answer = Answer::to(app.mute(OPERATOR, "theirs", "speaker", &sid, true)).await;
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    let answer = Answer::to(app.mute(OPERATOR, "own", "speaker", &own, true)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.mute_calls().len(), 1);
    app.finish().await;
}

/// The same request, again and again, while what it asks for changes behind it.
#[tokio::test]
async fn what_is_missing_and_what_is_forbidden_are_the_same_bytes() {
    let setup = Setup::default()
        // A call that waited for LiveKit to find nobody would never come back.
        .simulator(|simulator| simulator.no_response_after = Duration::from_mins(10));
    let app = setup.start_without_webhooks().await;
    let speaker = || Join::new("speaker");
    let cases: [(&str, &str, &dyn Fn()); 7] = [
        ("-", "no such room", &|| {}),
        ("globex", "another auth_id", &|| {
            app.room("r", "globex");
            app.publish("r", speaker(), microphone());
        }),
        ("globex", "another auth_id", &|| app.room("r", "globex")),
        ("-", "names no auth_id", &|| {
            app.simulator.create_room("r", None);
            app.publish("r", speaker(), microphone());
        }),
        ("acme", "no such participant", &|| {
            app.room("r", "acme");
            app.publish("r", Join::new("Speaker"), microphone());
        }),
        ("acme", "no such track", &|| {
            app.room("r", "acme");
            app.publish("r", speaker(), Publish::microphone());
        }),
        ("acme", "no such track", &|| {
            app.room("r", "acme");
            app.simulator.join("r", speaker());
            app.publish("r", Join::new("other"), microphone());
        }),
    ];
    let mut answers = Vec::new();
    for (index, (tenant, why, prepare)) in cases.into_iter().enumerate() {
        prepare();
        // As long as every other id, so that requests differ in one digit only.
        let id = format!("request-{index}");
        answers.push(raw(&app, &id).await);
        let trail = app.trail(&id).await;
        assert_eq!(trail.len(), 1, "{why}: {trail:?}");
        let start = format!("outcome manual mute refused acme {tenant} r speaker");
        assert!(trail[0].starts_with(&start), "{why}: {trail:?}");
        let reason = app.reason(&id).await.unwrap();
        assert!(reason.contains(why), "{why}: {reason}");
        if app.simulator.room("r").is_some() {
            app.simulator.end_room("r").unwrap();
        }
    }
    assert!(answers[0].starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(answers[0].ends_with(r#""code":"PARTICIPANT_NOT_FOUND"}"#));
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
    assert!(app.mute_calls().is_empty());
    // The control: it is this very request that mutes where all is there and allowed.
    app.room("r", "acme");
    app.publish("r", speaker(), microphone());
    let answer = raw(&app, "request-9").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(app.mute_calls().len(), 1);
    app.finish().await;
}

/// What is not there may be there in a moment: it is looked for again. What is not the caller's is
/// looked at as often, so that nobody learns by the time that it took.
#[tokio::test]
async fn what_is_missing_and_what_is_forbidden_take_as_long() {
    let setup = Setup::default().simulator(|simulator| {
        // LiveKit asks the room itself, and one that is not there would never answer.
        simulator.psrpc_for_participants = true;
        simulator.no_response_after = Duration::from_mins(10);
    });
    let app = setup.start_without_webhooks().await;
    app.room("theirs", "globex");
    app.publish("theirs", Join::new("speaker"), microphone());
    app.room("theirs-empty", "globex");
    app.simulator.create_room("nobodys", None);
    app.room("own-empty", "acme");
    app.room("own", "acme");
    app.publish("own", Join::new("speaker"), Publish::microphone());
    let mut bodies = Vec::new();
    for (room, participants_asked) in [
        ("none", 0),
        ("theirs", 0),
        ("theirs-empty", 0),
        ("nobodys", 0),
        ("own-empty", 4),
        ("own", 4),
    ] {
        let count = |method| app.calls_to(method).len();
        let before = [Method::ListRooms, Method::GetParticipant].map(count);
        let begun = Instant::now();
        let answer = Answer::to(app.mute(ACME, room, "speaker", TRACK, true)).await;
        assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND", "{room}");
        assert!(begun.elapsed() >= Duration::from_millis(300), "{room}");
        let after = [Method::ListRooms, Method::GetParticipant].map(count);
        assert_eq!(
            [after[0] - before[0], after[1] - before[1]],
            [4, participants_asked],
            "{room}"
        );
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_slow_livekit_is_not_asked_for_longer_than_a_moment_and_one_that_fails_since_is_no_answer()
 {
    let app = Setup::default().start_without_webhooks().await;
    let slow = FaultKind::Latency(Duration::from_millis(400));
    app.simulator
        .set_faults([Fault::of(Method::ListRooms, slow)]);
    let answer = Answer::to(app.mute(ACME, "none", "speaker", TRACK, true)).await;
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    assert_eq!(app.calls_to(Method::ListRooms).len(), 1);
    app.simulator.set_faults([]);
    let failing = async {
        app.wait_for_calls(Method::ListRooms, 2).await;
        app.simulator
            .set_faults([Fault::of(Method::ListRooms, FaultKind::Unavailable)]);
    };
    let request = app.mute(ACME, "none", "speaker", TRACK, true);
    let (answer, ()) = tokio::join!(Answer::to(request), failing);
    assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    assert_eq!(
        app.count("select count(*) from failed_actions where outcome = 'refused'")
            .await,
        2
    );
    app.finish().await;
}

/// LiveKit tells clients of a track before its API shows it.
#[tokio::test]
async fn what_livekit_shows_a_moment_later_is_muted() {
    for missing in ["room", "participant", "track"] {
        let app = Setup::default().start_without_webhooks().await;
        if missing != "room" {
            app.room("r", "acme");
        }
        if missing == "track" {
            app.simulator.join("r", Join::new("speaker"));
        }
        let (first, looks) = match missing {
            "room" => (Method::ListRooms, 1),
            _ => (Method::GetParticipant, 1),
        };
        let shown = async {
            app.wait_for_calls(first, looks).await;
            if missing == "room" {
                app.room("r", "acme");
            }
            app.publish("r", Join::new("speaker"), microphone());
        };
        let request = app
            .mute(ACME, "r", "speaker", TRACK, true)
            .header("X-Request-Id", "id");
        let (answer, ()) = tokio::join!(Answer::to(request), shown);
        assert_eq!(answer.status, 200, "{missing}: {answer:?}");
        assert!(app.is_muted("r", "speaker", TRACK), "{missing}");
        let done = "outcome manual mute done acme acme r speaker MICROPHONE false->true";
        assert_eq!(
            app.trail("id").await.pop().as_deref(),
            Some(done),
            "{missing}"
        );
        app.finish().await;
    }
}

/// A token that may not mute: the row is the room's tenant's, who wants to know of it.
#[tokio::test]
async fn a_refusal_for_want_of_scope_is_a_row_of_the_rooms_tenant() {
    let setup = Setup::default().env("QUELL_JWT_SECRET", HS256);
    let app = setup.start_without_webhooks().await;
    app.speaker("standup", "acme");
    app.simulator.create_room("nobodys", None);
    let claims =
        json!({"sub": "globex", "scope": "policies:read", "exp": app.now().timestamp() + 3600});
    let key = EncodingKey::from_secret(HS256.as_bytes());
    let token = quell_jwt::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    let mut bodies = Vec::new();
    for (room, tenant) in [("standup", "acme"), ("nobodys", "-"), ("none", "-")] {
        let request = app
            .mute(&token, room, "speaker", TRACK, true)
            .header("X-Request-Id", room);
        let answer = Answer::to(request).await;
        assert_eq!(answer.outcome(), "403 FORBIDDEN", "{room}");
        let refusal = format!("outcome manual mute refused globex {tenant} {room} speaker - -->-");
        assert_eq!(app.trail(room).await, [refusal]);
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    // A LiveKit that fails changes nothing about it, but for whose row it is.
    app.simulator
        .set_faults([Fault::of(Method::ListRooms, FaultKind::Unavailable)]);
    let request = app
        .mute(&token, "standup", "speaker", TRACK, true)
        .header("X-Request-Id", "failed");
    assert_eq!(Answer::to(request).await.outcome(), "403 FORBIDDEN");
    assert_eq!(
        app.trail("failed").await,
        ["outcome manual mute refused globex - standup speaker - -->-"]
    );
    assert_eq!(app.mute_calls(), []);
    app.finish().await;
}

/// Every byte of the answer but its `date`.
async fn raw(app: &TestApp, request_id: &str) -> String {
    let body = json!({
        "room_name": "r",
        "participant_identity": "speaker",
        "track_sid": TRACK,
        "muted": true,
    })
    .to_string();
    let host = app.url.strip_prefix("http://").unwrap();
    let request = format!(
        "POST /livekit/participant/mute HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Authorization: Bearer {ACME}\r\nX-Request-Id: {request_id}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let lines = answer.split_inclusive("\r\n");
    // The time, and what the client itself has sent.
    let varies = |line: &&str| line.starts_with("date:") || line.starts_with("x-request-id:");
    lines.filter(|line| !varies(line)).collect()
}

#[tokio::test]
async fn a_room_of_the_same_name_that_is_anothers_now_is_looked_at_afresh() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("r", "acme");
    let answer = Answer::to(app.mute(ACME, "r", "speaker", &sid, true)).await;
    assert_eq!(answer.status, 200);
    app.simulator.end_room("r").unwrap();
    let sid = app.speaker("r", "globex");
    for (token, status) in [(ACME, 404), (GLOBEX, 200)] {
        let answer = Answer::to(app.mute(token, "r", "speaker", &sid, true)).await;
        assert_eq!(answer.status, status);
    }
    app.finish().await;
}
