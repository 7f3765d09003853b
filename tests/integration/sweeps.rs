//! Sweeps: what no webhook told of is found, and muted by the same path.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish, Simulator};

use crate::support::{BOUND, BY_MICS, MICS, Setup, TestApp, by_hand};

#[tokio::test]
async fn hidden_participants_are_left_out_of_facts_and_counts() {
    let (app, mic) = by_hand().await;
    let mut hidden = Join::new("bot");
    hidden.hidden = true;
    let hers = app.publish("standup", hidden, Publish::microphone());
    app.apply(
        "policies: [{ name: mics, match: { source: [MICROPHONE] }, effect: mute, when: 'room.num_participants == 1' }]",
    )
    .await;
    let counts = app.sweep().await;
    assert_eq!(
        (counts.participants, counts.tracks, counts.muted),
        (1, 1, 1)
    );
    assert!(app.is_muted("standup", "ann", &mic));
    assert!(!app.is_muted("standup", "bot", &hers.sid));
    app.finish().await;
}

fn calls_of(app: &TestApp) -> usize {
    let calls = app.simulator.calls();
    calls
        .iter()
        .filter(|call| call.method == "ListParticipants")
        .count()
}

#[tokio::test]
async fn a_room_that_is_made_anew_for_another_tenant_meanwhile_is_not_touched_by_the_first_ones_policies()
 {
    let (app, _) = by_hand().await;
    app.apply(
        "policies: [{ name: mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute }]",
    )
    .await;
    // The participants are asked for when the list of rooms is known already.
    app.simulator.set_faults([Fault {
        method: Some(Method::ListParticipants),
        kind: FaultKind::Latency(Duration::from_millis(300)),
        times: None,
    }]);
    let asked = async {
        let is_asked = |simulator: &Simulator| {
            simulator
                .calls()
                .iter()
                .any(|call| call.method == "ListParticipants")
        };
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        app.simulator.end_room("standup").unwrap();
        app.room("standup", "globex");
        app.publish("standup", Join::new("ann"), Publish::microphone())
            .sid
    };
    let (counts, mic) = tokio::join!(app.sweep(), asked);
    assert!(!app.is_muted("standup", "ann", &mic), "{counts:?}");
    assert_eq!((counts.muted, counts.failed), (0, 0));
    let mutes = app.simulator.calls();
    assert!(mutes.iter().all(|call| call.method != "MutePublishedTrack"));
    assert_eq!(app.by_sweeps().await, [""; 0]);
    // Its own policies hold in it.
    app.apply(
        "policies: [{ name: mics, owner: globex, match: { source: [MICROPHONE] }, effect: mute }]",
    )
    .await;
    app.sweep().await;
    assert!(app.is_muted("standup", "ann", &mic));
    // Also where it is made anew in the middle of a sweep, for a tenant whose policies mute.
    let before = calls_of(&app);
    let again = async {
        let is_asked = |_: &Simulator| calls_of(&app) > before;
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        app.simulator.end_room("standup").unwrap();
        app.room("standup", "acme");
        app.publish("standup", Join::new("ann"), Publish::microphone())
            .sid
    };
    let (counts, mic) = tokio::join!(app.sweep(), again);
    assert_eq!(counts.muted, 1);
    assert!(app.is_muted("standup", "ann", &mic));
    assert_eq!(
        app.by_sweeps().await[1..],
        ["sweep mute done - acme standup ann MICROPHONE acme/mics@1"]
    );
    app.finish().await;
}

/// Of the first room, nobody knows whose policies would hold now.
#[tokio::test]
async fn participants_of_a_room_that_is_over_are_not_taken_for_those_of_the_next() {
    let (app, mic) = by_hand().await;
    app.apply(
        "policies:
  - { name: mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute }
  - { name: mics, owner: globex, match: { source: [MICROPHONE] }, effect: mute }",
    )
    .await;
    app.simulator.set_faults([Fault {
        method: Some(Method::ListRooms),
        kind: FaultKind::Latency(Duration::from_millis(300)),
        times: None,
    }]);
    let recreated = async {
        // The room is asked for again, after its participants.
        let is_asked = |simulator: &Simulator| {
            let calls = simulator.calls();
            let asked = calls.iter().filter(|call| call.method == "ListRooms");
            asked.count() == 2
        };
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        app.simulator.end_room("standup").unwrap();
        app.room("standup", "globex");
        app.publish("standup", Join::new("ann"), Publish::microphone())
            .sid
    };
    let (counts, next) = tokio::join!(app.sweep(), recreated);
    assert_eq!(counts.muted, 1);
    assert!(app.is_muted("standup", "ann", &next));
    assert_eq!(
        app.by_sweeps().await,
        ["sweep mute done - globex standup ann MICROPHONE globex/mics@1"]
    );
    let of_first = app.simulator.calls();
    let mut of_first = of_first
        .iter()
        .filter(|call| call.method == "MutePublishedTrack");
    assert!(of_first.all(|call| call.track_sid != mic), "{mic}");
    app.finish().await;
}

