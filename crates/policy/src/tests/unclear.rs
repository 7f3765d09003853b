//! What would be read as something else than a person sees in it is refused.

use super::meant::{check, told};
use crate::case::CaseFile;
use crate::{Expression, Policy};

/// What is told of a mute of sound with more lines below its keys.
fn of(more: &str) -> String {
    told(&format!(
        "policies:\n- name: p\n  effect: mute\n  match: {{type: AUDIO}}\n{more}"
    ))
}

const LINES: &str = "this text goes on over several lines, of which YAML makes one; put it on one line; a list has `- ` before each item";
const JOINED: &str =
    "YAML joins this line to the one before it; put text of several lines below `|`";
const DASH: &str =
    "an item of a list starts with `- `, a dash and a space; write that, or put the text in quotes";
const BREAK: &str =
    "the line breaks within a text, and YAML makes a space of that; write that on one line";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn lines_that_yaml_joins() {
    let unless = |more: &str| of(&format!("  unless:\n    identity:{more}\n"));
    for (more, expected) in [
        ("\n      - host-ann\n       - host-bob", LINES),
        (
            "\n      - host-ann\n       - host-bob",
            "p.yaml:8:8: policies[0].unless.identity[0]: this text",
        ),
        ("\n      - host-ann\n        - host-bob", LINES),
        ("\n      host-ann\n      host-bob", LINES),
        ("\n      - host-ann\n        host-bob", LINES),
        ("\n      -host-ann\n      -host-bob", LINES),
        ("\n      -host-ann", DASH),
        ("\n      • host-ann\n      • host-bob", LINES),
        ("\n      • host-ann", DASH),
        ("\n      – host-ann", DASH),
        (
            "\n      * host-ann",
            "`*` starts a YAML alias here, not text; put it in quotes",
        ),
        ("\n      + host-ann", DASH),
        (" [\n      host-ann\n      host-bob\n    ]", LINES),
        ("\n      - 'host-ann\n       - host-bob'", LINES),
        ("\n      - \"host-ann\n        host-bob\"", LINES),
        (
            "\n      - \"host-ann\\\n        host-bob\"",
            "a `\\` at the end of a line joins it to the next one",
        ),
        ("\n      - >-\n        host-ann\n        host-bob", LINES),
        (
            "\n      - |-\n        host-ann\n        host-bob",
            "has several lines, and may have only one; put it on one line",
        ),
        (
            "\n      - |\n        host-ann",
            "ends with a line break, and may have none; in YAML, write the text on the line of its key, or `|-` for `|`",
        ),
        ("\n      - >-\n        host-ann", ""),
        ("\n      - |-\n        host-ann", ""),
        ("\n      host-ann", ""),
        (" -host-ann", ""),
        ("\n      '-host-ann'", ""),
        (" [host-ann,\n      host-bob\n    ]", ""),
    ] {
        check(&unless(more), expected, more);
    }
    for (more, expected) in [
        ("  owner: acme\n    globex", LINES),
        ("  mode: dry_run\n    off", LINES),
        (
            "  unless:\n    attributes:\n      role:\n        - host\n          - guest",
            LINES,
        ),
        (
            "  unless:\n    attributes:\n      a:b\n      c:d",
            "put a space behind the `:`",
        ),
        (
            "  unless:\n    room:x",
            "expected a map, found the text \"room:x\"; put a space behind the `:`",
        ),
        (
            "  active:\n    cron: 0 22 * * *\n      0 8 * * *\n    duration: 1h\n    timezone: UTC",
            LINES,
        ),
        // Prose may go on over lines, but not with what looks like a list.
        ("  description: a\n    b", ""),
        ("  description: 'a\n    b'", ""),
        ("  description: a\n    -b", ""),
        ("  description: a\n    - b", JOINED),
        (
            "  description: a\n    b\n    * c",
            "p.yaml:7:5: policies[0].description: YAML joins",
        ),
        ("  description: 'a\n    • b'", JOINED),
        ("  description: |\n    - a\n    - b", ""),
        ("  description: >\n    - a\n    - b", ""),
        // Expressions may as well, but not within a text or behind a comment.
        (
            "  when: room.name == 'a'\n    && participant.is_publisher",
            "",
        ),
        (
            "  when: 'room.name == \"it''s\"\n    && participant.is_publisher'",
            "",
        ),
        (
            "  when: \"room.name == \\\"a\\\"\n    && participant.is_publisher\"",
            "",
        ),
        (
            "  when: >-\n    room.name == 'a'\n    && participant.is_publisher",
            "",
        ),
        (
            "  when: |\n    room.name == 'a'\n    && participant.is_publisher // so",
            "",
        ),
        ("  when: room.name == \"a\n    b\"", BREAK),
        (
            "  when: room.name == \"a\n    b\"",
            "p.yaml:6:5: policies[0].when: the line breaks",
        ),
        ("  when: 'room.name == \"a\n    b\"'", BREAK),
        ("  when: 'room.name == ''a\n    b'' '", BREAK),
        ("  when: \"room.name == 'a\n    b'\"", BREAK),
        ("  when: \"room.name == \\\"a\n    b\\\"\"", BREAK),
        ("  when: >-\n    room.name.startsWith('a\n    b')", BREAK),
        ("  when: >-\n    room.name.startsWith(r'a\\'\n    )", ""),
        (
            "  when: |-\n    room.name.startsWith('a\n    b')",
            "text ends on the line on which it starts",
        ),
        (
            "  when: room.name == 'a' // so\n    && participant.is_publisher",
            "which ends in a comment",
        ),
    ] {
        check(&of(more), expected, more);
    }
}

