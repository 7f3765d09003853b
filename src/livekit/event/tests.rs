use serde_json::json;

use super::*;
use crate::test_data::captured_webhooks;

#[test]
fn every_captured_webhook_reads_and_its_turn_password_is_emptied() {
    let mut published = Vec::new();
    for request in captured_webhooks() {
        let Read { event, body } = read(request.body.as_bytes()).unwrap();
        let mut expected: Value = serde_json::from_str(&request.body).unwrap();
        if let Some(password) = expected.pointer_mut("/room/turnPassword") {
            *password = json!("");
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

fn usual() -> Value {
    json!({
        "id": "EV_1", "event": "track_published", "createdAt": "1800000000",
        "room": {"sid": "RM_1", "name": "r", "creationTime": "1800000000", "metadata": r#"{"auth_id":"acme"}"#,
                 "numParticipants": 3, "numPublishers": 2, "activeRecording": true},
        "participant": {"sid": "PA_1", "identity": "p"},
        "track": {"sid": "TR_1", "name": "n", "source": "MICROPHONE", "mimeType": "audio/opus"},
    })
}

/// `ProtoJSON`'s spellings of one event, in all of its fields that are read, and of some that are not.
#[test]
fn every_spelling_of_protojson_is_the_same_event() {
    let expected = Event {
        id: "EV_1".to_owned(),
        name: TRACK_PUBLISHED.to_owned(),
        created_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        room: EventRoom {
            sid: "RM_1".to_owned(),
            name: "r".to_owned(),
            tenant: Some(crate::test_data::tenant("acme")),
            created_at: 1_800_000_000,
            full: Some(Arc::new(LiveRoom::from(Room {
                sid: "RM_1".to_owned(),
                name: "r".to_owned(),
                metadata: r#"{"auth_id":"acme"}"#.to_owned(),
                creation_time: 1_800_000_000,
                num_participants: 3,
                num_publishers: 2,
                active_recording: true,
                ..Room::default()
            }))),
        },
        participant: EventParticipant {
            sid: "PA_1".to_owned(),
            identity: "p".to_owned(),
        },
        track: EventTrack {
            sid: "TR_1".to_owned(),
            name: "n".to_owned(),
            source: "MICROPHONE".to_owned(),
            track_type: "AUDIO".to_owned(),
            mime_type: "audio/opus".to_owned(),
        },
    };
    for (at, key, spellings) in [
        (
            "",
            "createdAt",
            vec![
                json!(1_800_000_000),
                json!("1800000000"),
                json!(1.8e9),
                json!("1.8e9"),
                json!("1800000000.0"),
            ],
        ),
        (
            "",
            "created_at",
            vec![json!(1_800_000_000), json!("1800000000"), json!(1.8e9)],
        ),
        ("", "room", vec![usual()["room"].clone()]),
        (
            "/room",
            "creation_time",
            vec![json!("1800000000"), json!(1_800_000_000)],
        ),
        ("/room", "num_participants", vec![json!(3), json!("3")]),
        ("/room", "num_publishers", vec![json!(2), json!(2.0)]),
        ("/room", "active_recording", vec![json!(true)]),
        (
            "/track",
            "source",
            vec![json!("MICROPHONE"), json!(2), json!(2.0)],
        ),
        (
            "/track",
            "type",
            vec![json!("AUDIO"), json!(0), json!(null)],
        ),
        ("/track", "mime_type", vec![json!("audio/opus")]),
        ("", "numDropped", vec![json!(null), json!(3)]),
        ("", "num_dropped", vec![json!("3")]),
        (
            "",
            "egressInfo",
            vec![json!(null), json!({"egressId": "EG_1"})],
        ),
        ("", "ingress_info", vec![json!({"ingress_id": "IN_1"})]),
        ("/room", "turn_password", vec![json!("secret")]),
        ("/participant", "joined_at", vec![json!(null), json!(0)]),
    ] {
        for spelling in spellings {
            let mut value = usual();
            let section = value.pointer_mut(at).unwrap().as_object_mut().unwrap();
            match key {
                "created_at" => section.remove("createdAt"),
                "mime_type" => section.remove("mimeType"),
                "creation_time" => section.remove("creationTime"),
                "num_participants" => section.remove("numParticipants"),
                "num_publishers" => section.remove("numPublishers"),
                "active_recording" => section.remove("activeRecording"),
                _ => None,
            };
            section.insert(key.to_owned(), spelling.clone());
            let read = read(value.to_string().as_bytes()).unwrap();
            assert_eq!(read.event, expected, "{key}: {spelling}");
            assert!(!read.body.contains("secret"), "{key}: {spelling}");
        }
    }
}

/// Whatever is no part of an event of its kind.
#[test]
fn left_out_and_null_are_the_same() {
    for null in [
        "room",
        "participant",
        "track",
        "room.sid",
        "room.name",
        "room.metadata",
        "participant.sid",
        "participant.identity",
        "track.sid",
        "track.name",
        "track.source",
        "track.type",
        "track.mimeType",
    ] {
        let mut value = usual();
        value["event"] = json!("room_started");
        let pointer = format!("/{}", null.replace('.', "/"));
        let (section, key) = pointer.rsplit_once('/').unwrap();
        let without = {
            let mut value = value.clone();
            value
                .pointer_mut(section)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(key);
            read(value.to_string().as_bytes()).unwrap().event
        };
        value.pointer_mut(section).unwrap()[key] = Value::Null;
        assert_eq!(
            read(value.to_string().as_bytes()).unwrap().event,
            without,
            "{null}"
        );
    }
}

/// What LiveKit's protocol has as events, the newest included: each is read, whatever it has beside.
#[test]
fn every_event_of_livekit_is_read() {
    for (name, body) in [
        (
            "room_started",
            json!({"room": {"sid": "RM_1", "name": "r", "creationTime": "1800000000", "metadata": r#"{"auth_id":"acme"}"#}}),
        ),
        (
            "room_finished",
            json!({"room": {"sid": "RM_1", "name": "r"}}),
        ),
        (
            "participant_joined",
            json!({"room": {"name": "r"}, "participant": {"identity": "p", "kindDetails": ["FORWARDED", 9]}}),
        ),
        (
            "participant_left",
            json!({"room": {"name": "r"}, "participant": {"identity": "p", "disconnectReason": "CLIENT_INITIATED"}}),
        ),
        (
            "participant_connection_aborted",
            json!({"participant": {"identity": "p"}}),
        ),
        (
            "track_published",
            json!({"room": {"sid": "RM_1", "name": "r"}, "participant": {"identity": "p"}, "track": {"sid": "TR_1"}}),
        ),
        (
            "track_unpublished",
            json!({"room": {"name": "r"}, "participant": {"identity": "p"}, "track": {"sid": "TR_1", "layers": []}}),
        ),
        (
            "egress_started",
            json!({"egressInfo": {"egressId": "EG_1", "roomName": "r"}}),
        ),
        (
            "egress_updated",
            json!({"egress_info": {"egress_id": "EG_1"}}),
        ),
        ("egress_ended", json!({"egressInfo": null})),
        (
            "ingress_started",
            json!({"ingressInfo": {"ingressId": "IN_1"}}),
        ),
        ("ingress_ended", json!({"ingress_info": {}})),
        (
            "of_a_newer_livekit",
            json!({"numDropped": 7, "novelty": [{"a": 1e300}]}),
        ),
    ] {
        for created_at in ["createdAt", "created_at"] {
            let mut value = body.clone();
            value["id"] = json!("EV_1");
            value["event"] = json!(name);
            value[created_at] = json!("1800000000");
            let event = read(value.to_string().as_bytes()).unwrap().event;
            assert_eq!(
                (event.name.as_str(), event.created_at.timestamp()),
                (name, 1_800_000_000)
            );
        }
    }
}

#[test]
fn what_is_no_event_is_named() {
    for (path, value, message) in [
        ("/id", json!(""), "`id` is missing"),
        ("/event", json!(""), "`event` is missing"),
        ("/createdAt", json!("0"), "`createdAt` is missing"),
        (
            "/createdAt",
            json!("soon"),
            "createdAt: \"soon\" is not a whole number",
        ),
        (
            "/createdAt",
            json!(1.5),
            "createdAt: 1.5 is not a whole number",
        ),
        ("/createdAt", json!(1e300), "createdAt"),
        ("/createdAt", json!(null), "`createdAt` is missing"),
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
        let error = read(body).unwrap_err().to_string();
        assert!(error.starts_with("the body is not JSON: "), "{error}");
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

/// What a participant calls an attribute must not be what its events are lost for.
#[test]
fn what_is_not_read_is_kept_as_it_came() {
    let kept =
        r#""attributes":{"$serde_json::private::RawValue":"x","a":"\ud800","n":[1e15,1e400]}"#;
    let body = format!(
        r#"{{"id":"EV_1","event":"participant_joined","createdAt":1800000000,"room":{{"name":"r","turnPassword":"t"}},"participant":{{"identity":"p",{kept}}}}}"#
    );
    let read = read(body.as_bytes()).unwrap();
    let expected = body.replace(r#""turnPassword":"t""#, r#""turnPassword":"""#);
    assert_eq!(read.body, expected);
    assert_eq!(super::read(read.body.as_bytes()).unwrap().event, read.event);
}

/// It is told by its creation time alone, and kept for tracks alone.
#[test]
fn a_full_room_is_kept_where_it_is_small() {
    let check = |change: fn(&mut Value), is_kept: bool| {
        let mut value = usual();
        change(&mut value);
        let read = read(value.to_string().as_bytes()).unwrap();
        assert_eq!(read.event.room.full.is_some(), is_kept, "{value}");
        assert_eq!(
            read.event.room.tenant,
            Some(crate::test_data::tenant("acme"))
        );
    };
    check(|_| {}, true);
    check(|event| event["room"]["creationTime"] = json!(0), false);
    check(|event| event["room"]["creationTime"] = Value::Null, false);
    check(|event| event["event"] = json!("track_unpublished"), false);
    check(
        |event| {
            let padding = "y".repeat(FULL_METADATA_BYTES_MAX);
            event["room"]["metadata"] = json!(json!({"auth_id": "acme", "x": padding}).to_string());
        },
        false,
    );
}
