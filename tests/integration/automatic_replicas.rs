//! Replicas share jobs: each is handled once, and what one of them leaves behind another ends.

use std::future::pending;

use chrono::{DateTime, Utc};
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use quell::config::Config;
use quell::server::Server;
use quell_clock::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::support::{ACME, BOUND, Setup, TestApp, service};

const ALL: &str = "policies: [{ name: all, match: {}, effect: mute }]";
/// A job whose end leaves a row of its own, so that ending it twice shows.
const WITH_DRY_RUN: &str = "
policies:
  - { name: all, match: {}, effect: mute }
  - { name: dry, match: {}, effect: exempt, mode: dry_run, reason: to see what it does }
";

/// A replica that can be killed: all of its tasks end where they stand.
struct Doomed {
    runtime: Runtime,
    url: String,
}

impl Doomed {
    async fn start(config: &Config) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (listens, address) = oneshot::channel();
        let config = config.clone();
        runtime.spawn(async move {
            let running = Server::start(&config, service(&config), Clock::system())
                .await
                .unwrap();
            listens.send(running.address).unwrap();
            pending::<()>().await;
        });
        let url = format!("http://{}", address.await.unwrap());
        Self { runtime, url }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// What is left of a replica that dies while `method` is under way is ended by another.
async fn dies_during(method: Method) -> TestApp {
    let setup = Setup::default()
        .env("QUELL_WORKERS", "0")
        .env("QUELL_LIVEKIT_TIMEOUT_MS", "500");
    let mut app = setup.start().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    app.config.worker.concurrency = 32;
    let doomed = Doomed::start(&app.config).await;
    let webhooks = Url::parse(&format!("{}/livekit/webhook", doomed.url)).unwrap();
    app.simulator.set_webhook_url(Some(webhooks));
    app.simulator
        .set_faults([Fault::of(method, FaultKind::Hang).times(1)]);
    let sid = app
        .publish("standup", Join::new("ann"), Publish::microphone())
        .sid;
    app.wait_for_calls(method, 1).await;
    doomed.kill();
    app.replica().await;
    app.settle().await;
    assert!(app.is_muted("standup", "ann", &sid));
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    app
}

#[tokio::test]
async fn a_job_of_a_replica_that_died_is_taken_over_when_it_is_missed() {
    let app = dies_during(Method::GetParticipant).await;
    assert_eq!(
        app.lines("action = 'mute'").await,
        ["webhook mute done - acme standup ann MICROPHONE all@1"]
    );
    app.finish().await;
}

#[tokio::test]
async fn an_intent_of_a_replica_that_died_is_closed_as_unknown_after_its_settle_by() {
    let app = dies_during(Method::MutePublishedTrack).await;
    let open = "select count(*) from unsettled_actions";
    app.wait_for("the intent is closed", async || {
        app.sql(open).await.as_deref() == Some("0")
    })
    .await;
    let history = app.lines("action = 'mute'").await;
    let line = |outcome| format!("webhook mute {outcome} - acme standup ann MICROPHONE all@1");
    assert_eq!(history.first(), Some(&line("unknown")));
    assert_eq!(history.last(), Some(&line("done")));
    // A mute of a replica that is gone is done again before its lease is over: that would take seconds.
    let soon = "select count(*) from audit_log again join audit_log i using (track_sid)
                where again.outcome = 'done' and i.phase = 'intent' and again.started_at < i.settle_by
                  and again.action_id <> i.action_id";
    assert_eq!(app.sql(soon).await.as_deref(), Some("1"));
    let early = "select count(*) from audit_log o join audit_log i using (started_at, action_id)
                 where i.phase = 'intent' and o.outcome = 'unknown' and o.recorded_at <= i.settle_by";
    assert_eq!(app.sql(early).await.as_deref(), Some("0"));
    app.finish().await;
}

#[tokio::test]
async fn a_worker_that_lost_its_job_to_another_ends_nothing() {
    for fails in [false, true] {
        let app = TestApp::new().await;
        app.apply(WITH_DRY_RUN).await;
        app.room("standup", "acme");
        if fails {
            let fault = Fault::of(Method::MutePublishedTrack, FaultKind::Unavailable);
            app.simulator.set_faults([fault.times(1)]);
        }
        // Holds the worker up before it writes its intent.
        let mut held = app.pool.begin().await.unwrap();
        sqlx::query("lock table track_lease in exclusive mode")
            .execute(&mut *held)
            .await
            .unwrap();
        let sid = app
            .publish("standup", Join::new("ann"), Publish::microphone())
            .sid;
        let waiting = "select count(*) from pg_stat_activity
                       where datname = current_database() and wait_event = 'relation'
                         and query like 'with asked as %'";
        app.wait_for("the worker is held up", async || {
            app.sql(waiting).await.as_deref() == Some("1")
        })
        .await;
        let taken = sqlx::query(
            "with other as (insert into replica values ('another', clock_timestamp() + interval '1 hour'))
             update job set attempt = attempt + 1, leased_by = 'another'",
        );
        let taken = taken.execute(&app.pool).await.unwrap();
        assert_eq!(taken.rows_affected(), 1);
        held.commit().await.unwrap();
        // It asks why it may not.
        let told = "select count(*) from pg_stat_activity
                    where datname = current_database() and state = 'idle'
                      and query like 'select a.action_id as %'";
        app.wait_for("the late worker has come to its end", async || {
            app.sql(told).await.as_deref() == Some("1")
        })
        .await;
        let job = "select state || attempt || coalesce(leased_by, '-') || coalesce(last_error, '') from job";
        assert_eq!(
            app.sql(job).await.as_deref(),
            Some("leased2another"),
            "{fails}"
        );
        assert_eq!(app.settlement(&sid).await, None);
        assert_eq!(app.lines("outcome = 'dry_run'").await, Vec::<String>::new());
        // The other one dies as well: its lease runs out, and whoever comes next ends the job.
        let lost = "update replica set alive_until = clock_timestamp() where id = 'another'";
        sqlx::query(lost).execute(&app.pool).await.unwrap();
        app.settle().await;
        assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
        assert_eq!(app.lines("outcome = 'dry_run'").await.len(), 1);
        app.finish().await;
    }
}

#[tokio::test]
async fn each_event_is_handled_once_whichever_replicas_it_comes_to() {
    let mut app = TestApp::new().await;
    app.apply(ALL).await;
    let other = app.replica().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mut tracks = Vec::new();
    for number in 0..20 {
        let who = format!("p{number:02}");
        let sid = app
            .publish("standup", Join::new(&who), Publish::microphone())
            .sid;
        tracks.push((who, sid));
    }
    for (_, sid) in &tracks {
        let event = app.event_of(sid);
        tokio::join!(app.post(&app.url, &event), app.post(&other, &event));
    }
    app.settle().await;
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), tracks.len());
    let history = app.lines("action = 'mute' and outcome = 'done'").await;
    assert_eq!(history.len(), tracks.len());
    let muted = |name| {
        let app = &app;
        async move {
            app.metric(name, "quell_settled_total{result=\"muted\"}")
                .await
        }
    };
    let (mine, others) = (muted(&app.url).await, muted(&other).await);
    assert_eq!(mine + others, 20);
    for (who, sid) in &tracks {
        assert!(app.is_muted("standup", who, sid), "{who}");
    }
    app.finish().await;
}

