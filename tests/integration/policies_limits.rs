//! What policies may take from others: room, turns, and a version that reads them.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor as _};

use crate::apply::{folder, path, policy};
use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};
use livekit_double::{Join, Publish};

const QUIET: &str = r#"{"name": "quiet", "match": {"source": ["MICROPHONE"]}, "effect": "mute"}"#;

async fn put(app: &TestApp, token: &str, name: &str, body: &Value) -> Answer {
    let request = app.api(Method::PUT, token, &format!("/v1/policies/{name}"));
    Answer::to(request.json(body)).await
}

fn mute(description: &str) -> Value {
    json!({"match": {"room": ["hall-*"]}, "effect": "mute", "description": description})
}

const FROM_THE_FUTURE: &str =
    r#"{"name": "quiet", "match": {"phase_of_the_moon": "full"}, "effect": "mute"}"#;

/// What a newer version makes of the owner's policy `quiet`; an empty owner is the operator.
fn newer(owner: &str, revision: i32, document: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "insert into policy_revision (owner, name, revision, change, document, author, managed_by)
         values (nullif('{owner}', ''), 'quiet', {revision}, 'update', '{document}', 'x', 'rest');
         update policy set revision = {revision}, document = '{document}' where coalesce(owner, '') = '{owner}'"
    ))
}

/// Everything that is listed, page by page.
async fn listed(app: &TestApp, token: &str, limit: u16) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let path = format!("/v1/policies?limit={limit}{cursor}");
        let page = Answer::to(app.api(Method::GET, token, &path)).await;
        assert_eq!(page.status, 200, "{page:?}");
        let body = page.json();
        let policies = body["policies"].as_array().unwrap();
        assert!(policies.len() <= usize::from(limit));
        names.extend(policies.iter().map(|policy| {
            let owner = policy["owner"].as_str().unwrap_or("-");
            format!("{owner}/{}", policy["name"].as_str().unwrap())
        }));
        pages += 1;
        match body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return (names, pages),
        }
    }
}

