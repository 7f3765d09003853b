//! A change of policies is in force on every replica within a second, and stays readable.

use std::time::Duration;

use livekit_double::{Join, Publish};
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{OPERATOR, TestApp};

const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);

async fn create(app: &TestApp, name: &str) {
    let body = json!({"name": name, "match": {"room": [name]}, "effect": "mute"});
    let request = app.api(Method::POST, OPERATOR, "/v1/policies").json(&body);
    assert_eq!(request.send().await.unwrap().status(), 201);
}

/// Whether the quell at `url` mutes somebody in the room.
async fn mutes(app: &TestApp, url: &str, room: &str) -> bool {
    app.room(room, "acme");
    let sid = app
        .publish(room, Join::new("ann"), Publish::microphone())
        .sid;
    app.post(url, &app.event_of(&sid)).await;
    app.settle().await;
    app.is_muted(room, "ann", &sid)
}

#[tokio::test]
async fn a_change_is_in_force_on_every_replica_within_a_second_told_of_or_not() {
    let mut app = TestApp::new().await;
    let other = app.replica().await;
    app.hold_webhooks();
    let mut in_force = 0;
    for way in ["told", "untold"] {
        if way == "untold" {
            // As behind a pooler that loses notifications.
            let silence = "alter table policy_revision disable trigger policy_revision_notifies";
            sqlx::query(silence).execute(&app.pool).await.unwrap();
        }
        let mut took = Vec::new();
        for number in 1..=3 {
            let name = format!("{way}-{number}");
            let begun = Instant::now();
            create(&app, &name).await;
            in_force += 1;
            for url in [&app.url, &other] {
                app.wait_for("the policy is in force", async || {
                    app.metric(url, "quell_policies").await == in_force
                        && app.metric(url, "quell_newest_policy_revision").await == in_force
                })
                .await;
            }
            took.push(begun.elapsed());
            for url in [&app.url, &other] {
                assert!(mutes(&app, url, &name).await, "{name}");
            }
        }
        // The machine may have had something else to do once. (A notification that is lost is no
        // such thing: replicas look every half a second, as they do for what is untold.)
        took.sort();
        assert!(took[1] < IN_FORCE_WITHIN, "{way}: {took:?}");
    }
    let request = app.api(Method::DELETE, OPERATOR, "/v1/policies/told-1");
    let request = request.header("If-Match", "*").send().await.unwrap();
    assert_eq!(request.status(), 204);
    for url in [&app.url, &other] {
        app.wait_for("the policy is gone", async || {
            app.metric(url, "quell_policies").await == in_force - 1
        })
        .await;
        assert!(!mutes(&app, url, "told-1").await);
        assert!(mutes(&app, url, "untold-1").await);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_stored_policy_that_cannot_be_read_leaves_those_before_it_in_force() {
    let app = TestApp::new().await;
    app.hold_webhooks();
    create(&app, "old").await;
    app.wait_for("the policy is in force", async || {
        app.metric(&app.url, "quell_policies").await == 1
    })
    .await;
    // As a newer version would write it: with a key that this one does not know.
    let newer = r#"
        with changed as (
            insert into policy (id, owner, name, revision, document, managed_by, updated_by)
            values (gen_random_uuid(), null, 'newer', 1,
                    '{"name":"newer","match":{},"effect":"mute","from_the_future":true}', 'rest', 'x')
            returning *)
        insert into policy_revision (owner, name, revision, change, document, author, managed_by)
        select owner, name, revision, 'create', document, updated_by, managed_by from changed"#;
    // An owner that cannot be a tenant would be nobody's to remove: the database refuses it.
    let nobodys = newer.replace("null, 'newer'", r"E'ac\nme', 'newer'");
    let refused = sqlx::query(sqlx::AssertSqlSafe(nobodys)).execute(&app.pool);
    let refused = refused.await.unwrap_err().to_string();
    assert!(refused.contains("policy_owner_check"), "{refused}");
    sqlx::query(newer).execute(&app.pool).await.unwrap();
    assert!(mutes(&app, &app.url, "old").await);
    assert!(!mutes(&app, &app.url, "elsewhere").await);
    // Once it is readable, everything that was changed meanwhile is in force as well.
    create(&app, "later").await;
    let request = app.api(Method::DELETE, OPERATOR, "/v1/policies/newer");
    let request = request.header("If-Match", "*").send().await.unwrap();
    assert_eq!(request.status(), 204);
    app.wait_for("the later policy is in force", async || {
        app.metric(&app.url, "quell_policies").await == 2
    })
    .await;
    assert!(mutes(&app, &app.url, "later").await);
    app.finish().await;
}
