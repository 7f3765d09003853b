//! What policies were: every revision stays readable, and repeats the decisions of its time.

use chrono::{DateTime, Utc};
use livekit_double::{Join, Publish};
use quell::audit::{Actor, Origin};
use quell::policy_store::{self, At, Author, ExpectedRevision, Rollback, Seeing};
use quell_clock::Clock;
use quell_jwt::{EncodingKey, Header};
use quell_policy::{Document, Facts, Owner, PolicySet, StoredPolicy, decide};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp, owner};

const JWT_SECRET: &str = "jwt-secret-0123456789abcdef-0123456789ab";
pub(crate) fn by() -> Author<'static> {
    Author {
        origin: Origin::Cli,
        actor: Actor::CommandLine("cli:test".to_owned()),
        request: None,
    }
}

/// A policy that mutes everything in rooms of this name, of this priority.
pub(crate) fn quiet(room: &str, priority: u16) -> Value {
    json!({"name": "quiet", "match": {"room": [room]}, "effect": "mute", "priority": priority})
}

pub(crate) async fn get(app: &TestApp, token: &str, path: &str) -> Answer {
    Answer::to(app.api(Method::GET, token, &format!("/v1/policies{path}"))).await
}

pub(crate) async fn put(
    app: &TestApp,
    token: &str,
    if_match: Option<&str>,
    body: &Value,
) -> Answer {
    let mut request = app.api(Method::PUT, token, "/v1/policies/quiet").json(body);
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    Answer::to(request).await
}

pub(crate) async fn delete(app: &TestApp, token: &str) {
    let request = app.api(Method::DELETE, token, "/v1/policies/quiet");
    let answer = Answer::to(request.header("If-Match", "*")).await;
    assert_eq!(answer.status, 204);
}

/// `POST .../rollback`; `path` is what follows `/v1/policies`.
pub(crate) async fn rollback(
    app: &TestApp,
    token: &str,
    path: &str,
    if_match: Option<&str>,
    body: &Value,
) -> Answer {
    let mut request = app
        .api(Method::POST, token, &format!("/v1/policies{path}"))
        .header("X-Request-Id", "the-rollback")
        .json(body);
    if let Some(etag) = if_match {
        request = request.header("If-Match", etag);
    }
    Answer::to(request).await
}

/// Revisions in brief: number, change, who, where from, and the fields that changed.
pub(crate) fn brief(page: &Value) -> Vec<String> {
    let revisions = page["revisions"].as_array().unwrap().iter();
    revisions
        .map(|revision| {
            let changes = revision["changes"].as_array().unwrap().iter();
            let changes: Vec<_> = changes
                .map(|change| {
                    let name = change["field"].as_str().unwrap();
                    format!("{name} {}->{}", change["before"], change["after"])
                })
                .collect();
            format!(
                "{} {} {} {} {} [{}]",
                revision["revision"],
                revision["change"].as_str().unwrap(),
                revision["author"].as_str().unwrap(),
                revision["managed_by"].as_str().unwrap(),
                revision["restored_from"],
                changes.join(", ")
            )
        })
        .collect()
}

/// Creates acme's policy, changes it twice, removes it and makes it anew: five revisions.
pub(crate) async fn five_revisions(app: &TestApp) {
    assert_eq!(put(app, ACME, None, &quiet("a", 1)).await.status, 201);
    assert_eq!(put(app, ACME, Some("*"), &quiet("a", 2)).await.status, 200);
    assert_eq!(put(app, ACME, Some("*"), &quiet("b", 2)).await.status, 200);
    delete(app, ACME).await;
    assert_eq!(put(app, ACME, None, &quiet("c", 5)).await.status, 201);
}

