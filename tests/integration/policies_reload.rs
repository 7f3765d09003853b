//! What a replica takes over when policies change: all of it, only it, in one step, and never
//! in the way of a decision.

use std::cell::Cell;
use std::fmt::Write;
use std::time::Duration;

use livekit_double::{Join, Publish};
use quell::policy_store::{self, At, Seeing};
use quell_policy::{Facts, PolicySet, decide};
use reqwest::Method;
use serde_json::json;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor};
use tokio::time::{Instant, timeout};

use crate::support::{ACME, OPERATOR, TestApp};

/// What is asked for, and as much again for a machine that has other things to do.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

/// Two replicas; webhooks are posted by hand.
async fn two() -> (TestApp, [String; 2]) {
    let mut app = TestApp::new().await;
    let urls = [app.url.clone(), app.replica().await];
    app.hold_webhooks();
    (app, urls)
}

async fn newest(app: &TestApp) -> i64 {
    app.count("select coalesce(max(id), 0) from policy_revision")
        .await
}

/// Waits until every replica has what is stored now; fails where that takes too long.
async fn in_force(app: &TestApp) {
    let newest = newest(app).await;
    let begun = Instant::now();
    for one in app.states() {
        app.wait_for("what is stored is in force", async || {
            one.policies.snapshot().as_of() == newest
        })
        .await;
    }
    assert!(begun.elapsed() < IN_FORCE_WITHIN, "{:?}", begun.elapsed());
}

/// Whether the quell at `url` mutes somebody who publishes in the room of the tenant.
async fn mutes(app: &TestApp, url: &str, room: &str, tenant: &str) -> bool {
    app.room(room, tenant);
    let sid = app
        .publish(room, Join::new("ann"), Publish::microphone())
        .sid;
    app.post(url, &app.event_of(&sid)).await;
    app.settle().await;
    app.is_muted(room, "ann", &sid)
}

/// Somebody changes or removes `quiet` of acme.
async fn change_acme(app: &TestApp, method: Method, body: &serde_json::Value) {
    let request = app.api(method, ACME, "/v1/policies/quiet");
    let request = request.header("If-Match", "*").json(body);
    let status = request.send().await.unwrap().status();
    assert!(status.is_success(), "{status}");
}

#[tokio::test]
async fn a_change_of_one_tenant_among_many_is_all_that_is_read() {
    let (app, urls) = two().await;
    let mut yaml = "policies:\n".to_owned();
    for tenant in (0..300).map(|n| format!("t{n}")).chain(["acme".to_owned()]) {
        let policy = format!(
            "- {{ name: quiet, owner: {tenant}, match: {{ room: [hall-*] }}, effect: mute }}"
        );
        writeln!(yaml, "{policy}").unwrap();
    }
    app.apply(&yaml).await;
    in_force(&app).await;
    // Changed behind quell's back: who reads it again cannot take it over.
    let spoil = "update policy set document = '{}' where owner <> 'acme'";
    app.pool.execute(spoil).await.unwrap();

    let policy =
        |room: &str, mode: &str| json!({"match": {"room": [room]}, "effect": "mute", "mode": mode});
    let steps = [
        ("as applied", None, [true, false]),
        ("changed", Some(policy("lobby-*", "enforce")), [false, true]),
        ("off", Some(policy("lobby-*", "off")), [false, false]),
        ("on", Some(policy("lobby-*", "enforce")), [false, true]),
        ("in dry run", Some(policy("*", "dry_run")), [false, false]),
        (
            "as before",
            Some(policy("hall-*", "enforce")),
            [true, false],
        ),
    ];
    for (step, change, [hall, lobby]) in steps {
        if let Some(policy) = change {
            change_acme(&app, Method::PUT, &policy).await;
            in_force(&app).await;
        }
        for url in &urls {
            assert_eq!(mutes(&app, url, "hall-a", "acme").await, hall, "{step}");
            assert_eq!(mutes(&app, url, "lobby-a", "acme").await, lobby, "{step}");
            assert!(mutes(&app, url, "hall-b", "t7").await, "{step}");
        }
    }
    change_acme(&app, Method::DELETE, &json!({})).await;
    in_force(&app).await;
    for url in &urls {
        assert!(!mutes(&app, url, "hall-a", "acme").await);
        assert!(mutes(&app, url, "hall-b", "t299").await);
        assert_eq!(app.metric(url, "quell_policies").await, 300);
    }
    app.finish().await;
}

