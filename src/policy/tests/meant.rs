//! What was probably meant by what is allowed and does something else, or is refused.

use crate::policy::{Document, Expression, Policy};

/// What is told of a document: all that is wrong, or its warnings.
pub(super) fn told(yaml: &str) -> String {
    match Document::load([("p.yaml", yaml)]) {
        Ok(checked) => {
            let lines: Vec<_> = checked.warnings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        }
        Err(problems) => problems.to_string(),
    }
}

/// What is told of a mute of sound.
fn of(more: &str) -> String {
    told(&format!(
        "policies:\n- {{ name: p, effect: mute, match: {{ type: AUDIO }}, {more} }}"
    ))
}

pub(super) fn check(told: &str, expected: &str, what: &str) {
    match expected {
        "" => assert_eq!(told, "", "{what}"),
        expected => assert!(told.contains(expected), "{what}\n{told}"),
    }
}

#[test]
fn globs_that_are_regular_expressions() {
    const SAYS: &str =
        "this is a glob, and looks like a regular expression; write `*` for any text";
    for (glob, expected) in [
        ("^webinar-.*$", SAYS),
        ("^webinar", SAYS),
        ("webinar$", SAYS),
        (r"host-\d+", SAYS),
        (r"a\.b", SAYS),
        ("(a|b)", SAYS),
        ("(a|b)-*", SAYS),
        ("[0-9]+", SAYS),
        ("(ab)*", SAYS),
        (".*", SAYS),
        ("webinar-.*", SAYS),
        ("webinar-.+", SAYS),
        ("webinar-*", ""),
        ("webinar-?", ""),
        ("[a-z]*", ""),
        ("{a,b}-*", ""),
        ("user.*", ""),
        ("a.b.*", ""),
        (r"a\*b", ""),
        ("a (b) c", ""),
        ("a+b", ""),
        ("$1", ""),
    ] {
        for [before, after] in [["match: { room", "}"], ["match: { identity", "}"]] {
            let policy = format!(
                "policies:\n- {{ name: p, effect: mute, {before}: ['x', '{glob}'] {after} }}"
            );
            check(&told(&policy), expected, glob);
        }
        check(
            &of(&format!("unless: {{ identity: '{glob}', room: x }}")),
            expected,
            glob,
        );
    }
}

#[test]
fn attributes_that_are_globs() {
    for (value, expected) in [
        (
            "ho*",
            "attributes are compared exactly: this looks like a glob; list",
        ),
        ("[a-c]", "this looks like a glob"),
        ("{a,b}", "this looks like a glob"),
        ("^host$", "this looks like a regular expression"),
        (r"\d+", "this looks like a regular expression"),
        ("host", ""),
        ("+49 30 (0) 1234", ""),
        (r#"{"a": ["b"]}"#, ""),
        ("", ""),
        ("$", ""),
    ] {
        let told = of(&format!(
            "unless: {{ identity: x, attributes: {{ role: ['{value}'] }} }}"
        ));
        check(&told, expected, value);
    }
}

#[test]
fn text_in_expressions_that_is_a_glob() {
    for (when, expected) in [
        (
            r#"participant.identity == "host-*""#,
            "`==` compares text as it is, and \"host-*\" looks like a glob (line 1, column 1)",
        ),
        (
            r#"participant.identity == "host-*""#,
            "write `.startsWith(\"host-\")` after the field",
        ),
        (
            r#""*-host" == participant.identity"#,
            "write `.endsWith(\"-host\")` after the field",
        ),
        (
            r#"room.name != "*x*""#,
            "write `.contains(\"x\")` after the field",
        ),
        (
            r#"room.name == "a*b""#,
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        (
            r#"room.name == "*""#,
            "use startsWith, endsWith or contains",
        ),
        (
            r#"room.name in ["a", "b-*"]"#,
            "`in` compares text as it is, and \"b-*\" looks like a glob",
        ),
        (
            r#"room.name.startsWith("webinar-*")"#,
            "write \"webinar-\" without the `*`",
        ),
        (
            r#"!room.name.endsWith("*-x")"#,
            "endsWith compares text as it is",
        ),
        (
            r#"room.name.contains("(a|b)")"#,
            "looks like a regular expression",
        ),
        (r#"room.name == "^a$""#, "looks like a regular expression"),
        (
            r#"participant.attributes.role == "h[ao]st""#,
            "looks like a glob",
        ),
        (r#"room.metadata.title == "{a,b}""#, "looks like a glob"),
        (
            r#"room.name == "a" || room.name == "b*""#,
            "and \"b*\" looks like a glob (line 1, column 21)",
        ),
        (r#"room.name == "webinar-1""#, ""),
        (r#"room.name.startsWith("v1.")"#, ""),
        (r#"room.name < "b*""#, ""),
    ] {
        // In single quotes, as `when` mostly is.
        check(&of(&format!("when: '{when}'")), expected, when);
    }
}

#[test]
fn owners_that_are_no_tenant() {
    for (owner, expected) in [
        (
            "'*'",
            "p.yaml:2:59: policies[0].owner: an owner is one tenant, named in full; leave `owner` out for the operator, whose policies are about every room",
        ),
        ("'acme-*'", "an owner is one tenant"),
        ("'?'", "an owner is one tenant"),
        ("'[a-z]'", "an owner is one tenant"),
        ("'{acme,globex}'", "an owner is one tenant"),
        ("operator", "an owner is one tenant"),
        ("(operator)", "an owner is one tenant"),
        ("acme", ""),
        ("acme.example", ""),
        ("operators-inc", ""),
    ] {
        check(&of(&format!("owner: {owner}")), expected, owner);
    }
}

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
            "there is no key \"when\"; put it beside `match`, not below it",
        ),
        (
            policy("unless: { effect: mute }"),
            "there is no key \"effect\"; put it beside",
        ),
        (
            policy("unless: { cron: x }"),
            "put it below `active`, beside `match`",
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
    let refused = Policy::from_json(json, None).unwrap_err().to_string();
    assert_eq!(refused, format!("match.type[0]: {SAYS}; {HINT}"));
    // As a fact it is a word like any other that no policy names.
    let facts = super::make::facts();
    let mut stored = serde_json::to_value(facts).unwrap();
    stored["track"]["type"] = "DATA".into();
    let read: crate::policy::Facts = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(read.track.type_.as_str(), "DATA");
    assert_eq!(serde_json::to_value(read).unwrap(), stored);
}
