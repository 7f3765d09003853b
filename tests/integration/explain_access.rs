//! Who is told why of what, and what is no question.

use std::time::{Duration, Instant};

use quell::simulator::{Fault, FaultKind, Join, Method, Publish};
use reqwest::Method as Verb;
use serde_json::{Value, json};

use crate::explain::{WEBINAR, event_id, told, why};
use crate::policies::{JWT_SECRET, jwt};
use crate::support::{ACME, Answer, GLOBEX, OPERATOR, Setup, TestApp};

fn bytes(answer: &Answer) -> (u16, &str) {
    (answer.status, &answer.body)
}

#[tokio::test]
async fn a_tenant_is_told_of_its_own_events_and_policies_alone() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    app.room("webinar-1", "acme");
    let ann = app.publish("webinar-1", Join::new("ann"), Publish::microphone());
    app.settle().await;
    let question = json!({"event_id": event_id(&app, &ann.sid)});
    let nothing = why(&app, GLOBEX, &json!({"event_id": "EV_none"})).await;
    assert_eq!(nothing.outcome(), "404 EVENT_NOT_FOUND");
    let theirs = why(&app, GLOBEX, &question).await;
    assert_eq!(bytes(&theirs), bytes(&nothing));
    // A NUL is in no id.
    let nul = why(&app, OPERATOR, &json!({"event_id": "EV_\u{0}"})).await;
    assert_eq!(bytes(&nul), bytes(&nothing));

    let names = |answer: &Value| -> Vec<String> {
        let candidates = answer["candidates"].as_array().unwrap().iter();
        let name = |one: &Value| one["policy"]["name"].as_str().unwrap().to_owned();
        candidates.map(name).collect()
    };
    let own = told(&app, ACME, &question).await;
    assert_eq!(names(&own), ["webinar-mics", "quiet-rooms"]);
    let failed = &own["candidates"][1]["failed"];
    assert_eq!(failed["wanted"], "\"quiet-*\"");
    let all = told(&app, OPERATOR, &question).await;
    assert_eq!(
        names(&all),
        [
            "webinar-mics",
            "agents-may-speak",
            "phones",
            "cameras-trial",
            "quiet-rooms"
        ]
    );
    for what in ["in_words", "winner", "losers", "facts", "at", "asked"] {
        assert_eq!(own[what], all[what], "{what}");
    }
    assert_eq!(own["decision"]["enforced"], all["decision"]["enforced"]);
    assert_eq!(own["recorded"]["same_as_recorded"], true);
    app.finish().await;
}

