//! Many jobs share places, statements and replicas: none of them makes another wait, or takes it along.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::{TrackInfo, TrackSource, WebhookEvent};

use crate::support::{Setup, TestApp};

pub(crate) const ALL: &str =
    "policies: [{ name: everybody, match: { type: [AUDIO] }, effect: mute }]";

pub(crate) fn gone(number: usize) -> TrackInfo {
    TrackInfo {
        sid: format!("TR_gone{number}"),
        source: TrackSource::Microphone.into(),
        ..TrackInfo::default()
    }
}

pub(crate) async fn muted(app: &TestApp, room: &str, identity: &str, sid: &str) {
    let what = format!("{identity} is muted");
    app.wait_for(&what, async || app.is_muted(room, identity, sid))
        .await;
}

#[tokio::test]
async fn tracks_that_are_not_shown_hold_no_place() {
    // One job at a time.
    let app = Setup::default().env("QUELL_WORKERS", "1").start().await;
    app.apply(ALL).await;
    app.hold_webhooks();
    for room in ["webinar-1", "webinar-2"] {
        app.room(room, "acme");
    }
    for number in 0..100 {
        let room = format!("webinar-{}", 1 + number % 2);
        let event = app.event_ahead(&room, &format!("p{number}"), gone(number));
        app.post(&app.url, &event).await;
    }
    let track = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.post(&app.url, &app.event_of(&track.sid)).await;
    muted(&app, "webinar-1", "ann", &track.sid).await;
    app.wait_for("ann's job is settled", async || {
        app.settlement(&track.sid).await.is_some()
    })
    .await;
    let waiting = app.sql("select count(*) from job where state = 'leased'");
    assert_eq!(waiting.await.as_deref(), Some("100"));
    // Asked for one by one only once; then room by room.
    app.wait_for("all wait for their second look", async || {
        app.metric(&app.url, "quell_queue_jobs").await == 100
    })
    .await;
    assert_eq!(app.calls_to(Method::GetParticipant).len(), 101);
    let looks = app.calls_to(Method::ListParticipants).len();
    assert!(looks < 40, "{looks}");
    for room in ["webinar-1", "webinar-2"] {
        app.simulator.end_room(room).unwrap();
    }
    for event in app.simulator.events() {
        if event.event == "room_finished" {
            app.post(&app.url, &event).await;
        }
    }
    app.settle().await;
    app.finish().await;
}

#[tokio::test]
async fn one_look_answers_for_all_that_wait_on_a_source_and_each_has_its_own_end() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.hold_webhooks();
    app.room("webinar-1", "acme");
    app.simulator.join("webinar-1", Join::new("ann"));
    let publish = || {
        let track = app
            .simulator
            .publish("webinar-1", "ann", Publish::microphone());
        app.event_of(&track.unwrap().sid)
    };
    // The first holds the source while the others come.
    let slow = FaultKind::Latency(Duration::from_millis(400));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, slow).times(1)]);
    let first = publish();
    app.post(&app.url, &first).await;
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    let events: Vec<_> = (0..5).map(|_| publish()).collect();
    for event in &events {
        app.post(&app.url, event).await;
    }
    app.settle().await;
    for event in events.iter().chain([&first]) {
        let sid = &event.track.as_ref().unwrap().sid;
        assert!(app.is_muted("webinar-1", "ann", sid));
        assert_eq!(app.settlement(sid).await.as_deref(), Some("muted"));
    }
    assert_eq!(app.calls_to(Method::GetParticipant).len(), 2);
    assert_eq!(
        app.lines("outcome = 'done' and action = 'mute'")
            .await
            .len(),
        6
    );
    app.finish().await;
}

#[tokio::test]
async fn what_postgres_refuses_to_store_takes_no_other_job_along() {
    // At the end of a job, and at its intent: nothing is done then.
    for (refused, is_done) in [
        (
            "alter table webhook_event add check (facts is null or identity <> 'poison')",
            true,
        ),
        (
            "alter table audit_log add check (phase <> 'intent' or identity <> 'poison')",
            false,
        ),
    ] {
        one_is_refused(refused, is_done).await;
    }
}

async fn one_is_refused(refused: &'static str, is_done: bool) {
    let setup = Setup::default().env("QUELL_JOB_DEADLINE_SECONDS", "2");
    let app = setup.start().await;
    app.apply(ALL).await;
    sqlx::raw_sql(refused).execute(&app.pool).await.unwrap();
    app.hold_webhooks();
    app.room("webinar-1", "acme");
    let mut events = Vec::new();
    for number in 0..24 {
        let identity = if number == 7 {
            "poison".to_owned()
        } else {
            format!("p{number}")
        };
        let track = app.publish("webinar-1", Join::new(&*identity), Publish::microphone());
        events.push((identity, app.event_of(&track.sid)));
    }
    let posts = events.iter().map(|(_, event)| app.post(&app.url, event));
    futures_util::future::join_all(posts).await;
    app.settle().await;
    for (identity, event) in &events {
        let sid = &event.track.as_ref().unwrap().sid;
        let is_muted = app.is_muted("webinar-1", identity, sid);
        assert_eq!(is_muted, is_done || identity != "poison", "{identity}");
        let expected = if identity == "poison" {
            "dead_letter"
        } else {
            "muted"
        };
        assert_eq!(
            app.settlement(sid).await.as_deref(),
            Some(expected),
            "{identity}"
        );
    }
    // Nobody else was tried again.
    let others = "outcome = 'done' and action = 'mute' and identity <> 'poison'";
    assert_eq!(app.lines(others).await.len(), events.len() - 1);
    app.finish().await;
}

