//! Many jobs share places, statements and replicas: none of them makes another wait, or takes it along.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::{TrackInfo, TrackSource, WebhookEvent};

use crate::support::{BOUND, Proxy, Setup, TestApp};

const ALL: &str = "policies: [{ name: all, match: { type: [AUDIO] }, effect: mute }]";

fn gone(number: usize) -> TrackInfo {
    TrackInfo {
        sid: format!("TR_gone{number}"),
        source: TrackSource::Microphone.into(),
        ..TrackInfo::default()
    }
}

async fn muted(app: &TestApp, room: &str, identity: &str, sid: &str) {
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
    let setup = Setup::default().env("QUELL_JOB_DEADLINE_SECONDS", "2");
    let app = setup.start().await;
    app.apply(ALL).await;
    sqlx::raw_sql("alter table webhook_event add check (facts is null or identity <> 'poison')")
        .execute(&app.pool)
        .await
        .unwrap();
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
        assert!(app.is_muted("webinar-1", identity, sid), "{identity}");
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
    app.finish().await;
}

/// The event of a new microphone of ann's, which was not sent yet.
fn event(app: &TestApp) -> (String, WebhookEvent) {
    let track = app.publish("standup", Join::new("ann"), Publish::microphone());
    let event = app.event_of(&track.sid);
    (track.sid, event)
}

#[tokio::test]
async fn a_duplicates_receiver_takes_a_job_over_that_is_not_begun_and_no_other() {
    for begins in [false, true] {
        let mut app = TestApp::new().await;
        let other = app.replica().await;
        app.apply(ALL).await;
        app.wait_for("the other has the policy", async || {
            app.metric(&other, "quell_policies").await == 1
        })
        .await;
        app.hold_webhooks();
        app.room("standup", "acme");
        let (sid, event) = event(&app);
        let method = if begins {
            Method::MutePublishedTrack
        } else {
            Method::GetParticipant
        };
        let held = FaultKind::Latency(Duration::from_secs(1));
        app.simulator.set_faults([Fault::of(method, held).times(1)]);
        app.post(&app.url, &event).await;
        app.wait_for_calls(method, 1).await;
        app.post(&other, &event).await;
        app.settle().await;
        assert!(app.is_muted("standup", "ann", &sid));
        assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
        // The first finds that the job is not its own any more, and does nothing.
        let held = async || {
            let calls = app.calls_to(method);
            calls.iter().all(|call| call.status.is_some())
        };
        app.wait_for("the slow call is answered", held).await;
        assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
        let settled = "quell_settled_total{result=\"muted\"}";
        let expected = if begins { [1, 0] } else { [0, 1] };
        let found = [
            app.metric(&app.url, settled).await,
            app.metric(&other, settled).await,
        ];
        assert_eq!(found, expected, "{begins}");
        assert_eq!(
            app.lines("outcome = 'done' and action = 'mute'")
                .await
                .len(),
            1
        );
        app.finish().await;
    }
}

#[tokio::test]
async fn an_event_that_was_stored_without_an_answer_is_handled_at_once() {
    let mut app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.config.worker.concurrency = 8;
    let direct = app.config.database.url.clone();
    let proxy = Proxy::before(&mut app.config).await;
    let quell = app.replica().await;
    app.config.database.url = direct;
    app.hold_webhooks();
    app.room("standup", "acme");
    let (sid, event) = event(&app);
    proxy.lose_answer();
    let url = url::Url::parse(&format!("{quell}/livekit/webhook")).unwrap();
    let webhook = app.simulator.signed_webhook(&event).unwrap();
    let outcome = app.simulator.post_webhook(&url, &webhook, 1).await;
    assert_eq!(outcome, [livekit_double::Outcome::Status(503)]);
    // LiveKit does not send again, and no replica is gone.
    tokio::time::timeout(BOUND, muted(&app, "standup", "ann", &sid))
        .await
        .unwrap();
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    app.finish().await;
}

/// Two replicas begin and end actions on the same sources at once.
#[tokio::test]
async fn batches_never_wait_for_each_other_in_a_circle() {
    let mut app = TestApp::new().await;
    let other = app.replica().await;
    app.apply(ALL).await;
    app.wait_for("the other has the policy", async || {
        app.metric(&other, "quell_policies").await == 1
    })
    .await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mut events = Vec::new();
    for number in 0..120 {
        let identity = format!("p{}", number % 12);
        if number < 12 {
            app.simulator.join("standup", Join::new(&*identity));
        }
        let track = app
            .simulator
            .publish("standup", &identity, Publish::microphone());
        events.push(app.event_of(&track.unwrap().sid));
    }
    let posts = events.iter().enumerate().map(|(number, event)| {
        let url = if number % 2 == 0 { &app.url } else { &other };
        app.post(url, event)
    });
    futures_util::future::join_all(posts).await;
    app.settle().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(app.sql(deadlocks).await.as_deref(), Some("0"));
    for event in &events {
        let sid = &event.track.as_ref().unwrap().sid;
        assert_eq!(app.settlement(sid).await.as_deref(), Some("muted"));
    }
    let overlapping = "select count(*) from (
            select i.recorded_at as begun,
                   lag(o.recorded_at) over (partition by i.room_sid, i.identity, i.source
                                            order by i.recorded_at) as ended_before
            from audit_log i join audit_log o using (started_at, action_id)
            where i.phase = 'intent' and o.phase = 'outcome') as action
         where begun < ended_before";
    assert_eq!(app.sql(overlapping).await.as_deref(), Some("0"));
    app.finish().await;
}