#[tokio::test]
async fn revisions_are_read_in_pages_and_one_by_one_also_of_a_deleted_policy() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    for deleted in [false, true] {
        if deleted {
            delete(&app, ACME).await;
            let gone = get(&app, ACME, "/quiet").await;
            assert_eq!(gone.outcome(), "404 POLICY_NOT_FOUND");
        }
        let page = get(&app, ACME, "/quiet/revisions").await.json();
        let mut lines = brief(&page);
        if deleted {
            assert_eq!(lines.remove(0), "6 delete acme rest null []");
        }
        assert_eq!(
            lines,
            [
                "5 create acme rest null []",
                "4 delete acme rest null []",
                r#"3 update acme rest null [match.room ["a"]->["b"]]"#,
                "2 update acme rest null [priority 1->2]",
                "1 create acme rest null []",
            ]
        );
        assert_eq!(page["next_before"], Value::Null);
    }

    let mut path = "/quiet/revisions?limit=4".to_owned();
    let mut numbers: Vec<Value> = Vec::new();
    loop {
        let page = get(&app, ACME, &path).await.json();
        let revisions = page["revisions"].as_array().unwrap();
        numbers.push(revisions.iter().map(|r| r["revision"].clone()).collect());
        if page["next_before"].is_null() {
            break;
        }
        path = format!("/quiet/revisions?limit=4&before={}", page["next_before"]);
    }
    assert_eq!(numbers, [json!([6, 5, 4, 3]), json!([2, 1])]);
    let none = get(&app, ACME, "/quiet/revisions?before=1").await;
    assert_eq!(none.json(), json!({"revisions": [], "next_before": null}));

    let one = get(&app, ACME, "/quiet/revisions/2").await.json();
    assert_eq!(one["policy"]["priority"], 2);
    assert_eq!(one["policy"]["match"], json!({"room": ["a"]}));
    assert_eq!(
        (&one["owner"], &one["name"]),
        (&json!("acme"), &json!("quiet"))
    );
    assert_eq!(one["changes"][0]["field"], "priority");
    let at: DateTime<Utc> = one["created_at"].as_str().unwrap().parse().unwrap();
    assert!((Clock::system().now() - at).num_seconds().abs() < 60);
    let deletion = get(&app, ACME, "/quiet/revisions/4").await.json();
    assert_eq!(deletion["policy"], Value::Null);
    assert_eq!(deletion["change"], "delete");
    app.finish().await;
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    for (path, outcome) in [
        ("/quiet/revisions?limit=0", "400 INVALID_REQUEST"),
        ("/quiet/revisions?limit=101", "400 INVALID_REQUEST"),
        ("/quiet/revisions?limit=many", "400 INVALID_REQUEST"),
        ("/quiet/revisions?before=x", "400 INVALID_REQUEST"),
        ("/quiet/revisions?after=1", "400 INVALID_REQUEST"),
        ("/quiet/revisions/1?limit=2", "400 INVALID_REQUEST"),
        ("/quiet/revisions?limit=100", "200"),
        ("/quiet/revisions/5", "200"),
        ("/quiet/revisions/6", "404 REVISION_NOT_FOUND"),
        ("/quiet/revisions/0", "404 REVISION_NOT_FOUND"),
        ("/quiet/revisions/last", "404 REVISION_NOT_FOUND"),
        ("/quiet/revisions/99999999999", "404 REVISION_NOT_FOUND"),
        ("/other/revisions", "404 POLICY_NOT_FOUND"),
        ("/other/revisions?before=9", "404 POLICY_NOT_FOUND"),
        ("/other/revisions/1", "404 REVISION_NOT_FOUND"),
        ("/p%00/revisions", "404 POLICY_NOT_FOUND"),
        ("/%ff/revisions/1", "404 POLICY_NOT_FOUND"),
    ] {
        assert_eq!(get(&app, ACME, path).await.outcome(), outcome, "{path}");
    }
    for (path, body, outcome) in [
        ("/quiet/rollback", json!({"to": "2"}), "400 INVALID_REQUEST"),
        ("/quiet/rollback", json!({"to": 2.5}), "400 INVALID_REQUEST"),
        ("/quiet/rollback", json!({}), "400 INVALID_REQUEST"),
        ("/quiet/rollback", json!([2, 3]), "400 INVALID_REQUEST"),
        (
            "/quiet/rollback",
            json!({"to": 2, "from": 5}),
            "400 INVALID_REQUEST",
        ),
        (
            "/quiet/rollback",
            json!({"to": 6}),
            "404 REVISION_NOT_FOUND",
        ),
        (
            "/quiet/rollback",
            json!({"to": -1}),
            "404 REVISION_NOT_FOUND",
        ),
        (
            "/quiet/rollback",
            json!({"to": 4}),
            "409 REVISION_NOT_RESTORABLE",
        ),
        ("/other/rollback", json!({"to": 1}), "404 POLICY_NOT_FOUND"),
        ("/p%00/rollback", json!({"to": 1}), "404 POLICY_NOT_FOUND"),
    ] {
        let answer = rollback(&app, ACME, path, Some("*"), &body).await;
        assert_eq!(answer.outcome(), outcome, "{path} {body}");
    }
    let no_json = app.api(Method::POST, ACME, "/v1/policies/quiet/rollback");
    let no_json = Answer::to(no_json.body(r#"{"to": 1}"#)).await;
    assert_eq!(no_json.outcome(), "400 INVALID_REQUEST");
    let newest = get(&app, ACME, "/quiet").await.json();
    assert_eq!(newest["revision"], 5, "nothing was changed");
    app.finish().await;
}

#[tokio::test]
async fn nobody_reads_or_brings_back_what_belongs_to_another() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    let to = json!({"to": 3});
    for (token, query, read, write) in [
        (GLOBEX, "", "404 POLICY_NOT_FOUND", "404 POLICY_NOT_FOUND"),
        (GLOBEX, "?owner=acme", "403 FORBIDDEN", "403 FORBIDDEN"),
        (OPERATOR, "", "404 POLICY_NOT_FOUND", "404 POLICY_NOT_FOUND"),
        ("no-such-secret", "", "401 UNAUTHORIZED", "401 UNAUTHORIZED"),
        (OPERATOR, "?owner=acme", "200", "200"),
        (ACME, "?owner=acme", "200", "200"),
    ] {
        let list = get(&app, token, &format!("/quiet/revisions{query}")).await;
        assert_eq!(list.outcome(), read, "{token} {query}");
        let one = get(&app, token, &format!("/quiet/revisions/1{query}")).await;
        let one_read = read.replace("POLICY_NOT", "REVISION_NOT");
        assert_eq!(one.outcome(), one_read, "{token} {query}");
        let path = format!("/quiet/rollback{query}");
        let back = rollback(&app, token, &path, Some("*"), &to).await;
        assert_eq!(back.outcome(), write, "{token} {query}");
    }
    let page = get(&app, ACME, "/quiet/revisions?limit=1").await.json();
    let line = r#"6 update ops rest 3 [match.room ["c"]->["b"], priority 5->2]"#;
    assert_eq!(brief(&page), [line], "the operator brought it back, once");
    app.finish().await;
}

