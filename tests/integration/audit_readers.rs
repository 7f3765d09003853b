//! Those who read the audit: the views' columns stay, answers come by index, the tail loses nothing.

use std::collections::BTreeMap;

use livekit_double::{Join, Publish};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use crate::support::{ACME, TestApp};

const MANUAL: &str = include_str!("../../docs/AUDIT.md");
const VIEWS: [&str; 8] = [
    "moderation_history",
    "failed_actions",
    "unsettled_actions",
    "would_have_muted",
    "actions_by_participant",
    "policy_effect",
    "silences",
    "sweeps",
];

async fn columns(pool: &PgPool) -> BTreeMap<String, Vec<(String, String)>> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text, data_type::text from information_schema.columns
         where table_schema = 'public' and table_name = any ($1) order by table_name, ordinal_position",
    )
    .bind(VIEWS.map(str::to_owned).to_vec())
    .fetch_all(pool)
    .await
    .unwrap();
    let mut columns = BTreeMap::<_, Vec<_>>::new();
    for (view, column, kind) in rows {
        columns.entry(view).or_default().push((column, kind));
    }
    columns
}

#[tokio::test]
async fn the_views_columns_are_a_promise_and_are_in_the_manual() {
    let app = TestApp::new().await;
    let columns = columns(&app.pool).await;
    assert_eq!(columns.len(), VIEWS.len());
    insta::assert_json_snapshot!(columns);
    let without_a_comment = "select string_agg(attrelid::regclass || '.' || attname, ', ') from pg_attribute
         where attrelid = any ($1::regclass[]) and attnum > 0 and col_description(attrelid, attnum) is null";
    let missing: Option<String> = sqlx::query_scalar(without_a_comment)
        .bind(VIEWS.map(str::to_owned).to_vec())
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(missing, None);
    for (view, columns) in &columns {
        let start = MANUAL.find(&format!("### `{view}`")).expect(view);
        let section = &MANUAL[start..];
        let section = section.split("\n## ").next().unwrap();
        let section = section.split("\n### ").next().unwrap();
        // "The same columns" are those of the view before.
        let same = section.contains("The same columns");
        for (column, _) in columns {
            let is_told = section.contains(&format!("`{column}`"));
            assert!(
                is_told || same && MANUAL.contains(&format!("`{column}`")),
                "{view}.{column}"
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn nobody_writes_through_a_view() {
    let app = TestApp::new().await;
    // As a superuser, whom no missing right stops.
    for view in VIEWS {
        for sql in [
            format!("delete from {view}"),
            format!("update {view} set tenant = 'x'"),
            format!("update {view} set policy_owner = 'x'"),
            format!("insert into {view} default values"),
        ] {
            let refused = app
                .pool
                .execute(AssertSqlSafe(sql.clone()))
                .await
                .unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap();
            // Not updatable, or no such column.
            assert!(["55000", "42703"].contains(&&*code), "{sql}: {refused}");
        }
    }
    app.finish().await;
}

/// Actions of half a year, each with both its rows.
const HALF_A_YEAR: &str = "
    insert into audit_log (started_at, action_id, phase, origin, tenant, action, room_name, identity,
                           policy_name, policy_revision, settle_by, outcome)
    select now() - interval '9 min' * g, md5(g::text)::uuid, phase, 'webhook', 'tenant-' || g % 20, 'mute',
           'room-' || g % 500, 'user-' || g % 3000, 'policy-' || g % 30, 1,
           case phase when 'intent' then now() end, case phase when 'outcome' then 'done' end
    from generate_series(1, 25000) g, unnest(array['intent', 'outcome']) phase";

#[tokio::test]
async fn answers_are_found_by_index_in_the_months_that_can_hold_them() {
    let app = TestApp::new().await;
    for days_ago in (0..180).step_by(14) {
        let months = format!("select quell_ensure_partitions(now() - interval '{days_ago} days')");
        app.pool.execute(AssertSqlSafe(months)).await.unwrap();
    }
    app.pool.execute(HALF_A_YEAR).await.unwrap();
    app.pool.execute("analyze audit_log").await.unwrap();
    app.pool.execute("analyze open_intent").await.unwrap();
    let last_week = "started_at > now() - interval '7 days'";
    let by_key = "Index Scan using";
    for (from, condition, index) in [
        (
            "moderation_history",
            "room_name = 'room-7'",
            "room_name_started_at",
        ),
        (
            "moderation_history",
            "identity = 'user-7'",
            "identity_started_at",
        ),
        (
            "moderation_history",
            "policy_name = 'policy-7' and started_at > now() - interval '1 day'",
            "policy_name_started_at",
        ),
        (
            "moderation_history",
            &format!("room_name = 'room-7' and {last_week}"),
            "room_name_started_at",
        ),
        (
            "failed_actions",
            &format!("tenant = 'tenant-7' and {last_week}"),
            "started_at",
        ),
        ("would_have_muted", last_week, "started_at > (now()"),
        (
            "actions_by_participant",
            "room_name = 'room-7'",
            "room_name_started_at",
        ),
        (
            "policy_effect",
            "policy_name = 'policy-7'",
            "policy_name_started_at",
        ),
        ("unsettled_actions", "true", by_key),
    ] {
        let explain = format!(
            "explain (analyze, timing off, summary off) select * from {from} where {condition}"
        );
        let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
            .fetch_all(&app.pool)
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains(index), "{from} where {condition}\n{plan}");
        // A month of the log that is read from end to end; empty ones cost nothing.
        let scanned = plan.lines().filter(|line| {
            line.contains("Seq Scan on audit_log")
                && !line.contains("rows=0 ")
                && !line.contains("never executed")
        });
        assert_eq!(scanned.count(), 0, "{from} where {condition}\n{plan}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_tail_loses_nothing_to_a_transaction_that_commits_late() {
    let app = TestApp::new().await;
    app.room("standup", "acme");
    let ann = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let (_, tail) = MANUAL
        .split_once("#### What was written since I last looked?")
        .unwrap();
    let tail = tail
        .split("```")
        .nth(1)
        .unwrap()
        .strip_prefix("sql")
        .unwrap();
    let tail = tail.trim().trim_end_matches(';');
    let read = format!("select array_agg(room_name) from ({tail}) tail");
    let read = async || -> Vec<String> {
        let rows: Option<Vec<String>> = sqlx::query_scalar(AssertSqlSafe(read.clone()))
            .fetch_one(&app.pool)
            .await
            .unwrap();
        rows.unwrap_or_default()
    };
    let row = "insert into audit_log (started_at, action_id, phase, origin, actor, action, room_name, outcome)
               values (clock_timestamp(), gen_random_uuid(), 'outcome', 'cli', 'cli:ann', 'mute', 'late', 'done')";
    let mut late = app.pool.begin().await.unwrap();
    late.execute("select pg_current_xact_id()").await.unwrap();
    // Done, and committed, with a newer transaction and an older number.
    let mute = app.mute(ACME, "standup", "ann", &ann.sid, true);
    assert_eq!(mute.send().await.unwrap().status(), 200);
    late.execute(row).await.unwrap();
    assert_eq!(
        read().await,
        Vec::<String>::new(),
        "what is open may still come before it"
    );
    late.commit().await.unwrap();
    // Transactions of others in this Postgres hold the tail up, too.
    app.wait_for("both are in the tail", async || read().await.len() == 2)
        .await;
    assert_eq!(read().await, ["late", "standup"]);
    app.finish().await;
}
