//! Callers get a slot in order, and a backtest ends with its client or with quell.

use std::time::Duration;

use reqwest::Method;
use tokio::task::JoinSet;

use crate::backtest::{a_day, acmes_draft};
use crate::support::{ACME, Answer, OPERATOR};

#[tokio::test]
async fn one_backtest_runs_at_a_time_and_ends_with_its_client_or_with_quell() {
    let app = a_day().await;
    let draft = acmes_draft();
    let request_of = |token| app.api(Method::POST, token, "/v1/backtest").json(&draft);
    let request = || request_of(ACME);
    // The first waits for the events; another of the same caller is told to come again at once.
    let [table, blocked] = app.block_events_twice().await;
    let first = JoinSet::from_iter([Answer::to(request())]);
    app.wait_blocked().await;
    let busy = Answer::to(request()).await;
    assert_eq!(busy.outcome(), "429 BACKTEST_BUSY");
    assert_eq!(busy.header("retry-after"), Some("10"));
    assert!(busy.error().contains("under way or waiting"), "{busy:?}");
    // Somebody else waits for a while, and is told then.
    let waiting = async {
        app.wait_blocked_for(3).await;
        table.release().await;
    };
    let (busy, ()) = tokio::join!(Answer::to(request_of(OPERATOR)), waiting);
    assert_eq!(busy.outcome(), "503 BACKTEST_BUSY");
    assert_eq!(busy.header("retry-after"), Some("1"));
    // Its client goes away: the slot is free again, so that the next one waits in its place.
    drop(first);
    app.wait_for("the slot is free", async || {
        let answer = tokio::time::timeout(Duration::from_millis(200), Answer::to(request()));
        answer.await.is_err()
    })
    .await;
    blocked.release().await;
    app.wait_for("an answer", async || {
        Answer::to(request()).await.status == 200
    })
    .await;

    // quell stops: a backtest that waits does not hold it up.
    let blocked = app.block_events().await;
    let waiting = Answer::to(request());
    let waiting = JoinSet::from_iter([waiting]);
    app.wait_blocked().await;
    let ended = async {
        let answer = waiting.join_all().await.remove(0);
        blocked.release().await;
        answer
    };
    let ((), answer) = tokio::join!(app.finish(), ended);
    assert_eq!(answer.outcome(), "503 UNAVAILABLE");
    assert_eq!(answer.error(), "quell is being stopped");
}
