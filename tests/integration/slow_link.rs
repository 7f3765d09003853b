//! Statements that come to Postgres late: what was seen before them is not what is there by then.

use std::time::Duration;

use livekit_double::{Fault, FaultKind, Join, Method, Publish};

use crate::support::{ACME, Answer, MICS, Proxy, TestApp};

/// A quell, and a replica whose statements can be held up, and its URL.
async fn with_a_slow_link() -> (TestApp, Proxy, String) {
    let mut app = TestApp::new().await;
    app.apply(MICS).await;
    let direct = app.config.database.url.clone();
    let proxy = Proxy::before(&mut app.config).await;
    let slow = app.replica().await;
    app.config.database.url = direct;
    app.hold_webhooks();
    app.room("standup", "acme");
    (app, proxy, slow)
}

/// What its first webhook leads to is written.
async fn muted_by_webhook(app: &TestApp, sid: &str) {
    app.post(&app.url, &app.event_of(sid)).await;
    app.wait_for("its outcome is written", async || {
        let done = format!("track_sid = '{sid}' and outcome = 'done'");
        !app.lines(&done).await.is_empty()
    })
    .await;
}

/// When the sweep looked is not told by when its statement comes to Postgres.
#[tokio::test]
async fn a_statement_that_is_held_up_on_its_way_repeats_no_mute() {
    let (app, proxy, _) = with_a_slow_link().await;
    let mic = app.publish("standup", Join::new("ann"), Publish::microphone());
    proxy.hold("insert into track_lease");
    let muted_meanwhile = async {
        app.wait_for("the sweep's statement is held up", async || {
            proxy.holds_it()
        })
        .await;
        // By the end of the second the first's outcome was written long ago.
        let late = FaultKind::Latency(Duration::from_millis(500));
        app.room("other", "acme");
        let other = app.publish("other", Join::new("ben"), Publish::microphone());
        muted_by_webhook(&app, &mic.sid).await;
        app.simulator
            .set_faults([Fault::of(Method::MutePublishedTrack, late)]);
        muted_by_webhook(&app, &other.sid).await;
        proxy.release();
    };
    tokio::join!(app.sweep(), muted_meanwhile);
    assert_eq!(
        app.lines("action = 'mute'").await,
        [
            "webhook mute done - acme standup ann MICROPHONE mics@1",
            "webhook mute done - acme other ben MICROPHONE mics@1"
        ]
    );
    assert_eq!(app.calls_to(Method::MutePublishedTrack).len(), 2);
    app.finish().await;
}

/// Between the look and the statement, the track was muted, and another of its source.
#[tokio::test]
async fn a_mute_whose_statement_is_held_up_says_what_was_there_by_then() {
    let (app, proxy, slow) = with_a_slow_link().await;
    app.simulator.join("standup", Join::new("ann"));
    let publish = || {
        let mic = Publish::microphone();
        app.simulator.publish("standup", "ann", mic).unwrap().sid
    };
    let (first, second) = (publish(), publish());
    proxy.hold("insert into track_lease");
    let by_a_person = async {
        let mute = app.mute(ACME, "standup", "ann", &first, true);
        let mute = mute.build().unwrap();
        let request = app.http.post(format!("{slow}/livekit/participant/mute"));
        let body = mute.body().unwrap().as_bytes().unwrap().to_owned();
        let request = request
            .bearer_auth(ACME)
            .header("content-type", "application/json");
        Answer::to(request.body(body)).await
    };
    let by_policies = async {
        app.wait_for("the statement is held up", async || proxy.holds_it())
            .await;
        muted_by_webhook(&app, &first).await;
        muted_by_webhook(&app, &second).await;
        proxy.release();
    };
    let (answer, ()) = tokio::join!(by_a_person, by_policies);
    assert_eq!(answer.status, 200);
    let changed = "select changed from moderation_history where origin = 'manual'";
    assert_eq!(app.sql(changed).await.as_deref(), Some("false"));
    app.finish().await;
}
