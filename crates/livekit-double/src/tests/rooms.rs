//! Rooms and participants, as the Rust API changes them.

use chrono::DateTime;
use proto::{TrackSource, participant_info};

use super::*;
use quell_clock::ManualClock;

/// The names of all events since the start.
fn events(simulator: &Simulator) -> Vec<String> {
    let events = simulator.events().into_iter();
    events.map(|event| event.event).collect()
}

#[tokio::test]
async fn mutes_metadata_and_attributes_cause_no_webhooks() {
    let simulator = start(SimulatorConfig::default()).await;
    simulator.join("r", Join::new("ann").attribute("role", "host"));
    let track = simulator
        .publish("r", "ann", Publish::microphone())
        .unwrap();
    let before = events(&simulator);

    let muted = simulator.set_self_muted("r", "ann", &track.sid, true);
    assert!(muted.unwrap().muted);
    assert!(simulator.track("r", "ann", &track.sid).unwrap().muted);
    let changes = [("role", ""), ("seat", "2")];
    let changes = changes.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let ann = simulator
        .set_attributes("r", "ann", changes.into())
        .unwrap();
    assert_eq!(
        ann.attributes,
        HashMap::from([("seat".to_owned(), "2".to_owned())])
    );
    let room = simulator.create_room("r", Some("new"));
    assert_eq!(room.metadata, "new");
    assert_eq!(simulator.room("r").unwrap().sid, room.sid);
    assert_eq!(events(&simulator), before);
}

#[tokio::test]
async fn a_room_ends_with_everything_in_it_and_its_name_can_come_back() {
    let simulator = start(SimulatorConfig::default()).await;
    let first = simulator.create_room("r", None);
    simulator.join("r", Join::new("ann"));
    simulator
        .publish("r", "ann", Publish::microphone())
        .unwrap();
    simulator.end_room("r").unwrap();
    let expected = [
        "room_started",
        "participant_joined",
        "track_published",
        "track_unpublished",
        "participant_left",
        "room_finished",
    ];
    assert_eq!(events(&simulator), expected);
    let left = simulator.events().into_iter().nth(4).unwrap();
    let reason = left.participant.unwrap().disconnect_reason();
    assert_eq!(reason.as_str_name(), "ROOM_DELETED");
    assert!(simulator.rooms().is_empty());
    assert!(matches!(
        simulator.end_room("r"),
        Err(SimulatorError::NoRoom(_))
    ));

    assert_ne!(simulator.create_room("r", None).sid, first.sid);
}

#[tokio::test]
async fn the_same_identity_sends_the_first_one_away() {
    let simulator = start(SimulatorConfig::default()).await;
    let first = simulator.join("r", Join::new("ann"));
    let second = simulator.join("r", Join::new("ann"));
    assert_ne!(first.sid, second.sid);
    let events = simulator.events();
    let names: Vec<_> = events.iter().map(|event| event.event.as_str()).collect();
    let expected = [
        "room_started",
        "participant_joined",
        "participant_left",
        "participant_joined",
    ];
    assert_eq!(names, expected);
    let left = events[2].participant.clone().unwrap();
    assert_eq!(left.sid, first.sid);
    assert_eq!(left.disconnect_reason().as_str_name(), "DUPLICATE_IDENTITY");
    assert_eq!(simulator.participant("r", "ann").unwrap().sid, second.sid);
}

#[tokio::test]
async fn who_only_signals_is_listed_but_no_webhook_says_joined() {
    let simulator = start(SimulatorConfig::default()).await;
    let observer = simulator.join(
        "r",
        Join {
            hidden: true,
            signalling_only: true,
            ..Join::new("observer")
        },
    );
    assert_eq!(observer.state(), participant_info::State::Joining);
    assert!(observer.permission.unwrap().hidden);
    simulator.leave("r", "observer").unwrap();
    let expected = ["room_started", "participant_connection_aborted"];
    assert_eq!(events(&simulator), expected);
}

