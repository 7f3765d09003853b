//! Policies on long texts: what is refused when written, what is muted all the same, and what nothing decides.

use livekit_double::{Join, Publish};
use livekit_protocol::TrackSource;
use reqwest::Method;
use serde_json::{Value, json};

use crate::apply::{folder, path, policy};
use crate::support::{ACME, GLOBEX, MICS, TestApp};

/// A policy that looks in metadata for texts of these lengths.
fn looking(name: &str, lengths: impl Iterator<Item = usize>) -> Value {
    let tests = lengths.map(|length| {
        let text = "x".repeat(length);
        format!("participant.metadata.a.contains(\"{text}\")")
    });
    let when = tests.collect::<Vec<_>>().join(" || ");
    json!({"name": name, "match": {}, "effect": "mute", "when": when})
}

async fn put(app: &TestApp, token: &str, policy: &Value) -> (u16, String) {
    let path = format!("/v1/policies/{}", policy["name"].as_str().unwrap());
    let request = app.api(Method::PUT, token, &path).json(policy);
    let answer = request.header("If-Match", "*").send().await.unwrap();
    if answer.status() != 412 {
        return said(answer).await;
    }
    let created = app.api(Method::PUT, token, &path).json(policy);
    said(created.send().await.unwrap()).await
}

async fn said(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap())
}

