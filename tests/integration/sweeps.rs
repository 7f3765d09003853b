//! Sweeps: what no webhook told of is found, and muted by the same path.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};

use crate::support::{BOUND, MICS, Setup, TestApp, by_hand};

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
        let is_asked = |simulator: &livekit_double::Simulator| {
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
        .create_room("too-large", Some(&large("acme", 2 << 20)));
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
    join.metadata = large("x", 2 << 20);
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

#[tokio::test]
async fn tracks_that_no_webhook_told_of_are_counted_once() {
    let (app, _) = by_hand().await;
    app.apply(MICS).await;
    app.sweep().await;
    let untold = |app: &TestApp| {
        app.state()
            .metrics
            .text()
            .contains("quell_sweep_untold_tracks_total 1\n")
    };
    assert!(!untold(&app));
    app.finish().await;
}