#[tokio::test]
async fn only_permitted_sources_are_published() {
    let simulator = start(SimulatorConfig::default()).await;
    let mut camera_only = Join::new("ann");
    let sources = vec![TrackSource::Camera.into()];
    camera_only.permission.can_publish_sources = sources;
    simulator.join("r", camera_only);
    let camera = Publish::new(TrackSource::Camera);
    simulator.publish("r", "ann", camera).unwrap();
    let refused = simulator.publish("r", "ann", Publish::microphone());
    assert!(matches!(refused, Err(SimulatorError::NotPermitted { .. })));
}

#[tokio::test]
async fn what_is_not_there_is_an_error() {
    let simulator = start(SimulatorConfig::default()).await;
    simulator.join("r", Join::new("ann"));
    let publish = |room, identity| simulator.publish(room, identity, Publish::microphone());
    assert!(matches!(
        publish("x", "ann"),
        Err(SimulatorError::NoRoom(_))
    ));
    let nobody = publish("r", "x");
    assert!(matches!(nobody, Err(SimulatorError::NoParticipant { .. })));
    let track = simulator.unpublish("r", "ann", "TR_x");
    assert!(matches!(track, Err(SimulatorError::NoTrack(_))));
    let muted = simulator.set_self_muted("r", "ann", "TR_x", true);
    assert!(matches!(muted, Err(SimulatorError::NoTrack(_))));
}

#[tokio::test]
#[expect(deprecated, reason = "old agents and recorders say what they are so")]
async fn counts_lag_and_leave_agents_out() {
    let hands = ManualClock::new(DateTime::UNIX_EPOCH);
    let simulator = start(SimulatorConfig {
        clock: hands.clock(),
        ..SimulatorConfig::default()
    })
    .await;
    for identity in ["ann", "bob"] {
        simulator.join("r", Join::new(identity));
    }
    for kind in [
        participant_info::Kind::Agent,
        participant_info::Kind::Egress,
    ] {
        simulator.join("r", Join::new(kind.as_str_name()).kind(kind));
    }
    let mut recorder = Join::new("recorder");
    recorder.permission.recorder = true;
    simulator.join("r", recorder);
    let mut old_agent = Join::new("old agent");
    old_agent.permission.agent = true;
    simulator.join("r", old_agent);
    simulator
        .publish("r", "ann", Publish::microphone())
        .unwrap();
    let counts = || {
        let room = simulator.room("r").unwrap();
        (room.num_participants, room.num_publishers)
    };
    hands.advance(TimeDelta::milliseconds(4_999));
    assert_eq!(counts(), (0, 0));
    hands.advance(TimeDelta::milliseconds(1));
    assert_eq!(counts(), (2, 1));
}