/// As a backtest does: `the_operators_reasons_are_no_tenants_to_read`.
#[tokio::test]
async fn the_operators_reasons_are_told_to_operators_alone() {
    let app = TestApp::new().await;
    app.apply(
        "policies: [{ name: vip, match: { identity: ann }, effect: exempt, reason: she pays },
                      { name: calm, owner: acme, match: {}, effect: mute },
                      { name: own, owner: acme, match: { identity: ben }, effect: exempt, reason: he leads }]",
    )
    .await;
    app.room("call-1", "acme");
    let published =
        ["ann", "ben"].map(|name| app.publish("call-1", Join::new(name), Publish::microphone()));
    app.settle().await;
    let [ann, ben] = published.map(|track| json!({"event_id": event_id(&app, &track.sid)}));
    let of_ann = json!({"facts": {
        "room": {"name": "call-1", "tenant": "acme"}, "participant": {"identity": "ann"},
    }});
    for (question, reason, is_acmes) in [
        (&of_ann, "she pays", false),
        (&ann, "she pays", false),
        (&ben, "he leads", true),
    ] {
        for (token, may_read) in [(ACME, is_acmes), (OPERATOR, true)] {
            let answer = told(&app, token, question).await;
            let in_words = answer["in_words"].as_str().unwrap();
            assert!(in_words.starts_with("left alone: "), "{in_words}");
            assert_eq!(answer.to_string().contains(reason), may_read, "{in_words}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn facts_of_anothers_room_are_refused_and_ones_own_tenant_is_filled_in() {
    let app = TestApp::new().await;
    app.apply(WEBINAR).await;
    let ask = async |token: &str, room: Value| {
        let facts = json!({"room": room, "participant": {"identity": "p", "kind": "SIP"}});
        why(&app, token, &json!({"facts": facts})).await
    };
    for room in [
        json!({"name": "quiet-1", "tenant": "globex"}),
        json!({"name": "quiet-1", "tenant": null}),
        json!({"name": "quiet-1", "metadata": {"auth_id": "globex"}}),
        json!({"name": "quiet-1", "metadata": {"topic": "x"}}),
    ] {
        let refused = ask(ACME, room.clone()).await;
        assert_eq!(refused.outcome(), "403 FORBIDDEN", "{room}");
        assert_eq!(ask(OPERATOR, room).await.status, 200);
    }
    let own = ask(ACME, json!({"name": "quiet-1"})).await.json();
    assert_eq!(own["facts"]["room"]["tenant"], "acme");
    assert_eq!(own["asked"]["sources"]["room.tenant"], "caller");
    assert_eq!(own["winner"]["name"], "phones");
    let unknown = ask(OPERATOR, json!({"name": "quiet-1"})).await.json();
    assert_eq!(unknown["facts"]["room"].get("tenant"), None);
    assert_eq!(unknown["asked"]["wanted"], json!(["room.tenant"]));
    app.finish().await;
}

/// As `what_is_missing_and_what_is_forbidden_are_the_same_bytes` of a mute, by the same check.
#[tokio::test]
async fn a_live_room_is_shown_to_whom_may_mute_there_and_to_nobody_else() {
    let app = Setup::default().start_without_webhooks().await;
    let mine = app.speaker("mine", "acme");
    let theirs = app.speaker("theirs", "globex");
    app.simulator.create_room("nobodys", None);
    let nobodys = app.publish("nobodys", Join::new("speaker"), Publish::microphone());
    let operators = app.speaker("operators", "ops");
    let ask = async |token: &str, room: &str, identity: &str, track: &str| {
        let question = json!({"room": room, "identity": identity, "track": track});
        let told = why(&app, token, &question).await;
        let muted = Answer::to(app.mute(token, room, identity, track, true)).await;
        assert_eq!(told.status, muted.status, "{room} {identity} {track}");
        if told.status != 200 {
            assert_eq!(bytes(&told), bytes(&muted), "{room} {identity} {track}");
            assert_eq!(told.outcome(), "404 PARTICIPANT_NOT_FOUND");
        }
        let all = why(&app, token, &json!({"room": room, "identity": identity})).await;
        (told.status, all.status)
    };
    for (token, room, identity, track, expect) in [
        (ACME, "mine", "speaker", &mine, (200, 200)),
        (GLOBEX, "theirs", "speaker", &theirs, (200, 200)),
        (OPERATOR, "operators", "speaker", &operators, (200, 200)),
        (ACME, "theirs", "speaker", &theirs, (404, 404)),
        (GLOBEX, "mine", "speaker", &mine, (404, 404)),
        (ACME, "nobodys", "speaker", &nobodys.sid, (404, 404)),
        // An operator mutes by hand in its own rooms only, and so it looks.
        (OPERATOR, "mine", "speaker", &mine, (404, 404)),
        (OPERATOR, "nobodys", "speaker", &nobodys.sid, (404, 404)),
        (ACME, "mine", "Speaker", &mine, (404, 404)),
        (ACME, "mine", "speaker", &theirs, (404, 200)),
        (ACME, "theirs", "nobody", &mine, (404, 404)),
        (ACME, "none", "speaker", &mine, (404, 404)),
    ] {
        let outcome = ask(token, room, identity, track).await;
        assert_eq!(outcome, expect, "{token} {room} {identity}");
    }
    // Not even LiveKit's trouble with a participant tells that the room is there.
    let fault = Fault::of(Method::GetParticipant, FaultKind::Unavailable);
    app.simulator.set_faults([fault]);
    for (room, expect) in [
        ("theirs", "404 PARTICIPANT_NOT_FOUND"),
        ("none", "404 PARTICIPANT_NOT_FOUND"),
        ("mine", "502 LIVEKIT_FAILED"),
    ] {
        let question = json!({"room": room, "identity": "speaker"});
        let answer = why(&app, ACME, &question).await;
        assert_eq!(answer.outcome(), expect, "{room}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_token_with_the_scope_to_read_policies_is_needed() {
    let setup = Setup::default().env("AUTH_REQUIRED", "false");
    let app = setup.env("QUELL_JWT_SECRET", JWT_SECRET).start().await;
    let facts = json!({"facts": {"room": {"name": "r"}, "participant": {"identity": "p"}}});
    let url = format!("{}/v1/explain", app.url);
    let nobody = Answer::to(app.http.post(&url).json(&facts)).await;
    assert_eq!(nobody.outcome(), "401 UNAUTHORIZED");
    let in_query = app.http.post(format!("{url}?api_key={ACME}")).json(&facts);
    assert_eq!(Answer::to(in_query).await.outcome(), "401 UNAUTHORIZED");
    for (scope, expect) in [
        (None, "200"),
        (Some("policies:read"), "200"),
        (Some("policies:write mute audit:read"), "403 FORBIDDEN"),
        (Some(""), "403 FORBIDDEN"),
    ] {
        let request = app.http.post(&url).json(&facts);
        let answer = request.bearer_auth(jwt(scope)).send().await.unwrap();
        let status = answer.status().as_u16().to_string();
        assert!(expect.starts_with(&status), "{scope:?}: {status}");
    }
    // Whoever looks into a room needs what a mute needs as well.
    let live = json!({"room": "r", "identity": "p"});
    for (scope, expect) in [("policies:read", "403"), ("policies:read mute", "404")] {
        let request = app.http.post(&url).json(&live);
        let answer = request.bearer_auth(jwt(Some(scope))).send().await.unwrap();
        assert_eq!(answer.status().as_u16().to_string(), expect, "{scope:?}");
    }
    let get = app.api(Verb::GET, ACME, "/v1/explain");
    assert_eq!(Answer::to(get).await.outcome(), "405 METHOD_NOT_ALLOWED");
    app.finish().await;
}

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
            "`at` must be a time with its offset",
        ),
        (
            json!({"event_id": "EV", "at": "2026-03-02T22:30:00"}).to_string(),
            "`at` must be a time with its offset",
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
            "facts.room.name: invalid type: integer `7`",
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
            "there is no \"xxx",
        ),
        (
            "a long number",
            of_facts(&format!("\"created_at\":\"{text}\",")),
            invalid,
            "room.created_at: this is 250000 characters long",
        ),
        (
            "a long tenant",
            of_facts(&format!("\"metadata\":{{\"auth_id\":\"{text}\"}},")),
            "403 FORBIDDEN",
            "another tenant's",
        ),
        (
            "a long name",
            of_facts(&format!("\"sid\":\"{text}\",")),
            invalid,
            "room.sid: this is 250000 characters long",
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
            "`at` must be a time",
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
            "facts.room.metadata: this is nested deeper than 64",
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
            "the body has a key twice: \"event_id\"",
        ),
        (
            "a fact twice",
            of_facts("\"name\":\"q\","),
            invalid,
            "the body has a key twice: \"name\"",
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
