//! The audit over REST: who sees what, pages and files that leave nothing out.

use std::collections::BTreeSet;

use livekit_double::{Join, Publish};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::policies::{JWT_SECRET, jwt};
use crate::support::{ACME, Answer, GLOBEX, MICS, OPERATOR, Setup, TestApp};

async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    Answer::to(app.api(Method::GET, token, &format!("/v1/audit{path}"))).await
}

async fn actions(app: &TestApp, token: &str, query: &str) -> Vec<Value> {
    let answer = get(app, token, query).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["actions"].as_array().unwrap().clone()
}

/// Outcomes of mutes as a policy makes them, one a second, the last one now; each `tenants`' in turn.
async fn fill(app: &TestApp, count: u32) {
    let rows = format!(
        "insert into audit_log (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid, identity,
                                track_sid, policy_name, policy_revision, event_id, request_id, outcome, error)
         select now() - interval '1 s' * (g / 3), md5(g::text)::uuid, 'outcome', case when g % 10 = 0 then 'manual' else 'webhook' end,
                case when g % 10 = 0 then 'ann' end, case when g % 2 = 0 then 'acme' else 'globex' end,
                case when g % 20 = 0 then 'unmute' else 'mute' end, 'room-' || g % 5, 'RM_' || g % 5, 'user-' || g % 7,
                'TR_' || g, case when g % 10 <> 0 then 'quiet' end, case when g % 10 <> 0 then 1 end, 'EV_' || g, 'req-' || g,
                case when g % 6 = 0 then 'failed' else 'done' end, case when g % 6 = 0 then 'LiveKit is down' end
         from generate_series(1, {count}) g"
    );
    app.pool.execute(AssertSqlSafe(rows)).await.unwrap();
}

#[tokio::test]
async fn each_condition_finds_its_rows_and_a_tenant_its_own_alone() {
    let app = TestApp::new().await;
    fill(&app, 120).await;
    let all = |condition: &str| {
        let query = format!("select count(*) from moderation_history where {condition}");
        async {
            let query = query;
            app.count(&query).await
        }
    };
    for (query, condition) in [
        ("room_name=room-2", "room_name = 'room-2'"),
        ("room_sid=RM_3", "room_sid = 'RM_3'"),
        ("identity=user-4", "identity = 'user-4'"),
        ("track_sid=TR_16", "track_sid = 'TR_16'"),
        ("actor=ann", "actor = 'ann'"),
        ("policy_name=quiet", "policy_name = 'quiet'"),
        ("origin=manual", "origin = 'manual'"),
        ("origin=webhook", "origin = 'webhook'"),
        ("action=unmute", "action = 'unmute'"),
        (
            "action=mute&outcome=failed",
            "action = 'mute' and outcome = 'failed'",
        ),
        ("request_id=req-8", "request_id = 'req-8'"),
        ("event_id=EV_9", "event_id = 'EV_9'"),
        ("since=1m", "started_at > now() - interval '1 min'"),
        (
            "until=1m&identity=user-1",
            "started_at < now() - interval '1 min' and identity = 'user-1'",
        ),
        ("room_name=nowhere", "false"),
    ] {
        for (token, whose) in [
            (ACME, "tenant = 'acme'"),
            (GLOBEX, "tenant = 'globex'"),
            (OPERATOR, "true"),
        ] {
            let found = actions(&app, token, &format!("?limit=500&{query}")).await;
            let expected = all(&format!("{condition} and {whose}")).await;
            // A second may begin between the two.
            let differ = i64::try_from(found.len()).unwrap().abs_diff(expected);
            assert!(
                differ <= u64::from(condition.contains("now()")),
                "{query} {whose}: {} {expected}",
                found.len()
            );
        }
    }
    let all = actions(&app, OPERATOR, "?tenant=acme&limit=500").await;
    assert_eq!(all.len(), 60);
    // The numbers would tell a tenant how much others do.
    assert!(
        all.iter()
            .all(|row| row["seq"].is_i64() && row["txid"].is_string())
    );
    let own = actions(&app, ACME, "?limit=500").await;
    assert!(
        own.iter()
            .all(|row| row.get("seq").is_none() && row.get("txid").is_none())
    );
    for (query, error) in [
        (
            "?outcome=nope",
            "`outcome` is \"nope\", but must be one of done, refused",
        ),
        ("?since=tuesday", "`since`: \"tuesday\" is no time"),
        ("?limit=0", "`limit` is 0, but must be 1 to 500"),
        ("?limit=501", "`limit` is 501"),
        ("?cursor=x", "`cursor` is none of ours"),
        ("?room=x", "unknown field `room`"),
        ("/export?format=xls", "`format` must be ndjson or csv"),
    ] {
        let refused = get(&app, ACME, query).await;
        assert_eq!(refused.outcome(), "400 INVALID_REQUEST", "{query}");
        assert!(
            refused.body.replace("\\\"", "\"").contains(error),
            "{refused:?}"
        );
    }
    assert_eq!(
        get(&app, ACME, "?tenant=globex").await.outcome(),
        "403 FORBIDDEN"
    );
    app.finish().await;
}

