//! Sweeps: what no webhook told of is found, and muted by the same path.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use quell::sweep::{Counts, RoomScope, Tick, TickCause, Ticks};
use quell_clock::ManualClock;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, BOUND, GLOBEX, OPERATOR, Setup, TestApp};

/// Never by the schedule; at start, at edges and for changes all the same.
const RARELY: &str = "0 0 0 1 1 *";

const MICS: &str = "
policies:
  - { name: mics, match: { source: [MICROPHONE] }, effect: mute }
";

fn sweeping() -> Setup {
    Setup::default().env("QUELL_SWEEP_CRON", RARELY)
}

/// One that sweeps only by hand, and a room with ann's microphone of which no webhook told.
async fn by_hand() -> (TestApp, String) {
    let app = TestApp::new().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    (app, mic.sid)
}

impl TestApp {
    fn ticks(&self) -> Ticks {
        Ticks {
            pool: self.state().pool.clone(),
            replica: "a".to_owned(),
            lease: Duration::from_secs(10),
        }
    }

    /// Sweeps all rooms in the quell that started last.
    pub(crate) async fn sweep(&self) -> Counts {
        let tick = Tick {
            cause: TickCause::Manual,
            key: format!("{}", uuid()),
            room_name: None,
        };
        let lease = self.ticks().begin(tick).await.unwrap().unwrap();
        let sweeper = self.states().last().unwrap().sweeper.as_ref().unwrap();
        sweeper.sweep(&lease, RoomScope::All).await.unwrap()
    }

    /// Waits until as many sweeps are finished for this cause.
    async fn swept(&self, cause: &str, count: i64) {
        let finished = format!(
            "select count(*) from sweeps where cause = '{cause}' and finished_at is not null"
        );
        self.wait_for(&format!("{count} sweeps for {cause}"), async || {
            self.count(&finished).await >= count
        })
        .await;
    }

    async fn until_muted(&self, room: &str, identity: &str, sid: &str) {
        self.wait_for("the track is muted", async || {
            self.is_muted(room, identity, sid)
        })
        .await;
    }

    /// What sweeps did.
    async fn by_sweeps(&self) -> Vec<String> {
        self.lines("origin = 'sweep'").await
    }
}

/// A key that no other tick has.
fn uuid() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(0)) << 64 | u128::from(RandomState::new().hash_one(1))
}

const BY_MICS: &str = "sweep mute done - acme standup ann MICROPHONE mics@1";