#[test]
fn signs_that_are_not_seen() {
    const UNSEEN: &str = "has a sign in it that is not seen: U+";
    for (more, expected) in [
        (
            "  unless: {room: webinar-*\u{a0}# all\n  }",
            "no comment starts at this `#`: before it is no space, but U+00A0",
        ),
        (
            "  unless: {room: a\u{a0}}",
            "has a sign in it that is not seen: U+00A0, a no-break space; take it out; `?` stands for any character",
        ),
        ("  unless: {room: \"a\\u00a0b\"}", UNSEEN),
        ("  unless: {room: a\u{200b}b}", UNSEEN),
        ("  unless: {identity: [x, a\u{2009}b]}", UNSEEN),
        ("  unless:\n    identity:\n      -\u{a0}a", DASH),
        (
            "  unless: {room: ' a'}",
            "starts with a blank (U+0020); take it out",
        ),
        ("  unless: {room: 'a '}", "ends with a blank (U+0020)"),
        ("  unless: {room: 'a b'}", ""),
        ("  unless: {room: 'a[ ]'}", ""),
        ("  unless: {room: 会議\u{3000}室}", ""),
        ("  owner: \"acme\\u200b\"", UNSEEN),
        ("  owner: ' acme'", "starts with a blank"),
        (
            "  unless: {identity: x, attributes: {'role ': a}}",
            "ends with a blank",
        ),
        (
            "  unless: {identity: x, attributes: {role: ['a ']}}",
            "ends with a blank",
        ),
        (
            "  unless: {identity: x, attributes: {role: \"a\\ufeff\"}}",
            UNSEEN,
        ),
        ("  unless: {identity: x, attributes: {role: ''}}", ""),
        ("  description: Silence\u{a0}!", ""),
        ("  description: 👩\u{200d}💻", ""),
        ("  description: a\u{a0}# b", "no comment starts at this `#`"),
        (
            "  description: \"a\\u200bb\"",
            "a sign in this text is not seen: U+200B",
        ),
        (
            "  description: \"a\\u2028b\"",
            "a sign in this text is not seen: U+2028",
        ),
        (
            "  # a\u{2028}  unless: {identity: b}",
            "5:6: here is U+2028, a line separator: some programs end the line there, and others do not",
        ),
        ("  # a\u{85}  unless: {identity: b}", "here is U+0085"),
        (
            "  # a\r  unless: {identity: b}",
            "a line ends here by a carriage return alone (U+000D)",
        ),
        (
            "  description: 'a\rb'",
            "a line ends here by a carriage return alone (U+000D)",
        ),
        (
            "  # \u{202e}a",
            "here is U+202E, which turns the order of text around: what is shown is not what is read",
        ),
    ] {
        check(&of(more), expected, more);
    }
    for (glob, expected) in [
        ("a\u{a0}", UNSEEN),
        ("a ", "ends with a blank"),
        ("a b", ""),
    ] {
        let json = serde_json::json!({"name": "p", "effect": "mute", "match": {"room": glob}});
        let told = Policy::from_json(json.to_string().as_bytes(), &crate::Owner::Operator);
        let told = told.map_or_else(|problems| problems.to_string(), |_| String::new());
        check(&told, expected, glob);
    }
}

#[test]
fn escapes_that_json_does_not_have() {
    for escape in [
        "_",
        "N",
        "L",
        "P",
        " ",
        "x41",
        "e",
        "a",
        "v",
        "0",
        "U0001F600",
    ] {
        let first: String = escape.chars().take(1).collect();
        let says = format!("`\\{first}` is no escape of JSON's; put the text in single quotes");
        check(
            &of(&format!("  unless: {{room: \"a\\{escape}b\"}}")),
            &says,
            escape,
        );
        check(
            &of(&format!("  unless: {{\"\\{escape}\": b}}")),
            &says,
            escape,
        );
        check(&of(&format!("  description: 'a\\{escape}b'")), "", escape);
    }
    check(
        &of("  description: \"a\\\n    b\""),
        "a `\\` at the end of a line joins it to the next one",
        "",
    );
    for escape in ["\\\"", "\\\\", "\\/", "\\u00e9", "\\ud83d\\ude00"] {
        check(&of(&format!("  description: \"a{escape}q\"")), "", escape);
    }
}

