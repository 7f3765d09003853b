//! What a policy once was comes back as a new revision: by whom, from what, and never by halves.

use livekit_double::{Join, Publish};
use quell::policy_store::{self, ExpectedRevision, ManagedBy, Rollback, RollbackError};
use quell_policy::{Owner, Policy};
use reqwest::Method;
use serde_json::json;

use crate::apply::policy;
use crate::policy_revisions::{brief, by, delete, five_revisions, get, put, quiet, rollback};
use crate::support::{ACME, Answer, OPERATOR, TestApp, owner};

#[tokio::test]
async fn going_back_is_a_change_with_a_revision_a_precondition_and_a_row() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    let to = json!({"to": 2});
    for (if_match, outcome) in [
        (None, "428 PRECONDITION_REQUIRED"),
        (Some("\"4\""), "412 PRECONDITION_FAILED"),
        (Some("5"), "400 INVALID_REQUEST"),
    ] {
        let answer = rollback(&app, ACME, "/quiet/rollback", if_match, &to).await;
        assert_eq!(answer.outcome(), outcome, "{if_match:?}");
    }
    let back = rollback(&app, ACME, "/quiet/rollback", Some("\"5\""), &to).await;
    assert_eq!(back.outcome(), "200");
    assert_eq!(back.header("etag"), Some("\"6\""));
    let second = get(&app, ACME, "/quiet/revisions/2").await.json();
    assert_eq!(back.json()["policy"], second["policy"]);
    let mut there = get(&app, ACME, "/quiet").await.json();
    there["still_muted"] = json!({"tracks": [], "is_whole": true});
    assert_eq!(there, back.json());
    // What is the case already is no change.
    for revision in [2, 6] {
        let body = json!({"to": revision});
        let same = rollback(&app, ACME, "/quiet/rollback", Some("\"6\""), &body).await;
        assert_eq!(same.outcome(), "200");
        assert_eq!(same.header("etag"), Some("\"6\""));
    }
    let rows = app.lines("request_id = 'the-rollback'").await;
    let row = "rest policy.update done acme acme - - - acme/quiet@6";
    assert_eq!(rows, [row]);
    let told = "select concat_ws(' ', restored_from, before->>'priority', after->>'priority')
                from moderation_history where request_id = 'the-rollback'";
    assert_eq!(app.sql(told).await.unwrap().trim_matches('"'), "2 5 2");

    // A deleted policy comes back as the revision after its deletion.
    delete(&app, ACME).await;
    let stale = rollback(&app, ACME, "/quiet/rollback", Some("\"6\""), &to).await;
    assert_eq!(stale.outcome(), "412 PRECONDITION_FAILED");
    let back = rollback(&app, ACME, "/quiet/rollback", None, &json!({"to": 6})).await;
    assert_eq!(back.outcome(), "201");
    assert_eq!(back.header("etag"), Some("\"8\""));
    assert_eq!(back.json()["policy"], second["policy"]);
    let page = get(&app, ACME, "/quiet/revisions?limit=3").await.json();
    assert_eq!(
        brief(&page),
        [
            "8 create acme rest 6 []",
            "7 delete acme rest null []",
            r#"6 update acme rest 2 [match.room ["c"]->["a"], priority 5->2]"#,
        ]
    );
    let made = app.lines("restored_from = 6").await;
    assert_eq!(
        made,
        ["rest policy.create done acme acme - - - acme/quiet@8"]
    );
    app.finish().await;
}

#[tokio::test]
async fn what_this_version_cannot_read_is_not_brought_back() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    // As a newer version would have written it, and an older one changed since.
    let newer = r#"
        insert into policy_revision (owner, name, revision, change, document, author, managed_by)
        values ('acme', 'quiet', 6, 'update',
                '{"name":"quiet","match":{},"effect":"mute","from_the_future":true}', 'x', 'rest')"#;
    sqlx::query(newer).execute(&app.pool).await.unwrap();
    let to = json!({"to": 6});
    let refused = rollback(&app, ACME, "/quiet/rollback", Some("*"), &to).await;
    assert_eq!(refused.outcome(), "409 REVISION_NOT_RESTORABLE");
    let error = refused.error();
    assert!(
        error.contains("revision 6") && error.contains("from_the_future"),
        "{error}"
    );
    assert!(app.lines("request_id = 'the-rollback'").await.is_empty());
    // It can be read all the same.
    let shown = get(&app, ACME, "/quiet/revisions/6").await.json();
    assert_eq!(shown["policy"]["from_the_future"], true);
    app.finish().await;
}