#[tokio::test]
async fn rooms_are_listed_by_name_or_all() {
    let simulator = start(SimulatorConfig::default()).await;
    for room in ["a", "b", "c"] {
        simulator.create_room(room, None);
    }
    let cases: [(&[&str], &[&str]); 3] = [
        (&[], &["a", "b", "c"]),
        (&["c", "x", "a"], &["a", "c"]),
        (&["x"], &[]),
    ];
    for (names, expected) in cases {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let grants = VideoGrants {
            room_list: true,
            ..VideoGrants::default()
        };
        let list = proto::ListRoomsRequest { names };
        let list = request(&simulator, Method::ListRooms, grants, &list);
        let body = list.send().await.unwrap().bytes().await.unwrap();
        let rooms = proto::ListRoomsResponse::decode(body).unwrap().rooms;
        let names: Vec<_> = rooms.into_iter().map(|room| room.name).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test]
async fn a_prefix_is_in_front_of_everything_livekit_answers() {
    let simulator = start(SimulatorConfig {
        prefix: Some("/livekit".to_owned()),
        ..SimulatorConfig::default()
    })
    .await;
    simulator.create_room("r", None);
    let list = proto::ListRoomsRequest::default();
    let grants = VideoGrants {
        room_list: true,
        ..VideoGrants::default()
    };
    let response = request(&simulator, Method::ListRooms, grants, &list);
    let response = response.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let rooms = proto::ListRoomsResponse::decode(response.bytes().await.unwrap()).unwrap();
    assert_eq!(rooms.rooms[0].name, "r");

    let bare = format!("http://{}", simulator.address());
    let outside = client()
        .post(bare + "/twirp/livekit.RoomService/ListRooms")
        .send();
    assert_eq!(outside.await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_wait_is_bounded_and_sees_a_change() {
    let simulator = start(SimulatorConfig::default()).await;
    let has_room = |simulator: &Simulator| simulator.room("r").is_some();
    let in_vain = simulator.wait_until(Duration::from_millis(10), has_room);
    assert!(matches!(in_vain.await, Err(SimulatorError::TimedOut(_))));
    let create = async { simulator.create_room("r", None) };
    let (waited, _) = tokio::join!(simulator.wait_until(LONG, has_room), create);
    waited.unwrap();
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let taken = start(SimulatorConfig::default()).await;
    let error = Simulator::start(SimulatorConfig {
        listen: taken.address(),
        ..SimulatorConfig::default()
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains(&taken.address().to_string()));
    let no_keys = SimulatorConfig {
        api_keys: Vec::new(),
        ..SimulatorConfig::default()
    };
    let error = Simulator::start(no_keys).await.unwrap_err();
    assert!(matches!(error, SimulatorError::NoApiKey));
}

#[tokio::test]
async fn too_much_metadata_and_attributes_are_refused() {
    let simulator = start(SimulatorConfig::default()).await;
    let update = |change: fn(&mut proto::UpdateParticipantRequest)| {
        let mut message = proto::UpdateParticipantRequest {
            room: "r".to_owned(),
            identity: "ann".to_owned(),
            ..Default::default()
        };
        change(&mut message);
        request(&simulator, Method::UpdateParticipant, admin("r"), &message)
    };
    let metadata = update(|message| message.metadata = "m".repeat(512 * 1024 + 1));
    let attributes = update(|message| {
        let value = "v".repeat(64 * 1024);
        message.attributes.insert("k".to_owned(), value);
    });
    let cases = [
        (metadata, "metadata size exceeds limits 524288"),
        (attributes, "attribute size exceeds limits 65536"),
    ];
    for (request, msg) in cases {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 400);
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["code"], &body["msg"]),
            (&"invalid_argument".into(), &msg.into())
        );
    }
}

#[tokio::test]
async fn a_source_that_is_taken_away_is_unpublished() {
    let simulator = start(SimulatorConfig::default()).await;
    simulator.join("r", Join::new("ann"));
    let microphone = Publish::microphone();
    let microphone = simulator.publish("r", "ann", microphone).unwrap();
    let camera = Publish::new(TrackSource::Camera);
    let camera = simulator.publish("r", "ann", camera).unwrap();
    let message = proto::UpdateParticipantRequest {
        room: "r".to_owned(),
        identity: "ann".to_owned(),
        permission: Some(proto::ParticipantPermission {
            can_publish: true,
            can_publish_sources: vec![TrackSource::Camera.into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let update = request(&simulator, Method::UpdateParticipant, admin("r"), &message);
    assert_eq!(update.send().await.unwrap().status(), 200);
    let last = simulator.events().pop().unwrap();
    assert_eq!(last.event, "track_unpublished");
    assert_eq!(last.track.unwrap().sid, microphone.sid);
    let left = simulator.participant("r", "ann").unwrap();
    assert_eq!(left.tracks, [camera]);
    let permission = left.permission.unwrap();
    assert!(!permission.can_subscribe, "replaced, not merged");
}
