//! Keys, operators and words that are those of another map, another language, another kind.

use super::meant::{check, of, told};
use crate::case::CaseFile;
use crate::{Document, Expression, Policy};

#[test]
fn operators_that_are_none() {
    for (when, expected) in [
        (
            "room.num_participants => 10",
            "`=>` compares nothing (line 1, column 23)",
        ),
        ("room.num_participants => 10", "^^ write `>=`"),
        ("room.num_participants =< 10", "^^ write `<=`"),
        ("room.name =! 'x'", "^^ write `!=`"),
        ("room.name <> 'x'", "^^ write `!=`"),
        ("room.name >< 'x'", "^^ write `!=`"),
        ("room.name === 'x'", "^^^ write `==`"),
        ("room.name !== 'x'", "^^^ write `!=`"),
        ("room.name = 'x'", "^ write `==`"),
        (
            "room.name =~ 'x.*'",
            "^^ use startsWith, endsWith or contains",
        ),
        (
            "room.name ~= 'x.*'",
            "^ use startsWith, endsWith or contains",
        ),
        ("room.num_participants ≥ 10", "^ write `>=`"),
        ("room.num_participants ≤ 10", "^ write `<=`"),
        ("room.name ≠ 'x'", "^ write `!=`"),
        (
            "room.active_recording & participant.is_publisher",
            "write `&&`",
        ),
        (
            "room.active_recording | participant.is_publisher",
            "write `||`",
        ),
        (
            "room.active_recording and participant.is_publisher",
            "write `&&`",
        ),
        (
            "room.active_recording or participant.is_publisher",
            "write `||`",
        ),
        (
            "not room.active_recording",
            "write `!` before what must not hold",
        ),
        (
            "room.name not in ['x']",
            "write `!` before what must not hold",
        ),
        ("room.name is 'x'", "write `==`"),
        ("room.name is not 'x'", "write `==`, or `!=`"),
        (
            "room.name startsWith 'x'",
            "such as `room.name.startsWith(\"a\")`",
        ),
        (
            "room.name like 'x%'",
            "such as `room.name.startsWith(\"a\")`",
        ),
        ("room.name eq 'x'", "write `==`"),
    ] {
        let refused = Expression::parse(when).unwrap_err().to_string();
        check(&refused, expected, when);
    }
}

#[test]
fn keys_that_stand_in_another_map() {
    let policy = |more: &str| {
        format!("policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  {more}\n")
    };
    let window = |more: &str| {
        policy(&format!(
            "active: {{ cron: 0 22 * * *, duration: 1h, timezone: UTC, {more} }}"
        ))
    };
    for (yaml, expected) in [
        (
            policy("room: x"),
            "5:3: policies[0]: there is no key \"room\"; put it below `match`",
        ),
        (
            policy("identity: x"),
            "there is no key \"identity\"; put it below `match`",
        ),
        (
            policy("source: CAMERA"),
            "there is no key \"source\"; put it below `match`",
        ),
        (
            policy("type: AUDIO"),
            "there is no key \"type\"; put it below `match`",
        ),
        (
            policy("kind: SIP"),
            "there is no key \"kind\"; put it below `match`",
        ),
        (
            policy("attributes: {a: b}"),
            "there is no key \"attributes\"; put it below `match`",
        ),
        (
            policy("cron: 0 22 * * *"),
            "there is no key \"cron\"; put it below `active`",
        ),
        (
            policy("duration: 1h"),
            "there is no key \"duration\"; put it below `active`",
        ),
        (
            policy("timezone: UTC"),
            "there is no key \"timezone\"; put it below `active`",
        ),
        (
            policy("unless: { when: x }"),
            "there is no key \"when\"; put it beside `unless`, not below it",
        ),
        (
            policy("unless: { effect: mute }"),
            "there is no key \"effect\"; put it beside",
        ),
        (
            policy("unless: { cron: x }"),
            "put it below `active`, beside `unless`",
        ),
        (
            window("first: 10m"),
            "there is no key \"first\"; put it beside `active`, not below it",
        ),
        (
            window("not_after: 2030-01-01T00:00:00Z"),
            "put it beside `active`, not below it",
        ),
        (
            window("room: x"),
            "there is no key \"room\"; put it below `match`",
        ),
        (
            "name: p\neffect: mute\n".to_owned(),
            "there is no key \"name\"; put it below `policies`",
        ),
        (
            policy("colour: red"),
            "there is no key \"colour\"; one of name, owner",
        ),
        (
            policy("mod: off"),
            "there is no key \"mod\"; did you mean mode?",
        ),
    ] {
        check(&told(&yaml), expected, &yaml);
    }
}