#[test]
fn texts_in_expressions_that_are_not_seen() {
    for (when, expected) in [
        (
            "room.name == 'a\u{a0}b'",
            "here is a sign that is not seen: U+00A0, a no-break space (line 1, column 16)",
        ),
        (
            "room.name == 'a\u{a0}b'",
            "^ take it out, or write `\\u00a0` in a text",
        ),
        (
            "room.name == 'a\u{e0041}b'",
            "^ take it out, or write `\\U000e0041` in a text",
        ),
        // Nor is it printed.
        (
            "room.name == 'a\u{200b}b'",
            "\n    room.name == 'a\u{fffd}b'\n",
        ),
        (
            "room.name\u{200b} == 'a'",
            "here is a sign that is not seen: U+200B",
        ),
        ("room.name == 'a' // \u{202e}", "U+202E"),
        (
            "room.name == ' a'",
            "this text starts with a blank (line 1, column 14)",
        ),
        ("room.name != \"a \"", "this text ends with a blank"),
        ("room.name in ['a', 'b ']", "this text ends with a blank"),
        (
            "participant.attributes['role '] == 'b'",
            "this text ends with a blank",
        ),
        ("r'a ' == room.name", "this text ends with a blank"),
        ("room.name == '''a '''", "this text ends with a blank"),
        ("room.name == \"r a\"", ""),
        ("room.name == \"'a '\"", ""),
        ("room.name == 'a\\u0020'", ""),
        ("room.name == 'a\\u00a0b'", ""),
        ("room.name == ''", ""),
        ("room.name.contains(' (bot)')", ""),
        (
            "room.name.startsWith('host ') || room.name.endsWith( ' guest')",
            "",
        ),
        (
            "room.name == 'a' # b",
            "`#` starts no comment within an expression",
        ),
    ] {
        let told =
            Expression::parse(when).map_or_else(|problem| problem.to_string(), |_| String::new());
        check(&told, expected, when);
    }
}

/// A fact that is not what it looks like makes a test pass for another reason.
#[test]
fn facts_of_tests_that_are_something_else() {
    for (facts, expected) in [
        (
            "participant: {attributes: {role:host}}",
            "t:5:32: tests[0].facts.participant.attributes[\"role:host\"]: this key has no value; put a space behind the `:`",
        ),
        (
            "room: {metadata: {auth_id:acme}}",
            "this key has no value; put a space behind the `:`",
        ),
        (
            "room: {metadata: {a, b: c}}",
            "this key has no value; write one behind a `:` and a space; `null` is none",
        ),
        ("room: {metadata: {a: }}", "this key has no value"),
        ("room: {metadata: [{a}]}", "this key has no value"),
        ("room: {metadata: {a: null, b: ~}}", ""),
        ("room: {metadata: {\"a\":\"b\"}}", ""),
        ("participant: {attributes: {role: null}}", ""),
        (
            "participant: {identity: ann\u{a0}}",
            "a sign in this text is not seen: U+00A0",
        ),
        (
            "participant: {identity: 'ann\u{200b}'}",
            "put the text in double quotes and write the sign by its number",
        ),
        ("participant: {identity: \"ann\\u200b\"}", ""),
        (
            "participant: {attributes: {'a\u{200b}': b}}",
            "a sign in this text is not seen: U+200B",
        ),
        (
            "room: {metadata: {a: [b\u{ad}]}}",
            "a sign in this text is not seen: U+00AD",
        ),
        ("participant: {identity: ann\n      bob}", LINES),
        ("room: {metadata: {a: ann\n      bob}}", LINES),
    ] {
        for [before, after] in [
            [
                "defaults:\n  ",
                "\ntests:\n- name: Qu’est-ce\u{a0}? 'oui'\n  expect: nothing\n",
            ],
            ["tests:\n- name: n\n  expect: nothing\n  facts:\n    ", "\n"],
        ] {
            if before.starts_with("defaults") && expected.starts_with("t:") {
                continue;
            }
            let text = format!("{before}{facts}{after}");
            let told = CaseFile::read("t", &text)
                .map_or_else(|problems| problems.to_string(), |_| String::new());
            check(&told, expected, &text);
        }
    }
}
