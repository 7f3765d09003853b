//! What runs from time to time, in a server that runs.

use chrono::TimeDelta;
use livekit_double::{Join, Publish};
use livekit_protocol::TrackSource;
use quell::server::Server;
use quell_clock::ManualClock;
use reqwest::StatusCode;

use crate::support::{ACME, Setup, service};

const ALL: &str = "policies: [{ name: all, match: { type: [AUDIO] }, effect: mute }]";

#[tokio::test]
async fn a_replica_whose_clock_is_ahead_removes_nothing() {
    let setup = Setup::default().env("QUELL_EVENT_RETENTION", "30d");
    let app = setup.start().await;
    app.apply(ALL).await;
    app.room("webinar-1", "acme");
    let publish = Publish::new(TrackSource::Microphone);
    let track = app.publish("webinar-1", Join::new("ann"), publish);
    app.settle().await;
    let unmute = app.mute(ACME, "webinar-1", "ann", &track.sid, false);
    assert_eq!(unmute.send().await.unwrap().status(), StatusCode::OK);
    sqlx::raw_sql(
        "insert into job (event_created_at, event_id, received_at, state, deadline, room_sid)
         values (now(), 'dead', now(), 'dead', now(), 'RM')",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let rows = "select (select count(*) from webhook_event) || ' ' || (select count(*) from job) || ' ' ||
                       (select count(*) from manual_unmute) || ' ' || (select count(*) from track_lease)";
    let before = app.sql(rows).await;

    let clock = ManualClock::new(app.now() + TimeDelta::days(62));
    let running = Server::start(&app.config, service(&app.config), clock.clock());
    let running = running.await.unwrap();
    let chores = [
        "create_partitions",
        "drop_events",
        "delete_dead_jobs",
        "delete_unmutes",
        "delete_leases",
    ];
    app.wait_for("every chore is done once", async || {
        let text = running.state.metrics.text();
        let is_done = |chore: &str| {
            text.contains(&format!(
                "quell_maintenance_runs_total{{chore=\"{chore}\",result=\"ok\"}} 1\n"
            ))
        };
        chores.into_iter().all(is_done)
    })
    .await;
    assert_eq!(app.sql(rows).await, before);
    running.drain().await;
    app.finish().await;
}