/// Goes back as the command line does.
async fn back(app: &TestApp, tenant: Option<&str>, to: i32) -> policy_store::Changed {
    let wanted = Rollback {
        owner: &owner(tenant),
        name: "quiet",
        to,
        managed_by: None,
        expected: ExpectedRevision::Anything,
    };
    policy_store::rollback(&app.state().pool, &by(), &wanted)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_rollback_by_the_command_line_changes_nothing_about_who_keeps_a_policy() {
    let app = TestApp::new().await;
    let yaml = |room: &str| {
        format!("policies: [{{ name: quiet, match: {{ room: [{room}] }}, effect: mute }}]")
    };
    app.apply(&yaml("a")).await;
    app.apply(&yaml("b")).await;
    let kept = |changed: &policy_store::Changed| {
        (changed.policy.revision, changed.policy.managed_by.clone())
    };
    assert_eq!(kept(&back(&app, None, 1).await), (3, "apply".to_owned()));
    // Somebody removes by a request what files keep: files keep it still.
    delete(&app, OPERATOR).await;
    assert_eq!(kept(&back(&app, None, 2).await), (5, "apply".to_owned()));
    // So the next apply has its way with it.
    let none =
        policy_store::apply(&app.state().pool, &by(), &[], Some(&Owner::Operator), None).await;
    assert_eq!(none.unwrap().len(), 1);
    assert_eq!(put(&app, OPERATOR, None, &quiet("a", 1)).await.status, 201);
    assert_eq!(kept(&back(&app, None, 1).await), (8, "rest".to_owned()));
    let none =
        policy_store::apply(&app.state().pool, &by(), &[], Some(&Owner::Operator), None).await;
    assert_eq!(none.unwrap(), []);
    // A request that goes back takes the policy over, as any change by a request does.
    // Also where it says already what is gone back to.
    for room in ["c", "a"] {
        app.apply(&yaml(room)).await;
        let to = json!({"to": 1});
        let over = rollback(&app, OPERATOR, "/quiet/rollback", Some("*"), &to).await;
        assert_eq!(over.json()["managed_by"], "rest", "from {room}");
    }
    app.finish().await;
}

#[tokio::test]
async fn of_a_rollback_and_another_change_at_once_one_is_told_that_it_is_too_late() {
    let mut app = TestApp::new().await;
    let other = app.replica().await;
    put(&app, ACME, None, &quiet("a", 1)).await;
    put(&app, ACME, Some("*"), &quiet("a", 2)).await;
    for revision in (2..12).step_by(2) {
        let etag = format!("\"{revision}\"");
        let change = app
            .http
            .put(format!("{other}/v1/policies/quiet"))
            .bearer_auth(ACME)
            .header("If-Match", &etag)
            .json(&quiet("b", 3));
        let back = app
            .api(Method::POST, ACME, "/v1/policies/quiet/rollback")
            .header("If-Match", &etag)
            .json(&json!({"to": 1}));
        let (change, back) = tokio::join!(Answer::to(change), Answer::to(back));
        let mut statuses = [change.status, back.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "changed once");
        let now = get(&app, ACME, "/quiet").await.json();
        assert_eq!(now["revision"], revision + 1);
        let priority = if back.status == 200 { 1 } else { 3 };
        assert_eq!(now["policy"]["priority"], priority);
        let reset = put(&app, ACME, Some("*"), &quiet("a", 2)).await;
        assert_eq!(reset.status, 200);
    }
    app.finish().await;
}

#[tokio::test]
async fn rollbacks_and_changes_of_any_revision_never_lose_one() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    let (pool, owner) = (&app.state().pool, Some("acme"));
    let document = |priority: u16| {
        let json = quiet("d", priority).to_string();
        Policy::from_json(json.as_bytes(), &self::owner(owner))
            .unwrap()
            .value
    };
    let work = (10..30).map(async |n: u16| {
        if n.is_multiple_of(2) {
            let wanted = ExpectedRevision::Anything;
            let document = document(n);
            policy_store::put(pool, &by(), &document, ManagedBy::Rest, wanted)
                .await
                .unwrap();
        } else {
            back(&app, owner, i32::from(n % 3) + 1).await;
        }
    });
    futures_util::future::join_all(work).await;
    let page = policy_store::history(pool, &self::owner(owner), "quiet", None, 100).await;
    let revisions = page.unwrap().revisions;
    let numbers: Vec<_> = revisions.iter().rev().map(|r| r.revision).collect();
    assert_eq!(
        numbers,
        (1..=numbers.len().try_into().unwrap()).collect::<Vec<_>>()
    );
    for revision in &revisions {
        if let Some(old) = revision.restored_from {
            let old = revisions.iter().find(|r| r.revision == old).unwrap();
            assert_eq!(revision.document, old.document);
            assert_ne!(
                revision.document, revision.previous,
                "no change, no revision"
            );
        }
    }
    let live = policy_store::get(pool, &self::owner(owner), "quiet")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(Some(live.document), revisions[0].document);
    assert_eq!(live.revision, revisions[0].revision);
    app.finish().await;
}

