use serde_json::json;

use super::*;
use crate::test_data::captured_webhooks;

#[test]
fn every_captured_webhook_reads_and_its_turn_password_is_gone() {
    let mut published = Vec::new();
    for request in captured_webhooks() {
        let Read { event, body } = read(request.body.as_bytes()).unwrap();
        assert!(!body.contains("turnPassword"), "{body}");
        let mut expected: Value = serde_json::from_str(&request.body).unwrap();
        if let Some(room) = expected["room"].as_object_mut() {
            room.remove("turnPassword");
        }
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
        assert_eq!(event.room.name, "webinar-1");
        if event.name == TRACK_PUBLISHED {
            published.push((
                event.participant.identity,
                event.track.source,
                event.track.track_type,
            ));
        }
    }
    let words: Vec<_> = published
        .iter()
        .map(|(identity, source, track_type)| format!("{identity} {source} {track_type}"))
        .collect();
    assert_eq!(
        words,
        [
            "host-1 MICROPHONE AUDIO",
            "attendee-1 MICROPHONE AUDIO",
            "attendee-1 CAMERA VIDEO",
            "attendee-1 SCREEN_SHARE VIDEO",
            "attendee-1 SCREEN_SHARE_AUDIO AUDIO",
            "sip-4917012345 MICROPHONE AUDIO",
            "agent-7 MICROPHONE AUDIO",
            "attendee-1 UNKNOWN AUDIO",
        ]
    );
}

fn event() -> Value {
    json!({"id": "EV_1", "event": "track_published", "createdAt": "1800000000",
           "room": {"sid": "RM_1", "name": "r"}, "participant": {"identity": "p"},
           "track": {"sid": "TR_1"}})
}

#[test]
fn unknown_fields_and_enum_values_pass() {
    let mut value = event();
    value["novelty"] = json!({"a": [1]});
    value["createdAt"] = json!(1_800_000_000);
    value["track"]["source"] = json!("HOLOGRAM");
    value["track"]["type"] = json!(17);
    let read = read(value.to_string().as_bytes()).unwrap().event;
    assert_eq!(read.track.source, "HOLOGRAM");
    assert_eq!(read.track.track_type, "17");
    assert_eq!(read.created_at.timestamp(), 1_800_000_000);

    value["track"]["source"] = json!(2);
    value["track"]["type"] = json!(1);
    let read = super::read(value.to_string().as_bytes()).unwrap().event;
    assert_eq!(
        (read.track.source.as_str(), read.track.track_type.as_str()),
        ("MICROPHONE", "VIDEO")
    );
}

#[test]
fn what_is_no_event_is_named() {
    for (path, value, message) in [
        ("/id", json!(""), "`id` is missing"),
        ("/event", json!(""), "`event` is missing"),
        ("/createdAt", json!("0"), "`createdAt` is missing"),
        ("/createdAt", json!("soon"), "createdAt"),
        ("/room/sid", json!(""), "`room.sid` is missing"),
        ("/room/name", json!(7), "room.name"),
        (
            "/participant/identity",
            json!(""),
            "`participant.identity` is missing",
        ),
        ("/track/sid", json!(""), "`track.sid` is missing"),
        ("", json!([1]), "no LiveKit webhook event"),
    ] {
        let mut body = event();
        *body.pointer_mut(path).unwrap() = value;
        let error = read(body.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(message), "{path}: {error}");
    }
    for body in [&b""[..], b"{", b"\xff", b"{} {}"] {
        assert!(matches!(read(body), Err(EventError::Json(_))));
    }
}

#[test]
fn a_nul_in_a_name_is_kept_in_the_event_and_escaped_in_the_text() {
    let mut value = event();
    value["track"]["name"] = json!("a\0b");
    let read = read(value.to_string().as_bytes()).unwrap();
    assert_eq!(read.event.track.name, "a\0b");
    assert!(read.body.contains(r"a\u0000b"));
}
