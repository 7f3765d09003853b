//! What the mute endpoint takes for a request, and how it says what is wrong with one.

use crate::support::{ACME, Answer, Setup, TestApp};

const GOOD: &str = r#"{"room_name":"r","participant_identity":"p","track_sid":"t","muted":true}"#;
const JSON: Option<&str> = Some("application/json");

async fn post(app: &TestApp, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Answer {
    let url = format!("{}/livekit/participant/mute", app.url);
    let mut request = app.http.post(url).bearer_auth(ACME).body(body.into());
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    Answer::to(request).await
}

#[tokio::test]
async fn a_bad_request_is_400_and_names_the_field_and_reaches_nothing() {
    let app = Setup::default().start_without_webhooks().await;
    let mut cases = Vec::new();
    for (name, value) in [
        ("room_name", r#""r""#),
        ("participant_identity", r#""p""#),
        ("track_sid", r#""t""#),
        ("muted", "true"),
    ] {
        let with = |other: &str| {
            let field = format!(r#""{name}":{value}"#);
            GOOD.replacen(&field, &format!(r#""{name}":{other}"#), 1)
        };
        let mut wrong = vec!["null", "7", "[]", "{}", r#""""#];
        if name == "muted" {
            wrong.extend([r#""true""#, "1", "0"]);
        } else {
            wrong.extend([r#"" ""#, r#""\t\n""#, "true"]);
        }
        cases.extend(wrong.iter().map(|wrong| (with(wrong), name)));
        cases.push((GOOD.replacen(name, "other", 1), name));
        cases.push((GOOD.replacen(name, &name.to_uppercase(), 1), name));
    }
    for no_object in [
        "", " ", "null", "true", "7", r#""r""#, "[]", "{", "}", "x", "{'a':1}",
    ] {
        cases.push((no_object.to_owned(), "body"));
    }
    cases.push((format!("[{GOOD}]"), "body"));
    cases.push((format!("{GOOD}{GOOD}"), "body"));
    cases.push((format!("{GOOD},"), "body"));
    for (body, field) in cases {
        let answer = post(&app, JSON, body.as_str()).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{body}");
        let error = answer.error();
        assert!(error.contains(field), "{body}: {error}");
    }
    let no_utf8 = post(
        &app,
        JSON,
        GOOD.replace('p', "\u{e9}").as_bytes()[..30].to_vec(),
    )
    .await;
    assert_eq!(no_utf8.outcome(), "400 INVALID_REQUEST");
    assert!(app.simulator.calls().is_empty());
    assert_eq!(app.count("select count(*) from audit_log").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn only_json_is_taken_for_json() {
    let app = Setup::default().start_without_webhooks().await;
    for content_type in [
        None,
        Some("text/plain"),
        Some("text/json"),
        Some("application/jsonp"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=application/json"),
        Some("; application/json"),
    ] {
        let answer = post(&app, content_type, GOOD).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{content_type:?}");
        let error = answer.error();
        assert!(error.contains("Content-Type"), "{content_type:?}: {error}");
    }
    assert!(app.simulator.calls().is_empty());
    for content_type in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
    ] {
        let answer = post(&app, Some(content_type), GOOD).await;
        assert_eq!(answer.outcome(), "404 PARTICIPANT_NOT_FOUND");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_may_have_64_kib_and_not_a_byte_more() {
    let app = Setup::default().start_without_webhooks().await;
    for (bytes, expect) in [
        (64 << 10, "404 PARTICIPANT_NOT_FOUND"),
        ((64 << 10) + 1, "400 INVALID_REQUEST"),
        (300 << 10, "400 INVALID_REQUEST"),
    ] {
        let answer = post(&app, JSON, padded(bytes)).await;
        assert_eq!(answer.outcome(), expect, "{bytes}");
        if answer.status == 400 {
            let error = answer.error();
            assert!(error.contains("body") && error.contains("65536"), "{error}");
        }
    }
    app.finish().await;
}

fn padded(bytes: usize) -> String {
    format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()))
}

#[tokio::test]
async fn more_fields_than_asked_for_are_let_through() {
    let app = Setup::default().start_without_webhooks().await;
    let sid = app.speaker("r", "acme");
    let body = GOOD
        .replacen(r#""p""#, r#""speaker""#, 1)
        .replacen(r#""t""#, &format!(r#""{sid}""#), 1)
        .replacen('{', r#"{"reason":"too loud","n":{"x":[1]},"#, 1);
    let answer = post(&app, JSON, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json().as_object().unwrap().len(), 4);
    app.finish().await;
}

#[tokio::test]
async fn other_methods_and_paths_are_told_so_in_the_same_shape() {
    let app = Setup::default().start_without_webhooks().await;
    for (method, path, expect) in [
        ("GET", "/livekit/participant/mute", "405 METHOD_NOT_ALLOWED"),
        ("PUT", "/livekit/participant/mute", "405 METHOD_NOT_ALLOWED"),
        ("GET", "/livekit/webhook", "405 METHOD_NOT_ALLOWED"),
        ("POST", "/livekit/participant/mute/x", "404 NOT_FOUND"),
        ("POST", "/livekit/participant", "404 NOT_FOUND"),
    ] {
        let method = method.parse().unwrap();
        let answer = Answer::to(app.api(method, ACME, path)).await;
        assert_eq!(answer.outcome(), expect, "{path}");
    }
    app.finish().await;
}
