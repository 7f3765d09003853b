//! What answers of Postgres that are lost, statements that fail and other replicas do to jobs: each is done once, and
//! soon.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::WebhookEvent;

use crate::automatic_shared::{ALL, event, gone, muted};
use crate::support::{BOUND, Proxy, Setup, TestApp};

#[tokio::test]
async fn a_duplicates_receiver_takes_a_job_over_that_is_not_begun_and_no_other() {
    for begins in [false, true] {
        let mut app = TestApp::new().await;
        app.apply(ALL).await;
        let other = app.replica().await;
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

/// A quell whose answers from Postgres can be lost, before an app that only tells of what is there.
async fn behind_proxy() -> (TestApp, Proxy, url::Url) {
    let mut app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.config.worker.concurrency = 8;
    let direct = app.config.database.url.clone();
    let proxy = Proxy::before(&mut app.config).await;
    let quell = app.replica().await;
    app.config.database.url = direct;
    app.hold_webhooks();
    app.room("standup", "acme");
    let url = url::Url::parse(&format!("{quell}/livekit/webhook")).unwrap();
    (app, proxy, url)
}

#[tokio::test]
async fn an_event_that_was_stored_without_an_answer_is_handled_at_once() {
    let (app, proxy, url) = behind_proxy().await;
    let (sid, event) = event(&app);
    proxy.lose_answer_to("track_published");
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

#[tokio::test]
async fn an_intent_that_was_committed_without_an_answer_is_carried_out_at_once() {
    let (app, proxy, url) = behind_proxy().await;
    let (sid, event) = event(&app);
    // Of all statements only the one that writes the intent says so.
    proxy.lose_answer_to("everybody");
    let webhook = app.simulator.signed_webhook(&event).unwrap();
    let outcome = app.simulator.post_webhook(&url, &webhook, 1).await;
    assert_eq!(outcome, [livekit_double::Outcome::Status(200)]);
    tokio::time::timeout(BOUND, muted(&app, "standup", "ann", &sid))
        .await
        .unwrap();
    assert!(proxy.has_lost_it());
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    // By that intent, and not by another after its lease was over.
    let lines = app.lines("action = 'mute'").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    app.finish().await;
}

/// Two replicas are told of everything; one of them has the job, and the other one's statement ends it.
#[tokio::test]
async fn a_job_that_another_replica_ends_is_forgotten() {
    let mut app = TestApp::new().await;
    app.apply(ALL).await;
    let other = app.replica().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    app.simulator.join("standup", Join::new("ann"));
    let published = app.event_ahead("standup", "ann", gone(0));
    let ended = WebhookEvent {
        event: "track_unpublished".to_owned(),
        id: "EV_end".to_owned(),
        ..published.clone()
    };
    app.post(&app.url, &published).await;
    app.wait_for_calls(Method::ListParticipants, 2).await;
    for url in [&other, &app.url] {
        app.post(url, &ended).await;
    }
    assert_eq!(app.settlement("TR_gone0").await.as_deref(), Some("gone"));
    app.wait_for("it waits no more", async || {
        app.metric(&app.url, "quell_queue_jobs").await == 0
    })
    .await;
    app.finish().await;
}

/// Two replicas begin and end actions on the same sources at once.
#[tokio::test]
async fn batches_never_wait_for_each_other_in_a_circle() {
    let mut app = TestApp::new().await;
    app.apply(ALL).await;
    let other = app.replica().await;
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
    assert_eq!(app.overlapping_actions().await, 0);
    app.finish().await;
}

/// Postgres may end a statement for many reasons; none of them says that it will not take the row.
#[tokio::test]
async fn an_end_that_postgres_breaks_off_is_written_again_with_all_that_was_known() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    let mut held = app.pool.begin().await.unwrap();
    let fault = Fault::of(
        Method::MutePublishedTrack,
        FaultKind::Latency(Duration::from_millis(300)),
    );
    app.simulator.set_faults([fault]);
    let track = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    sqlx::query("lock table manual_unmute in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let ends = "select pid from pg_stat_activity
                where datname = current_database() and wait_event = 'relation'
                  and query like 'with over as %'";
    app.wait_for("the end waits", async || app.sql(ends).await.is_some())
        .await;
    let broken = format!("select pg_terminate_backend(pid) from ({ends}) as waiting");
    assert_eq!(app.sql(&broken).await.as_deref(), Some("true"));
    held.commit().await.unwrap();
    app.settle().await;
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("muted"));
    assert_eq!(
        app.stored("facts", &track.sid).await["room"]["tenant"],
        "acme"
    );
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    assert_eq!(
        app.lines("outcome = 'done' and action = 'mute'")
            .await
            .len(),
        1
    );
    app.finish().await;
}
