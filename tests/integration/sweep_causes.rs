//! When rooms are swept: at start, by the schedule, at edges of time, for changed policies and missing webhooks.

use std::cell::Cell;

use chrono::{DateTime, TimeDelta, Utc};
use livekit_double::{Join, Publish};
use livekit_protocol::TrackSource;
use quell_clock::ManualClock;

use crate::support::{BY_MICS, MICS, Setup, sweeping};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
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

#[tokio::test]
async fn a_lost_webhook_is_made_good_by_the_schedule_and_a_self_unmuted_track_is_muted_again() {
    let clock = ManualClock::new(at("2026-03-02T12:00:10Z"));
    let app = Setup::default()
        .env("QUELL_SWEEP_CRON", "*/30 * * * * *")
        .clock(clock.clock())
        .start()
        .await;
    // What comes due while the server starts is done by that sweep.
    app.swept_here("start", 1).await;
    app.apply(MICS).await;
    app.hold_webhooks();
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    clock.set(at("2026-03-02T12:00:30Z"));
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept_here("schedule", 1).await;
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
    app.swept("missing_webhook", 1).await;
    assert_eq!(
        app.count("select count(*) from sweep_run where cause = 'missing_webhook'")
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
        app.count("select count(*) from sweep_run where cause = 'missing_webhook'")
            .await,
        1
    );
    app.simulator.leave("other", "fay").unwrap();
    app.until_muted("other", "cid", &hidden.sid).await;
    app.swept("missing_webhook", 2).await;
    app.finish().await;
}

/// Whoever publishes chooses its length.
#[tokio::test]
async fn all_rooms_are_swept_where_an_event_is_too_large_to_be_taken() {
    let app = sweeping().start().await;
    app.apply(MICS).await;
    app.swept("policy", 1).await;
    app.room("standup", "acme");
    let mic = Publish {
        name: "x".repeat(9 << 20),
        ..Publish::microphone()
    };
    let mic = app.publish("standup", Join::new("ann"), mic);
    app.until_muted("standup", "ann", &mic.sid).await;
    app.swept("missing_webhook", 1).await;
    app.finish().await;
}

/// The webhook of a new room says when it was made.
#[tokio::test]
async fn the_first_while_of_a_room_that_no_sweep_has_seen_ends() {
    let clock = ManualClock::new(at("2026-03-02T09:00:00Z"));
    let app = sweeping().clock(clock.clock()).start().await;
    app.apply(
        "policies:
  - { name: all, match: { type: [AUDIO] }, effect: mute }
  - { name: soundcheck, match: { room: [stand*] }, effect: exempt, reason: soundcheck, first: 10m }",
    )
    .await;
    app.swept("policy", 1).await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    assert_eq!(app.settlement(&mic.sid).await.as_deref(), Some("nothing"));
    // What is stored is looked at 0.2 s later; the clock goes on when that is done.
    let noted = "select count(*) from sweep_run";
    assert_eq!(app.count(noted).await, 2);
    app.wait_for("the edge is due", async || {
        clock.set(at("2026-03-02T09:10:00Z"));
        app.is_muted("standup", "ann", &mic.sid)
    })
    .await;
    app.swept("edge", 1).await;
    app.finish().await;
}

#[tokio::test]
async fn an_edge_is_found_where_the_clock_jumps_forward_or_was_set_back() {
    let policy = "policies: [{ name: w, match: { source: [MICROPHONE] }, effect: mute,
        active: [{ cron: '0 9 * * *', duration: 1h, timezone: UTC }] }]";
    let clock = ManualClock::new(at("2026-03-02T12:00:00Z"));
    let app = sweeping().clock(clock.clock()).start().await;
    app.hold_webhooks();
    app.apply(policy).await;
    app.swept("policy", 1).await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    // It was hours ahead. Whoever looks at it now and then sees it set back, and then the window open.
    let looks = Cell::new(0_u32);
    app.wait_for("the window opens again", async || {
        let is_open = looks.replace(looks.get() + 1) / 300 % 2 == 1;
        clock.set(at(if is_open {
            "2026-03-02T09:00:03Z"
        } else {
            "2026-03-02T08:59:58Z"
        }));
        app.is_muted("standup", "ann", &mic.sid)
    })
    .await;
    app.swept("edge", 1).await;
    app.finish().await;
}