#[tokio::test]
async fn a_rollback_that_cannot_be_recorded_is_not_made() {
    let app = TestApp::new().await;
    five_revisions(&app).await;
    let trap = "
        create function trap() returns trigger language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create trigger trap before insert on audit_log for each row
            when (new.restored_from is not null) execute function trap()";
    sqlx::raw_sql(trap).execute(&app.pool).await.unwrap();
    let wanted = Rollback {
        owner: &owner(Some("acme")),
        name: "quiet",
        to: 1,
        managed_by: None,
        expected: ExpectedRevision::Anything,
    };
    let failed = policy_store::rollback(&app.state().pool, &by(), &wanted).await;
    assert!(matches!(failed, Err(RollbackError::Change(_))));
    let unavailable = rollback(&app, ACME, "/quiet/rollback", Some("*"), &json!({"to": 1})).await;
    assert_eq!(unavailable.outcome(), "503 UNAVAILABLE");
    let now = get(&app, ACME, "/quiet").await.json();
    assert_eq!(now["revision"], 5);
    let revisions = app.sql("select max(revision) from policy_revision").await;
    assert_eq!(revisions.as_deref(), Some("5"));
    app.finish().await;
}

const MICS: &str = "policies: [{ name: mics, owner: acme, match: { source: [MICROPHONE] }, effect: mute, mode: MODE }]";

#[tokio::test]
async fn whom_a_policy_muted_is_named_when_it_is_taken_back_since_nothing_unmutes_them() {
    let app = TestApp::new().await;
    for mode in ["dry_run", "enforce"] {
        app.apply(&MICS.replace("MODE", mode)).await;
    }
    app.room("standup", "acme");
    app.room("over", "acme");
    let speak = |room, who: &str| app.publish(room, Join::new(who), Publish::microphone()).sid;
    let [ann, _ben, cid, dan] = ["ann", "ben", "cid", "dan"].map(|who| speak("standup", who));
    let eve = speak("standup", "eve");
    speak("over", "fay");
    app.settle().await;
    // Let speak, gone, muted by a moderator as well, unpublished, and in a room that is over.
    let by_hand = async |who, sid: &str, muted| {
        let answer = Answer::to(app.mute(ACME, "standup", who, sid, muted)).await;
        assert_eq!(answer.status, 200);
    };
    by_hand("ann", &ann, false).await;
    by_hand("dan", &dan, true).await;
    app.simulator.leave("standup", "ben").unwrap();
    app.simulator.unpublish("standup", "eve", &eve).unwrap();
    app.simulator.end_room("over").unwrap();
    app.settle().await;

    let to = json!({"to": 1});
    let back = rollback(&app, ACME, "/mics/rollback", Some("*"), &to).await;
    let still = &back.json()["still_muted"];
    assert_eq!(still["is_whole"], true);
    let tracks = still["tracks"].as_array().unwrap();
    let mut who: Vec<_> = tracks
        .iter()
        .map(|it| it["identity"].as_str().unwrap())
        .collect();
    who.sort_unstable();
    assert_eq!(who, ["cid", "dan"], "{still}");
    let of_cid = tracks.iter().find(|it| it["identity"] == "cid").unwrap();
    let muted_at = &of_cid["muted_at"];
    let expect = json!({
        "room_name": "standup", "identity": "cid", "track_sid": cid, "source": "MICROPHONE", "muted_at": muted_at,
    });
    assert_eq!(of_cid, &expect);
    assert!(muted_at.is_string());
    assert!(app.is_muted("standup", "cid", &cid));
    let enabled = policy(Some(&app), &["enable", "mics", "--owner", "acme"]).await;
    assert!(!enabled.contains("stay muted"), "it mutes: {enabled}");
    let deleted = policy(Some(&app), &["delete", "mics", "--owner", "acme"]).await;
    let line = format!("  standup  cid  MICROPHONE  {cid}\n");
    assert!(deleted.contains(&line), "{deleted}");
    assert!(deleted.contains("who stay muted until"), "{deleted}");
    app.finish().await;
}
