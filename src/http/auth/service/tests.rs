use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Method};
use futures_util::stream;
use quell_jwt::{Algorithm, Validation};
use serde_json::json;
use tokio::time::Instant;

use super::super::testing::{Answer, NOW, Server, body, clock, keys, nowhere, public_key};
use super::*;
use crate::http::body::RequestBody;
use crate::inbox::BodyBytes;

fn service(url: &Url, timeout: Duration) -> AuthService {
    AuthService {
        url: url.clone(),
        client: fetch::client(timeout).unwrap(),
        key: SigningKey::from_pem(keys::EC).unwrap(),
        allow_no_id: false,
        clock: clock().clock(),
        timeout,
        asked: Semaphore::new(1),
        slow: Semaphore::new(1),
        answers: None,
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn ask(service: &AuthService) -> Result<Option<Id>, AuthError> {
    ask_with(service, body("{}")).await
}

async fn ask_with(service: &AuthService, body: &RequestBody) -> Result<Option<Id>, AuthError> {
    let headers = HeaderMap::new();
    let request = AuthRequest {
        headers: &headers,
        method: &Method::POST,
        path: "/livekit/participant/mute",
        api_key: None,
        body,
    };
    service.check("the token", &request).await
}

/// The answer in a word.
fn outcome(answer: &Result<Option<Id>, AuthError>) -> String {
    match answer {
        Ok(Some(id)) => format!("{id:?}"),
        Ok(None) => "no id".to_owned(),
        Err(AuthError::Unauthorized(_)) => "401".to_owned(),
        Err(AuthError::ServiceFailed { .. }) => "502".to_owned(),
        Err(AuthError::ServiceUnavailable { .. }) => "503".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), value)
        })
        .collect()
}

