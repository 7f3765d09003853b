//! 200 means committed, once: event and job together, and nothing else within the request.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use livekit_double::{Fault, FaultKind, Join, Outcome, Publish};
use quell_clock::ManualClock;
use serde_json::{Value, json};
use sqlx::{Executor, Row};

use crate::support::{BOUND, Setup, TestApp};

const MUTE_ALL: &str = r"
policies:
  - name: silence
    match: { type: [AUDIO], source: [MICROPHONE, UNKNOWN] }
    effect: mute
";

fn at(unix: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::from_std(Duration::from_secs_f64(unix)).unwrap()
}

#[tokio::test]
async fn what_a_real_server_sent_is_stored_without_the_turn_password() {
    let hands = ManualClock::new(at(0.0));
    let captured: Vec<Value> = include_str!("../fixtures/livekit/webhooks-1.13.5.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    hands.set(at(captured[0]["received_unix"].as_f64().unwrap()));
    // Jobs are only stored: the rooms of the recording are not in the double.
    let setup = Setup::default()
        .clock(hands.clock())
        .env("QUELL_WORKERS", "0");
    let app = setup.start_without_webhooks().await;
    // LiveKit sends again what it has no answer to: nothing is stored twice.
    for _ in 0..2 {
        for line in &captured {
            hands.set(at(line["received_unix"].as_f64().unwrap()));
            let authorization = line["headers"]["authorization"].as_str();
            let body = line["body"].as_str().unwrap();
            let answer = app.webhook(authorization, body).await;
            assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{body}");
        }
    }
    // Also of what was stored before: LiveKit reaches this process.
    let metrics = app.state().metrics.text();
    let now = hands.clock().unix_seconds();
    let last = format!("\nquell_webhook_last_accepted_timestamp_seconds {now}\n");
    assert!(metrics.contains(&last), "{last} is not in:\n{metrics}");
    let rows = sqlx::query(
        "select event_id, event, extract(epoch from created_at)::bigint::text as created_at,
                room_sid, room_name, tenant, identity, track_sid, body::text as body
         from webhook_event",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert_eq!(rows.len(), captured.len());
    for line in &captured {
        let mut sent: Value = serde_json::from_str(line["body"].as_str().unwrap()).unwrap();
        let id = &sent["id"].as_str().unwrap().to_owned();
        let row = rows.iter().find(|row| row.get::<&str, _>("event_id") == id);
        let row = row.unwrap_or_else(|| panic!("{id} is not stored"));
        for (column, pointer) in [
            ("event", "/event"),
            ("created_at", "/createdAt"),
            ("room_sid", "/room/sid"),
            ("room_name", "/room/name"),
            ("identity", "/participant/identity"),
            ("track_sid", "/track/sid"),
        ] {
            let sent = sent.pointer(pointer).and_then(Value::as_str);
            assert_eq!(row.get::<Option<&str>, _>(column), sent, "{id} {column}");
        }
        let told = sent["room"]["metadata"].as_str().map(|_| "acme");
        assert_eq!(row.get::<Option<&str>, _>("tenant"), told, "{id}");
        if let Some(password) = sent.pointer_mut("/room/turnPassword") {
            *password = "".into();
        }
        let stored: Value = serde_json::from_str(row.get("body")).unwrap();
        assert_eq!(stored, sent, "nothing else is taken out of {id}");
    }
    let secret = "fDDo3ejCl1oafuZTOeHxoEcwr8kx7eNKSemg1ChS5mjL";
    assert_eq!(tables_with(&app, secret).await, [""; 0]);
    // Each track had a job, until an event told that it is gone.
    let settled: Vec<(String, String)> =
        sqlx::query_as("select event, settlement from webhook_event where settlement is not null")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    let gone = ("track_published".to_owned(), "gone".to_owned());
    assert_eq!(settled, vec![gone; 8]);
    app.finish().await;
}

/// The tables in which `text` stands anywhere.
async fn tables_with(app: &TestApp, text: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I', relname) from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert!(tables.iter().any(|table| table == "webhook_event"));
    let mut found = Vec::new();
    for table in tables {
        let query =
            format!("select exists (select from {table} t where position($1 in t::text) > 0)");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(text);
        if query.fetch_one(&app.pool).await.unwrap() {
            found.push(table);
        }
    }
    found
}

#[tokio::test]
async fn one_event_fifty_times_at_once_is_one_row_one_job_and_one_mute() {
    for workers in ["0", "1", "32"] {
        let setup = Setup::default().env("QUELL_WORKERS", workers);
        let app = setup.start_without_webhooks().await;
        app.apply(MUTE_ALL).await;
        let sid = app.speaker("r", "acme");
        let webhook = app.last_webhook();
        let outcomes = app
            .simulator
            .post_webhook(&app.webhook_url(), &webhook, 50)
            .await;
        assert_eq!(outcomes, [const { Outcome::Status(200) }; 50]);
        assert_eq!(app.count("select count(*) from webhook_event").await, 1);
        if workers == "0" {
            assert_eq!(app.count("select count(*) from job").await, 1);
            app.finish_with_work_left().await;
            continue;
        }
        app.settle().await;
        assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
        assert_eq!(app.mute_calls().len(), 1, "{workers} workers");
        let rows = "select count(*) from audit_log where origin = 'webhook'";
        assert_eq!(app.count(rows).await, 2);
        app.finish().await;
    }
}

/// All in one commit, where only the first has a worker's place.
#[tokio::test]
async fn duplicates_that_are_stored_together_are_worked_on_once_and_at_once() {
    let setup = Setup::default().env("QUELL_WORKERS", "1");
    let app = setup.start_without_webhooks().await;
    app.apply(MUTE_ALL).await;
    let sid = app.speaker("r", "acme");
    let events = app.simulator.events();
    let [first, .., last] = events.as_slice() else {
        panic!("{events:?}")
    };
    let first = app.simulator.signed_webhook(first).unwrap();
    let last = app.simulator.signed_webhook(last).unwrap();
    let url = app.webhook_url();
    let blocked = app.block_events().await;
    let (first, last, ()) = tokio::join!(
        app.simulator.post_webhook(&url, &first, 1),
        async {
            // The writer has the other one in its hands, so that these wait for it together.
            app.wait_blocked().await;
            app.simulator.post_webhook(&url, &last, 50).await
        },
        async {
            app.wait_verified(51).await;
            blocked.release().await;
        }
    );
    assert_eq!(first, [Outcome::Status(200)]);
    assert_eq!(last, [const { Outcome::Status(200) }; 50]);
    app.settle().await;
    assert_eq!(app.settlement(&sid).await.as_deref(), Some("muted"));
    assert_eq!(app.mute_calls().len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_committed_is_503_in_two_seconds_and_stored_once_when_sent_again() {
    let app = Setup::default().start_without_webhooks().await;
    app.apply(MUTE_ALL).await;
    app.room("r", "acme");
    app.simulator.join("r", Join::new("speaker"));
    let blocked = app.block_events().await;
    app.simulator.set_webhook_url(Some(app.webhook_url()));
    let track = app
        .simulator
        .publish("r", "speaker", Publish::microphone())
        .unwrap();
    let answered = |simulator: &livekit_double::Simulator| !simulator.deliveries().is_empty();
    // 2 s, and what a busy machine adds to them.
    let within = Duration::from_secs(8);
    app.simulator.wait_until(within, answered).await.unwrap();
    let first = app.simulator.deliveries().remove(0);
    assert_eq!(first.outcome, Outcome::Status(503));
    blocked.release().await;
    app.settle().await;
    let outcomes: Vec<_> = app
        .simulator
        .deliveries()
        .into_iter()
        .map(|delivery| (delivery.event_id, delivery.outcome))
        .collect();
    let (last, refused) = outcomes.split_last().unwrap();
    assert_eq!(*last, (first.event_id.clone(), Outcome::Status(200)));
    for one in refused {
        assert_eq!(*one, (first.event_id.clone(), Outcome::Status(503)));
    }
    assert_eq!(app.count("select count(*) from webhook_event").await, 1);
    assert_eq!(app.settlement(&track.sid).await.as_deref(), Some("muted"));
    assert_eq!(app.mute_calls().len(), 1);
    app.finish().await;
}

/// An event without its job would never be dealt with.
#[tokio::test]
async fn event_and_job_are_committed_together_or_not_at_all() {
    let app = Setup::default().start_without_webhooks().await;
    app.pool
        .execute("alter table job add constraint nothing check (false)")
        .await
        .unwrap();
    app.speaker("r", "acme");
    let webhook = app.last_webhook();
    let answer = app
        .webhook(Some(&webhook.token), webhook.body.clone())
        .await;
    assert_eq!(answer.outcome(), "503 UNAVAILABLE");
    assert_eq!(app.count("select count(*) from webhook_event").await, 0);
    app.pool
        .execute("alter table job drop constraint nothing")
        .await
        .unwrap();
    let answer = app.webhook(Some(&webhook.token), webhook.body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.count("select count(*) from webhook_event").await, 1);
    app.settle().await;
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_postgres_refuses_takes_no_other_with_it() {
    let app = Setup::default().start_without_webhooks().await;
    app.pool
        .execute("alter table webhook_event add constraint c check (event_id <> 'EV_bad')")
        .await
        .unwrap();
    let event = |id: &str| json!({"event": "room_started", "id": id, "createdAt": app.now().timestamp().to_string()});
    let (first, good, bad, other) = (
        event("EV_first"),
        event("EV_good"),
        event("EV_bad"),
        event("EV_other"),
    );
    let blocked = app.block_events().await;
    let after_first = async |event| {
        app.wait_blocked().await;
        app.send_event(event).await.outcome()
    };
    let outcomes = tokio::join!(
        async { app.send_event(&first).await.outcome() },
        after_first(&good),
        after_first(&bad),
        after_first(&other),
        async {
            app.wait_verified(4).await;
            blocked.release().await;
        }
    );
    assert_eq!(outcomes.0, "200");
    assert_eq!(outcomes.1, "200");
    assert_eq!(outcomes.2, "503 UNAVAILABLE");
    assert_eq!(outcomes.3, "200");
    let stored: Vec<String> = sqlx::query_scalar("select event_id from webhook_event order by 1")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(stored, ["EV_first", "EV_good", "EV_other"]);
    app.finish().await;
}

#[tokio::test]
async fn the_answer_does_not_wait_for_livekit() {
    let setup = Setup::default().env("QUELL_LIVEKIT_TIMEOUT_MS", "400");
    let app = setup.start_without_webhooks().await;
    app.apply(MUTE_ALL).await;
    let sid = app.speaker("r", "acme");
    app.simulator.set_faults([Fault::all(FaultKind::Hang)]);
    let webhook = app.last_webhook();
    let answer = app.webhook(Some(&webhook.token), webhook.body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(app.count("select count(*) from webhook_event").await, 1);
    // It hangs on, and was not spoken to before the answer but for a look at most.
    let looked = |simulator: &livekit_double::Simulator| !simulator.calls().is_empty();
    app.simulator.wait_until(BOUND, looked).await.unwrap();
    assert!(app.mute_calls().is_empty());
    app.simulator.set_faults([]);
    app.settle().await;
    assert!(app.is_muted("r", "speaker", &sid));
    app.finish().await;
}
