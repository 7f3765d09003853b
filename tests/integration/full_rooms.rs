//! Newer servers tell of the whole room in a track's event: one question less, and the same decisions.

use std::time::Duration;

use chrono::TimeDelta;
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use quell_clock::ManualClock;

use crate::support::{Setup, TestApp};

const POLICIES: &str = "policies:
  - { name: mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute, when: room.metadata.kind == 'webinar' }
  - { name: cams, match: { source: [CAMERA], room: [web*] }, effect: mute }
  - { name: hosts, owner: acme, match: { identity: [host] }, effect: exempt, reason: hosts speak }
  - { name: young, match: { source: [SCREEN_SHARE] }, effect: mute, first: 10m }";

async fn app(is_newer: bool) -> TestApp {
    let setup = Setup::default().simulator(|double| double.full_room_in_webhooks = is_newer);
    let app = setup.start().await;
    app.apply(POLICIES).await;
    app
}

fn calls(app: &TestApp, method: &str) -> usize {
    let calls = app.simulator.calls();
    calls.iter().filter(|call| call.method == method).count()
}

/// What each track's event came to, by whom and from which source, and how often rooms were asked for.
async fn decided(is_newer: bool) -> (Vec<String>, usize, usize) {
    let app = app(is_newer).await;
    for (room, metadata) in [
        ("webinar", r#"{"auth_id":"acme","kind":"webinar"}"#),
        ("standup", r#"{"auth_id":"acme","kind":"meeting"}"#),
        ("web-globex", r#"{"auth_id":"globex","kind":"webinar"}"#),
        ("web-nobody", "not JSON"),
    ] {
        app.simulator.create_room(room, Some(metadata));
        for identity in ["ann", "host"] {
            app.simulator.join(room, Join::new(identity));
            for source in [
                TrackSource::Microphone,
                TrackSource::Camera,
                TrackSource::ScreenShare,
            ] {
                app.simulator
                    .publish(room, identity, Publish::new(source))
                    .unwrap();
                app.settle().await;
            }
        }
    }
    let decided = sqlx::query_scalar(
        "select concat_ws(' ', room_name, identity, facts #>> '{track,source}', settlement, tenant,
                          decision #>> '{enforced,policy,name}', facts #>> '{room,metadata}')
         from webhook_event where event = 'track_published' order by created_at, 1",
    );
    let decided = decided.fetch_all(&app.pool).await.unwrap();
    let asked = (calls(&app, "ListRooms"), calls(&app, "GetParticipant"));
    app.finish().await;
    (decided, asked.0, asked.1)
}

#[tokio::test]
async fn the_same_is_decided_with_one_call_less() {
    let (mut before, rooms, participants) = decided(false).await;
    let (mut after, no_rooms, same_participants) = decided(true).await;
    before.sort();
    after.sort();
    assert_eq!(before, after);
    assert_eq!(before.len(), 24);
    assert!(
        before.iter().any(|line| line.contains("muted")),
        "{before:?}"
    );
    assert_eq!((rooms, no_rooms), (24, 0));
    assert_eq!(participants, same_participants);
}

#[tokio::test]
async fn a_later_attempt_asks_for_the_room() {
    let app = app(true).await;
    app.simulator.set_faults([Fault {
        method: Some(Method::GetParticipant),
        kind: FaultKind::Unavailable,
        times: Some(1),
    }]);
    app.simulator
        .create_room("webinar", Some(r#"{"auth_id":"acme","kind":"webinar"}"#));
    let mic = app.publish("webinar", Join::new("ann"), Publish::microphone());
    app.settle().await;
    assert!(app.is_muted("webinar", "ann", &mic.sid));
    assert_eq!(calls(&app, "ListRooms"), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_is_older_than_five_seconds_does_not_say_whose_the_room_is() {
    let clock = ManualClock::new("2026-03-02T12:00:00Z".parse().unwrap());
    let setup = Setup::default()
        .clock(clock.clock())
        .simulator(|double| double.full_room_in_webhooks = true);
    let app = setup.start().await;
    app.apply(POLICIES).await;
    app.simulator
        .create_room("webinar", Some(r#"{"auth_id":"acme","kind":"webinar"}"#));
    app.simulator.join("webinar", Join::new("ann"));
    app.settle().await;
    for (age, asked) in [(5, 0), (6, 1)] {
        app.hold_webhooks();
        let mic = app
            .simulator
            .publish("webinar", "ann", Publish::microphone());
        let event = app.event_of(&mic.unwrap().sid);
        clock.advance(TimeDelta::seconds(age));
        let signed = app.simulator.signed_webhook(&event).unwrap();
        app.simulator
            .post_webhook(&app.webhook_url(), &signed, 1)
            .await;
        app.simulator.set_webhook_url(Some(app.webhook_url()));
        app.settle().await;
        assert_eq!(calls(&app, "ListRooms"), asked, "{age} s");
    }
    tokio::time::timeout(Duration::from_secs(20), app.finish())
        .await
        .unwrap();
}
