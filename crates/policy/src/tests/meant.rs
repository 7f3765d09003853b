//! What was probably meant by texts that are allowed and say something else.

use crate::Document;

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
pub(super) fn of(more: &str) -> String {
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
#[expect(clippy::too_many_lines, reason = "a table")]
fn globs_that_are_something_else() {
    const REGEX: &str = "this glob looks like a regular expression: ";
    const SEVERAL: &str = "this glob has several names in it: ";
    const END: &str = "this glob ends with a sign that is no part of a name: ";
    const QUOTE: &str = "this glob has quotes in it, which are a part of the name: ";
    for (glob, says, meant) in [
        ("^webinar-.*$", REGEX, "`webinar-*`"),
        ("^webinar", REGEX, "`webinar*`"),
        ("webinar$", REGEX, "`*webinar`"),
        (r"host-\d+", REGEX, "`host-*`"),
        (r"host-\d", REGEX, "`host-[0-9]`"),
        (r"host-\d{4}", REGEX, "`host-[0-9][0-9][0-9][0-9]`"),
        (r"\S+", REGEX, "`*`"),
        (r"a\.b", REGEX, "`a.b`"),
        ("(a|b)", REGEX, "`{a,b}`"),
        ("(a|b)-*", REGEX, "`*` for any text"),
        ("(?:a|b)-.*", REGEX, "`{a,b}-*`"),
        ("lobby|hall", REGEX, "`{lobby,hall}`"),
        ("a|b", REGEX, "`{a,b}`"),
        ("^(a|b)$", REGEX, "`{a,b}`"),
        ("/^webinar/", REGEX, "`webinar*`"),
        ("/webinar/i", REGEX, "`*webinar*`"),
        ("[0-9]+", REGEX, "`*`"),
        ("[0-9]{4}", REGEX, "`[0-9][0-9][0-9][0-9]`"),
        ("webinar-[0-9]{3}", REGEX, "`webinar-[0-9][0-9][0-9]`"),
        ("webinar-[0-9]{3,8}", REGEX, "`webinar-*`"),
        ("a-.{3}", REGEX, "`a-???`"),
        ("(ab)*", REGEX, "`*` for any text"),
        (".*", REGEX, "`*`"),
        ("webinar-.*", REGEX, "`webinar-*`"),
        ("webinar-.+", REGEX, "`webinar-*`"),
        ("a.+b", REGEX, "`a*b`"),
        (
            "webinar-%",
            "this glob looks like a pattern of SQL: ",
            "`webinar-*`",
        ),
        (
            "%host",
            "this glob looks like a pattern of SQL: ",
            "`*host`",
        ),
        (
            "!lobby-*",
            "this glob starts with `!`, which turns nothing around: ",
            "or `\\!lobby-*` for a name that starts so",
        ),
        ("webinar-*, class-*", SEVERAL, "`[webinar-*, class-*]`"),
        ("webinar-* class-*", SEVERAL, "`[webinar-*, class-*]`"),
        ("host-1 host-2", SEVERAL, "`[host-1, host-2]`"),
        ("a;b", SEVERAL, "`[a, b]`"),
        ("a，b", SEVERAL, "`[a, b]`"),
        (r#"["a", "b"]"#, SEVERAL, "`[a, b]`"),
        ("[host1 host2]", SEVERAL, "`[host1, host2]`"),
        ("webinar-*,", END, "`webinar-*`"),
        ("webinar-*;", END, "`webinar-*`"),
        ("“a”", QUOTE, "; take them out"),
        ("a\"", QUOTE, ""),
        ("\"a\"", QUOTE, ""),
        ("`a`", QUOTE, ""),
        (
            "${{ROOM}}",
            "this glob has a variable in it, which nothing replaces: ",
            "",
        ),
        (
            r"CORP\bob",
            r"this glob has a `\` in it, which makes the next character plain: ",
            r"`CORP\\bob` for a backslash",
        ),
        // Names have signs of their own.
        ("webinar-*", "", ""),
        ("webinar-?", "", ""),
        ("[a-z]*", "", ""),
        ("[ ]", "", ""),
        ("[a,]", "", ""),
        ("{a,b}-*", "", ""),
        ("{a, b}", "", ""),
        ("a.b.*", "", ""),
        (r"a\*b", "", ""),
        ("a (b) c", "", ""),
        ("a+b", "", ""),
        ("$1", "", ""),
        (r"CORP\\bob", "", ""),
        (r"CORP\\*", "", ""),
        ("*.*", "", ""),
        ("{alice,bob}.*", "", ""),
        ("host_.*", "", ""),
        ("v[0-9].*", "", ""),
        ("v1.*", "", ""),
        ("Team (Sales|EU)", "", ""),
        ("room (1)?", "", ""),
        ("room(1)*", "", ""),
        ("C.++", "", ""),
        ("^_^", "", ""),
        ("100%", "", ""),
        ("US$", "", ""),
        ("10$", "", ""),
        ("*@acme.com", "", ""),
        ("a+b@x.org", "", ""),
        ("sip_+49*", "", ""),
        ("Room 1", "", ""),
        ("Team A-1", "", ""),
        ("web{1,2}", "", ""),
    ] {
        let glob = &glob.replace("{{", "{").replace("}}", "}");
        let quoted = format!("'{}'", glob.replace('\'', "''"));
        let found = [
            told(&format!(
                "policies:\n- {{ name: p, effect: mute, match: {{ room: ['x', {quoted}] }} }}"
            )),
            told(&format!(
                "policies:\n- {{ name: p, effect: mute, match: {{ identity: {quoted} }} }}"
            )),
            of(&format!("unless: {{ identity: {quoted}, room: x }}")),
        ];
        for told in found {
            if says.is_empty() {
                check(&told, "", glob);
            } else {
                check(&told, &format!("{says}{glob:?}"), glob);
                check(&told, if meant.is_empty() { says } else { meant }, glob);
            }
        }
    }
    check(&of("unless: { identity: '!a' }"), "put `a` in `match`", "");
    let policy = "policies: [{ name: p, effect: mute, match: { room: '!a' } }]";
    check(&told(policy), "put `a` in `unless`", policy);
    // Rooms seldom have dots, and identities often do.
    for (glob, expected) in [
        (
            "webinar.*",
            "this glob looks like a regular expression: \"webinar.*\"; write `webinar*`",
        ),
        ("web-inar.*", "write `web-inar*`"),
        ("v1.*", ""),
        ("a.b.*", ""),
    ] {
        check(&of(&format!("unless: {{ room: {glob} }}")), expected, glob);
        check(&of(&format!("unless: {{ identity: {glob} }}")), "", glob);
    }
}

#[test]
fn attributes_that_are_globs() {
    for (value, expected) in [
        (
            "ho*",
            "attributes are compared exactly, and \"ho*\" looks like a glob; write `participant.attributes.role.startsWith(\"ho\")` in `when`",
        ),
        (
            "*",
            "write `has(participant.attributes.role)` in `when` to ask whether it is there",
        ),
        ("*st", "looks like a glob; list the values that are meant"),
        ("[a-c]", "looks like a glob"),
        ("{a,b}", "looks like a glob"),
        ("^host$", "looks like a regular expression"),
        (r"\d+", "looks like a regular expression"),
        ("host-.*", "looks like a regular expression"),
        ("host", ""),
        ("+49 30 (0) 1234", ""),
        (r#"{"a": ["b"]}"#, ""),
        ("", ""),
        ("$", ""),
        ("US$", ""),
        ("10$", ""),
        ("***", ""),
        ("**bold**", ""),
        ("*31#0301234", ""),
        ("[Staff] Ann", ""),
        ("{3f2504e0-4f89}", ""),
        (r"CORP\willi", ""),
        ("host|guest", ""),
    ] {
        let told = of(&format!(
            "unless: {{ identity: x, attributes: {{ role: ['{value}'] }} }}"
        ));
        check(&told, expected, value);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn text_in_expressions_that_is_a_glob() {
    for (when, expected) in [
        (
            r#"participant.identity == "host-*""#,
            "`==` compares text as it is, and \"host-*\" looks like a glob (line 1, column 1)",
        ),
        (
            r#"participant.identity == "host-*""#,
            r#" write `participant.identity.startsWith("host-")`"#,
        ),
        (
            r#""*-host" == participant.identity"#,
            r#" write `participant.identity.endsWith("-host")`"#,
        ),
        (
            r#"participant.identity == "*x*""#,
            r#" write `participant.identity.contains("x")`"#,
        ),
        // What is turned around stays so.
        (
            r#"participant.identity != "host-*""#,
            r#" write `!participant.identity.startsWith("host-")`"#,
        ),
        (
            r#""*-host" != participant.identity"#,
            r#" write `!participant.identity.endsWith("-host")`"#,
        ),
        (
            r#"participant.name != "*admin*""#,
            r#" write `!participant.name.contains("admin")`"#,
        ),
        (
            r#"!(participant.identity == "host-*")"#,
            r#" write `participant.identity.startsWith("host-")`"#,
        ),
        (
            r#"participant.name in ["a", "b*"]"#,
            r#" write `participant.name in ["a"] || participant.name.startsWith("b")`"#,
        ),
        (
            r#"participant.name in ["a*", "*b"]"#,
            r#" write `participant.name.startsWith("a") || participant.name.endsWith("b")`"#,
        ),
        (
            r#"!(participant.name in ["a", "b*"])"#,
            r#" write `participant.name in ["a"] || participant.name.startsWith("b")`"#,
        ),
        (
            r#"room.active_recording && participant.name in ["a", "b*"]"#,
            r#" write `(participant.name in ["a"] || participant.name.startsWith("b"))`"#,
        ),
        (
            r#"room.active_recording && participant.name in ["b*"]"#,
            r#" write `participant.name.startsWith("b")`"#,
        ),
        (
            r#"room.name in ["a", "b*c"]"#,
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        (
            r#"room.name.startsWith("webinar-*")"#,
            r#" write `room.name.startsWith("webinar-")`"#,
        ),
        (
            r#"room.name.startsWith("*-webinar")"#,
            r#" write `room.name.endsWith("-webinar")`"#,
        ),
        (
            r#"room.name.startsWith("*web*")"#,
            r#" write `room.name.contains("web")`"#,
        ),
        (
            r#"!room.name.endsWith("*-x")"#,
            r#" write `room.name.endsWith("-x")`"#,
        ),
        (
            r#"room.name.endsWith("web*")"#,
            r#" write `room.name.startsWith("web")` or `room.name.contains("web")`"#,
        ),
        (
            r#"room.name.endsWith("*web*")"#,
            r#" write `room.name.contains("web")`"#,
        ),
        (
            r#"room.name.contains("*web")"#,
            r#" write `room.name.contains("web")`"#,
        ),
        (
            r#"participant.attributes["sip.x"] == "a*""#,
            r#" write `participant.attributes["sip.x"].startsWith("a")`"#,
        ),
        (
            r#"participant.attributes.lang == "*""#,
            " write `has(participant.attributes.lang)`",
        ),
        (
            r#"participant.attributes.lang != "*""#,
            " write `!has(participant.attributes.lang)`",
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
            r#"room.name.contains("^a.*$")"#,
            "looks like a regular expression",
        ),
        (
            r#"room.name.contains("^a.*$")"#,
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        (
            r#"room.name.startsWith("^b")"#,
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        (
            r#"room.name.contains("(a|b)")"#,
            "looks like a regular expression",
        ),
        (r#"room.name == "^a$""#, "looks like a regular expression"),
        (r#"room.name == "web-%""#, "looks like a regular expression"),
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
        (r#"room.name.contains("*")"#, ""),
        (r#"room.name.startsWith("[guest]")"#, ""),
        (r#"room.name.contains("(bot)")"#, ""),
        (r#"room.name.contains(" (?)")"#, ""),
        (r#"room.name.endsWith("US$")"#, ""),
        (r#"room.metadata.price == "10$""#, ""),
        (r#"room.metadata.phone == "*31#0301234""#, ""),
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
            "p.yaml:2:59: policies[0].owner: an owner is one tenant, named in full, and this is \"*\"; leave `owner` out for the operator, whose policies are about every room",
        ),
        ("'acme-*'", "an owner is one tenant"),
        ("'?'", "an owner is one tenant"),
        ("'[a-z]'", "an owner is one tenant"),
        ("'{acme,globex}'", "an owner is one tenant"),
        ("operator", "an owner is one tenant"),
        ("(operator)", "an owner is one tenant"),
        ("Operator", "an owner is one tenant"),
        ("all", "an owner is one tenant"),
        ("any", "an owner is one tenant"),
        ("'acme, globex'", "an owner is one tenant"),
        ("acme", ""),
        ("acme.example", ""),
        ("operators-inc", ""),
        ("allianz", ""),
    ] {
        check(&of(&format!("owner: {owner}")), expected, owner);
    }
}
