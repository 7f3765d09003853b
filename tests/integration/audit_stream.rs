//! The audit as a stream, in the order of commits.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quell::audit::history::HistoryFilter;
use quell::audit::tail::{PlaceKey, tail, tail_end};
use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use crate::support::{ACME, Answer, BOUND, GLOBEX, OPERATOR, TestApp};

/// Reads events until `count` actions have come; returns their ids and tracks.
async fn events(
    app: &TestApp,
    token: &str,
    after: Option<&str>,
    count: usize,
) -> Vec<(String, String)> {
    let mut request = app.api(Method::GET, token, "/v1/audit/stream");
    if let Some(after) = after {
        request = request.header("Last-Event-ID", after);
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut found) = (String::new(), Vec::new());
    let reading = async {
        while found.len() < count {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let (Some(id), Some(data)) = (line("id: "), line("data: ")) {
                    let row: Value = serde_json::from_str(data).unwrap();
                    found.push((id.to_owned(), row["track_sid"].as_str().unwrap().to_owned()));
                }
            }
        }
    };
    tokio::time::timeout(BOUND, reading)
        .await
        .expect("the events come");
    found
}

/// A transaction that began earlier may commit later: what it wrote must not be passed over.
#[tokio::test]
async fn the_stream_follows_the_order_of_commits_and_goes_on_where_it_was_left() {
    let app = TestApp::new().await;
    let insert = |track: &str, tenant: &str| {
        AssertSqlSafe(format!(
            "insert into audit_log (started_at, action_id, phase, origin, tenant, action, track_sid, outcome)
             values (now(), gen_random_uuid(), 'outcome', 'webhook', '{tenant}', 'mute', '{track}', 'done')"
        ))
    };
    let key = PlaceKey::load(&app.pool).await.unwrap();
    app.pool.execute(insert("before", "acme")).await.unwrap();
    let all = HistoryFilter::default();
    let mut from_then = tail_end(&app.pool).await.unwrap();
    app.wait_for("there is a place to begin from", async || {
        let end = tail_end(&app.pool).await.unwrap();
        from_then < end
    })
    .await;
    let batch = tail(&app.pool, &all, from_then).await.unwrap();
    from_then = batch.position;
    let from = &key.write(from_then);
    let mut late = PgConnection::connect_with(&app.pool.connect_options())
        .await
        .unwrap();
    let mut open = late.begin().await.unwrap();
    open.execute(insert("late", "acme")).await.unwrap();
    for track in ["one", "two"] {
        app.pool.execute(insert(track, "acme")).await.unwrap();
    }
    app.pool.execute(insert("theirs", "globex")).await.unwrap();
    // Nothing behind the open transaction is told of.
    let seen = tail(&app.pool, &all, from_then).await.unwrap();
    assert_eq!(seen.rows.len(), 0);
    open.commit().await.unwrap();
    let read = events(&app, ACME, Some(from), 3).await;
    let tracks = |read: &[(String, String)]| {
        read.iter()
            .map(|(_, track)| track.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(tracks(&read), ["late", "one", "two"]);
    app.pool.execute(insert("three", "acme")).await.unwrap();
    let again = events(&app, ACME, Some(&read[1].0), 2).await;
    assert_eq!(tracks(&again), ["two", "three"]);
    let all = events(&app, OPERATOR, Some(from), 5).await;
    assert_eq!(tracks(&all), ["late", "one", "two", "theirs", "three"]);
    for (id, _) in &all {
        let place = key.read(id).unwrap();
        assert!(place > from_then && id.len() == 22, "{id}");
        assert_eq!(key.read(&key.write(place)), Some(place));
    }
    let refused = Answer::to(
        app.api(Method::GET, ACME, "/v1/audit/stream")
            .header("Last-Event-ID", "7"),
    )
    .await;
    assert_eq!(refused.outcome(), "400 INVALID_REQUEST");
    app.finish().await;
}

/// Documents may be large, and whoever reads slowly keeps no more than a few of them in memory.
#[tokio::test]
async fn a_batch_of_the_tail_is_bounded_in_bytes_and_leaves_nothing_out() {
    let app = TestApp::new().await;
    let mut place = tail_end(&app.pool).await.unwrap();
    let large = "insert into audit_log (started_at, action_id, phase, origin, tenant, action, identity, outcome, before)
         select now(), gen_random_uuid(), 'outcome', 'webhook', 'acme', 'mute', n::text, 'done', to_json(repeat('x', 200000))
         from generate_series(1, 30) n";
    app.pool.execute(large).await.unwrap();
    let (mut found, mut batches) = (Vec::new(), 0);
    app.wait_for("all of it is in the tail", async || {
        let end = tail_end(&app.pool).await.unwrap();
        place < end
    })
    .await;
    while found.len() < 30 {
        let batch = tail(&app.pool, &HistoryFilter::default(), place)
            .await
            .unwrap();
        assert!((1..=5).contains(&batch.rows.len()), "{}", batch.rows.len());
        assert_eq!(batch.is_full, found.len() + batch.rows.len() < 30);
        found.extend(batch.rows.into_iter().map(|(_, row)| row.identity.unwrap()));
        place = batch.position;
        batches += 1;
    }
    assert_eq!(found, (1..=30).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(batches, 6);
    app.finish().await;
}

/// A database that was put back has fewer transactions than the client has heard of.
#[tokio::test]
async fn a_place_that_is_not_there_yet_is_refused() {
    let app = TestApp::new().await;
    let key: Vec<u8> = sqlx::query_scalar("select key from audit_stream_key")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let key = Aes128::new_from_slice(&key).unwrap();
    let mut block = (1_u128 << 120).to_be_bytes().into();
    key.encrypt_block(&mut block);
    let request = app.api(Method::GET, ACME, "/v1/audit/stream");
    let id = URL_SAFE_NO_PAD.encode(block);
    let refused = Answer::to(request.header("Last-Event-ID", id)).await;
    assert_eq!(refused.outcome(), "400 INVALID_REQUEST");
    assert!(
        refused.body.contains("none of this database's"),
        "{refused:?}"
    );
    app.finish().await;
}

/// A transaction that stays open holds the end of the tail where it is: a place at the end is taken all the same.
#[tokio::test]
async fn a_stream_that_is_cut_before_its_first_action_has_a_place_to_go_on_from() {
    let app = TestApp::new().await;
    let mut other = PgConnection::connect_with(&app.pool.connect_options())
        .await
        .unwrap();
    let mut open = other.begin().await.unwrap();
    open.execute("select pg_current_xact_id()").await.unwrap();
    let stream = app.api(Method::GET, ACME, "/v1/audit/stream");
    let first = stream.send().await.unwrap().chunk().await.unwrap().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    let id = first
        .strip_prefix("id: ")
        .and_then(|id| id.strip_suffix("\n\n"))
        .unwrap_or_else(|| panic!("an id alone: {first:?}"));
    let meanwhile = "insert into audit_log (started_at, action_id, phase, origin, tenant, action, track_sid, outcome)
         values (now(), gen_random_uuid(), 'outcome', 'webhook', 'acme', 'mute', 'meanwhile', 'done')";
    app.pool.execute(meanwhile).await.unwrap();
    let again = app.api(Method::GET, ACME, "/v1/audit/stream");
    let again = again.header("Last-Event-ID", id).send().await.unwrap();
    assert_eq!(again.status(), 200);
    open.commit().await.unwrap();
    let read = events(&app, ACME, Some(id), 1).await;
    assert_eq!(read[0].1, "meanwhile");
    app.finish().await;
}

#[tokio::test]
async fn a_caller_has_four_streams_and_a_stop_ends_them() {
    let app = TestApp::new().await;
    let open = async || {
        app.api(Method::GET, ACME, "/v1/audit/stream")
            .send()
            .await
            .unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(open().await);
    }
    let fifth = Answer::to(app.api(Method::GET, ACME, "/v1/audit/stream")).await;
    assert_eq!(fifth.outcome(), "429 STREAM_BUSY");
    assert_eq!(
        app.api(Method::GET, GLOBEX, "/v1/audit/stream")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    drop(streams.pop());
    app.wait_for("a stream that is left makes room", async || {
        app.api(Method::GET, ACME, "/v1/audit/stream")
            .send()
            .await
            .unwrap()
            .status()
            == 200
    })
    .await;
    app.finish().await;
    let mut ended = streams.pop().unwrap();
    while ended.chunk().await.unwrap_or_default().is_some() {}
}