#[tokio::test]
async fn scopes_hold_for_revisions_and_for_going_back() {
    let setup = Setup::default().env("QUELL_JWT_SECRET", JWT_SECRET);
    let app = setup.start().await;
    five_revisions(&app).await;
    for (scope, read, write) in [
        ("policies:read", "200", "403 FORBIDDEN"),
        ("policies:write", "403 FORBIDDEN", "200"),
        ("mute audit:read", "403 FORBIDDEN", "403 FORBIDDEN"),
    ] {
        let exp = Clock::system().unix_seconds() + 600;
        let claims = json!({"sub": "acme", "exp": exp, "scope": scope});
        let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
        let token = quell_jwt::encode(&Header::default(), &claims, &key).unwrap();
        for path in ["/quiet/revisions", "/quiet/revisions/1"] {
            assert_eq!(get(&app, &token, path).await.outcome(), read, "{scope}");
        }
        let to = json!({"to": 1});
        let back = rollback(&app, &token, "/quiet/rollback", Some("*"), &to).await;
        assert_eq!(back.outcome(), write, "{scope}");
    }
    app.finish().await;
}

/// A policy as it is found in the past: owner, name, revision, document.
type Found = (Owner, String, i32, Value);

fn found(rows: Vec<StoredPolicy>) -> Vec<Found> {
    let mut found: Vec<_> = rows
        .into_iter()
        .map(|row| (row.key.owner, row.key.name, row.revision, row.document))
        .collect();
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    found
}