#[tokio::test]
async fn a_changed_policy_mutes_who_speaks_already_where_it_is_about_the_room() {
    let app = sweeping().start().await;
    app.swept("start", 1).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    app.room("other", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.publish("other", Join::new("ben"), Publish::microphone());
    let policy =
        "policies: [{ name: mics, match: { room: [stand*], source: [MICROPHONE] }, effect: mute }]";
    app.apply(policy).await;
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("policy", 1).await;
    assert_eq!(app.by_sweeps().await, [BY_MICS]);
    let row = "select concat_ws(' ', cause, rooms, participants, tracks, muted, failed, skipped, attempt, error)
               from sweeps where cause = 'policy'";
    assert_eq!(app.sql(row).await.unwrap(), "\"policy 1 1 1 1 0 0 1\"");

    // A policy that is taken away forbids nothing more; an exemption that is, does.
    app.publish("other", Join::new("cid"), Publish::microphone());
    let exempt = "policies:
  - { name: all, match: { type: [AUDIO] }, effect: mute, priority: 1 }
  - { name: cid, match: { identity: [cid] }, effect: exempt, reason: speaks, priority: 9 }";
    app.apply(exempt).await;
    app.swept("policy", 2).await;
    let lines = app.by_sweeps().await;
    assert_eq!(lines.len(), 2, "{lines:?}");
    app.apply("policies: [{ name: cid, match: { identity: [nobody] }, effect: exempt, reason: speaks, priority: 9 }]")
        .await;
    app.swept("policy", 3).await;
    assert_eq!(
        app.by_sweeps().await[2..],
        ["sweep mute done - acme other cid MICROPHONE all@1"]
    );
    app.apply("policies: [{ name: all, match: { type: [AUDIO] }, effect: mute, mode: 'off' }]")
        .await;
    assert_eq!(
        app.count("select count(*) from sweep_run where cause = 'policy'")
            .await,
        3
    );
    app.finish().await;
}

#[tokio::test]
async fn what_was_published_before_quell_started_is_muted_at_start() {
    let mut app = sweeping().start().await;
    app.apply(MICS).await;
    app.swept("policy", 1).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.replica().await;
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("start", 2).await;
    assert_eq!(app.by_sweeps().await, [BY_MICS]);
    app.finish().await;
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_lost_webhook_is_made_good_by_the_schedule_and_a_self_unmuted_track_is_muted_again() {
    let clock = ManualClock::new(at("2026-03-02T12:00:10Z"));
    let app = Setup::default()
        .env("QUELL_SWEEP_CRON", "*/30 * * * * *")
        .clock(clock.clock())
        .start()
        .await;
    app.apply(MICS).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    clock.set(at("2026-03-02T12:00:30Z"));
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("schedule", 1).await;
    let unmuted = app
        .simulator
        .set_self_muted("standup", "ann", &mic.sid, false);
    unmuted.unwrap();
    clock.advance(TimeDelta::seconds(30));
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("schedule", 2).await;
    // Each reached LiveKit and changed something.
    assert_eq!(app.by_sweeps().await, [BY_MICS, BY_MICS]);
    let keys = "select string_agg(key, ' ' order by key) from sweep_run where cause = 'schedule'";
    assert_eq!(
        app.sql(keys).await.unwrap(),
        "\"2026-03-02T12:00:30Z 2026-03-02T12:01:00Z\""
    );
    app.finish().await;
}

/// At `edge` it becomes forbidden what was not a second before.
async fn becomes_forbidden(policies: &str, edge: &str, made_at: &str) {
    let edge = at(edge);
    let clock = ManualClock::new(at(made_at));
    let app = sweeping().clock(clock.clock()).start().await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    clock.set(edge - TimeDelta::seconds(1));
    app.apply(policies).await;
    app.wait_for("edges are known", async || {
        app.count("select count(*) from sweep_run where cause in ('policy', 'start') and finished_at is not null")
            .await
            >= 2
    })
    .await;
    assert!(!app.is_muted("standup", "ann", &mic.sid), "{policies}");
    clock.set(edge);
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("edge", 1).await;
    let lines = app.by_sweeps().await;
    assert_eq!(lines.len(), 1, "{policies} {lines:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_window_opens() {
    let policy = "policies: [{ name: w, match: { source: [MICROPHONE] }, effect: mute,
        active: [{ cron: '0 9 * * *', duration: 1h, timezone: Europe/Berlin }] }]";
    becomes_forbidden(policy, "2026-03-02T08:00:00Z", "2026-03-02T07:00:00Z").await;
}

#[tokio::test]
async fn an_exemptions_window_closes() {
    let policy = "policies:
  - { name: all, match: { type: [AUDIO] }, effect: mute }
  - { name: w, match: { type: [AUDIO] }, effect: exempt, reason: break,
      active: [{ cron: '0 9 * * *', duration: 1h, timezone: UTC }] }";
    becomes_forbidden(policy, "2026-03-02T10:00:00Z", "2026-03-02T09:00:00Z").await;
}

#[tokio::test]
async fn the_first_and_the_last_instant_pass() {
    let mute = "policies: [{ name: all, match: { type: [AUDIO] }, effect: mute, not_before: 2026-03-02T10:00:00Z }]";
    becomes_forbidden(mute, "2026-03-02T10:00:00Z", "2026-03-02T09:00:00Z").await;
    let exempt = "policies:
  - { name: all, match: { type: [AUDIO] }, effect: mute }
  - { name: w, match: { type: [AUDIO] }, effect: exempt, reason: break, not_after: 2026-03-02T10:00:00Z }";
    becomes_forbidden(exempt, "2026-03-02T10:00:00Z", "2026-03-02T09:00:00Z").await;
}

#[tokio::test]
async fn the_first_while_of_a_room_ends() {
    let policy = "policies:
  - { name: all, match: { type: [AUDIO] }, effect: mute }
  - { name: soundcheck, match: { room: [stand*] }, effect: exempt, reason: soundcheck, first: 10m }";
    becomes_forbidden(policy, "2026-03-02T09:10:00Z", "2026-03-02T09:00:00Z").await;
}

#[tokio::test]
async fn a_room_of_which_a_webhook_is_missing_is_swept() {
    let app = sweeping().start().await;
    app.apply(MICS).await;
    app.swept("policy", 1).await;
    let urls = app.webhook_url();
    app.room("standup", "acme");
    app.room("other", "acme");
    let known = app.publish("other", Join::new("eve"), Publish::new(TrackSource::Camera));
    app.settle().await;
    app.hold_webhooks();
    let camera = app.publish(
        "standup",
        Join::new("ann"),
        Publish::new(TrackSource::Camera),
    );
    let mic = app.publish("standup", Join::new("ben"), Publish::microphone());
    let hidden = app.publish("other", Join::new("cid"), Publish::microphone());
    app.simulator.set_webhook_url(Some(urls));
    // Of this one, all is known.
    app.simulator.unpublish("other", "eve", &known.sid).unwrap();
    app.simulator
        .unpublish("standup", "ann", &camera.sid)
        .unwrap();
    app.until_muted("standup", "ben", &mic.sid).await;
    app.swept("room", 1).await;
    assert_eq!(
        app.count("select count(*) from sweep_run where cause = 'room'")
            .await,
        1
    );
    assert!(!app.is_muted("other", "cid", &hidden.sid));
    // Somebody leaves who never came.
    app.simulator.join("other", Join::new("dan"));
    app.settle().await;
    app.hold_webhooks();
    app.simulator.join("other", Join::new("fay"));
    app.simulator.set_webhook_url(Some(app.webhook_url()));
    app.simulator.leave("other", "dan").unwrap();
    app.settle().await;
    assert_eq!(
        app.count("select count(*) from sweep_run where cause = 'room'")
            .await,
        1
    );
    app.simulator.leave("other", "fay").unwrap();
    app.until_muted("other", "cid", &hidden.sid).await;
    app.swept("room", 2).await;
    app.finish().await;
}

#[tokio::test]
async fn a_persons_unmute_stands_through_two_days_of_ticks() {
    let (mut app, mic) = by_hand().await;
    // Seen while nothing was forbidden there.
    app.apply("policies: [{ name: cams, match: { source: [CAMERA] }, effect: mute }]")
        .await;
    app.sweep().await;
    let other = app
        .simulator
        .publish("standup", "ann", Publish::microphone());
    let other = other.unwrap().sid;
    // "Let ann speak": by the other track of her microphone.
    app.apply(MICS).await;
    let unmute = app.mute(ACME, "standup", "ann", &other, false);
    assert_eq!(unmute.send().await.unwrap().status(), StatusCode::OK);
    for tick in 0..2_880 {
        if tick == 1_440 {
            // A day is over, and quell has started anew.
            let back = "with unmutes as (update manual_unmute set at = at - interval '2 days' returning 1),
                        tracks as (update swept_track set first_seen_at = first_seen_at - interval '2 days' returning 1)
                        select (select count(*) from unmutes) + (select count(*) from tracks)";
            assert!(app.count(back).await > 1);
            app.replica().await;
        }
        let counts = app.sweep().await;
        assert_eq!((counts.muted, counts.failed), (0, 0), "{tick}");
    }
    assert!(!app.is_muted("standup", "ann", &mic));
    // The same at each tick: a row for each track, once.
    let superseded = "sweep mute superseded - acme standup ann MICROPHONE mics@1";
    assert_eq!(app.by_sweeps().await, [superseded, superseded]);
    assert_eq!(
        app.count("select superseded from policy_effect where policy_name = 'mics'")
            .await,
        2
    );
    // What is published after it is the policy's again.
    let newer = app
        .simulator
        .publish("standup", "ann", Publish::microphone());
    let newer = newer.unwrap().sid;
    app.sweep().await;
    assert!(app.is_muted("standup", "ann", &newer));
    app.finish().await;
}

#[tokio::test]
async fn the_same_at_the_next_tick_is_no_news_also_for_another_process() {
    let (mut app, _) = by_hand().await;
    app.apply(
        "policies:
  - { name: trial, match: { source: [MICROPHONE] }, effect: mute, mode: dry_run }
  - { name: cams, match: { source: [CAMERA] }, effect: mute }
  - { name: not-ben, match: { identity: [ben] }, effect: exempt, mode: dry_run, reason: host }",
    )
    .await;
    app.publish(
        "standup",
        Join::new("ben"),
        Publish::new(TrackSource::Camera),
    );
    for _ in 0..3 {
        app.sweep().await;
    }
    app.replica().await;
    app.sweep().await;
    let mut lines = app.by_sweeps().await;
    lines.sort();
    assert_eq!(
        lines,
        [
            "sweep exempt dry_run - acme standup ben CAMERA not-ben@1",
            "sweep mute done - acme standup ben CAMERA cams@1",
            "sweep mute dry_run - acme standup ann MICROPHONE trial@1",
        ]
    );
    assert_eq!(
        app.count("select would_have_acted from policy_effect where policy_name = 'trial'")
            .await,
        1
    );
    let stored =
        "select count(*) from sweep_decision d join moderation_history h on h.event_id = d.id
                  where d.outcome = h.outcome and d.facts #>> '{track,sid}' = h.track_sid
                    and d.decision ? 'enforced'";
    assert_eq!(
        app.count(&stored.replace("d.decision ?", "d.decision::jsonb ?"))
            .await,
        3
    );
    app.finish().await;
}

#[tokio::test]
async fn hidden_participants_are_left_out_of_facts_and_counts() {
    let (app, mic) = by_hand().await;
    let mut hidden = Join::new("bot");
    hidden.hidden = true;
    let hers = app.publish("standup", hidden, Publish::microphone());
    app.apply(
        "policies: [{ name: mics, match: { source: [MICROPHONE] }, effect: mute, when: 'room.num_participants == 1' }]",
    )
    .await;
    let counts = app.sweep().await;
    assert_eq!(
        (counts.participants, counts.tracks, counts.muted),
        (1, 1, 1)
    );
    assert!(app.is_muted("standup", "ann", &mic));
    assert!(!app.is_muted("standup", "bot", &hers.sid));
    app.finish().await;
}

#[tokio::test]
async fn a_room_that_is_made_anew_for_another_tenant_meanwhile_is_not_touched_by_the_first_ones_policies()
 {
    let (app, _) = by_hand().await;
    app.apply(
        "policies: [{ name: mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute }]",
    )
    .await;
    // The participants are asked for when the list of rooms is known already.
    app.simulator.set_faults([Fault {
        method: Some(Method::ListParticipants),
        kind: FaultKind::Latency(Duration::from_millis(300)),
        times: None,
    }]);
    let asked = async {
        let is_asked = |simulator: &livekit_double::Simulator| {
            simulator
                .calls()
                .iter()
                .any(|call| call.method == "ListParticipants")
        };
        app.simulator.wait_until(BOUND, is_asked).await.unwrap();
        app.simulator.end_room("standup").unwrap();
        app.room("standup", "globex");
        app.publish("standup", Join::new("ann"), Publish::microphone())
            .sid
    };
    let (counts, mic) = tokio::join!(app.sweep(), asked);
    assert!(!app.is_muted("standup", "ann", &mic), "{counts:?}");
    assert_eq!((counts.muted, counts.failed), (0, 0));
    let mutes = app.simulator.calls();
    assert!(mutes.iter().all(|call| call.method != "MutePublishedTrack"));
    assert_eq!(app.by_sweeps().await, [""; 0]);
    // Its own policies hold in it.
    app.apply(
        "policies: [{ name: mics, owner: globex, match: { source: [MICROPHONE] }, effect: mute }]",
    )
    .await;
    app.sweep().await;
    assert!(app.is_muted("standup", "ann", &mic));
    app.finish().await;
}

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

#[tokio::test]
async fn a_livekit_that_fails_is_asked_again() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    app.simulator.set_faults([Fault {
        method: Some(Method::ListRooms),
        kind: FaultKind::Unavailable,
        times: Some(2),
    }]);
    assert_eq!(app.sweep().await.muted, 1);
    assert!(app.is_muted("standup", "ann", &mic));
    app.finish().await;
}

