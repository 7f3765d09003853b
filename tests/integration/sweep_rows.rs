//! What sweeps write: each outcome once, and why.

use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use livekit_protocol::TrackSource;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, BOUND, BY_MICS, GLOBEX, MICS, OPERATOR, Setup, by_hand};

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
    let failed = "sweep mute unknown - acme standup ann MICROPHONE mics@1";
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

/// What was not done, what may have been, and what was: each is a row once, and the lease is given back.
#[tokio::test]
async fn a_mute_that_fails_in_several_ways_has_a_row_of_each() {
    let (refused, unanswered) = (FaultKind::Unauthorized, FaultKind::Unavailable);
    for kinds in [
        [unanswered, refused, unanswered, refused],
        [refused, unanswered, refused, unanswered],
    ] {
        let (app, mic) = by_hand().await;
        app.apply(MICS).await;
        for kind in kinds {
            let fault = Fault::of(Method::MutePublishedTrack, kind);
            app.simulator.set_faults([fault]);
            assert_eq!(app.sweep().await.failed, 1);
        }
        let line = |outcome| format!("sweep mute {outcome} - acme standup ann MICROPHONE mics@1");
        let mut rows = app.by_sweeps().await;
        rows.sort();
        let may_be_done = line("unknown");
        if kinds[0] == unanswered {
            // That it failed the second time does not undo it.
            assert_eq!(rows, [may_be_done.as_str()]);
        } else {
            assert_eq!(rows, [line("failed"), may_be_done]);
        }
        app.simulator.set_faults([]);
        assert_eq!(app.sweep().await.muted, 1);
        assert!(app.is_muted("standup", "ann", &mic));
        assert_eq!(app.by_sweeps().await.last().unwrap(), BY_MICS);
        let open = "select (select count(*) from track_lease where action_id is not null)
                         + (select count(*) from open_intent)";
        assert_eq!(app.count(open).await, 0);
        let halves = "select count(*) from (select from audit_log where origin = 'sweep'
                      group by action_id having count(*) <> 2) as h";
        assert_eq!(app.count(halves).await, 0);
        app.finish().await;
    }
}

/// Of a replica that ended in the middle of trying a mute again, which has no intent of its own yet.
#[tokio::test]
async fn a_repeated_mute_of_which_nobody_wrote_what_came_of_it_is_unknown() {
    let (app, _) = by_hand().await;
    app.apply(MICS).await;
    app.simulator.set_faults([Fault {
        method: Some(Method::MutePublishedTrack),
        kind: FaultKind::Unavailable,
        times: Some(1),
    }]);
    assert_eq!(app.sweep().await.failed, 1);
    let left = "with left_open as (
                    insert into open_intent (action_id, started_at, settle_by, repeats_id, repeats_at)
                    select gen_random_uuid(), clock_timestamp(), clock_timestamp() - interval '1 second',
                           action_id, action_started_at from sweep_decision where outcome = 'unknown'
                    returning 1)
                select count(*) from left_open";
    assert_eq!(app.count(left).await, 1);
    let unknown = "sweep mute unknown - acme standup ann MICROPHONE mics@1";
    app.wait_for("it is closed", async || {
        quell::audit::close_overdue(&app.state().pool)
            .await
            .unwrap();
        app.by_sweeps().await.len() == 2
    })
    .await;
    assert_eq!(app.by_sweeps().await[1], unknown);
    assert_eq!(
        app.count("select count(*) from audit_log where origin = 'sweep'")
            .await,
        4
    );
    app.finish().await;
}
