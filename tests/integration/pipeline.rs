//! A track that no webhook told of takes the same way: facts, decision, action, result.

use chrono::{DateTime, Utc};
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use quell::action::{Cause, Correlation};
use quell::audit::{HttpRequest, Origin};
use quell::pipeline::{Handled, LiveTrack, Pipeline, Seen, TrackResult};
use quell_policy::{Fact, TenantId};
use tokio::time::Instant;

use crate::support::{ACME, BOUND, TestApp};

const POLICIES: &str = "
policies:
  - { name: mics, owner: acme, match: { source: [MICROPHONE], attributes: { role: guest } }, effect: mute }
  - { name: cameras, match: { source: [CAMERA] }, effect: mute, mode: dry_run }
";

fn pipeline(app: &TestApp) -> Pipeline {
    let state = app.state();
    Pipeline {
        runner: state.runner.clone(),
        rooms: None,
        policies: state.policies.clone(),
        clock: state.clock.clone(),
        metrics: state.metrics.clone(),
        livekit_timeout: state.livekit_timeout,
    }
}

/// Ann's track, as LiveKit shows it now.
async fn live(app: &TestApp, sid: &str) -> LiveTrack {
    let runner = app.state().runner.as_ref().unwrap();
    let (livekit, deadline) = (&runner.livekit, Instant::now() + BOUND);
    let fetched_at = Instant::now();
    let room = livekit.room("standup", deadline).await.unwrap().unwrap();
    let participant = livekit.participant("standup", "ann", deadline).await;
    let participant = participant.unwrap().unwrap();
    let track = participant.tracks.iter().find(|track| track.sid == sid);
    LiveTrack {
        track: track.unwrap().clone(),
        room: room.into(),
        participant: participant.into(),
        fetched_at,
    }
}

fn cause() -> Cause {
    Cause {
        origin: Origin::Webhook,
        correlation: Correlation::Request(HttpRequest {
            id: "look-1".to_owned(),
            ..HttpRequest::default()
        }),
        arrived: Instant::now(),
    }
}

/// Now, by Postgres's clock.
async fn now(app: &TestApp) -> DateTime<Utc> {
    let now = sqlx::query_scalar("select clock_timestamp()");
    now.fetch_one(&app.pool).await.unwrap()
}

async fn run(app: &TestApp, sid: &str, as_of: DateTime<Utc>, cause: &Cause) -> Handled {
    let live = live(app, sid).await;
    pipeline(app)
        .run(
            Seen::Live {
                live: &live,
                published_at: as_of,
                failed: &[],
            },
            as_of,
            cause,
        )
        .await
}

fn guest() -> Join {
    Join::new("ann").attribute("role", "guest")
}

#[tokio::test]
async fn a_live_track_is_decided_on_and_muted_without_an_event() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", guest(), Publish::microphone()).sid;
    let camera = livekit_protocol::TrackSource::Camera;
    let camera = app
        .simulator
        .publish("standup", "ann", Publish::new(camera));
    let camera = camera.unwrap().sid;
    app.apply(POLICIES).await;

    let cause = cause();
    let handled = run(&app, &mic, now(&app).await, &cause).await;
    let TrackResult::Muted(policy) = &handled.result else {
        panic!("{handled:?}")
    };
    assert_eq!(
        (&*policy.name, policy.owner.as_str()),
        ("mics", Some("acme"))
    );
    let acme = TenantId::new("acme").unwrap();
    assert_eq!(handled.facts.room.tenant, Fact::Known(Some(acme)));
    assert_eq!(handled.facts.event.type_, "track_published");
    assert!(handled.dry_run_row(&cause).is_none());
    assert!(app.is_muted("standup", "ann", &mic));

    // What only a dry-run policy wants is a row to write, and no call.
    let mut handled = run(&app, &camera, now(&app).await, &cause).await;
    assert!(
        matches!(handled.result, TrackResult::Nothing),
        "{handled:?}"
    );
    let row = handled.dry_run_row(&cause).unwrap();
    assert_eq!(row.entry.request.unwrap().id, "look-1");
    assert_eq!(row.entry.policy.unwrap().key.name, "cameras");
    // Nobody says what would have changed of a track on which nothing came to an end.
    for result in [
        TrackResult::Refused("not yours".to_owned()),
        TrackResult::Stale,
        TrackResult::Gone,
        TrackResult::Retry("not now".to_owned()),
    ] {
        handled.result = result;
        assert!(handled.dry_run_row(&cause).is_none(), "{handled:?}");
    }
    assert!(!app.is_muted("standup", "ann", &camera));
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    assert_eq!(
        app.history().await,
        [
            "cli policy.create done cli:test acme - - - acme/mics@1",
            "cli policy.create done cli:test - - - - cameras@1",
            "webhook mute done - acme standup ann MICROPHONE acme/mics@1",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn a_live_track_that_a_person_let_speak_since_is_left_alone_and_one_that_fails_is_tried_again()
 {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", guest(), Publish::microphone()).sid;
    app.apply(POLICIES).await;
    let (before, cause) = (now(&app).await, cause());

    let down = Fault::of(Method::MutePublishedTrack, FaultKind::Unavailable);
    app.simulator.set_faults([down]);
    let handled = run(&app, &mic, before, &cause).await;
    assert!(
        matches!(handled.result, TrackResult::Retry(_)),
        "{handled:?}"
    );
    assert!(handled.is_mute_decided());

    app.simulator.set_faults([]);
    let unmuted = app.mute(ACME, "standup", "ann", &mic, false).send().await;
    assert_eq!(unmuted.unwrap().status(), 200);
    let handled = run(&app, &mic, before, &cause).await;
    assert!(
        matches!(handled.result, TrackResult::Superseded),
        "{handled:?}"
    );
    assert!(!app.is_muted("standup", "ann", &mic));
    app.finish().await;
}
