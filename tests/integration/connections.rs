//! Connections as clients keep them: each answer says whether the next request may follow.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ACME, BOUND, TestApp};

/// A client's connection.
struct Connection(TcpStream);

/// The first line and the headers, in lower case.
struct Head(String);

impl Head {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn says_close(&self) -> bool {
        self.0.contains("\r\nconnection: close\r\n")
    }
}

impl Connection {
    async fn to(app: &TestApp) -> Self {
        let address = app.url.strip_prefix("http://").unwrap();
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The next answer, whole.
    async fn answer(&mut self) -> Head {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let length = head.split_once("content-length: ");
            let length = length.map_or(0, |(_, rest)| {
                rest.split("\r\n").next().unwrap().parse().unwrap()
            });
            self.0.read_exact(&mut vec![0; length]).await.unwrap();
            Head(head)
        };
        tokio::time::timeout(BOUND, reading).await.unwrap()
    }

    /// Waits until the other side has closed, and not cut.
    async fn is_closed(&mut self) {
        let mut more = Vec::new();
        let reading = tokio::time::timeout(BOUND, self.0.read_to_end(&mut more));
        assert_eq!(reading.await.unwrap().unwrap(), 0, "{more:?}");
    }
}

fn head(method: &str, path: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: quell\r\n{more}\r\n")
}

const MUTE: &str = "/livekit/participant/mute";

#[tokio::test]
async fn who_is_answered_before_its_body_is_read_is_told_that_the_connection_ends() {
    let app = TestApp::new().await;
    let auth = format!("Authorization: Bearer {ACME}\r\n");
    let long = format!("{auth}Content-Length: 3000000\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let some = "a".repeat(200_000);
    let chunk = format!("30d40\r\n{some}\r\n");
    for (method, path, more, body, status) in [
        // Refused by the signature, before the body is asked for.
        (
            "POST",
            "/livekit/webhook",
            "Content-Length: 5000\r\n",
            "",
            401,
        ),
        ("POST", "/livekit/webhook", chunked, "5\r\nabcde\r\n", 401),
        (
            "POST",
            "/livekit/webhook",
            "Content-Length: 5\r\n",
            "abcde",
            401,
        ),
        // Nothing there, or not by this method.
        ("POST", "/nowhere", "Content-Length: 5000\r\n", "", 404),
        ("PUT", MUTE, "Content-Length: 5000\r\n", "", 405),
        ("GET", "/healthz", "Content-Length: 5000\r\n", "", 200),
        // Cut off, or no chunks.
        (
            "POST",
            "/v1/policies",
            &format!("{auth}{chunked}"),
            "zz\r\n",
            400,
        ),
        // Too large.
        ("POST", "/v1/policies", &long, some.as_str(), 413),
        (
            "POST",
            "/v1/policies",
            &format!("{auth}{chunked}"),
            &chunk,
            413,
        ),
        ("POST", "/v1/explain", &long, &format!("{some}{some}"), 413),
    ] {
        let mut connection = Connection::to(&app).await;
        connection.send(&head(method, path, more)).await;
        connection.send(body).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status(), status, "{method} {path} {more}");
        assert!(answer.says_close(), "{method} {path} {more}: {}", answer.0);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_client_of_http_1_0_is_told_one_thing() {
    let app = TestApp::new().await;
    for (path, length, body, said) in [
        ("/nowhere", 5, "ab", "close"),
        ("/livekit/participant/mute", 2, "{}", "keep-alive"),
    ] {
        let mut connection = Connection::to(&app).await;
        let auth = format!("Authorization: Bearer {ACME}\r\n");
        let keep =
            format!("{auth}Connection: keep-alive\r\nContent-Length: {length}\r\n\r\n{body}");
        connection
            .send(&format!("POST {path} HTTP/1.0\r\n{keep}"))
            .await;
        let answer = connection.answer().await;
        let expect = format!("\r\nconnection: {said}\r\n");
        assert!(answer.0.contains(&expect), "{path}: {}", answer.0);
    }
    app.finish().await;
}

#[tokio::test]
async fn who_has_sent_more_than_is_read_still_sees_its_answer() {
    let app = TestApp::new().await;
    let body = "a".repeat(3_000_000);
    let more = format!(
        "Authorization: Bearer {ACME}\r\nContent-Length: {}\r\n",
        body.len()
    );
    let mut connection = Connection::to(&app).await;
    connection.send(&head("POST", "/v1/policies", &more)).await;
    // All of it before the answer is looked at, as many clients do.
    connection.send(&body).await;
    let answer = connection.answer().await;
    assert_eq!((answer.status(), answer.says_close()), (413, true));
    connection.is_closed().await;
    app.finish().await;
}

#[tokio::test]
async fn who_asks_before_sending_is_refused_at_once_or_told_to_go_on() {
    let app = TestApp::new().await;
    let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut connection = Connection::to(&app).await;
    connection
        .send(&head("POST", "/livekit/webhook", expect))
        .await;
    let answer = connection.answer().await;
    assert_eq!((answer.status(), answer.says_close()), (401, true));
    connection.is_closed().await;

    let mut connection = Connection::to(&app).await;
    connection.send(&head("POST", MUTE, expect)).await;
    let answer = connection.answer().await;
    assert_eq!((answer.status(), answer.says_close()), (401, true));
    connection.is_closed().await;

    let mut connection = Connection::to(&app).await;
    let expect = format!("Authorization: Bearer {ACME}\r\n{expect}");
    connection.send(&head("POST", MUTE, &expect)).await;
    assert_eq!(connection.answer().await.status(), 100);
    connection.send("abcde").await;
    let answer = connection.answer().await;
    assert_eq!((answer.status(), answer.says_close()), (400, false));
    app.finish().await;
}

#[tokio::test]
async fn whose_body_was_read_may_send_the_next_request() {
    let app = TestApp::new().await;
    let mut connection = Connection::to(&app).await;
    let auth = format!("Authorization: Bearer {ACME}\r\nContent-Type: application/json\r\n");
    let policy = r#"{"name":"quiet","match":{"type":"AUDIO"},"effect":"mute"}"#;
    let length = format!("{auth}Content-Length: {}\r\n", policy.len());
    let chunked = format!("{auth}Transfer-Encoding: chunked\r\n");
    for (method, path, more, body, status) in [
        ("GET", "/healthz", "", "", 200),
        ("POST", "/v1/policies", &length, policy, 201),
        ("POST", "/v1/policies", &length, policy, 409),
        (
            "POST",
            "/v1/policies",
            &chunked,
            "5\r\nabcde\r\n0\r\n\r\n",
            400,
        ),
        ("POST", "/v1/policies", &auth, "", 400),
        ("POST", MUTE, &length, policy, 400),
        ("POST", MUTE, "", "", 401),
        ("GET", "/nowhere", "", "", 404),
        ("DELETE", "/healthz", "", "", 405),
        ("GET", "/v1/policies", &auth, "", 200),
    ] {
        connection.send(&head(method, path, more)).await;
        connection.send(body).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status(), status, "{method} {path} {more}");
        assert!(!answer.says_close(), "{method} {path}: {}", answer.0);
    }
    app.finish().await;
}
