//! Strangers on the network: whoever opens connections and says little takes nothing from others.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{
    ACME, BOUND, GLOBEX, Program, Setup, TestApp, TestDatabase, read_until, settings,
};
use livekit_double::{Simulator, SimulatorConfig};

/// A request whose header is not finished.
async fn half_a_header(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = b"POST /livekit/webhook HTTP/1.1\r\nHost: quell\r\n";
    stream.write_all(head).await.unwrap();
    stream
}

/// When the other side closes it.
async fn is_closed(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(BOUND, stream.read_to_end(&mut rest));
    // Cut or closed: both end it.
    drop(reading.await.expect("it stays open"));
}

#[tokio::test]
async fn seven_hundred_half_headers_keep_nobody_out_of_a_server_with_512_files() {
    let (database, livekit) = (
        TestDatabase::create().await,
        Simulator::start(SimulatorConfig::default()).await.unwrap(),
    );
    let mut program = Program::start_with_files(512, &["serve"], &settings(&database, &livekit));
    let url = program.url().await;
    let mut strangers = Vec::new();
    for _ in 0..700 {
        strangers.push(half_a_header(url.trim_start_matches("http://")).await);
    }
    let begun = Instant::now();
    let http = reqwest::Client::new();
    for path in ["healthz", "readyz"] {
        let answer = http
            .get(format!("{url}/{path}"))
            .timeout(BOUND)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    // Nobody waited for the strangers to be closed.
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    for stranger in strangers {
        is_closed(stranger).await;
    }
    assert_eq!(
        http.get(format!("{url}/readyz"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

/// The connections wait in the kernel meanwhile.
#[tokio::test]
async fn connections_are_accepted_again_once_there_are_files() {
    let (database, livekit) = (
        TestDatabase::create().await,
        Simulator::start(SimulatorConfig::default()).await.unwrap(),
    );
    let mut program = Program::start(&["serve"], &settings(&database, &livekit));
    let url = program.url().await;
    let kept = program.files_max("1");
    let mended = async {
        read_until(&mut program.err, "a connection cannot be accepted").await;
        program.files_max(&kept);
    };
    let (answer, ()) = tokio::join!(reqwest::get(format!("{url}/healthz")), mended);
    assert_eq!(answer.unwrap().status(), 200);
}

/// Of a known caller, whose bodies do not come; its connections are as many as there may be.
#[tokio::test]
async fn half_bodies_keep_nobody_out() {
    let app = Setup::default()
        .env("QUELL_HTTP_CONNECTIONS", "20")
        .start()
        .await;
    let address = app.url.strip_prefix("http://").unwrap();
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /livekit/participant/mute HTTP/1.1\r\nHost: quell\r\nAuthorization: Bearer {ACME}\r\n\
             Content-Type: application/json\r\nContent-Length: 90\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        halves.push(stream);
    }
    let begun = Instant::now();
    let answer = reqwest::get(format!("{}/readyz", app.url)).await.unwrap();
    assert_eq!(answer.status(), 200);
    // A body has 10 s and more.
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    drop(halves);
    app.finish().await;
}

#[tokio::test]
async fn a_peer_has_its_share_where_that_is_set() {
    let app = Setup::default()
        .env("QUELL_HTTP_CONNECTIONS_PER_PEER", "3")
        .start()
        .await;
    let address = app.url.strip_prefix("http://").unwrap();
    let strangers = [
        half_a_header(address).await,
        half_a_header(address).await,
        half_a_header(address).await,
    ];
    is_closed(TcpStream::connect(address).await.unwrap()).await;
    drop(strangers);
    app.wait_for("its connections count no more", async || {
        let answer = reqwest::Client::new()
            .get(format!("{}/healthz", app.url))
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn metrics_have_a_listener_of_their_own_where_that_is_set() {
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let app = Setup::default()
        .env("QUELL_METRICS_LISTEN", &free.to_string())
        .start()
        .await;
    let status = async |url: String| app.http.get(url).send().await.unwrap().status().as_u16();
    assert_eq!(status(format!("{}/metrics", app.url)).await, 404);
    assert_eq!(status(format!("http://{free}/metrics")).await, 200);
    assert_eq!(status(format!("http://{free}/healthz")).await, 404);
    app.finish().await;
}

#[tokio::test]
async fn a_body_is_not_read_before_its_caller_is_known() {
    let app = TestApp::new().await;
    let address = app.url.strip_prefix("http://").unwrap();
    for path in [
        "/livekit/participant/mute",
        "/v1/policies",
        "/v1/explain",
        "/v1/backtest",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: q\r\nAuthorization: Bearer x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tokio::time::timeout(BOUND, stream.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401", "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_caller_that_sends_too_much_is_told_when_to_come_again_and_others_go_on() {
    let app = Setup::default()
        .env("QUELL_CALLER_REQUESTS_PER_SECOND", "1")
        .env("QUELL_CALLER_MUTES_PER_SECOND", "1")
        .start()
        .await;
    let list = async |token| {
        app.api(reqwest::Method::GET, token, "/v1/policies")
            .send()
            .await
            .unwrap()
    };
    let mute = async |token| {
        app.mute(token, "r", "p", "TR_1", true)
            .send()
            .await
            .unwrap()
    };
    let mut refused = Vec::new();
    for _ in 0..5 {
        refused.extend(
            [list(ACME).await, mute(ACME).await]
                .into_iter()
                .find(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS),
        );
    }
    assert!(!refused.is_empty());
    for answer in refused {
        let after: u64 = answer.headers()[RETRY_AFTER]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..=3).contains(&after), "{after}");
        let body: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(body["code"], "TOO_MANY_REQUESTS");
    }
    assert_eq!(list(GLOBEX).await.status(), 200);
    assert_eq!(mute(GLOBEX).await.status(), 404);
    app.finish().await;
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    let app = TestApp::new().await;
    let ask = app
        .http
        .get(format!("{}/healthz", app.url))
        .header("X-Request-Id", "mine");
    assert_eq!(ask.send().await.unwrap().headers()["x-request-id"], "mine");
    let body =
        json!({"room_name": "r", "participant_identity": "p", "track_sid": "t", "muted": true});
    let refused = app
        .http
        .post(format!("{}/livekit/participant/mute", app.url))
        .bearer_auth(ACME)
        .json(&body);
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 404);
    let id = refused.headers()["x-request-id"].to_str().unwrap();
    let row = app.sql("select request_id from audit_log").await;
    assert_eq!(row.as_deref(), Some(id));
    app.finish().await;
}

#[tokio::test]
async fn whoever_is_refused_over_and_over_does_not_fill_the_audit() {
    let app = Setup::default()
        .env("QUELL_CALLER_MUTES_PER_SECOND", "1000")
        .start()
        .await;
    let refused = (0..150).map(|n| app.mute(ACME, &format!("r{n}"), "p", "TR_1", true).send());
    for answer in futures_util::future::join_all(refused).await {
        assert_eq!(answer.unwrap().status(), 404);
    }
    assert_eq!(
        app.mute(GLOBEX, "r", "p", "TR_1", true)
            .send()
            .await
            .unwrap()
            .status(),
        404
    );
    let rows = "select count(*) from audit_log where actor = 'acme' and outcome = 'refused' and room_name is not null";
    let own = app.count(rows).await;
    assert!((101..150).contains(&own), "{own}");
    let counted = "select split_part(error, ' ', 1)::bigint from audit_log where actor = 'acme' and room_name is null";
    app.wait_for("the rest has a row", async || {
        app.sql(counted).await.is_some()
    })
    .await;
    assert_eq!(app.count(counted).await, 150 - own);
    assert_eq!(
        app.count("select count(*) from audit_log where actor = 'globex'")
            .await,
        1
    );
    app.finish().await;
}