#[tokio::test]
async fn what_an_owners_policies_read_of_texts_is_bounded_when_they_are_written() {
    let app = TestApp::new().await;
    // 16 lengths of half a megabyte each.
    for number in 0..4 {
        let policy = looking(&format!("p{number}"), number * 4 + 1..number * 4 + 5);
        assert_eq!(put(&app, ACME, &policy).await.0, 201, "{number}");
    }
    let another = looking("another", 17..18);
    let (status, text) = put(&app, ACME, &another).await;
    assert_eq!(status, 409, "{text}");
    for part in [
        "TOO_MUCH_TEXT_WORK",
        "up to 8.5 MiB",
        "limit is 8.0 MiB",
        "in participant.metadata with texts of 17 different lengths",
        "`startsWith`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let stored = "select count(*)::text from policy where name = 'another'";
    assert_eq!(app.sql(stored).await.as_deref(), Some("0"));
    // The same lengths again cost nothing, nor do another owner's, nor what is off.
    assert_eq!(put(&app, ACME, &looking("again", 1..5)).await.0, 201);
    assert_eq!(put(&app, GLOBEX, &another).await.0, 201);
    let mut off = another.clone();
    off["mode"] = "off".into();
    assert_eq!(put(&app, ACME, &off).await.0, 201);
    assert_eq!(put(&app, ACME, &another).await.0, 409, "it is turned on");
    // What is not read any more does not count.
    let shorter = looking("p3", 13..16);
    assert_eq!(put(&app, ACME, &shorter).await.0, 200);
    assert_eq!(put(&app, ACME, &another).await.0, 200);
    let back = app.api(Method::POST, ACME, "/v1/policies/p3/rollback");
    let back = back.header("If-Match", "*").json(&json!({"to": 1}));
    assert_eq!(said(back.send().await.unwrap()).await.0, 409);
    app.finish().await;
}

#[tokio::test]
async fn what_older_versions_wrote_counts() {
    let app = TestApp::new().await;
    for number in 0..4 {
        let policy = looking(&format!("p{number}"), number * 4 + 1..number * 4 + 5);
        assert_eq!(put(&app, ACME, &policy).await.0, 201, "{number}");
    }
    let older =
        "delete from policy_text_work; update policy set text_reads = null, text_reads_of = null";
    sqlx::raw_sql(older).execute(&app.pool).await.unwrap();
    assert_eq!(put(&app, ACME, &looking("another", 17..18)).await.0, 409);
    assert_eq!(put(&app, ACME, &looking("again", 1..5)).await.0, 201);
    let unknown = "select count(*)::text from policy where text_reads_of is distinct from revision";
    assert_eq!(app.sql(unknown).await.as_deref(), Some("0"));
    app.finish().await;
}

#[tokio::test]
async fn files_are_refused_for_it_by_check_and_by_apply() {
    let app = TestApp::new().await;
    let policies: Vec<_> = (0..5)
        .map(|number| looking(&format!("p{number}"), number * 4 + 1..number * 4 + 5))
        .collect();
    let text = json!({ "policies": policies }).to_string();
    let files = folder(&[("many.json", &text)]);
    let refused = "the policies of this owner read up to 10.0 MiB of texts for one track";
    for command in ["check", "apply"] {
        let printed = policy(Some(&app), &[command, path(&files)]).await;
        assert!(printed.starts_with("1\n"), "{command}: {printed}");
        assert!(printed.contains(refused), "{command}: {printed}");
    }
    assert_eq!(
        app.sql("select count(*)::text from policy")
            .await
            .as_deref(),
        Some("0")
    );
    app.finish().await;
}

/// Policies of acme that each look for five texts in an attribute, and one of the operator's.
fn policies(lengths: usize) -> String {
    let policies: Vec<_> = (0..200)
        .map(|number| {
            let tests: Vec<_> = (number * 5..number * 5 + 5)
                .map(|needle| {
                    let width = 4 + needle % lengths;
                    format!("participant.attributes.a.contains(\"<{needle:0>width$}>\")")
                })
                .collect();
            json!({"name": format!("p{number}"), "owner": "acme", "effect": "mute",
                   "match": {"source": "MICROPHONE"}, "when": tests.join(" || ")})
        })
        .chain([json!({"name": "quiet", "match": {"identity": "bob"}, "effect": "mute"})])
        .collect();
    json!({ "policies": policies }).to_string()
}

#[tokio::test]
async fn a_padded_attribute_is_muted_all_the_same() {
    let app = TestApp::new().await;
    app.apply(&policies(12)).await;
    app.room("webinar-1", "acme");
    let width = 4 + 999 % 12;
    let padded = format!("{}<{:0>width$}>", "-".repeat(65_000), 999);
    let ann = Join::new("ann").attribute("a", padded);
    let sid = app.publish("webinar-1", ann, Publish::microphone()).sid;
    let other = Join::new("eve").attribute("a", "-".repeat(65_000));
    let left_alone = app.publish("webinar-1", other, Publish::microphone()).sid;
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    assert_eq!(
        app.settlement(&left_alone).await.as_deref(),
        Some("nothing")
    );
    assert_eq!(
        app.metric(&app.url, "quell_text_limit_exceeded_total")
            .await,
        0
    );
    app.finish().await;
}

#[tokio::test]
async fn beyond_livekits_limits_only_the_operators_policies_decide_and_nothing_is_tried_again() {
    let app = TestApp::new().await;
    app.apply(&policies(12)).await;
    app.room("webinar-1", "acme");
    let long = "-".repeat(3 << 20);
    let ann = Join::new("ann").attribute("a", long.as_str());
    let bob = Join::new("bob").attribute("a", long.as_str());
    let undecided = app.publish("webinar-1", ann, Publish::microphone()).sid;
    app.settle().await;
    let muted = app.publish("webinar-1", bob, Publish::microphone()).sid;
    app.settle().await;
    assert_eq!(app.settlement(&muted).await.as_deref(), Some("muted"));
    assert_eq!(
        app.settlement(&undecided).await.as_deref(),
        Some("undecided")
    );
    let decision = app.stored("decision", &undecided).await;
    assert_eq!(decision["text_limit_exceeded"], true);
    let error = app.sql("select error from failed_actions").await.unwrap();
    assert!(
        error.contains("read more of this track's texts than they may"),
        "{error}"
    );
    assert_eq!(
        app.lines("outcome = 'undecided'").await,
        ["webhook decide undecided - acme webinar-1 ann MICROPHONE -"]
    );
    assert_eq!(
        app.metric(&app.url, "quell_text_limit_exceeded_total")
            .await,
        2
    );
    app.finish().await;
}

/// LiveKit has no limit for a track's name.
#[tokio::test]
async fn whoever_pads_the_names_of_its_tracks_is_muted_all_the_same() {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    app.room("standup", "acme");
    let padded = |source| Publish {
        name: "x".repeat(2 << 20),
        ..Publish::new(source)
    };
    app.simulator.join("standup", Join::new("ann"));
    let publish = |source| {
        let published = app.simulator.publish("standup", "ann", padded(source));
        published.unwrap().sid
    };
    for _ in 0..3 {
        publish(TrackSource::Camera);
    }
    let told = publish(TrackSource::Microphone);
    app.settle().await;
    assert_eq!(app.settlement(&told).await.as_deref(), Some("muted"));
    app.hold_webhooks();
    let seen = publish(TrackSource::Microphone);
    let counts = app.sweep().await;
    assert_eq!((counts.muted, counts.skipped), (1, 0), "{counts:?}");
    for sid in [&told, &seen] {
        assert!(app.is_muted("standup", "ann", sid));
    }
    app.finish().await;
}
