//! `/v1/policies`: bodies from strangers are refused in words, and leave nothing behind.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ACME, Answer, Setup, TestApp};

const BODY_BYTES_MAX: usize = 64 << 10;
/// Of what takes some ms in a debug build.
const SOON: Duration = Duration::from_secs(10);

/// The status and what is said to this body.
async fn send(app: &TestApp, method: Method, path: &str, body: &[u8]) -> (String, String) {
    let begun = Instant::now();
    let request = app
        .api(method, ACME, path)
        .header("Content-Type", "application/json")
        .body(body.to_vec());
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let code = answer["code"].as_str().unwrap_or_default();
    let said = answer["error"].as_str().unwrap_or_default().to_owned();
    (format!("{status} {code}"), said)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn no_body_is_too_hostile_to_be_refused_in_words() {
    let app = TestApp::new().await;
    let policy = |more: &str| {
        format!("{{\"name\": \"a\", \"match\": {{}}, \"effect\": \"mute\", {more}}}").into_bytes()
    };
    let nested = |open: &str, close: &str| {
        format!("{}1{}", open.repeat(10_000), close.repeat(10_000)).into_bytes()
    };
    let long = "k".repeat(BODY_BYTES_MAX - 100);
    let keys = (0..5_000).fold(String::new(), |keys, i| keys + &format!("\"k{i}\": 1,"));
    let items = "1,".repeat(30_000);
    let invalid = "400 INVALID_POLICY";
    for (name, body, status, says) in [
        ("nothing", Vec::new(), invalid, "there is nothing in it"),
        (
            "no UTF-8",
            policy("\"reason\": \"?\"")
                .iter()
                .map(|byte| if *byte == b'?' { 0xff } else { *byte })
                .collect(),
            invalid,
            "it is not in UTF-8: the byte at 56 is not",
        ),
        (
            "UTF-16",
            "{\"name\": 1}"
                .encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect(),
            invalid,
            "send it in UTF-8",
        ),
        ("a mark", "\u{feff}{}".into(), invalid, "byte order mark"),
        (
            "NUL",
            policy("\"reason\": \"\\u0000\""),
            invalid,
            "reason: \"\\0\" has a control character in it",
        ),
        ("lists", nested("[", "]"), invalid, "it is nested too deep"),
        (
            "maps",
            nested("{\"a\":", "}"),
            invalid,
            "it is nested too deep",
        ),
        (
            "parentheses",
            policy(&format!("\"when\": \"{}\"", "(".repeat(10_000))),
            invalid,
            "when: the expression has more than 1024 bytes",
        ),
        (
            "brackets",
            policy(&format!(
                "\"when\": \"{}true{}\"",
                "(".repeat(500),
                ")".repeat(500)
            )),
            invalid,
            "brackets are nested deeper than 16",
        ),
        (
            "a long key",
            policy(&format!("\"{long}\": 1")),
            invalid,
            "there is no key \"kkk",
        ),
        (
            "a long word",
            policy(&format!("\"mode\": \"{long}\"")),
            invalid,
            "mode: there is no mode \"kkk",
        ),
        (
            "keys",
            policy(&format!("{keys} \"x\": 1")),
            invalid,
            "and 4901 more",
        ),
        (
            "items",
            policy(&format!("\"unless\": {{\"room\": [{items} 1]}}")),
            invalid,
            "unless.room: expected 1 to 100 values, found 30001",
        ),
        (
            "windows",
            policy(&format!("\"active\": [{} {{}}]", "{},".repeat(9_999))),
            invalid,
            "active: expected 1 to 100 values, found 10000",
        ),
        (
            "a number",
            policy(&format!("\"priority\": {}", "9".repeat(60_000))),
            invalid,
            "number out of range",
        ),
        (
            "too long",
            policy(&format!("\"{}\": 1", "k".repeat(BODY_BYTES_MAX))),
            "413 PAYLOAD_TOO_LARGE",
            "larger than 65536 bytes",
        ),
    ] {
        for (method, path) in [
            (Method::POST, "/v1/policies"),
            (Method::PUT, "/v1/policies/a"),
        ] {
            let (found, said) = send(&app, method, path, &body).await;
            assert_eq!(found, status, "{name}: {said}");
            let start: String = said.chars().take(500).collect();
            assert!(said.contains(says), "{name}: {start}");
            assert!(said.len() < 50_000, "{name}: {start}");
        }
    }
    let response = app.api(Method::GET, ACME, "/v1/policies").send().await;
    let listed: Value = response.unwrap().json().await.unwrap();
    assert_eq!(listed["policies"], json!([]));
    app.finish().await;
}

/// A `PUT` may leave the name out; all else is read as it was sent.
#[tokio::test]
async fn what_stands_twice_in_a_body_without_name_is_refused() {
    let app = TestApp::new().await;
    let path = "/v1/policies/a";
    let twice = br#" {"mode": "off", "match": {}, "effect": "mute", "mode": "enforce"}"#;
    let (status, said) = send(&app, Method::PUT, path, twice).await;
    assert_eq!(status, "400 INVALID_POLICY");
    assert_eq!(said, "mode: this key stands here twice; keep one");
    let (status, said) = send(&app, Method::PUT, path, b" { } ").await;
    assert_eq!(status, "400 INVALID_POLICY");
    assert!(!said.contains("name"), "{said}");
    let once = br#" {"match": {}, "effect": "mute"}"#;
    let (status, said) = send(&app, Method::PUT, path, once).await;
    assert_eq!(status, "201 ", "{said}");
    app.finish().await;
}

#[tokio::test]
async fn no_webhook_is_refused_while_a_tenant_changes_its_policies_over_and_over() {
    let setup = Setup::default().env("QUELL_CALLER_REQUESTS_PER_SECOND", "10000");
    let app = setup.start_without_webhooks().await;
    let values: Vec<_> = (0..100)
        .map(|n| format!("{n}{}", "x".repeat(500)))
        .collect();
    let put = async |number: usize, turn: usize, matches: Option<&str>| {
        let request = app.api(Method::PUT, ACME, &format!("/v1/policies/p{number}"));
        let request = match matches {
            Some(matches) => request.header("If-Match", matches),
            None => request,
        };
        let policy = json!({"match": {"attributes": {"a": values}}, "effect": "mute", "priority": turn % 100});
        Answer::to(request.json(&policy)).await.status
    };
    for number in 0..16 {
        assert_eq!(put(number, 0, None).await, 201);
    }
    let changed = Cell::new(0);
    let loops = (0..16).map(|number| {
        let (put, changed) = (&put, &changed);
        async move {
            for turn in 1.. {
                match put(number, turn, Some("*")).await {
                    200 => changed.set(changed.get() + 1),
                    // Its turn; or there was none in time (`CHANGES_BUSY`).
                    status => assert!([429, 503].contains(&status), "{status}"),
                }
            }
        }
    });
    let webhooks = async {
        for number in 0..50 {
            let event = json!({
                "event": "room_started", "id": format!("EV_{number}"), "createdAt": app.now().timestamp(),
                "room": {"sid": format!("RM_{number}"), "name": format!("r-{number}")},
            });
            let answer = app.send_event(&event).await;
            assert_eq!(answer.status, 200, "{number}: {answer:?}");
        }
    };
    tokio::select! {
        _ = join_all(loops) => {}
        () = webhooks => {}
    }
    assert!(changed.get() > 0, "{changed:?}");
    let stored = app.count("select count(*) from webhook_event").await;
    assert_eq!(stored, 50);
    app.finish().await;
}