#[tokio::test]
async fn it_needs_the_scope() {
    let setup = Setup::default().env("QUELL_JWT_SECRET", JWT_SECRET);
    let app = setup.start().await;
    for (scope, status) in [
        ("audit:read", 200),
        ("policies:read policies:write mute", 403),
    ] {
        let token = jwt(Some(scope));
        for path in ["", "/export"] {
            let answer =
                Answer::to(app.api(Method::GET, &token, &format!("/v1/audit{path}"))).await;
            assert_eq!(answer.status, status, "{scope} {path}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn pages_and_files_leave_nothing_out_and_say_nothing_twice() {
    let app = TestApp::new().await;
    fill(&app, 1_300).await;
    let (mut ids, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = get(&app, ACME, &format!("?limit=93{cursor}")).await.json();
        let rows = page["actions"].as_array().unwrap();
        ids.extend(
            rows.iter()
                .map(|row| row["action_id"].as_str().unwrap().to_owned()),
        );
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((ids.len(), pages), (650, 7));
    let file = get(&app, ACME, "/export").await;
    assert_eq!(file.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = file
        .body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_file: Vec<_> = lines
        .iter()
        .map(|row| row["action_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, of_file);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 650);
    let csv = get(&app, ACME, "/export?format=csv&outcome=failed").await;
    let mut lines = csv.body.split("\r\n");
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("started_at,action_id,origin,actor,tenant,")
    );
    let failed = app
        .count("select count(*) from failed_actions where tenant = 'acme'")
        .await;
    assert_eq!(
        i64::try_from(lines.filter(|line| line.contains(",acme,")).count()).unwrap(),
        failed
    );
    app.finish().await;
}

#[tokio::test]
async fn one_action_comes_with_the_facts_and_the_decision_that_led_to_it() {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    app.room("standup", "acme");
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let found = actions(&app, ACME, &format!("?track_sid={}", mic.sid)).await;
    let id = found[0]["action_id"].as_str().unwrap();
    let whole = get(&app, ACME, &format!("/{id}")).await.json();
    assert_eq!(whole["outcome"], "done");
    assert_eq!(
        whole["decided_by"]["facts"]["participant"]["identity"],
        "ann"
    );
    assert_eq!(
        whole["decided_by"]["decision"]["enforced"]["verdict"],
        "mute"
    );
    let nobody = get(&app, ACME, "/01a22498-5e90-7240-8ffb-3f6820b4cf03").await;
    assert_eq!(nobody.outcome(), "404 ACTION_NOT_FOUND");
    for (token, path) in [(GLOBEX, format!("/{id}")), (ACME, "/x".to_owned())] {
        let missing = get(&app, token, &path).await;
        assert_eq!((missing.status, missing.body), (404, nobody.body.clone()));
    }
    app.finish().await;
}

/// Whoever does not read its files keeps no more than two turns.
#[tokio::test]
async fn a_caller_has_two_exports_under_way() {
    let app = TestApp::new().await;
    fill(&app, 60_000).await;
    let mut files = Vec::new();
    for _ in 0..2 {
        let file = app.api(Method::GET, ACME, "/v1/audit/export").send().await;
        files.push(file.unwrap());
    }
    assert!(files.iter().all(|file| file.status() == 200));
    let third = get(&app, ACME, "/export").await;
    assert_eq!(third.outcome(), "429 EXPORT_BUSY");
    drop(files);
    app.wait_for("files that are left make room", async || {
        get(&app, ACME, "/export?room_name=x").await.status == 200
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn names_that_break_lines_and_fields_stay_whole_in_a_file() {
    let app = TestApp::new().await;
    let odd = "a\"b,c\r\n=1+1";
    sqlx::query(
        "insert into audit_log (started_at, action_id, phase, origin, tenant, action, identity, outcome)
         values (now(), gen_random_uuid(), 'outcome', 'webhook', 'acme', 'mute', $1, 'done')",
    )
    .bind(odd)
    .execute(&app.pool)
    .await
    .unwrap();
    let csv = get(&app, ACME, "/export?format=csv").await.body;
    assert!(csv.contains("\"a\"\"b,c\r\n=1+1\""), "{csv}");
    let lines = get(&app, ACME, "/export").await.body;
    let row: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!(row["identity"], json!(odd));
    app.finish().await;
}
