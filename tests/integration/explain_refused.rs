//! What is no question, and how it is refused.

use std::time::{Duration, Instant};

use reqwest::Method as Verb;
use serde_json::json;

use crate::support::{ACME, Answer, TestApp};

#[tokio::test]
async fn what_is_no_question_is_refused_with_what_to_send() {
    let app = TestApp::new().await;
    let facts = json!({"room": {"name": "r"}, "participant": {"identity": "p"}});
    let cases = [
        (
            "{}".to_owned(),
            "nothing is asked about: send one of `facts`",
        ),
        ("[]".to_owned(), "the body must be a JSON object"),
        ("{".to_owned(), "the body is not JSON"),
        (
            json!({"event_id": "EV", "facts": facts}).to_string(),
            "more than one thing",
        ),
        (
            json!({"event_id": "EV", "room": "r"}).to_string(),
            "more than one thing",
        ),
        (
            json!({"facts": facts, "track": "TR"}).to_string(),
            "more than one thing",
        ),
        (json!({"room": "r"}).to_string(), "`identity` is missing"),
        (
            json!({"identity": "p", "track": "TR"}).to_string(),
            "`room` is missing",
        ),
        (json!({"track": "TR"}).to_string(), "`room` is missing"),
        (
            json!({"room": " ", "identity": "p"}).to_string(),
            "`room` must not be empty",
        ),
        (
            json!({"event_id": ""}).to_string(),
            "`event_id` must not be empty",
        ),
        (
            json!({"room": "r", "identity": "p", "track": ""}).to_string(),
            "`track` must not be empty",
        ),
        (
            json!({"event_id": 7}).to_string(),
            "`event_id`: invalid type: integer `7`",
        ),
        (
            json!({"event": "EV"}).to_string(),
            "unknown field `event`, expected one of `facts`, `event_id`",
        ),
        (
            json!({"event_id": "EV", "at": "today"}).to_string(),
            "is no time with its offset, such as 2026-03-02T22:30:00+01:00",
        ),
        (
            json!({"event_id": "EV", "at": "2026-03-02T22:30:00"}).to_string(),
            "is no time with its offset, such as 2026-03-02T22:30:00+01:00",
        ),
        (
            json!({"event_id": "EV", "policies": "files"}).to_string(),
            "`policies`: unknown variant `files`, expected `now` or `then`",
        ),
        (
            json!({"facts": facts, "policies": "then"}).to_string(),
            "`policies: then` is for an event",
        ),
        (
            json!({"room": "r", "identity": "p", "policies": "then"}).to_string(),
            "`policies: then` is for an event",
        ),
        (
            json!({"facts": {"room": {"name": 7}, "participant": {"identity": "p"}}}).to_string(),
            "facts.room.name: expected text, found the number 7",
        ),
        (
            json!({"facts": {"rom": {}}}).to_string(),
            "did you mean room?",
        ),
    ];
    for (body, expect) in cases {
        let request = app.api(Verb::POST, ACME, "/v1/explain");
        let request = request.header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body.clone())).await;
        assert_eq!(answer.outcome(), "400 INVALID_REQUEST", "{body}");
        assert!(
            answer.error().contains(expect),
            "{body}: {}",
            answer.error()
        );
    }
    let plain = app.api(Verb::POST, ACME, "/v1/explain").body("{}");
    let answer = Answer::to(plain).await;
    assert!(answer.error().contains("Content-Type: application/json"));
    let query = app.api(Verb::POST, ACME, "/v1/explain?owner=acme");
    let answer = Answer::to(query.json(&json!({"event_id": "EV"}))).await;
    assert!(answer.error().contains("takes no query"), "{answer:?}");
    app.finish().await;
}