#[tokio::test]
async fn what_is_too_large_is_left_out_and_said_and_the_rest_is_swept() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    // More than an answer may have otherwise, in rooms and in one room.
    let large = |auth_id: &str, bytes: usize| {
        format!(r#"{{"auth_id":"{auth_id}","x":"{}"}}"#, "x".repeat(bytes))
    };
    for n in 0..12 {
        app.simulator
            .create_room(&format!("large-{n}"), Some(&large("acme", 512 << 10)));
    }
    let deep = app.publish("large-3", Join::new("ben"), Publish::microphone());
    app.simulator
        .create_room("too-large", Some(&large("acme", 2 << 20)));
    app.publish("too-large", Join::new("cid"), Publish::microphone());
    for n in 0..12 {
        let mut join = Join::new(format!("big-{n}"));
        join.metadata = large("x", 512 << 10);
        app.simulator.join("standup", join);
    }
    let last = app
        .simulator
        .publish("standup", "big-11", Publish::microphone());
    let last = last.unwrap().sid;
    let mut join = Join::new("huge");
    join.metadata = large("x", 2 << 20);
    app.simulator.join("standup", join);
    let counts = app.sweep().await;
    assert_eq!(
        (counts.muted, counts.failed, counts.skipped),
        (3, 0, 2),
        "{counts:?}"
    );
    for (room, identity, sid) in [
        ("standup", "ann", &mic),
        ("large-3", "ben", &deep.sid),
        ("standup", "big-11", &last),
    ] {
        assert!(app.is_muted(room, identity, sid), "{identity}");
    }
    let metrics = app.state().metrics.text();
    for what in ["room", "participant"] {
        assert!(
            metrics.contains(&format!("quell_sweep_skipped_total{{what=\"{what}\"}} 1\n")),
            "{metrics}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_track_that_its_own_job_is_about_is_left_to_it() {
    let app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(MICS).await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.simulator.wait_delivered(BOUND).await.unwrap();
    let counts = app.sweep().await;
    assert_eq!((counts.tracks, counts.muted), (1, 0));
    assert!(!app.is_muted("standup", "ann", &mic.sid));
    app.finish_with_work_left().await;
}

#[tokio::test]
async fn tracks_that_no_webhook_told_of_are_counted_once() {
    let (app, _) = by_hand().await;
    app.apply(MICS).await;
    app.sweep().await;
    let untold = |app: &TestApp| {
        app.state()
            .metrics
            .text()
            .contains("quell_sweep_untold_tracks_total 1\n")
    };
    assert!(!untold(&app));
    app.finish().await;
}

#[tokio::test]
async fn a_mute_that_fails_at_each_tick_is_one_row_and_what_comes_of_it_at_last_another() {
    let (mut app, mic) = by_hand().await;
    app.apply(MICS).await;
    let fails = |kind| Fault {
        method: Some(Method::MutePublishedTrack),
        kind,
        times: None,
    };
    app.simulator.set_faults([fails(FaultKind::Unavailable)]);
    for tick in 0..4 {
        if tick == 2 {
            app.replica().await;
        }
        let counts = app.sweep().await;
        assert_eq!((counts.muted, counts.failed), (0, 1));
    }
    let failed = "sweep mute failed - acme standup ann MICROPHONE mics@1";
    assert_eq!(app.by_sweeps().await, [failed]);
    assert_eq!(
        app.count("select failures from policy_effect where policy_name = 'mics'")
            .await,
        1
    );
    let called = app.simulator.calls();
    let called = called
        .iter()
        .filter(|call| call.method == "MutePublishedTrack");
    assert_eq!(called.count(), 4);
    app.simulator.set_faults([]);
    assert_eq!(app.sweep().await.muted, 1);
    assert!(app.is_muted("standup", "ann", &mic));
    assert_eq!(app.by_sweeps().await, [failed, BY_MICS]);
    let effect = "select concat_ws(' ', mutes, unchanged, failures) from policy_effect where policy_name = 'mics'";
    assert_eq!(app.sql(effect).await.unwrap(), "\"1 0 1\"");
    let rows = "select count(*) from audit_log where origin = 'sweep'";
    assert_eq!(app.count(rows).await, 4);
    let explained = "select count(*) from moderation_history h join sweep_decision d
                     on d.id = h.event_id and d.outcome = h.outcome";
    assert_eq!(app.count(explained).await, 2);
    app.finish().await;
}

#[tokio::test]
async fn what_a_webhook_came_to_is_no_news_for_a_sweep() {
    let mut app = Setup::default().env("QUELL_WORKERS", "0").start().await;
    app.apply(
        "policies:
  - { name: mics, match: { source: [MICROPHONE] }, effect: mute }
  - { name: trial, match: { source: [CAMERA] }, effect: mute, mode: dry_run }",
    )
    .await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.publish(
        "standup",
        Join::new("ben"),
        Publish::new(TrackSource::Camera),
    );
    app.simulator.wait_delivered(BOUND).await.unwrap();
    let unmute = app.mute(ACME, "standup", "ann", &mic.sid, false);
    assert_eq!(unmute.send().await.unwrap().status(), StatusCode::OK);
    app.config.worker.concurrency = 32;
    app.replica().await;
    app.settle().await;
    let before = app.history().await;
    assert!(
        before.iter().any(|line| line.contains("superseded")),
        "{before:?}"
    );
    assert!(
        before.iter().any(|line| line.contains("dry_run")),
        "{before:?}"
    );
    app.sweep().await;
    app.sweep().await;
    assert_eq!(app.history().await, before);
    app.finish().await;
}

#[tokio::test]
async fn why_a_sweep_muted_is_explained_by_what_it_saw_and_counted_apart_in_backtests() {
    let (app, mic) = by_hand().await;
    app.apply(MICS).await;
    app.sweep().await;
    assert!(app.is_muted("standup", "ann", &mic));
    let id = app
        .sql("select event_id from moderation_history where origin = 'sweep'")
        .await
        .unwrap();
    assert!(id.starts_with("SW_"), "{id}");
    let ask = |token, body| {
        Answer::to(
            app.api(reqwest::Method::POST, token, "/v1/explain")
                .json(&body),
        )
    };
    let answer = ask(ACME, json!({ "event_id": id, "policies": "then" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(told["facts"]["participant"]["identity"], "ann");
    assert_eq!(
        told["provenance"]["calls"],
        json!(["ListRooms", "ListParticipants"])
    );
    assert_eq!(told["recorded"]["event_id"], json!(id));
    assert_eq!(told["recorded"]["settlement"], "done");
    assert_eq!(told["recorded"]["same_as_recorded"], true);
    assert_eq!(told["decision"]["enforced"]["verdict"], "mute", "{told:#}");
    // Not another tenant's to know.
    assert_eq!(
        ask(GLOBEX, json!({ "event_id": id })).await.outcome(),
        "404 EVENT_NOT_FOUND"
    );

    let body = json!({"policies": [{"name": "mics", "match": {"source": ["CAMERA"]}, "effect": "mute"}], "since": "1d"});
    let answer = Answer::to(
        app.api(reqwest::Method::POST, OPERATOR, "/v1/backtest")
            .json(&body),
    )
    .await;
    assert_eq!(answer.outcome(), "404 NO_EVENTS");
    app.simulator.set_webhook_url(Some(app.webhook_url()));
    app.publish("standup", Join::new("ben"), Publish::microphone());
    app.settle().await;
    let answer = Answer::to(
        app.api(reqwest::Method::POST, OPERATOR, "/v1/backtest")
            .json(&body),
    )
    .await;
    let report: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(report["published"]["tracks"], 1, "{report:#}");
    assert_eq!(
        report["swept"],
        json!({"tracks": 1, "live": 1, "draft": 0, "newly_muted": 0, "no_longer_muted": 1, "excluded": 0, "at_least": false})
    );
    app.finish().await;
}
