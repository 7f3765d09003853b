//! A person beats the machine, and actions on one track run one at a time.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use reqwest::StatusCode;

use crate::support::{ACME, BOUND, GLOBEX, Setup, TestApp};

const ALL: &str = "policies: [{ name: all, match: { type: [AUDIO] }, effect: mute }]";

/// A quell that stores jobs and leaves them to another: time for people to act meanwhile.
async fn slow() -> TestApp {
    let app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    app.simulator.join("webinar-1", Join::new("ann"));
    app
}

/// The one who works the jobs off.
async fn work_off(app: &mut TestApp) {
    app.simulator.wait_delivered(BOUND).await.unwrap();
    app.config.worker.concurrency = 32;
    app.replica().await;
}

/// Ann publishes; returns the track once its event is committed.
async fn publish(app: &TestApp, source: TrackSource) -> String {
    let publish = Publish::new(source);
    let track = app.simulator.publish("webinar-1", "ann", publish).unwrap();
    app.simulator.wait_delivered(BOUND).await.unwrap();
    track.sid
}

async fn by_hand(app: &TestApp, token: &str, sid: &str, muted: bool) -> StatusCode {
    let request = app.mute(token, "webinar-1", "ann", sid, muted);
    request.send().await.unwrap().status()
}

#[tokio::test]
async fn a_moderators_unmute_during_a_slow_job_stands() {
    let mut app = slow().await;
    let unmuted = publish(&app, TrackSource::Microphone).await;
    let next = publish(&app, TrackSource::Microphone).await;
    let other_source = publish(&app, TrackSource::ScreenShareAudio).await;
    assert_eq!(by_hand(&app, ACME, &unmuted, false).await, StatusCode::OK);
    work_off(&mut app).await;
    app.settle().await;
    for (sid, expected) in [
        (&unmuted, "superseded"),
        // "Let ann speak" was meant for the microphone, whatever its track is called by now.
        (&next, "superseded"),
        (&other_source, "muted"),
    ] {
        assert_eq!(app.settlement(sid).await.as_deref(), Some(expected));
        assert_eq!(app.is_muted("webinar-1", "ann", sid), expected == "muted");
    }
    // What comes after the person's word is the policy's again.
    let newer = publish(&app, TrackSource::Microphone).await;
    work_off(&mut app).await;
    app.settle().await;
    assert_eq!(app.settlement(&newer).await.as_deref(), Some("muted"));
    assert!(app.is_muted("webinar-1", "ann", &newer));
    let mut history = app.lines("action <> 'policy.create'").await;
    history.sort();
    assert_eq!(
        history,
        [
            "manual unmute done acme acme webinar-1 ann MICROPHONE -",
            "webhook mute done - acme webinar-1 ann MICROPHONE all@1",
            "webhook mute done - acme webinar-1 ann SCREEN_SHARE_AUDIO all@1",
            "webhook mute superseded - acme webinar-1 ann MICROPHONE all@1",
            "webhook mute superseded - acme webinar-1 ann MICROPHONE all@1",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_webhook_that_comes_after_the_unmute_of_its_track_changes_nothing() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    app.hold_webhooks();
    let track = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    assert_eq!(by_hand(&app, ACME, &track.sid, false).await, StatusCode::OK);
    // It comes later than the person's word, but the track was there before.
    app.post(&app.url, &app.event_of(&track.sid)).await;
    app.settle().await;
    let settlement = app.settlement(&track.sid).await;
    assert_eq!(settlement.as_deref(), Some("superseded"));
    assert!(!app.is_muted("webinar-1", "ann", &track.sid));
    app.finish().await;
}

#[tokio::test]
async fn a_moderators_mute_spares_no_other_track() {
    let mut app = slow().await;
    let first = publish(&app, TrackSource::Microphone).await;
    let second = publish(&app, TrackSource::Microphone).await;
    assert_eq!(by_hand(&app, ACME, &first, true).await, StatusCode::OK);
    work_off(&mut app).await;
    app.settle().await;
    // A person's mute is nothing to give way to: the machine wants the same.
    for sid in [&first, &second] {
        assert_eq!(app.settlement(sid).await.as_deref(), Some("muted"));
        assert!(app.is_muted("webinar-1", "ann", sid));
    }
    app.finish().await;
}

#[tokio::test]
async fn an_unmute_binds_where_it_was_done_or_may_have_been() {
    let cut = Fault::of(Method::MutePublishedTrack, FaultKind::Cut).times(1);
    let not_done = Fault::of(Method::ListRooms, FaultKind::Unavailable).times(1);
    for (token, remote_unmute, fault, status, expected) in [
        (GLOBEX, true, None, StatusCode::NOT_FOUND, "muted"),
        (
            ACME,
            false,
            None,
            StatusCode::INTERNAL_SERVER_ERROR,
            "muted",
        ),
        (
            ACME,
            true,
            Some(not_done),
            StatusCode::INTERNAL_SERVER_ERROR,
            "muted",
        ),
        (
            ACME,
            true,
            Some(cut),
            StatusCode::INTERNAL_SERVER_ERROR,
            "superseded",
        ),
    ] {
        let mut app = slow().await;
        let sid = publish(&app, TrackSource::Microphone).await;
        app.simulator.set_enable_remote_unmute(remote_unmute);
        app.simulator.set_faults(fault);
        assert_eq!(by_hand(&app, token, &sid, false).await, status, "{fault:?}");
        work_off(&mut app).await;
        app.settle().await;
        assert_eq!(
            app.settlement(&sid).await.as_deref(),
            Some(expected),
            "{fault:?}"
        );
        assert_eq!(app.is_muted("webinar-1", "ann", &sid), expected == "muted");
        app.finish().await;
    }
}

#[tokio::test]
async fn a_moderator_waits_for_a_mute_that_hangs_and_then_has_the_last_word() {
    let mut app = slow().await;
    let sid = publish(&app, TrackSource::Microphone).await;
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, FaultKind::Hang).times(1)]);
    // The worker gives LiveKit less time than the moderator's request does.
    app.config.livekit.as_mut().unwrap().timeout = Duration::from_secs(1);
    work_off(&mut app).await;
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    assert_eq!(by_hand(&app, ACME, &sid, false).await, StatusCode::OK);
    app.settle().await;
    assert!(!app.is_muted("webinar-1", "ann", &sid));
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("superseded"));
    assert_eq!(
        app.lines("action <> 'policy.create'").await,
        [
            "webhook mute unknown - acme webinar-1 ann MICROPHONE all@1",
            "manual unmute done acme acme webinar-1 ann MICROPHONE -",
            "webhook mute superseded - acme webinar-1 ann MICROPHONE all@1",
        ]
    );
    assert_eq!(app.overlapping_actions().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn actions_on_one_source_of_one_participant_run_one_at_a_time() {
    let mut app = slow().await;
    let latency = FaultKind::Latency(Duration::from_millis(30));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, latency)]);
    let mut tracks = Vec::new();
    for _ in 0..4 {
        tracks.push(publish(&app, TrackSource::Microphone).await);
    }
    // On two replicas, and with a person between them.
    work_off(&mut app).await;
    app.replica().await;
    let muted = by_hand(&app, ACME, &tracks[0], true).await;
    assert_eq!(muted, StatusCode::OK);
    app.settle().await;
    for sid in &tracks {
        assert!(app.is_muted("webinar-1", "ann", sid));
    }
    let intents = app.sql("select count(*) from audit_log where phase = 'intent'");
    assert!(intents.await.unwrap().parse::<u32>().unwrap() >= 4);
    assert_eq!(app.overlapping_actions().await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_unmute_stands_whatever_the_moderator_does_to_other_tracks_of_the_source() {
    let mut app = slow().await;
    let spoken = publish(&app, TrackSource::Unknown).await;
    let other = publish(&app, TrackSource::Unknown).await;
    assert_eq!(by_hand(&app, ACME, &spoken, false).await, StatusCode::OK);
    assert_eq!(by_hand(&app, ACME, &other, true).await, StatusCode::OK);
    work_off(&mut app).await;
    app.settle().await;
    assert_eq!(app.settlement(&spoken).await.as_deref(), Some("superseded"));
    assert!(!app.is_muted("webinar-1", "ann", &spoken));
    assert!(app.is_muted("webinar-1", "ann", &other));
    app.finish().await;
}

#[tokio::test]
async fn an_unmute_stands_whose_replica_died_before_it_wrote_the_outcome() {
    let mut app = slow().await;
    let track = publish(&app, TrackSource::Microphone).await;
    assert_eq!(by_hand(&app, ACME, &track, false).await, StatusCode::OK);
    // As a crash between the call and its outcome leaves it: the lease runs out by itself.
    sqlx::raw_sql(
        "update track_lease set action_id = gen_random_uuid(),
                leased_until = clock_timestamp() - interval '1 second'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    work_off(&mut app).await;
    app.settle().await;
    assert_eq!(app.settlement(&track).await.as_deref(), Some("superseded"));
    assert!(!app.is_muted("webinar-1", "ann", &track));
    app.finish().await;
}

#[tokio::test]
async fn a_mute_that_livekit_did_not_carry_out_keeps_no_policy_from_muting() {
    let mut app = slow().await;
    let track = publish(&app, TrackSource::Microphone).await;
    let fault = Fault::of(Method::MutePublishedTrack, FaultKind::Unavailable);
    app.simulator.set_faults([fault.times(1)]);
    assert_eq!(
        by_hand(&app, ACME, &track, true).await,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    work_off(&mut app).await;
    app.settle().await;
    assert_eq!(app.settlement(&track).await.as_deref(), Some("muted"));
    assert!(app.is_muted("webinar-1", "ann", &track));
    app.finish().await;
}
