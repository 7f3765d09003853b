//! Ticks are shared by replicas: each is swept for, and finished once.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish, Simulator};
use quell::sweep::{Counts, RoomScope, Tick, TickCause, Ticks};

use crate::support::{BOUND, MICS, TestApp, by_hand, sweeping};

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
        let over = "select count(*) from sweep_run where finished_at is null and leased_until >= clock_timestamp()";
        app.wait_for("all leases are over", async || app.count(over).await == 0)
            .await;
        // All of them want all of it, by both ways.
        let racing = others.iter().map(async |ticks| {
            let mut finished = 0;
            for (n, (_, tick)) in leases.iter().enumerate() {
                let taken = if n % 2 == 0 {
                    ticks.begin(tick.clone()).await.unwrap()
                } else {
                    ticks.take_over().await.unwrap()
                };
                if let Some(taken) = taken {
                    let written = ticks.finish(&taken, &Counts::default(), None).await;
                    finished += i32::from(written.unwrap());
                }
            }
            while let Some(taken) = ticks.take_over().await.unwrap() {
                let written = ticks.finish(&taken, &Counts::default(), None).await;
                finished += i32::from(written.unwrap());
            }
            finished
        });
        let finished = futures_util::future::join_all(racing).await;
        assert_eq!(finished.iter().sum::<i32>(), 100);
        // The first one wakes up.
        for (late, _) in &leases {
            assert!(!dead.renew(late).await.unwrap());
            let written = dead.finish(late, &Counts::default(), None).await;
            assert!(!written.unwrap());
        }
    }
    let taken_over = "select count(*) from sweep_run where attempt >= 2";
    assert_eq!(app.count(taken_over).await, 1000);
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

#[tokio::test]
async fn a_sweep_whose_tick_is_taken_by_another_acts_no_more() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    app.simulator.set_faults([Fault {
        method: Some(Method::ListParticipants),
        kind: FaultKind::Latency(Duration::from_millis(600)),
        times: None,
    }]);
    let ticks = Ticks {
        lease: Duration::from_millis(400),
        ..app.ticks()
    };
    let sweeper = app.sweeper_with(ticks.clone());
    let tick = Tick {
        cause: TickCause::Schedule,
        key: "2026-03-02T08:00:00Z".to_owned(),
        room_name: None,
    };
    let lease = ticks.begin(tick.clone()).await.unwrap().unwrap();
    let taking = async {
        let is_asked = |simulator: &Simulator| {
            let calls = simulator.calls();
            calls.iter().any(|call| call.method == "ListParticipants")
        };
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        let taken = "with taken as (update sweep_run set attempt = attempt + 1, replica = 'b',
                         leased_until = clock_timestamp() + interval '1 minute' returning 1)
                     select count(*) from taken";
        assert_eq!(app.count(taken).await, 1);
    };
    let (swept, ()) = tokio::join!(sweeper.sweep(&lease, RoomScope::All), taking);
    assert_eq!(swept, None);
    assert!(!app.is_muted("standup", "ann", &mic));
    assert_eq!(app.by_sweeps().await, [""; 0]);
    let open = "select count(*) from sweep_run where finished_at is null and replica = 'b'";
    assert_eq!(app.count(open).await, 1);
    app.finish().await;
}

/// Of sweeps that die in the middle, each tick is finished once, and each track muted once.
#[tokio::test]
async fn sweeps_that_die_in_the_middle_leave_nothing_undone_and_do_nothing_twice() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.apply(MICS).await;
    let ticks = Ticks {
        lease: Duration::from_millis(100),
        ..app.ticks()
    };
    for round in 0..20 {
        let room = format!("room-{round}");
        app.room(&room, "acme");
        for identity in ["ann", "ben", "cid"] {
            app.publish(&room, Join::new(identity), Publish::microphone());
        }
        let tick = Tick {
            cause: TickCause::Schedule,
            key: round.to_string(),
            room_name: None,
        };
        let lease = ticks.begin(tick).await.unwrap().unwrap();
        let (dying, heir) = (
            app.sweeper_with(ticks.clone()),
            app.sweeper_with(ticks.clone()),
        );
        // It dies at another instant each time: what is under way is dropped, as by a kill.
        let dead = tokio::time::timeout(
            Duration::from_millis(round),
            Box::pin(dying.sweep(&lease, RoomScope::All)),
        );
        let is_dead = dead.await.is_err();
        app.wait_for("somebody takes the tick over", async || {
            match ticks.take_over().await.unwrap() {
                Some(taken) => heir.sweep(&taken, RoomScope::All).await.is_some(),
                None => !is_dead,
            }
        })
        .await;
    }
    let finished = "select count(*) from sweep_run where finished_at is not null";
    assert_eq!(app.count(finished).await, 20);
    for call in app.simulator.rooms() {
        for identity in ["ann", "ben", "cid"] {
            let participant = app.simulator.participant(&call.name, identity).unwrap();
            assert!(
                participant.tracks.iter().all(|track| track.muted),
                "{call:?}"
            );
        }
    }
    app.wait_for("what was under way is over", async || {
        app.count("select count(*) from unsettled_actions where not overdue")
            .await
            == 0
    })
    .await;
    app.finish_with_work_left().await;
}
