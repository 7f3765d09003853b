//! The audit log holds what happened: intent before the call, outcome after, whose it is, for good.

use std::time::Duration;

use futures_util::future::join_all;
use livekit_double::{Fault, FaultKind, Join, Method, Publish};
use quell::audit;
use sqlx::{AssertSqlSafe, Executor};

use crate::support::{ACME, GLOBEX, Setup, TestApp};

const MUTE_ALL: &str = "
policies:
  - name: silence
    match: { room: [\"webinar-*\"], type: [AUDIO] }
    effect: mute
";

/// Rows of one phase cannot be written from now on.
async fn break_writing(app: &TestApp, phase: &str) {
    let sql = format!(
        "create trigger broken before insert on audit_log for each row when (new.phase = '{phase}')
         execute function quell_refuse_change()"
    );
    app.pool.execute(AssertSqlSafe(sql)).await.unwrap();
}

async fn mend_writing(app: &TestApp) {
    let sql = "drop trigger broken on audit_log";
    app.pool.execute(sql).await.unwrap();
}

/// Lets the time be over that open intents have.
async fn expire(app: &TestApp) {
    let sql = "update open_intent set settle_by = clock_timestamp() - interval '1 ms'";
    app.pool.execute(sql).await.unwrap();
}

fn mutes_called(app: &TestApp) -> usize {
    let calls = app.simulator.calls();
    let of_mute = |call: &&livekit_double::Call| call.method == "MutePublishedTrack";
    calls.iter().filter(of_mute).count()
}

async fn count(app: &TestApp, from: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {from}")))
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_intent_is_there_while_livekit_is_asked_and_the_outcome_after() {
    let app = Setup::default()
        .env("QUELL_LIVEKIT_TIMEOUT_MS", "60000")
        .start()
        .await;
    app.room("standup", "acme");
    app.room("webinar-1", "acme");
    app.apply(MUTE_ALL).await;
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let hang = Fault::of(Method::MutePublishedTrack, FaultKind::Hang);
    app.simulator.set_faults([hang.times(2)]);
    app.publish("webinar-1", Join::new("bob"), Publish::microphone());
    let asked = app.mute(ACME, "standup", "ann", &ann.sid, true).send();
    let looked = async {
        app.wait_for("both calls hang", async || mutes_called(&app) == 2)
            .await;
        let mut lines = app.lines("outcome = 'unsettled'").await;
        lines.sort();
        assert_eq!(
            lines,
            [
                "manual mute unsettled acme acme standup ann MICROPHONE -",
                "webhook mute unsettled - acme webinar-1 bob MICROPHONE silence@1",
            ]
        );
        assert_eq!(count(&app, "unsettled_actions where not overdue").await, 2);
        assert_eq!(count(&app, "audit_log where phase = 'intent'").await, 2);
        let outcomes = "audit_log where phase = 'outcome' and action = 'mute'";
        assert_eq!(count(&app, outcomes).await, 0);
        app.simulator.shutdown().await;
    };
    let (answer, ()) = tokio::join!(asked, looked);
    assert_eq!(answer.unwrap().status(), 500);
    app.wait_for("both have an outcome", async || {
        count(&app, "unsettled_actions").await == 0
    })
    .await;
    // Each of the two: the same start, later commits, and what LiveKit was waited for.
    let pairs = "audit_log i join audit_log o using (action_id, started_at)
        where i.phase = 'intent' and o.phase = 'outcome' and o.outcome = 'unknown'
          and i.txid < o.txid and i.seq < o.seq and i.recorded_at < o.recorded_at
          and o.latency_ms > 0 and i.settle_by > i.started_at + interval '60 s'";
    assert_eq!(count(&app, pairs).await, 2);
    app.finish_with_work_left().await;
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let app = TestApp::new().await;
    app.room("standup", "acme");
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    break_writing(&app, "intent").await;
    let answer = app.mute(ACME, "standup", "ann", &ann.sid, true).send();
    assert_eq!(answer.await.unwrap().status(), 500);
    assert_eq!(mutes_called(&app), 0);
    assert_eq!(app.history().await, Vec::<String>::new());
    mend_writing(&app).await;
    let answer = app.mute(ACME, "standup", "ann", &ann.sid, true).send();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert!(app.is_muted("standup", "ann", &ann.sid));
    app.finish().await;
}

#[tokio::test]
async fn an_outcome_that_nobody_wrote_is_unknown_and_stays_so() {
    let app = Setup::default()
        .env("QUELL_LIVEKIT_TIMEOUT_MS", "60000")
        .start()
        .await;
    app.room("standup", "acme");
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    // The database cannot take the outcome: the caller has LiveKit's answer all the same.
    break_writing(&app, "outcome").await;
    let mute = app.mute(ACME, "standup", "ann", &ann.sid, true);
    let answer = mute.header("X-Actor", "zoe").header("X-Reason", "loud");
    assert_eq!(answer.send().await.unwrap().status(), 200);
    mend_writing(&app).await;
    let closed = audit::close_overdue(&app.state().pool).await.unwrap();
    assert_eq!(closed, 0, "its own time comes first");
    expire(&app).await;
    app.wait_for("quell closes it by itself", async || {
        count(&app, "unsettled_actions").await == 0
    })
    .await;
    sqlx::query("update track_lease set leased_until = clock_timestamp()")
        .execute(&app.pool)
        .await
        .unwrap();

    // The outcome comes after its time.
    let hang = Fault::of(Method::MutePublishedTrack, FaultKind::Hang);
    app.simulator.set_faults([hang]);
    let asked = app.mute(ACME, "standup", "ann", &ann.sid, false).send();
    let late = async {
        app.wait_for("the call hangs", async || mutes_called(&app) == 2)
            .await;
        expire(&app).await;
        audit::close_overdue(&app.state().pool).await.unwrap();
        assert_eq!(count(&app, "unsettled_actions").await, 0);
        app.simulator.shutdown().await;
    };
    let (answer, ()) = tokio::join!(asked, late);
    assert_eq!(answer.unwrap().status(), 500);
    assert_eq!(
        app.history().await,
        [
            "manual mute unknown acme acme standup ann MICROPHONE -",
            "manual unmute unknown acme acme standup ann MICROPHONE -",
        ]
    );
    let reasons = "moderation_history where error like 'nobody wrote down%' and latency_ms is null
        and before is not null and settled_at > started_at";
    assert_eq!(count(&app, reasons).await, 2);
    let by_whom = "failed_actions where on_behalf_of = 'zoe' and reason = 'loud'";
    assert_eq!(count(&app, by_whom).await, 1);
    let failed = "failed_actions where outcome = 'unknown'";
    assert_eq!(count(&app, failed).await, 2);
    let not_done = "actions_by_participant where identity = 'ann' and not_done = 2";
    assert_eq!(count(&app, not_done).await, 1);
    app.finish().await;
}

#[tokio::test]
async fn replicas_close_each_open_intent_once_however_old_it_is() {
    let app = TestApp::new().await;
    // As if no quell had run for a month.
    let left = "with months as (select quell_ensure_partitions(now() - interval '30 days')),
        left_open as (
            insert into audit_log (started_at, action_id, phase, origin, tenant, action, settle_by)
            select now() - interval '1 day' * g, gen_random_uuid(), 'intent', 'webhook', 'acme', 'mute',
                   now() - interval '1 day' * g + interval '10 s'
            from generate_series(0, 30, 3) g, months
            returning action_id, started_at, settle_by)
        insert into open_intent (action_id, started_at, settle_by) select * from left_open";
    app.pool
        .execute("select quell_ensure_partitions(now() - interval '30 days')")
        .await
        .unwrap();
    app.pool.execute(left).await.unwrap();
    let closing = (0..8).map(|_| audit::close_overdue(&app.state().pool));
    for closed in join_all(closing).await {
        closed.unwrap();
    }
    // The newest has 10 s left.
    assert_eq!(count(&app, "unsettled_actions").await, 1);
    assert_eq!(count(&app, "audit_log where outcome = 'unknown'").await, 10);
    assert_eq!(count(&app, "moderation_history").await, 11);
    expire(&app).await;
    audit::close_overdue(&app.state().pool).await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_is_the_rooms_and_never_the_one_who_was_refused() {
    let app = TestApp::new().await;
    app.room("standup", "acme");
    app.simulator
        .create_room("nobodys", Some("{\"auth_id\": \" \"}"));
    let of_acme = app.publish("standup", Join::new("ann"), Publish::microphone());
    let of_nobody = app.publish("nobodys", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let mut answers = Vec::new();
    for (room, identity, sid) in [
        ("standup", "ann", of_acme.sid.as_str()),
        ("standup", "nobody", &of_acme.sid),
        ("standup", "ann", "TR_none"),
        ("nobodys", "ann", &of_nobody.sid),
        ("nowhere", "ann", &of_acme.sid),
    ] {
        let answer = app
            .mute(GLOBEX, room, identity, sid, true)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
        answers.push(answer.text().await.unwrap());
    }
    answers.dedup();
    assert_eq!(
        answers.len(),
        1,
        "the answers tell rooms apart: {answers:?}"
    );
    let refused: Vec<(Option<String>, String, Option<String>, String)> = sqlx::query_as(
        "select tenant, room_name, room_sid, error from failed_actions
         where outcome = 'refused' and actor = 'globex' order by started_at",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let refused: Vec<_> = refused
        .iter()
        .map(|(tenant, room, sid, error)| {
            (
                tenant.as_deref(),
                room.as_str(),
                sid.is_some(),
                error.as_str(),
            )
        })
        .collect();
    let acme = Some("acme");
    assert_eq!(
        refused,
        [
            (acme, "standup", true, "the room belongs to another auth_id"),
            (acme, "standup", true, "the room belongs to another auth_id"),
            (acme, "standup", true, "the room belongs to another auth_id"),
            (
                None,
                "nobodys",
                true,
                "the room's metadata names no auth_id, so nobody with an id may act on it"
            ),
            (None, "nowhere", false, "no such room"),
        ]
    );
    assert_eq!(
        count(&app, "moderation_history where tenant = 'globex'").await,
        0
    );
    assert_eq!(
        count(&app, "audit_log where latency_ms is not null").await,
        0
    );
    assert_eq!(mutes_called(&app), 0);
    app.finish().await;
}

#[tokio::test]
async fn a_nul_in_a_name_hides_nobody() {
    let app = TestApp::new().await;
    app.apply(MUTE_ALL).await;
    app.room("webinar-\0", "ac\0me");
    let by_policy = app.publish("webinar-\0", Join::new("a\0nn"), Publish::microphone());
    app.settle().await;
    assert!(app.is_muted("webinar-\0", "a\0nn", &by_policy.sid));
    let refused = app.mute(ACME, "no\0room", "a\0nn", "TR_\0", true);
    assert_eq!(refused.send().await.unwrap().status(), 404);
    assert_eq!(
        app.lines("action = 'mute'").await,
        [
            "webhook mute done - - webinar-\u{fffd} a\u{fffd}nn MICROPHONE silence@1",
            "manual mute refused acme - no\u{fffd}room a\u{fffd}nn - -",
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn done_takes_time_and_says_what_was_before_and_after() {
    let app = TestApp::new().await;
    app.room("standup", "acme");
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let slow = FaultKind::Latency(Duration::from_millis(30));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, slow)]);
    for muted in [true, false] {
        let mute = app.mute(ACME, "standup", "ann", &ann.sid, muted);
        assert_eq!(mute.send().await.unwrap().status(), 200);
    }
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "select before::jsonb::text, after::jsonb::text, latency_ms >= 30 from moderation_history order by started_at",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let (heard, silent) = ("{\"muted\": false}", "{\"muted\": true}");
    let row = |before: &str, after: &str| (before.to_owned(), after.to_owned(), true);
    assert_eq!(rows, [row(heard, silent), row(silent, heard)]);
    app.finish().await;
}

#[tokio::test]
async fn who_hangs_up_leaves_no_intent_open() {
    let app = TestApp::new().await;
    app.room("standup", "acme");
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let slow = FaultKind::Latency(Duration::from_millis(300));
    app.simulator
        .set_faults([Fault::of(Method::MutePublishedTrack, slow)]);
    let asked = app.mute(ACME, "standup", "ann", &ann.sid, true).send();
    let called = app.wait_for("LiveKit is asked", async || mutes_called(&app) == 1);
    // Drops the request, and its connection, in the middle.
    tokio::select! {
        biased;
        () = called => {}
        _ = asked => panic!("the call takes longer"),
    }
    app.wait_for("the action is over", async || {
        count(&app, "moderation_history where outcome = 'done'").await == 1
    })
    .await;
    app.finish().await;
}