#[tokio::test]
async fn an_apply_of_hundreds_tells_replicas_once_and_is_in_force_at_once() {
    let (app, urls) = two().await;
    let mut told = PgListener::connect_with(&app.pool).await.unwrap();
    told.listen("quell_policy").await.unwrap();
    for (room, count) in [("early", 1), ("late", 1), ("late", 0)] {
        let mut yaml = "policies:\n".to_owned();
        for n in 0..500 {
            let room = format!("{room}-{}", n * count);
            let owner = ["acme", "globex"][n % 2];
            writeln!(
                yaml,
                "- {{ name: p{n}, owner: {owner}, match: {{ room: [{room}] }}, effect: mute }}"
            )
            .unwrap();
        }
        app.apply(&yaml).await;
        in_force(&app).await;
        assert!(told.recv().await.is_ok());
    }
    // Notifications come in order: none is left of the applies before the one that this sends.
    sqlx::query("select pg_notify('quell_policy', 'last')")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(told.recv().await.unwrap().payload(), "last");
    for url in &urls {
        assert!(mutes(&app, url, "late-0", "acme").await);
        assert!(!mutes(&app, url, "late-2", "acme").await);
        assert!(!mutes(&app, url, "early-0", "acme").await);
    }
    drop(told);
    app.finish().await;
}

#[tokio::test]
async fn a_replica_that_lost_its_connection_for_news_has_them_in_time_and_listens_again() {
    let (app, urls) = two().await;
    let listening = "select count(*) from pg_stat_activity
                     where datname = current_database() and query ilike 'listen%'";
    let all_listen = async || app.count(listening).await == 2;
    app.wait_for("both listen", all_listen).await;
    for round in ["one", "two"] {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity
                   where datname = current_database() and query ilike 'listen%'";
        app.pool.execute(cut).await.unwrap();
        let body = json!({"name": round, "match": {"room": [round]}, "effect": "mute"});
        let request = app.api(Method::POST, OPERATOR, "/v1/policies").json(&body);
        assert_eq!(request.send().await.unwrap().status(), 201);
        in_force(&app).await;
        for url in &urls {
            assert!(mutes(&app, url, round, "acme").await);
        }
        app.wait_for("both listen again", all_listen).await;
    }
    app.finish().await;
}

/// A database that is put back goes on with numbers that were given before, or jumps ahead.
#[tokio::test]
async fn a_database_that_was_put_back_is_read_whole_whatever_its_numbers_say() {
    let go_on = |id: &str| {
        format!(
            "with changed as (
                 insert into policy (id, owner, name, revision, document, managed_by, updated_by)
                 values (gen_random_uuid(), null, 'new', 1,
                         '{{\"name\":\"new\",\"match\":{{\"room\":[\"new\"]}},\"effect\":\"mute\"}}', 'rest', 'x')
                 returning *)
             insert into policy_revision (id, owner, name, revision, change, document, author, managed_by)
             overriding system value
             select {id}, owner, name, revision, 'create', document, updated_by, managed_by from changed;"
        )
    };
    let steps = [
        ("smaller numbers", String::new()),
        ("the same number", go_on("$seen")),
        ("larger numbers", go_on("$seen + 32")),
    ];
    for (step, goes_on) in steps {
        let (app, urls) = two().await;
        let kept = "policies: [{ name: kept, match: { room: [kept] }, effect: mute },
                               { name: gone, owner: acme, match: { room: [gone] }, effect: mute }]";
        app.apply(kept).await;
        let earlier = newest(&app).await;
        app.apply(&kept.replace("[kept]", "[elsewhere]")).await;
        let lost = "policies: [{ name: lost, match: { room: [lost] }, effect: mute },
                               { name: lost-too, owner: globex, match: {}, effect: mute },
                               { name: lost-as-well, owner: acme, match: { room: [x] }, effect: mute }]";
        app.apply(lost).await;
        change_gone(&app).await;
        in_force(&app).await;
        let seen = newest(&app).await;
        for url in &urls {
            assert!(!mutes(&app, url, "kept", "acme").await);
            assert!(mutes(&app, url, "lost", "acme").await);
        }
        // In one transaction, so that no replica looks in between; and no trigger tells them.
        let put_back = format!(
            "begin;
             set local session_replication_role = replica;
             delete from policy_revision where id > {earlier};
             delete from policy;
             insert into policy (id, owner, name, revision, document, managed_by, updated_by)
             select gen_random_uuid(), owner, name, revision, document, managed_by, author
             from policy_revision;
             {}
             commit",
            goes_on.replace("$seen", &seen.to_string())
        );
        sqlx::raw_sql(AssertSqlSafe(put_back))
            .execute(&app.pool)
            .await
            .unwrap();
        // Four before.
        let is_new = !goes_on.is_empty();
        let begun = Instant::now();
        for url in &urls {
            app.wait_for("the earlier policies are in force", async || {
                app.metric(url, "quell_policies").await == 2 + u64::from(is_new)
            })
            .await;
        }
        assert!(begun.elapsed() < IN_FORCE_WITHIN, "{:?}", begun.elapsed());
        in_force(&app).await;
        for url in &urls {
            assert!(mutes(&app, url, "kept", "acme").await, "{step}");
            assert!(mutes(&app, url, "gone", "acme").await, "{step}");
            assert!(!mutes(&app, url, "elsewhere", "acme").await, "{step}");
            assert!(!mutes(&app, url, "lost", "globex").await, "{step}");
            assert_eq!(mutes(&app, url, "new", "acme").await, is_new, "{step}");
        }
        app.finish().await;
    }
}