#[test]
fn no_track_is_of_the_type_data() {
    const SAYS: &str = "no track is ever of the type DATA: LiveKit tells of none that carries data";
    const HINT: &str =
        "write AUDIO or VIDEO; only a token without `canPublishData` stops what is sent as data";
    for more in [
        "match: { type: DATA }",
        "match: { type: [AUDIO, DATA] }",
        "match: { type: data }",
        "match: { room: x }, unless: { type: DATA }",
        "match: { room: x }, when: 'track.type == \"DATA\"'",
        "match: { room: x }, when: '\"DATA\" != track.type'",
        "match: { room: x }, when: 'track.type in [\"AUDIO\", \"DATA\"]'",
    ] {
        let yaml = format!("policies:\n- {{ name: p, effect: mute, {more} }}");
        check(&told(&yaml), SAYS, more);
        check(&told(&yaml), HINT, more);
    }
    let json = br#"{"name": "p", "effect": "mute", "match": {"type": ["DATA"]}}"#;
    let refused = Policy::from_json(json, &crate::Owner::Operator)
        .unwrap_err()
        .to_string();
    assert_eq!(refused, format!("match.type[0]: {SAYS}; {HINT}"));
    // As a fact it is a word like any other that no policy names.
    let facts = super::make::facts();
    let mut stored = serde_json::to_value(facts).unwrap();
    stored["track"]["type"] = "DATA".into();
    let read: crate::Facts = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(read.track.type_.as_str(), "DATA");
    assert_eq!(serde_json::to_value(read).unwrap(), stored);
}

#[test]
fn details_that_go_with_another_kind() {
    const SAYS: &str = " is a detail of the kind ";
    for (words, expected) in [
        (
            "kind: SIP, kind_details: CONNECTOR_TWILIO",
            "CONNECTOR_TWILIO is a detail of the kind CONNECTOR, which this does not name; write `kind: CONNECTOR`, or leave `kind` out",
        ),
        (
            "kind: STANDARD, kind_details: CLOUD_AGENT",
            "CLOUD_AGENT is a detail of the kind AGENT",
        ),
        (
            "kind: [SIP, AGENT], kind_details: [BRIDGE_RTSP, CONNECTOR_WHATSAPP]",
            SAYS,
        ),
        ("kind: [SIP, CONNECTOR], kind_details: CONNECTOR_TWILIO", ""),
        ("kind: AGENT, kind_details: [CLOUD_AGENT, BRIDGE_RTSP]", ""),
        ("kind: SIP, kind_details: FORWARDED", ""),
        ("kind_details: CONNECTOR_TWILIO", ""),
    ] {
        check(&of(&format!("unless: {{ {words} }}")), expected, words);
        let policy = format!("policies:\n- {{ name: p, effect: mute, match: {{ {words} }} }}");
        check(&told(&policy), expected, words);
    }
}

