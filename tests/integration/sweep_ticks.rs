//! Ticks are shared by replicas: each is swept for, and finished once.

use std::time::Duration;

use livekit_double::{Join, Publish};
use quell::sweep::{Counts, Tick, TickCause, Ticks};

use crate::support::{MICS, TestApp, sweeping};

#[tokio::test]
async fn of_a_thousand_ticks_that_are_taken_over_each_is_finished_once() {
    let app = TestApp::new().await;
    let lease = Duration::from_millis(100);
    let ticks = |replica: &str| Ticks {
        replica: replica.to_owned(),
        lease,
        ..app.ticks()
    };
    let (dead, others) = (ticks("dead"), ["b", "c", "d"].map(ticks));
    for batch in 0..10 {
        let mut leases = Vec::new();
        for n in 0..100 {
            let tick = Tick {
                cause: TickCause::Schedule,
                key: format!("{batch} {n}"),
                room_name: None,
            };
            let taken = dead.begin(tick.clone()).await.unwrap().unwrap();
            leases.push((taken, tick));
        }
        tokio::time::sleep(lease).await;
        let over = "select count(*) from sweep_run where finished_at is null and leased_until >= clock_timestamp()";
        app.wait_for("all leases are over", async || app.count(over).await == 0)
            .await;
        // All of them want all of it, by both ways, while the first one wakes up.
        let racing = others.iter().map(async |ticks| {
            let mut finished = 0;
            for (n, (_, tick)) in leases.iter().enumerate() {
                let taken = if n % 2 == 0 {
                    ticks.begin(tick.clone()).await.unwrap()
                } else {
                    ticks.take_over().await.unwrap()
                };
                if let Some(taken) = taken {
                    finished += i32::from(
                        ticks
                            .finish(&taken, &Counts::default(), None)
                            .await
                            .unwrap(),
                    );
                }
            }
            finished
        });
        let waking = async {
            let mut finished = 0;
            for (late, _) in &leases {
                if dead.renew(late).await.unwrap() {
                    continue;
                }
                finished += i32::from(dead.finish(late, &Counts::default(), None).await.unwrap());
            }
            finished
        };
        let (finished, late) = tokio::join!(futures_util::future::join_all(racing), waking);
        let rest = "select count(*) from sweep_run where finished_at is null";
        assert_eq!(late, 0);
        let left = i32::try_from(app.count(rest).await).unwrap();
        assert_eq!(finished.iter().sum::<i32>() + left, 100);
        for (lease, _) in &leases {
            // What the first one had renewed in time is still its own, once.
            dead.finish(lease, &Counts::default(), None).await.unwrap();
        }
        assert_eq!(app.count(rest).await, 0);
    }
    assert_eq!(
        app.count("select count(*) from sweep_run where finished_at is not null")
            .await,
        1000
    );
    app.finish().await;
}

#[tokio::test]
async fn a_tick_of_a_replica_that_is_gone_is_taken_up_within_seconds() {
    let app = sweeping().start().await;
    app.apply(MICS).await;
    app.swept("policy", 1).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    let dead = Ticks {
        lease: Duration::from_secs(2),
        ..app.ticks()
    };
    let tick = Tick {
        cause: TickCause::Edge,
        key: "2026-03-02T08:00:00Z".to_owned(),
        room_name: None,
    };
    dead.begin(tick).await.unwrap().unwrap();
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("edge", 1).await;
    let late = "select extract(epoch from finished_at - created_at)::bigint from sweep_run where cause = 'edge'";
    assert!(app.count(late).await < 5);
    assert_eq!(
        app.count("select attempt::bigint from sweep_run where cause = 'edge'")
            .await,
        2
    );
    app.finish().await;
}