/// As `no_body_is_too_hostile_to_be_refused_in_words` of `/v1/policies`.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn no_question_is_too_hostile_to_be_refused_in_words() {
    // A debug build takes some 100 ms.
    const SOON: Duration = Duration::from_secs(10);
    let app = TestApp::new().await;
    let keys = (0..20_000).fold(String::new(), |keys, n| keys + &format!("\"k{n}\":1,"));
    let of_facts = |more: &str| {
        format!(
            "{{\"facts\":{{\"room\":{{{more}\"name\":\"r\"}},\"participant\":{{\"identity\":\"p\"}}}}}}"
        )
    };
    let (text, open) = ("x".repeat(250_000), "[".repeat(100_000));
    let invalid = "400 INVALID_REQUEST";
    for (name, body, status, says) in [
        (
            "keys",
            format!("{{{keys}\"x\":1}}"),
            invalid,
            "unknown field `k0`",
        ),
        (
            "keys of facts",
            format!("{{\"facts\":{{{keys}\"x\":1}}}}"),
            invalid,
            "\nand 19903 more",
        ),
        (
            "keys of a room",
            of_facts(&keys),
            invalid,
            "\nand 19900 more",
        ),
        (
            "a long key",
            format!("{{\"{text}\":1}}"),
            invalid,
            "unknown field `xxx",
        ),
        (
            "a long key of a room",
            of_facts(&format!("\"{text}\":1,")),
            invalid,
            "there is no key \"xxx",
        ),
        (
            "a long number",
            of_facts(&format!("\"created_at\":\"{text}\",")),
            invalid,
            "room.created_at: the text \"xxx",
        ),
        (
            "a long tenant",
            of_facts(&format!("\"metadata\":{{\"auth_id\":\"{text}\"}},")),
            "403 FORBIDDEN",
            "a room of no tenant",
        ),
        (
            "a long name",
            of_facts(&format!("\"sid\":\"{text}\",")),
            invalid,
            "is longer than 1024 characters; shorten it",
        ),
        (
            "a long id",
            format!("{{\"event_id\":\"{text}\"}}"),
            invalid,
            "`event_id` is 250000 characters long",
        ),
        (
            "a long word",
            format!("{{\"event_id\":\"E\",\"policies\":\"{text}\"}}"),
            invalid,
            "unknown variant `xxx",
        ),
        (
            "a long time",
            format!("{{\"event_id\":\"E\",\"at\":\"{text}\"}}"),
            invalid,
            "is no time with its offset",
        ),
        ("lists", open.clone(), invalid, "it is nested too deep"),
        (
            "maps",
            "{\"facts\":".repeat(20_000),
            invalid,
            "it is nested too deep",
        ),
        (
            "metadata",
            of_facts(&format!("\"metadata\":{open}")),
            invalid,
            "it is nested too deep",
        ),
        (
            "deep metadata",
            of_facts(&format!(
                "\"metadata\":{}{},",
                "[".repeat(65),
                "]".repeat(65)
            )),
            invalid,
            "at most 64 levels are kept",
        ),
        (
            "a number",
            of_facts(&format!("\"created_at\":{},", "9".repeat(200_000))),
            invalid,
            "number out of range",
        ),
        ("nothing", String::new(), invalid, "there is nothing in it"),
        (
            "a key twice",
            "{\"event_id\":\"E\",\"event_id\":\"F\"}".to_owned(),
            invalid,
            "the body has a key twice: event_id",
        ),
        (
            "a fact twice",
            of_facts("\"name\":\"q\","),
            invalid,
            "the body has a key twice: facts.room.name",
        ),
        (
            "too long",
            format!("{{\"event_id\":\"{}\"}}", "x".repeat(257 << 10)),
            "413 PAYLOAD_TOO_LARGE",
            "larger than",
        ),
        (
            "no UTF-8",
            "{\"event_id\":\"?\"}".to_owned(),
            invalid,
            "it is not in UTF-8: the byte at 13 is not",
        ),
    ] {
        let mut body = body.into_bytes();
        if name == "no UTF-8" {
            body[13] = 0xff;
        }
        let begun = Instant::now();
        let request = app.api(Verb::POST, ACME, "/v1/explain");
        let request = request.header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body)).await;
        let start: String = answer.body.chars().take(500).collect();
        assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
        assert_eq!(answer.outcome(), status, "{name}: {start}");
        assert!(answer.error().contains(says), "{name}: {start}");
        assert!(answer.body.len() < 20_000, "{name}: {start}");
    }
    app.finish().await;
}