#[tokio::test]
async fn the_service_is_sent_a_signed_account_of_the_request() {
    let server = Server::start(Answer::ok(&json!({"id": "acme"}))).await;
    let headers = headers(&[
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer the token"),
        ("X-Trace", "1"),
        ("X-Trace", "2"),
    ]);
    let request = AuthRequest {
        headers: &headers,
        method: &Method::POST,
        path: "/livekit/participant/mute?api_key=the%20token",
        api_key: None,
        body: body(r#"{"room_name": "r"}"#),
    };
    let answer = service(&server.url, LONG)
        .check("the token", &request)
        .await;
    assert_eq!(outcome(&answer), r#"Id("acme")"#);

    let received = server.received();
    let [received] = received.as_slice() else {
        panic!("one request");
    };
    assert_eq!(received.method, Method::POST);
    assert_eq!(received.path, "/here");
    assert_eq!(received.headers["content-type"], "application/jwt");
    let mut validation = Validation::new(Algorithm::ES256);
    validation.validate_exp = false;
    let key = public_key(keys::EC_PUB);
    let read = quell_jwt::decode::<Value>(&received.body, &key, &validation).unwrap();
    let expect = json!({
        "sub": "quell",
        "iat": NOW,
        "exp": NOW + 300,
        "auth_data": {
            "token": "the token",
            "request_body": {"room_name": "r"},
            "request_headers": {"content-type": "application/json", "x-trace": "1, 2"},
            "request_path": "/livekit/participant/mute",
            "request_method": "POST",
        },
    });
    assert_eq!(read.claims, expect);
}

#[test]
fn headers_that_carry_secrets_are_left_out() {
    let kept = ["accept", "content-type", "user-agent", "x-request-id"];
    for name in kept {
        assert!(harmless(&headers(&[(name, "v")]), "tok").contains_key(name));
    }
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-apikey",
        "x-auth-token",
        "x-csrf-token",
        "x-client-secret",
        "x-password",
        "x-amz-credential",
    ] {
        assert!(
            harmless(&headers(&[(name, "v")]), "tok").is_empty(),
            "{name}"
        );
    }
    for value in ["https://x/?a=1&api_key=s%20s", "/p?API_KEY=s", "a tok b"] {
        for name in ["referer", "x-original-uri", "x-anything"] {
            let headers = headers(&[(name, value)]);
            assert!(harmless(&headers, "tok").is_empty(), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_one_meaning() {
    let id = |value: Value| Answer::ok(&json!({ "id": value }));
    let status = |code| Answer::Status(StatusCode::from_u16(code).unwrap());
    let json =
        |code, body: Value| Answer::Json(StatusCode::from_u16(code).unwrap(), body.to_string());
    let long = json!({"id": "acme", "more": "x".repeat(ANSWER_BYTES_MAX)});
    let server = Server::start(Answer::Hang).await;
    let elsewhere = Server::start(id(json!("acme"))).await;
    let service = service(&server.url, LONG);
    for (what, answer, expect) in [
        ("an id", id(json!("acme")), r#"Id("acme")"#),
        ("blank", id(json!("")), "401"),
        ("spaces", id(json!("  ")), "401"),
        ("the command line's", id(json!("cli:root")), "401"),
        ("null", id(Value::Null), "401"),
        ("no id", Answer::ok(&"{}"), "401"),
        ("a number", id(json!(7)), "502"),
        ("a list", id(json!(["acme"])), "502"),
        ("true", id(json!(true)), "502"),
        ("no JSON", Answer::ok(&"OK"), "502"),
        ("nothing", Answer::ok(&""), "502"),
        ("no object", Answer::ok(&r#""acme""#), "502"),
        ("null alone", Answer::ok(&"null"), "502"),
        ("cut short", Answer::ok(&r#"{"id": "acme""#), "502"),
        ("too long", Answer::ok(&long), "502"),
        ("201", json(201, json!({"id": "acme"})), "502"),
        ("204", status(204), "502"),
        ("302", Answer::Redirect(elsewhere.url.to_string()), "502"),
        ("400", json(400, json!({"id": "acme"})), "401"),
        ("401", json(401, json!({"id": "acme"})), "401"),
        ("403", status(403), "401"),
        ("404", status(404), "401"),
        ("429", status(429), "401"),
        ("500", json(500, json!({"id": "acme"})), "502"),
        ("503", status(503), "502"),
    ] {
        server.answer(answer);
        assert_eq!(outcome(&ask(&service).await), expect, "{what}");
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn only_a_missing_id_is_no_id_and_only_where_that_is_allowed() {
    let server = Server::start(Answer::Hang).await;
    let service = AuthService {
        allow_no_id: true,
        ..service(&server.url, LONG)
    };
    for (body, expect) in [
        ("{}", "no id"),
        (r#"{"id": null}"#, "no id"),
        (r#"{"name": "x"}"#, "no id"),
        (r#"{"id": "acme"}"#, r#"Id("acme")"#),
        (r#"{"id": ""}"#, "401"),
        (r#"{"id": 7}"#, "502"),
        ("", "502"),
        ("null", "502"),
        ("[]", "502"),
        ("OK", "502"),
    ] {
        server.answer(Answer::ok(&body));
        assert_eq!(outcome(&ask(&service).await), expect, "{body}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_or_hangs_is_unavailable() {
    let down = service(&nowhere(), LONG);
    assert_eq!(outcome(&ask(&down).await), "503");
    let server = Server::start(Answer::Hang).await;
    let hangs = service(&server.url, Duration::from_millis(50));
    assert_eq!(outcome(&ask(&hangs).await), "503");
}

#[tokio::test]
async fn an_answer_is_kept_where_that_is_set_and_a_refusal_never() {
    let server = Server::start(Answer::ok(&json!({"id": "acme"}))).await;
    let mut service = service(&server.url, LONG);
    for _ in 0..2 {
        assert_eq!(outcome(&ask(&service).await), r#"Id("acme")"#);
    }
    assert_eq!(server.received().len(), 2);
    service.answers = Some(Answers::new(LONG));
    for _ in 0..3 {
        assert_eq!(outcome(&ask(&service).await), r#"Id("acme")"#);
    }
    assert_eq!(server.received().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn so_many_are_asked_at_once_and_others_wait_no_longer_than_for_an_answer() {
    let service = service(&nowhere(), LONG);
    let _all = service.asked.acquire().await.unwrap();
    let begun = Instant::now();
    assert_eq!(outcome(&ask(&service).await), "503");
    assert_eq!(begun.elapsed(), LONG);
}

#[tokio::test]
async fn slow_bodies_of_unknown_callers_are_few_and_keep_nobody_else_out() {
    let server = Server::start(Answer::ok(&json!({"id": "acme"}))).await;
    let service = service(&server.url, LONG);
    let _slow = service.slow.acquire().await.unwrap();
    assert_eq!(outcome(&ask(&service).await), r#"Id("acme")"#);
    let never = stream::pending::<Result<Bytes, std::io::Error>>();
    let never = RequestBody::new(
        Body::from_stream(never),
        100,
        BodyBytes::new(100, 0).reservation(),
    );
    let begun = Instant::now();
    assert_eq!(outcome(&ask_with(&service, &never).await), "503");
    assert!(begun.elapsed() >= READ_FREELY);
}