#[tokio::test]
async fn while_one_replica_is_stuck_the_others_work_off_what_is_queued() {
    let mut app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    for number in 0..10 {
        let who = Join::new(format!("p{number}"));
        app.publish("standup", who, Publish::microphone());
    }
    app.simulator.wait_delivered(BOUND).await.unwrap();
    app.simulator
        .set_faults([Fault::of(Method::GetParticipant, FaultKind::Hang).times(1)]);
    app.config.worker.concurrency = 1;
    app.replica().await;
    app.replica().await;
    let hung = || {
        app.calls_to(Method::GetParticipant)
            .iter()
            .filter(|c| c.status.is_none())
            .count()
    };
    app.wait_for(
        "all but one are muted, while that one still hangs",
        async || app.calls_to(Method::MutePublishedTrack).len() == 9 && hung() == 1,
    )
    .await;
    app.settle().await;
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 10);
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_comes_many_times_at_once_to_a_busy_quell_is_handled_at_once() {
    // With one worker, one of the equals finds it free and the others do not.
    let app = Setup::default().env("QUELL_WORKERS", "1").start().await;
    app.apply(ALL).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    for number in 0..10 {
        let who = Join::new(format!("p{number}"));
        let sid = app.publish("standup", who, Publish::microphone()).sid;
        let event = app.event_of(&sid);
        let posts = (0..8).map(|_| app.post(&app.url, &event));
        futures_util::future::join_all(posts).await;
    }
    // Nothing is left to a lease that has to run out first: that takes longer than this waits.
    app.settle().await;
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 10);
    app.finish().await;
}

#[tokio::test]
async fn what_came_of_a_mute_is_written_whoever_has_the_job_by_then() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    let slow = FaultKind::Latency(std::time::Duration::from_millis(500));
    let slow = Fault::of(Method::MutePublishedTrack, slow);
    app.simulator.set_faults([slow.times(1)]);
    let sid = app
        .publish("standup", Join::new("ann"), Publish::microphone())
        .sid;
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    // Another has taken it, and is gone.
    sqlx::raw_sql(
        "insert into replica values ('gone', now() - interval '1 second');
         update job set attempt = attempt + 1, leased_by = 'gone'",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    // The second had looked before, and made no call of its own.
    let done = "webhook mute done - acme standup ann MICROPHONE all@1";
    assert_eq!(app.lines("action = 'mute'").await, [done]);
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    let counted = app.metric(&app.url, "quell_settled_total{result=\"muted\"}");
    assert_eq!(counted.await, 1);
    app.finish().await;
}