/// Removes a policy of acme's.
async fn change_gone(app: &TestApp) {
    let request = app.api(Method::DELETE, ACME, "/v1/policies/gone");
    let request = request.header("If-Match", "*").send().await.unwrap();
    assert_eq!(request.status(), 204);
}

#[tokio::test]
async fn tracks_are_decided_while_a_reload_is_under_way() {
    let (app, urls) = two().await;
    app.apply("policies: [{ name: quiet, match: { room: [hall] }, effect: mute }]")
        .await;
    in_force(&app).await;
    // Both replicas get stuck in the middle of reading what is new.
    let mut tx = app.pool.begin().await.unwrap();
    let lock = "lock table policy in access exclusive mode";
    tx.execute(lock).await.unwrap();
    let change = "insert into policy_revision (name, revision, change, author, managed_by)
                  values ('gone', 1, 'delete', 'test', 'rest')";
    app.pool.execute(change).await.unwrap();
    app.wait_for("both replicas wait for the policies", async || {
        let waiting = "select count(*) from pg_locks
                       where not granted and relation = 'policy'::regclass
                         and database = (select oid from pg_database where datname = current_database())";
        app.count(waiting).await == 2
    })
    .await;
    for url in &urls {
        let decided = async {
            assert!(mutes(&app, url, "hall", "acme").await);
            assert!(!mutes(&app, url, "lobby", "acme").await);
        };
        // The lock is held until this is over: nothing of it waits for the reload.
        timeout(IN_FORCE_WITHIN, decided).await.unwrap();
    }
    tx.rollback().await.unwrap();
    app.apply("policies: [{ name: quiet, match: { room: [lobby] }, effect: mute }]")
        .await;
    in_force(&app).await;
    for url in &urls {
        assert!(mutes(&app, url, "lobby", "acme").await);
    }
    app.finish().await;
}

/// An apply that hands a rule from one policy to another leaves no moment without it, nor one in
/// which older policies come back.
#[tokio::test]
async fn what_is_applied_together_comes_into_force_together_while_tracks_are_published() {
    let (app, urls) = two().await;
    let hand_over = |n: u32| {
        let modes = [["enforce", "off"], ["off", "enforce"]][usize::from(n % 2 == 1)];
        format!(
            "policies:
             - {{ name: a, match: {{ room: [hall] }}, effect: mute, mode: {} }}
             - {{ name: b, owner: acme, match: {{ room: [hall] }}, effect: mute, mode: {} }}",
            modes[0], modes[1]
        )
    };
    app.apply(&hand_over(0)).await;
    in_force(&app).await;
    app.room("hall", "acme");
    let is_over = Cell::new(false);
    let changing = async {
        for n in 1..40 {
            // Looks by itself, beside the replica's own look.
            app.apply(&hand_over(n)).await;
        }
        is_over.set(true);
    };
    let publishing = async {
        let mut tracks = Vec::new();
        while !is_over.get() {
            let who = format!("user-{}", tracks.len());
            let track = app.publish("hall", Join::new(&who), Publish::microphone());
            let url = &urls[tracks.len() % 2];
            app.post(url, &app.event_of(&track.sid)).await;
            tracks.push((who, track.sid));
        }
        tracks
    };
    let watching = async {
        let mut before = vec![0; 2];
        while !is_over.get() {
            let now = app.states().map(|one| one.policies.snapshot().as_of());
            let now: Vec<_> = now.collect();
            let goes_on = before.iter().zip(&now).all(|(before, now)| before <= now);
            assert!(goes_on, "{before:?} then {now:?}");
            before = now;
            tokio::task::yield_now().await;
        }
    };
    let ((), tracks, ()) = tokio::join!(changing, publishing, watching);
    app.settle().await;
    let mut snapshots = Vec::new();
    for (who, sid) in &tracks {
        assert!(app.is_muted("hall", who, sid), "{who}");
        let decision = app.stored("decision", sid).await;
        let as_of = decision["as_of"].as_i64().unwrap();
        let stored =
            policy_store::as_of(&app.state().pool, At::Snapshot(as_of), Seeing::AnyRoom).await;
        let set = PolicySet::from_stored(stored.unwrap()).unwrap();
        let facts: Facts = serde_json::from_value(app.stored("facts", sid).await).unwrap();
        let at = decision["at"].as_str().unwrap().parse().unwrap();
        let again = decide(&set.as_of_revision(as_of), &facts, at);
        assert_eq!(serde_json::to_value(again).unwrap(), decision, "{who}");
        snapshots.push(as_of);
    }
    snapshots.dedup();
    assert!(snapshots.len() > 4, "{snapshots:?}");
    app.finish().await;
}