#[tokio::test]
async fn all_policies_are_found_as_they_were_at_any_change_and_at_any_time() {
    let app = TestApp::new().await;
    let pool = &app.state().pool;
    let document = |yaml: &str| Document::load([("p.yaml", yaml)]).unwrap().value.policies;
    let mut past = Vec::new();
    for step in 0..6 {
        let (one, two) = (step % 3, step % 2);
        let owners = ["", ", owner: acme", ", owner: globex"];
        let policies = owners.map(|owner| {
            format!(
                "- {{ name: p{two}, match: {{ room: [a{one}] }}, effect: mute{owner} }}\n\
                 - {{ name: always, match: {{ room: [b{step}] }}, effect: mute{owner} }}\n"
            )
        });
        let policies = document(&format!("policies:\n{}", policies.concat()));
        // Of acme's and the operator's the one that is left out goes, of globex's none.
        for prune in [owner(Some("acme")), Owner::Operator] {
            policy_store::apply(pool, &by(), &policies, Some(&prune), None)
                .await
                .unwrap();
            let newest: i64 = sqlx::query_scalar("select max(id) from policy_revision")
                .fetch_one(pool)
                .await
                .unwrap();
            let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
                .fetch_one(pool)
                .await
                .unwrap();
            let live = policy_store::list(pool, None).await.unwrap();
            let live = live
                .into_iter()
                .map(|row| (row.owner, row.name, row.revision, row.document));
            past.push((newest, now, live.collect::<Vec<Found>>()));
        }
    }
    for (newest, time, live) in &past {
        for at in [At::Snapshot(*newest), At::Time(*time)] {
            let then = policy_store::as_of(pool, at, Seeing::AnyRoom)
                .await
                .unwrap();
            assert_eq!(found(then), *live, "{at:?}");
        }
    }
    let before_all = policy_store::as_of(pool, At::Snapshot(0), Seeing::AnyRoom)
        .await
        .unwrap();
    assert!(before_all.is_empty());
    // No time falls into the middle of an apply: what it wrote has one time.
    let times = app
        .sql("select count(distinct created_at) from policy_revision")
        .await;
    let transactions = app.sql("select count(distinct txid) from audit_log").await;
    assert_eq!(times, transactions);
    app.finish().await;
}

#[tokio::test]
async fn a_decision_is_repeated_from_the_stored_revisions_whatever_came_after() {
    let app = TestApp::new().await;
    app.room("hall", "acme");
    let yaml = |room: &str, priority: u16| {
        format!(
            "policies:\n\
             - {{ name: mics, owner: acme, match: {{ room: [{room}] }}, effect: mute, priority: {priority} }}\n\
             - {{ name: agents, match: {{ kind: AGENT }}, effect: exempt, reason: r }}\n"
        )
    };
    let mut decided = Vec::new();
    for (step, room) in ["hall", "elsewhere", "h*", "elsewhere"]
        .into_iter()
        .enumerate()
    {
        app.apply(&yaml(room, step.try_into().unwrap())).await;
        let who = format!("user-{step}");
        let sid = app
            .publish("hall", Join::new(&who), Publish::microphone())
            .sid;
        app.settle().await;
        let at: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        decided.push((at, sid));
    }
    // The one before comes back, and is in force.
    let wanted = Rollback {
        owner: &owner(Some("acme")),
        name: "mics",
        to: 3,
        managed_by: None,
        expected: ExpectedRevision::Revision(4),
    };
    policy_store::rollback(&app.state().pool, &by(), &wanted)
        .await
        .unwrap();
    app.state()
        .policies
        .refresh(&app.state().pool)
        .await
        .unwrap();
    let last = app.publish("hall", Join::new("last"), Publish::microphone());
    app.settle().await;
    assert!(app.is_muted("hall", "last", &last.sid));
    let row = app.lines("identity = 'last'").await;
    assert_eq!(
        row,
        ["webhook mute done - acme hall last MICROPHONE acme/mics@5"]
    );

    for (step, (at, sid)) in decided.into_iter().enumerate() {
        let facts: Facts = serde_json::from_value(app.stored("facts", &sid).await).unwrap();
        let decision = app.stored("decision", &sid).await;
        let newest = decision["as_of"].as_i64().unwrap();
        let then = policy_store::as_of(&app.state().pool, At::Snapshot(newest), Seeing::AnyRoom)
            .await
            .unwrap();
        let by_time = policy_store::as_of(&app.state().pool, At::Time(at), Seeing::AnyRoom)
            .await
            .unwrap();
        assert_eq!(then.len(), by_time.len());
        let set = PolicySet::from_stored(then).unwrap().as_of_revision(newest);
        let decided_at = decision["at"].as_str().unwrap().parse().unwrap();
        let again = serde_json::to_value(decide(&set, &facts, decided_at)).unwrap();
        assert_eq!(again, decision, "{step}");
        let who = format!("user-{step}");
        assert_eq!(app.is_muted("hall", &who, &sid), step % 2 == 0);
    }
    app.finish().await;
}