#[test]
fn keys_of_other_programs() {
    let policy = |more: &str| {
        format!("policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  {more}\n")
    };
    for (more, expected) in [
        (
            "rooms: x",
            "there is no key \"rooms\"; write `room`, and put it below `match`",
        ),
        (
            "Room: x",
            "there is no key \"Room\"; write `room`, and put it below `match`",
        ),
        (
            "identities: x",
            "write `identity`, and put it below `match`",
        ),
        ("sources: x", "write `source`, and put it below `match`"),
        (
            "attribute: {a: b}",
            "write `attributes`, and put it below `match`",
        ),
        (
            "kind-details: x",
            "write `kind_details`, and put it below `match`",
        ),
        ("Cron: x", "write `cron`, and put it below `active`"),
        ("tz: x", "write `timezone`, and put it below `active`"),
        ("Unless: x", "write `unless`"),
        ("action: mute", "there is no key \"action\"; write `effect`"),
        ("enabled: false", "write `mode`, such as `mode: off`"),
        ("until: x", "write `not_after`"),
        ("from: x", "write `not_before`"),
        ("tenant: x", "write `owner`"),
        ("if: x", "write `when`"),
        ("except: x", "write `unless`"),
        ("schedule: x", "write `active`"),
        (
            "unless: {when: x}",
            "there is no key \"when\"; put it beside `unless`, not below it",
        ),
        (
            "unless: {unless: {}}",
            "put it beside `unless`, not below it",
        ),
        (
            "unless: {if: x}",
            "write `when`, and put it beside `unless`, not below it",
        ),
        ("unless: {rooms: x}", "write `room`"),
        (
            "unless: {role: x}",
            "did you mean room? an attribute stands below `attributes`",
        ),
        (
            "unless: {team: x}",
            "an attribute stands below `attributes`; else one of room, identity",
        ),
        (
            "unless: {tenant: x}",
            "write `owner`, and put it beside `unless`, not below it",
        ),
        (
            "unless: {room:x}",
            "there is no key \"room:x\"; put a space behind the `:`",
        ),
        (
            "active: [{cron: 0 22 * * *, duration: 1h, tz: UTC}]",
            "write `timezone`",
        ),
        (
            "active: [{cron: 0 22 * * *, duration: 1h, timezone: UTC, until: x}]",
            "write `not_after`, and put it beside `active`",
        ),
    ] {
        check(&told(&policy(more)), expected, more);
    }
    check(
        &told("- name: p\n"),
        "p.yaml:1:1: this is a list without a key; put `policies:` on a line above it",
        "",
    );
    let tests = |text: &str| CaseFile::read("t", text).unwrap_err().to_string();
    check(&tests("- name: p\n"), "put `tests:` on a line above it", "");
    // They mean nothing there.
    check(
        &tests("tests: [{name: p, expect: nothing, enabled: true}]"),
        "there is no key \"enabled\"; one of name",
        "",
    );
}

#[test]
fn files_of_json_are_json() {
    const COMMENT: &str =
        "this is a comment, and JSON has none; take it out, or write the file as YAML";
    const MALFORMED: &str = "this is not JSON that can be read: ";
    for (text, expected) in [
        ("{\"policies\": []}", ""),
        ("\u{feff}{\"policies\":\t[]\r\n}", ""),
        ("{\"policies\": [] // x\n}", COMMENT),
        ("{\"policies\": [] // x\n}", "p.json:1:17: "),
        ("{\"policies\": [] # x\n}", COMMENT),
        ("// x\n{\"policies\": []}", COMMENT),
        ("{\"policies\": []} // x", COMMENT),
        ("{\"policies\": /* x */ []}", COMMENT),
        (
            "{\"policies\": [],}",
            "a comma stands behind the last entry; take it out",
        ),
        (
            "{\"policies\": [1,\n]}",
            "p.json:2:1: a comma stands behind the last entry",
        ),
        (
            "{'policies': []}",
            "JSON puts text in double quotes; write `\"`",
        ),
        (
            "{policies: []}",
            "key must be a string; put text and keys in double quotes",
        ),
        (
            "{\"policies\": [{\"name\": a}]}",
            "expected value; put text and keys in double quotes",
        ),
        (
            "{\"policies\": [{\"name\": \"a\\_\"}]}",
            "invalid escape; write `\\\\` for a backslash",
        ),
        ("{\"policies\": []", MALFORMED),
        ("policies: []", MALFORMED),
        ("", "there are no policies here"),
        (
            "{\"policies\": [{\"name\": \"p\", \"effect\": \"mute\", \"match\": {\"room\": \"a\\n\"}}]}",
            "p.json:1:65: policies[0].match.room: \"a\\n\" ends with a line break",
        ),
    ] {
        let told = match Document::load([("p.json", text)]) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        };
        check(&told, expected, text);
    }
    assert!(CaseFile::read("p.test.JSON", "tests: []").is_err());
    assert!(CaseFile::read("p.test.json", "{\"tests\": []}").is_ok());
}