#[tokio::test]
async fn a_livekit_that_fails_is_asked_again() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    app.simulator.set_faults([Fault {
        method: Some(Method::ListRooms),
        kind: FaultKind::Unavailable,
        times: Some(2),
    }]);
    assert_eq!(app.sweep().await.muted, 1);
    assert!(app.is_muted("standup", "ann", &mic));
    app.finish().await;
}

#[tokio::test]
async fn what_is_too_large_is_left_out_and_said_and_the_rest_is_swept() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    // More than an answer may have otherwise, in rooms and in one room.
    let large = |auth_id: &str, bytes: usize| {
        format!(r#"{{"auth_id":"{auth_id}","x":"{}"}}"#, "x".repeat(bytes))
    };
    for n in 0..12 {
        app.simulator
            .create_room(&format!("large-{n}"), Some(&large("acme", 512 << 10)));
    }
    let deep = app.publish("large-3", Join::new("ben"), Publish::microphone());
    app.simulator
        .create_room("too-large", Some(&large("acme", 5 << 20)));
    app.publish("too-large", Join::new("cid"), Publish::microphone());
    for n in 0..12 {
        let mut join = Join::new(format!("big-{n}"));
        join.metadata = large("x", 512 << 10);
        app.simulator.join("standup", join);
    }
    let last = app
        .simulator
        .publish("standup", "big-11", Publish::microphone());
    let last = last.unwrap().sid;
    let mut join = Join::new("huge");
    join.metadata = large("x", 5 << 20);
    app.simulator.join("standup", join);
    let counts = app.sweep().await;
    assert_eq!(
        (counts.muted, counts.failed, counts.skipped),
        (3, 0, 2),
        "{counts:?}"
    );
    for (room, identity, sid) in [
        ("standup", "ann", &mic),
        ("large-3", "ben", &deep.sid),
        ("standup", "big-11", &last),
    ] {
        assert!(app.is_muted(room, identity, sid), "{identity}");
    }
    let metrics = app.state().metrics.text();
    for what in ["room", "participant"] {
        assert!(
            metrics.contains(&format!("quell_sweep_skipped_total{{what=\"{what}\"}} 1\n")),
            "{metrics}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_track_that_its_own_job_is_about_is_left_to_it() {
    let app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(MICS).await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.simulator.wait_delivered(BOUND).await.unwrap();
    let counts = app.sweep().await;
    assert_eq!((counts.tracks, counts.muted), (1, 0));
    assert!(!app.is_muted("standup", "ann", &mic.sid));
    app.finish_with_work_left().await;
}

/// A source may have several tracks at once, whose webhooks come late.
#[tokio::test]
async fn each_of_several_tracks_of_a_source_is_muted_once() {
    let (app, first) = by_hand().await;
    app.apply(MICS).await;
    let publish = || {
        let mic = Publish::microphone();
        app.simulator.publish("standup", "ann", mic).unwrap().sid
    };
    let tracks = [first, publish(), publish()];
    assert_eq!(app.sweep().await.muted, 3);
    for sid in &tracks {
        app.post(&app.url, &app.event_of(sid)).await;
    }
    app.settle().await;
    for sid in &tracks {
        assert_eq!(app.settlement(sid).await.as_deref(), Some("muted"));
        assert!(app.is_muted("standup", "ann", sid));
    }
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 3);
    assert_eq!(app.lines("action = 'mute'").await, [BY_MICS; 3]);
    app.finish().await;
}

/// The sweep looked while the job's mute was under way, and acts after it.
#[tokio::test]
async fn a_track_that_is_muted_while_a_sweep_looks_is_muted_once() {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    // More than is kept of a room: it is asked for again once its participants are read.
    let metadata = format!(r#"{{"auth_id":"acme","x":"{}"}}"#, "x".repeat(5 << 10));
    app.simulator.create_room("standup", Some(&metadata));
    let slow = |method, ms| Fault::of(method, FaultKind::Latency(Duration::from_millis(ms)));
    app.simulator
        .set_faults([slow(Method::MutePublishedTrack, 800)]);
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    app.simulator
        .set_faults([slow(Method::ListParticipants, 300)]);
    let delayed = async {
        app.wait_for_calls(Method::ListParticipants, 1).await;
        app.simulator.set_faults([slow(Method::ListRooms, 1500)]);
    };
    let (counts, ()) = tokio::join!(app.sweep(), delayed);
    assert_eq!((counts.tracks, counts.muted, counts.failed), (1, 0, 0));
    app.settle().await;
    assert!(app.is_muted("standup", "ann", &mic.sid));
    assert_eq!(
        app.lines("action = 'mute'").await,
        ["webhook mute done - acme standup ann MICROPHONE mics@1"]
    );
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn tracks_that_no_webhook_told_of_are_counted_once_and_not_before_30_s() {
    let (mut app, _) = by_hand().await;
    app.apply(MICS).await;
    app.sweep().await;
    let counted = |app: &TestApp| {
        let counts = app.states().map(|state| {
            let text = state.metrics.text();
            let mut lines = text.lines();
            let name = "quell_sweep_tracks_without_webhook_total ";
            let value = lines.find_map(|line| line.strip_prefix(name)).unwrap();
            value.parse::<u32>().unwrap()
        });
        counts.sum::<u32>()
    };
    app.replica().await;
    app.sweep().await;
    assert_eq!(counted(&app), 0);
    let later = "with later as (update swept_track set first_seen_at = first_seen_at - interval '31 seconds'
                                returning 1) select count(*) from later";
    assert_eq!(app.count(later).await, 1);
    for _ in 0..2 {
        app.replica().await;
        app.sweep().await;
        assert_eq!(counted(&app), 1);
    }
    app.finish().await;
}

#[tokio::test]
async fn only_rooms_in_which_a_policy_may_mute_are_read() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    for (room, tenant) in [
        ("a", "acme"),
        ("b", "globex"),
        ("web-1", "globex"),
        ("c", "acme"),
    ] {
        app.room(room, tenant);
        app.publish(room, Join::new("ann"), Publish::microphone());
    }
    app.apply(
        "policies:
  - { name: web, match: { room: ['web-*'] , source: [MICROPHONE] }, effect: mute }
  - { name: mics, owner: acme, match: { source: [CAMERA] }, effect: mute }
  - { name: later, match: { type: [AUDIO] }, effect: mute, not_before: 2120-01-01T00:00:00Z }
  - { name: spared, match: { type: [AUDIO] }, effect: exempt, reason: x, mode: 'off' }",
    )
    .await;
    let counts = app.sweep().await;
    assert_eq!((counts.rooms, counts.muted), (3, 1));
    let calls = app.simulator.calls();
    let read = calls
        .iter()
        .filter(|call| call.method == "ListParticipants");
    let mut read: Vec<_> = read.map(|call| call.room.clone()).collect();
    read.sort();
    assert_eq!(read, ["a", "c", "web-1"]);
    app.finish().await;
}

#[tokio::test]
async fn lists_are_asked_for_at_the_rate_of_the_settings() {
    let app = Setup::default()
        .env("QUELL_SWEEP_CALLS_PER_SECOND", "20")
        .start()
        .await;
    app.hold_webhooks();
    app.apply(MICS).await;
    for n in 0..20 {
        app.room(&format!("room-{n}"), "acme");
    }
    let begun = std::time::Instant::now();
    assert_eq!(app.sweep().await.rooms, 20);
    // 21 calls, the first at once.
    assert!(
        begun.elapsed() >= Duration::from_millis(950),
        "{:?}",
        begun.elapsed()
    );
    app.finish().await;
}

#[tokio::test]
async fn many_rooms_are_asked_for_again_together() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    for n in 0..30 {
        let room = format!("room-{n}");
        app.room(&room, "acme");
        app.publish(&room, Join::new("ann"), Publish::microphone());
    }
    app.apply(MICS).await;
    assert_eq!(app.sweep().await.muted, 30);
    let calls = app.simulator.calls();
    let asked = calls
        .iter()
        .filter(|call| call.method == "ListRooms")
        .count();
    assert!(asked < 25, "{asked}");
    app.finish().await;
}