/// The event of a new microphone of ann's, which was not sent yet.
pub(crate) fn event(app: &TestApp) -> (String, WebhookEvent) {
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let event = app.event_of(&track.sid);
    (track.sid, event)
}

/// What is stored of a track holds its room's metadata, which a tenant may make as large as LiveKit lets it.
/// Sends events that are stored together, so that all look at LiveKit at the same time.
async fn post_together<'a>(app: &TestApp, events: impl IntoIterator<Item = &'a WebhookEvent>) {
    let verified = "quell_step_seconds_count{step=\"Verify\"}";
    let before = app.metric(&app.url, verified).await;
    let blocked = app.block_events().await;
    let posts = events.into_iter().map(|event| app.post(&app.url, event));
    let posts: Vec<_> = posts.collect();
    let all = usize::try_from(before).unwrap() + posts.len();
    tokio::join!(futures_util::future::join_all(posts), async {
        app.wait_verified(all).await;
        blocked.release().await;
    });
}

#[tokio::test]
async fn rooms_that_are_asked_for_together_are_one_call_and_large_ones_harm_no_other() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: acmes, owner: acme, match: { type: [AUDIO] }, effect: mute }]")
        .await;
    app.hold_webhooks();
    let large = "x".repeat(500 << 10);
    let mut events = Vec::new();
    for number in 0..40 {
        let room = format!("webinar-{number}");
        // Together they are more than an answer may have.
        let is_large = number % 4 != 1;
        let metadata =
            serde_json::json!({"auth_id": "acme", "notes": if is_large { &large } else { "" }});
        app.simulator
            .create_room(&room, Some(&metadata.to_string()));
        let track = app.publish(&room, Join::new("ann"), Publish::microphone());
        events.push((room, app.event_of(&track.sid)));
    }
    post_together(&app, events.iter().map(|(_, event)| event)).await;
    app.settle().await;
    for (room, event) in &events {
        let sid = &event.track.as_ref().unwrap().sid;
        assert!(app.is_muted(room, "ann", sid), "{room}");
    }
    // None was tried again for another's sake.
    let queued = "quell_step_seconds_count{step=\"Facts\"}";
    assert_eq!(
        app.metric(&app.url, queued).await,
        u64::try_from(events.len()).unwrap()
    );

    // What is small goes together.
    let before = app.calls_to(Method::ListRooms).len();
    let mut small = Vec::new();
    for (room, _) in &events {
        let number: usize = room.trim_start_matches("webinar-").parse().unwrap();
        if number % 4 == 1 {
            let track = app.publish(room, Join::new("ben"), Publish::microphone());
            small.push(app.event_of(&track.sid));
        }
    }
    post_together(&app, &small).await;
    app.settle().await;
    let calls = app.calls_to(Method::ListRooms).len() - before;
    assert!(
        calls < small.len(),
        "{calls} calls for {} looks",
        small.len()
    );
    app.finish().await;
}

/// A room's answer that is under way may be older than the room.
#[tokio::test]
async fn a_look_does_not_join_a_call_that_was_sent_before_it() {
    let app = TestApp::new().await;
    app.apply("policies: [{ name: acmes, owner: acme, match: { type: [AUDIO] }, effect: mute }]")
        .await;
    app.hold_webhooks();
    app.room("webinar-1", "globex");
    let before = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    let before = app.event_of(&before.sid);
    let held = Fault::of(
        Method::ListRooms,
        FaultKind::Latency(Duration::from_millis(400)),
    );
    app.simulator.set_faults([held.times(1)]);
    app.post(&app.url, &before).await;
    app.wait_for_calls(Method::ListRooms, 1).await;
    app.simulator.end_room("webinar-1").unwrap();
    app.room("webinar-1", "acme");
    let after = app.publish("webinar-1", Join::new("ben"), Publish::microphone());
    app.post(&app.url, &app.event_of(&after.sid)).await;
    app.settle().await;
    assert_eq!(app.calls_to(Method::ListRooms).len(), 2);
    assert_eq!(app.settlement(&after.sid).await.as_deref(), Some("muted"));
    app.finish().await;
}

#[tokio::test]
async fn a_track_that_ends_in_the_batch_that_tells_of_it_is_gone() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.hold_webhooks();
    app.room("webinar-1", "acme");
    let (first, event) = {
        let track = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
        let event = app.event_of(&track.sid);
        app.simulator
            .unpublish("webinar-1", "ann", &track.sid)
            .unwrap();
        (track.sid, event)
    };
    let end = WebhookEvent {
        event: "track_unpublished".to_owned(),
        id: "EV_end".to_owned(),
        ..event.clone()
    };
    let room = app.simulator.events().remove(0);
    let blocked = app.block_events().await;
    tokio::join!(
        app.post(&app.url, &room),
        async {
            // The writer has that one in its hands: these wait for it together.
            app.wait_blocked().await;
            app.post(&app.url, &event).await;
        },
        async {
            app.wait_verified(2).await;
            app.post(&app.url, &end).await;
        },
        async {
            app.wait_verified(3).await;
            blocked.release().await;
        }
    );
    app.settle().await;
    assert_eq!(app.settlement(&first).await.as_deref(), Some("gone"));
    app.finish().await;
}