/// Its heartbeats go on meanwhile, and nobody acts in its place.
#[tokio::test]
async fn a_mute_that_postgres_takes_long_to_begin_is_made_once() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    let mut held = app.pool.begin().await.unwrap();
    sqlx::query("lock table track_lease in exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let sid = app
        .publish("standup", Join::new("ann"), Publish::microphone())
        .sid;
    app.wait_blocked_for(1).await;
    held.commit().await.unwrap();
    app.settle().await;
    assert!(app.is_muted("standup", "ann", &sid));
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 1);
    assert_eq!(
        app.lines("action = 'mute'").await,
        ["webhook mute done - acme standup ann MICROPHONE all@1"]
    );
    app.finish().await;
}

/// The one that is gone may only have been held up: its call would undo the unmute.
#[tokio::test]
async fn an_unmute_waits_for_the_late_mute_of_a_replica_that_is_gone() {
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let sid = app
        .publish("standup", Join::new("ann"), Publish::microphone())
        .sid;
    let event = app.event_of(&sid);
    let held = "insert into track_lease (room_sid, identity, source, action_id, leased_until, leased_by, action)
                values ($1, 'ann', 'MICROPHONE', gen_random_uuid(), clock_timestamp() + interval '2 s',
                        'gone', 'mute') returning leased_until";
    let until: DateTime<Utc> = sqlx::query_scalar(held)
        .bind(&event.room.as_ref().unwrap().sid)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    app.post(&app.url, &event).await;
    app.settle().await;
    assert!(app.is_muted("standup", "ann", &sid));
    let muted_at = "select started_at from moderation_history where action = 'mute'";
    let muted_at: DateTime<Utc> = sqlx::query_scalar(muted_at)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(muted_at < until, "{muted_at} {until}");
    let unmute = app.mute(ACME, "standup", "ann", &sid, false);
    assert_eq!(unmute.send().await.unwrap().status(), 200);
    let unmuted_at = "select started_at from moderation_history where action = 'unmute'";
    let unmuted_at: DateTime<Utc> = sqlx::query_scalar(unmuted_at)
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert!(unmuted_at >= until, "{unmuted_at} {until}");
    assert!(!app.is_muted("standup", "ann", &sid));
    app.finish().await;
}

#[tokio::test]
async fn a_replica_that_stops_leaves_what_it_waits_for_to_others_at_once() {
    let mut app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    app.simulator.join("standup", Join::new("ann"));
    app.hold_webhooks();
    app.config.worker.concurrency = 8;
    let first = Server::start(&app.config, service(&app.config), Clock::system())
        .await
        .unwrap();
    let track = livekit_protocol::TrackInfo {
        sid: "TR_AMlate".to_owned(),
        source: livekit_protocol::TrackSource::Microphone.into(),
        ..livekit_protocol::TrackInfo::default()
    };
    let url = format!("http://{}", first.address);
    app.post(&url, &app.event_ahead("standup", "ann", track))
        .await;
    app.wait_for_calls(Method::ListParticipants, 1).await;
    // A client that sends its request slowly, which the drain waits for.
    let mut slow = TcpStream::connect(first.address).await.unwrap();
    let head = format!(
        "POST /livekit/participant/mute HTTP/1.1\r\nHost: quell\r\nAuthorization: Bearer {ACME}\r\n\
         Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // Who is not let in yet is not waited for: this client, and the one that asks here.
    app.wait_for("the slow client is let in", async || {
        app.metric(&url, "quell_http_connections").await >= 2
    })
    .await;
    let draining = TaskTracker::new().spawn(first.drain());
    let left = "select count(*) from job where state = 'queued'";
    app.wait_for("the job is left to others", async || {
        app.sql(left).await.as_deref() == Some("1")
    })
    .await;
    assert!(!draining.is_finished());
    let publish = Publish {
        sid: Some("TR_AMlate".to_owned()),
        ..Publish::microphone()
    };
    app.simulator.publish("standup", "ann", publish).unwrap();
    app.replica().await;
    app.settle().await;
    assert!(app.is_muted("standup", "ann", "TR_AMlate"));
    drop(slow);
    draining.await.unwrap();
    app.finish().await;
}

/// Postgres was away, and whoever comes back first takes all others for gone.
#[tokio::test]
async fn a_mute_that_was_done_again_in_a_replicas_place_is_unknown_to_the_log_whatever_came_of_it()
{
    let app = TestApp::new().await;
    app.apply(ALL).await;
    app.room("standup", "acme");
    let slow = FaultKind::Latency(std::time::Duration::from_millis(500));
    let slow = Fault::of(Method::MutePublishedTrack, slow);
    app.simulator.set_faults([slow.times(1)]);
    let sid = app
        .publish("standup", Join::new("ann"), Publish::microphone())
        .sid;
    app.wait_for_calls(Method::MutePublishedTrack, 1).await;
    // As another would begin the same: the lease is its own by then.
    sqlx::query("update track_lease set action_id = gen_random_uuid(), leased_by = 'other'")
        .execute(&app.pool)
        .await
        .unwrap();
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    let unknown = "webhook mute unknown - acme standup ann MICROPHONE all@1";
    assert_eq!(app.lines("action = 'mute'").await, [unknown]);
    app.finish().await;
}