#[tokio::test]
async fn a_list_comes_in_pages_that_are_bounded_in_number_and_in_bytes() {
    let app = TestApp::new().await;
    let policies: Vec<_> = ["acme", "", "globex"]
        .iter()
        .flat_map(|owner| {
            (0..5).map(move |n| {
                let owner = if owner.is_empty() {
                    String::new()
                } else {
                    format!("owner: {owner}, ")
                };
                format!("- {{ name: p{n}, {owner}match: {{ room: [a-*] }}, effect: mute }}")
            })
        })
        .collect();
    app.apply(&format!("policies:\n{}", policies.join("\n")))
        .await;
    let all: Vec<_> = ["-", "acme", "globex"]
        .iter()
        .flat_map(|owner| (0..5).map(move |n| format!("{owner}/p{n}")))
        .collect();
    for (limit, pages) in [(1, 15), (4, 4), (5, 3), (15, 1), (100, 1)] {
        assert_eq!(
            listed(&app, OPERATOR, limit).await,
            (all.clone(), pages),
            "{limit}"
        );
    }
    assert_eq!(listed(&app, GLOBEX, 2).await, (all[10..].to_vec(), 3));
    // 60 KB each: four are less than 256 KiB.
    let values: Vec<_> = (0..100)
        .map(|n| format!("{n}{}", "x".repeat(500)))
        .collect();
    let long = json!({"match": {"attributes": {"a": values}}, "effect": "mute"});
    for n in 0..6 {
        assert_eq!(put(&app, ACME, &format!("q{n}"), &long).await.status, 201);
    }
    let (names, pages) = listed(&app, ACME, 100).await;
    assert_eq!((names.len(), pages), (11, 2));
    for (query, said) in [
        ("limit=0", "`limit` is 0"),
        ("limit=101", "`limit` is 101"),
        ("cursor=x", "`cursor` is none of ours"),
    ] {
        let refused =
            Answer::to(app.api(Method::GET, ACME, &format!("/v1/policies?{query}"))).await;
        assert_eq!(refused.outcome(), "400 INVALID_REQUEST");
        assert!(refused.error().contains(said), "{refused:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_page_of_revisions_is_bounded_in_bytes_and_none_is_left_out() {
    let app = TestApp::new().await;
    let values: Vec<_> = (0..100)
        .map(|n| format!("{n}{}", "x".repeat(500)))
        .collect();
    for priority in 1..=15 {
        let policy =
            json!({"match": {"attributes": {"a": values}}, "effect": "mute", "priority": priority});
        let put = app
            .api(Method::PUT, ACME, "/v1/policies/long")
            .json(&policy);
        let put = if priority > 1 {
            put.header("If-Match", "*")
        } else {
            put
        };
        assert!(Answer::to(put).await.status < 300);
    }
    let (mut revisions, mut pages, mut before) = (Vec::new(), Vec::new(), String::new());
    loop {
        let path = format!("/v1/policies/long/revisions?limit=100{before}");
        let page = Answer::to(app.api(Method::GET, ACME, &path)).await.json();
        let listed = page["revisions"].as_array().unwrap();
        pages.push(listed.len());
        revisions.extend(listed.iter().map(|one| one["revision"].as_i64().unwrap()));
        match page["next_before"].as_i64() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    assert_eq!(revisions, (1..=15).rev().collect::<Vec<_>>());
    assert!(pages.len() > 1 && pages[0] < 12, "{pages:?}");
    app.finish().await;
}

#[tokio::test]
async fn all_owners_together_have_so_many_bytes_and_who_has_too_much_may_have_less() {
    let app = Setup::default()
        .env("QUELL_POLICIES_BYTES_MAX", "3000")
        .start()
        .await;
    let (long, short) = (mute(&"x".repeat(1500)), mute("x"));
    assert_eq!(put(&app, ACME, "long", &long).await.status, 201);
    let refused = put(&app, GLOBEX, "long", &long).await;
    assert_eq!(refused.outcome(), "409 TOO_MANY_POLICIES");
    assert!(
        refused.error().contains("QUELL_POLICIES_BYTES_MAX"),
        "{refused:?}"
    );
    assert_eq!(put(&app, GLOBEX, "short", &short).await.status, 201);
    // As an operator would find it who has lowered the limit.
    app.pool.execute("update policy set document = document || jsonb_build_object('description', repeat('x', 2000)) where owner = 'globex'").await.unwrap();
    app.pool
        .execute("update policy_usage set bytes = 2200 where owner = 'globex'")
        .await
        .unwrap();
    let change = async |body: &Value| {
        Answer::to(
            app.api(Method::PUT, ACME, "/v1/policies/long")
                .header("If-Match", "*")
                .json(body),
        )
        .await
    };
    assert_eq!(
        change(&mute(&"x".repeat(1600))).await.outcome(),
        "409 TOO_MANY_POLICIES"
    );
    assert_eq!(change(&mute(&"x".repeat(1400))).await.status, 200);
    let usage = app
        .sql("select string_agg(owner || policies, '_' order by owner) from policy_usage")
        .await;
    assert_eq!(usage.as_deref(), Some("acme1_globex1"));
    app.finish().await;
}

#[tokio::test]
async fn a_policy_of_a_newer_version_leaves_its_owner_at_the_policies_before_and_nobody_else() {
    let mut app = TestApp::new().await;
    app.apply(&format!(
        "policies:\n- {}\n- {}",
        QUIET.replacen('{', "{\"owner\": \"acme\", ", 1),
        QUIET.replacen('{', "{\"owner\": \"globex\", ", 1)
    ))
    .await;
    // A newer version changes acme's to one that this version cannot read.
    app.pool
        .execute(newer("acme", 2, FROM_THE_FUTURE))
        .await
        .unwrap();
    let metric = "quell_policy_owners_left_behind";
    let behind = |app: &TestApp| {
        app.state()
            .metrics
            .text()
            .lines()
            .find(|line| line.starts_with(metric))
            .unwrap()
            .to_owned()
    };
    app.wait_for("the owner is left behind", async || {
        behind(&app).ends_with(" 1")
    })
    .await;
    let is_muted = async |app: &TestApp, room: &str, tenant: &str| {
        app.room(room, tenant);
        let sid = app
            .publish(room, Join::new("ann"), Publish::microphone())
            .sid;
        app.settle().await;
        app.is_muted(room, "ann", &sid)
    };
    assert!(is_muted(&app, "a", "acme").await);
    // Others' changes are taken over.
    let changed = Answer::to(
        app.api(Method::PUT, GLOBEX, "/v1/policies/quiet")
            .header("If-Match", "*")
            .json(&json!({"match": {"source": ["CAMERA"]}, "effect": "mute"})),
    )
    .await;
    assert_eq!(changed.status, 200);
    app.state()
        .policies
        .refresh(&app.state().pool)
        .await
        .unwrap();
    assert!(!is_muted(&app, "b", "globex").await);
    assert!(behind(&app).ends_with(" 1"));
    // A restart reads the policies before it.
    app.replica().await;
    let [_, other] = app.states().collect::<Vec<_>>()[..] else {
        panic!("two")
    };
    let snapshot = other.policies.snapshot();
    assert_eq!(snapshot.len(), 2);
    // Once it can be read, it is in force.
    let readable = r#"{"name": "quiet", "match": {"source": ["CAMERA"]}, "effect": "mute"}"#;
    app.pool.execute(newer("acme", 3, readable)).await.unwrap();
    app.wait_for("nobody is left behind", async || {
        behind(&app).ends_with(" 0")
    })
    .await;
    assert!(!is_muted(&app, "c", "acme").await);
    app.finish().await;
}

#[tokio::test]
async fn plans_backtests_and_explanations_go_on_beside_a_policy_of_a_newer_version() {
    let app = TestApp::new().await;
    app.apply(&format!(
        "policies:\n- {QUIET}\n- {}",
        QUIET.replacen('{', "{\"owner\": \"acme\", ", 1)
    ))
    .await;
    app.room("hall", "globex");
    app.publish("hall", Join::new("ann"), Publish::microphone());
    app.settle().await;
    for owner in ["", "acme"] {
        let stored = app.pool.execute(newer(owner, 2, FROM_THE_FUTURE)).await;
        stored.unwrap();
    }
    let draft =
        json!({"policies": [{"name": "more", "match": {"source": ["CAMERA"]}, "effect": "mute"}]});
    let warnings = async |token: &str, path: &str, body: &Value| {
        let answer = Answer::to(app.api(Method::POST, token, path).json(body)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let body = answer.json();
        let warnings = body["warnings"].as_array().cloned().unwrap_or_default();
        let warnings = warnings.iter().map(|warning| warning.as_str().unwrap());
        let cannot = warnings.filter(|warning| warning.contains("cannot be read"));
        let mut owners: Vec<_> = cannot
            .map(|warning| warning.split_once("policy quiet of ").unwrap().1)
            .map(|rest| rest.split_once(" cannot").unwrap().0.to_owned())
            .collect();
        owners.sort();
        owners
    };
    for path in ["/v1/plan", "/v1/backtest"] {
        // What is the operator's, or another tenant's, is not told of.
        assert_eq!(warnings(GLOBEX, path, &draft).await, [""; 0]);
        let all = warnings(OPERATOR, path, &draft).await;
        assert_eq!(all, ["tenant \"acme\"", "the operator"]);
    }
    let own = warnings(ACME, "/v1/plan", &draft).await;
    assert_eq!(own, ["tenant \"acme\""]);
    // What cannot be read can be replaced: the plan is against what is in force.
    let replaced =
        json!({"policies": [{"name": "quiet", "match": {"source": ["CAMERA"]}, "effect": "mute"}]});
    let answer = Answer::to(app.api(Method::POST, ACME, "/v1/plan").json(&replaced)).await;
    let fields = &answer.json()["policies"][0]["fields"];
    assert_eq!(*fields, json!(["match.source"]));
    // The command line says so as well.
    let files = folder(&[(
        "p.yaml",
        "policies: [{ name: more, match: { source: CAMERA }, effect: mute }]",
    )]);
    let shown = policy(Some(&app), &["backtest", "--file", path(&files)]).await;
    assert!(shown.starts_with("0\n"), "{shown}");
    assert!(
        shown.contains("warning: revision 2 of policy quiet of the operator cannot be read"),
        "{shown}"
    );
    let event = app
        .sql("select event_id from webhook_event where event = 'track_published'")
        .await;
    let explain = ["explain", "--event", &event.unwrap(), "--now"];
    let shown = policy(Some(&app), &explain).await;
    assert!(shown.starts_with("0\n"), "{shown}");
    assert!(shown.contains("muted by (operator)/quiet"), "{shown}");
    app.finish().await;
}

#[tokio::test]
async fn changes_wait_in_order_and_one_caller_has_no_more_than_its_share_of_the_queue() {
    let app = TestApp::new().await;
    // Somebody holds the lock that changes take.
    let mut held = app.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(x'7175656c6c01'::bigint)")
        .execute(&mut *held)
        .await
        .unwrap();
    let many = (0..12).map(|n| {
        let name = format!("p{n}");
        let app = &app;
        async move { put(app, ACME, &name, &mute("x")).await.outcome() }
    });
    let many = futures_util::future::join_all(many);
    let others = async {
        let held = held;
        // The eight of acme are queued by now: the other four are told so at once.
        app.wait_for("those beyond its share are refused", async || {
            app.state().metrics.text().contains(
                "quell_http_requests_total{route=\"/v1/policies/{name}\",status=\"429\"} 4",
            )
        })
        .await;
        // Lists, acks and mutes need no turn.
        assert_eq!(listed(&app, ACME, 10).await.0.len(), 0);
        held.rollback().await.unwrap();
        put(&app, GLOBEX, "p", &mute("x")).await.outcome()
    };
    let (many, other) = tokio::join!(many, others);
    let count = |outcome: &str| many.iter().filter(|one| one.starts_with(outcome)).count();
    assert_eq!(
        (count("201"), count("429 CHANGES_BUSY")),
        (8, 4),
        "{many:?}"
    );
    assert!(other.starts_with("201"), "{other}");
    app.finish().await;
}
