//! Many jobs at once, jobs that nobody can work on, and looks that run out of time.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};

use crate::support::{Setup, TestApp};

const ALL: &str = "policies: [{ name: all, match: { type: [AUDIO] }, effect: mute }]";

/// A quell that stores jobs and leaves them to another.
async fn idle() -> TestApp {
    let app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    app
}

/// The one who works the jobs off, four at a time.
async fn work_off(app: &mut TestApp) {
    app.config.worker.concurrency = 4;
    app.replica().await;
    app.settle().await;
}

#[tokio::test]
async fn a_backlog_is_taken_in_bites_and_worked_off_without_waiting_for_leases() {
    let mut app = idle().await;
    // With statistics of an empty table, as a table that is mostly empty has them.
    sqlx::raw_sql("analyze job")
        .execute(&app.pool)
        .await
        .unwrap();
    let tracks: Vec<_> = (0..60)
        .map(|n| {
            let identity = format!("p{n}");
            let track = app.publish("webinar-1", Join::new(&*identity), Publish::microphone());
            (identity, track.sid)
        })
        .collect();
    app.simulator
        .wait_delivered(crate::support::BOUND)
        .await
        .unwrap();
    work_off(&mut app).await;
    for (identity, sid) in &tracks {
        assert!(app.is_muted("webinar-1", identity, sid), "{identity}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_job_whose_event_cannot_be_read_or_is_gone_is_given_up() {
    let mut app = idle().await;
    let unreadable = app
        .publish("webinar-1", Join::new("ann"), Publish::microphone())
        .sid;
    let gone = app
        .publish("webinar-1", Join::new("ben"), Publish::microphone())
        .sid;
    app.simulator
        .wait_delivered(crate::support::BOUND)
        .await
        .unwrap();
    for (query, sid) in [
        (
            "update webhook_event set body = '[]' where track_sid = $1",
            &unreadable,
        ),
        ("delete from webhook_event where track_sid = $1", &gone),
    ] {
        sqlx::query(query)
            .bind(sid)
            .execute(&app.pool)
            .await
            .unwrap();
    }
    work_off(&mut app).await;
    assert_eq!(
        app.settlement(&unreadable).await.as_deref(),
        Some("dead_letter")
    );
    let errors = app
        .sql("select string_agg(last_error, '; ' order by last_error) from job")
        .await;
    let errors = errors.unwrap();
    assert!(
        errors.contains("cannot be read") && errors.contains("no longer there"),
        "{errors}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_job_that_ends_its_worker_again_and_again_is_given_up_after_its_deadline() {
    let mut app = idle().await;
    let track = app
        .publish("webinar-1", Join::new("ann"), Publish::microphone())
        .sid;
    app.simulator
        .wait_delivered(crate::support::BOUND)
        .await
        .unwrap();
    // As it is when its worker was killed, the last time after the deadline.
    sqlx::raw_sql(
        "update job set state = 'leased', attempt = 5, leased_by = 'the late',
                deadline = clock_timestamp() - interval '2 minutes'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    work_off(&mut app).await;
    assert_eq!(app.settlement(&track).await.as_deref(), Some("undecided"));
    assert!(!app.is_muted("webinar-1", "ann", &track));
    assert_eq!(
        app.history().await.last().unwrap(),
        "webhook decide undecided - - webinar-1 ann MICROPHONE -"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_look_that_runs_out_of_time_is_repeated_and_no_track_is_taken_for_gone() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "600");
    let app: TestApp = setup.start().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    app.simulator.join("webinar-1", Join::new("ann"));
    // The webhook is faster than the track, and LiveKit is slow: the third look has no time left.
    let publish = Publish {
        sid: Some("TR_late".to_owned()),
        ..Publish::microphone()
    };
    app.hold_webhooks();
    app.simulator
        .publish("webinar-1", "ann", publish.clone())
        .unwrap();
    let event = app.event_of("TR_late");
    app.simulator
        .unpublish("webinar-1", "ann", "TR_late")
        .unwrap();
    let slow = FaultKind::Latency(Duration::from_millis(200));
    app.simulator
        .set_faults([Fault::of(Method::GetParticipant, slow)]);
    app.post(&app.url, &event).await;
    // Alone, and then with all that the room waits for.
    app.wait_for_calls(Method::ListParticipants, 1).await;
    app.simulator.set_faults([]);
    app.simulator.publish("webinar-1", "ann", publish).unwrap();
    app.settle().await;
    assert_eq!(app.settlement("TR_late").await.as_deref(), Some("muted"));
    app.finish().await;
}
