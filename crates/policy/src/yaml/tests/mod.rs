//! What stands in a document is what is read, or it is refused where it stands.

mod law;
mod lines;

use crate::case::CaseFile;
use crate::document::Document;
use crate::node::{Node, NodeValue};
use crate::problem::Problems;
use crate::reader::Reader;

/// A tree in one line, or what is wrong with its text.
fn read(text: &str) -> String {
    fn shown(node: &Node) -> String {
        match &node.value {
            NodeValue::Null => "null".to_owned(),
            NodeValue::Bool(value) => value.to_string(),
            NodeValue::Integer(value) => value.to_string(),
            NodeValue::Float(value) => format!("{value:?}"),
            NodeValue::Text(text) => format!("{text:?}"),
            NodeValue::List(items) => {
                let items: Vec<_> = items.iter().map(shown).collect();
                format!("[{}]", items.join(", "))
            }
            NodeValue::Map(entries) => {
                let entry =
                    |(key, value): &(Node, Node)| format!("{}: {}", shown(key), shown(value));
                let entries: Vec<_> = entries.iter().map(entry).collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
    let mut reader = Reader::new(None);
    match reader.tree(text) {
        Some(node) => shown(&node),
        None => reader.into_problems().to_string(),
    }
}

#[test]
fn plain_text_is_what_stands_there() {
    for (written, value) in [
        ("webinar-*", r#""webinar-*""#),
        ("a#b", r#""a#b""#),
        ("a # b", r#""a""#),
        ("it's # loud, don't", r#""it's""#),
        ("a:b", r#""a:b""#),
        ("?x", r#""?x""#),
        ("-x", r#""-x""#),
        (":x", r#"":x""#),
        ("<x>", r#""<x>""#),
        ("<<", r#""<<""#),
        ("x == \"y\"", r#""x == \"y\"""#),
        ("x ? y", r#""x ? y""#),
        ("a, b", r#""a, b""#),
        ("$x", r#""$x""#),
        ("~x", r#""~x""#),
        ("yes", r#""yes""#),
        ("off", r#""off""#),
        ("On", r#""On""#),
        ("1_000", r#""1_000""#),
        ("12:30:45", r#""12:30:45""#),
        ("2026-01-01", r#""2026-01-01""#),
        (
            "2026-03-01T00:00:00+01:00",
            r#""2026-03-01T00:00:00+01:00""#,
        ),
        ("1.2.3", r#""1.2.3""#),
        ("1e", r#""1e""#),
        ("0b1", r#""0b1""#),
        ("0o8", r#""0o8""#),
        (".", r#"".""#),
        (
            "-",
            "1:4: a: `-` makes an item of a list, and none can start here; put it in quotes if it is text, or start the list on a line of its own",
        ),
        ("'it''s'", r#""it's""#),
        (r#""a\tb\u00e9""#, r#""a\tbé""#),
        ("'010'", r#""010""#),
        ("|\n  a # b\n  ! c", r#""a # b\n! c\n""#),
        (">-\n  a", r#""a""#),
        ("true", "true"),
        ("null", "null"),
        ("~", "null"),
        ("", "null"),
        ("-0", "0"),
        ("10", "10"),
        ("-2.5", "-2.5"),
        ("1e3", "1000.0"),
        ("0.5e-1", "0.05"),
        ("[a, 'b', 1]", r#"["a", "b", 1]"#),
        ("{a: b}", r#"{"a": "b"}"#),
    ] {
        let expected = match value.strip_prefix("1:4") {
            Some(_) => value.to_owned(),
            None => format!("{{\"a\": {value}}}"),
        };
        assert_eq!(read(&format!("a: {written}")), expected, "{written:?}");
    }
    for (text, value) in [
        ("---\na: b\n...\n", r#"{"a": "b"}"#),
        ("\u{feff}a: b", r#"{"a": "b"}"#),
        ("? a\n: b", r#"{"a": "b"}"#),
        ("{\n\t\"a\":\t[\"b\\/c\"]\n}", r#"{"a": ["b/c"]}"#),
        ("a: b\r\nc: d\r\n", r#"{"a": "b", "c": "d"}"#),
        ("", "null"),
    ] {
        assert_eq!(read(text), value, "{text:?}");
    }
}

#[test]
fn what_would_be_another_value_is_refused() {
    for written in [
        "True", "TRUE", "False", "NULL", "Null", "010", "-01", "+5", "0o10", "0x1F", ".5", "1.",
        "1.e5", "+1.5", "00", ".inf", "-.INF", ".NaN",
    ] {
        let says = format!(
            "1:4: a: {written:?} may be read as another value; put it in quotes, \
                            or write it as in JSON, such as 10, true or null"
        );
        assert_eq!(read(&format!("a: {written}")), says);
    }
    for written in ["1e999", "-1e999", "200000000000000000000000000000000000000"] {
        let found = read(&format!("[{written}]"));
        assert!(
            found.contains("is too large a number"),
            "{written}: {found}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a list")]
fn what_yaml_takes_for_something_else_is_refused_where_it_stands() {
    let seen: Vec<_> = [
        "a: ! x.y",
        "a: !x == y",
        "a: !(x)",
        "a: ![x]",
        "a: !",
        "a: !!str x",
        "a: !!binary eA==",
        "a: ! 'x'",
        "a: !x [y]",
        "!t a: x",
        "- ! x\n- y\n- !z",
        "a: &b x",
        "a: &b",
        "a: && x",
        "a: & x",
        "a: &b [c]\nd: *b",
        "a: &b c\n<<: *b",
        "<<: {a: b}",
        "a: *b",
        "a: *",
        "a: *-x*",
        "a: ** x",
        "*: x",
        "*b : x",
        "{ a: !x , b: *y, c: &z w }",
        "%YAML 1.2\n---\na: x",
        "%TAG ! tag:x,2000:\n---\na: !y x",
        "a: %x",
        "a: # x",
        "a:     # x\nb: c",
        "- # x",
        "- a: b\n-    # x\n- c",
        "a: lobby #1",
        "a: x == \"y # z\"",
        "a: x == 'y # z' && w",
        "[ a #b\n]",
        "[ a, #b\n]",
        "[ #a\n]",
        "a: [b, c, # d\n  e, #f\n  g]",
        "{ a: b, #c: d\n}",
        "a: #b\n  - c",
        "a: [x] == y",
        "a: {x} == y",
        "a: {x,y}-*",
        "a: [a-z]*",
        "a: [x",
        "a: ]x",
        "a: }x",
        "a: , x",
        "a: \"x\" == y",
        "a: 'x' == y",
        "{ a: \"x\" == y }",
        "[ 'x' y ]",
        "a: \"x",
        "a: 'x\nb: c",
        "a: \"\\d+\"",
        "a: @x",
        "a: `x`",
        "[ @x ]",
        "a: | x",
        "a: |x",
        "a: > 5",
        "a: >= 5",
        "a: x: y",
        "a: x ? y : z",
        "{a: x: y}",
        "[x ? y : z: w]",
        "a: x\n b: y",
        "a: - x",
        "a: ? x",
        "a: x\n  # c\n  y",
        "a:\n\t- x",
        "- a: x\n\tb: y",
        "a:\n  b: x\n c: y",
        "- a: x\n  b\n  c: y",
        "a: x\n---\nb: y",
        "a: x\n...\n---\n",
        "a: \u{1}x",
        "a: x\nb: \u{feff}y",
        "{a: b",
        "{a b c, d}, e",
        "a: [b\n  , c] d",
        "a: \"b\"\n c: d",
        "a: |9\n  b",
        "a: 'x\n...\ny'",
        "a: \"x\n--- y\"",
        "a: [b, , c]",
        "a: [b,,c]",
        "a: [,b]",
        "a: {b: c,, d: e}",
        "a: {b: c},",
        "- a: [b],\n  c: d",
        "a: 'b',",
        "a: 'b'#c",
        "a: [b]#c",
        "a: 10 #c",
        "a: null #c",
        "a: |\nb: c",
        "a: >\n\nb: c",
        "- |\n- b",
        "a: 'b\nc: d'",
        "- \"a\n- b: c\"\n- d",
    ]
    .iter()
    .map(|text| format!("{text:?}\n    {}", read(text).replace('\n', "\n    ")))
    .collect();
    insta::assert_snapshot!("refused", seen.join("\n"));
}

type Read = fn(&str) -> Option<Problems>;

/// Everywhere in both kinds of documents, in keys and in values.
#[test]
fn no_sign_is_passed_over_anywhere() {
    let policies = "policies:
  - name: NAME
    owner: acme
    description: text
    match: { room: [x, y], attributes: { KEY: z } }
    unless:
      identity: w
    when: room.name == 'x'
    active:
      - cron: 0 22 * * *
        duration: 8h
        timezone: UTC
    effect: mute
    mode: off
    priority: 7
    reason: because
";
    let tests = "policies: [a.yaml]
defaults:
  room: { name: x, metadata: { deep: [v, z], KEY: 1 } }
tests:
  - name: NAME
    facts: { participant: { identity: w, attributes: { role: host } } }
    unknown: participant.kind
    at: 2026-03-02T22:30:00+01:00
    expect: { mute: b }
  - name: other
    expect: nothing
";
    let by: [(&str, Read); 2] = [
        (policies, |text| Document::load([("p", text)]).err()),
        (tests, |text| CaseFile::read("p", text).err()),
    ];
    let mut tried = 0;
    for (text, read) in by {
        assert_eq!(read(text), None);
        let starts = text.char_indices().filter(|(at, c)| {
            let before = text[..*at].chars().next_back().unwrap_or('\n');
            !matches!(c, ' ' | '\n' | '-' | '*' | '}' | ']') && matches!(before, ' ' | '\n' | '[')
        });
        for (at, _) in starts {
            let (before, after) = text.split_at(at);
            // Not in the midst of a text, where it is part of it.
            let line = before.rsplit('\n').next().unwrap();
            if line.contains("cron: ") || line.contains("when: ") && !line.ends_with("when: ") {
                continue;
            }
            for sign in ["! ", "!a ", "!!str ", "&a ", "&a !b "] {
                tried += 1;
                let signed = format!("{before}{sign}{after}");
                let refused = read(&signed).unwrap_or_else(|| panic!("read:\n{signed}"));
                let (line, column) = (before.lines().count().max(1), line.chars().count() + 1);
                let line = if before.ends_with('\n') {
                    line + 1
                } else {
                    line
                };
                let first = &refused.problems[0];
                let place = (first.line.unwrap(), first.column.unwrap());
                let stands = (u64::try_from(line).unwrap(), u64::try_from(column).unwrap());
                assert_eq!(place, stands, "{refused}\n{signed}");
                let hint = first.hint.as_deref().unwrap();
                assert!(hint.starts_with("put it in quotes"), "{signed}");
            }
        }
    }
    assert!(tried > 300, "{tried}");
}

/// Metadata may hold values of any type: what YAML's versions read as different ones is refused.
#[test]
fn metadata_of_tests_is_not_guessed() {
    let file = |value: &str| {
        format!(
            "tests: [{{ name: a, expect: nothing, facts: {{ room: {{ metadata: {{ k: {value} }} }} }} }}]"
        )
    };
    for value in [
        "yes", "No", "ON", "off", "y", "N", "1_000", "12:30", "12:30:45", "0b1", "0x_1",
    ] {
        let refused = CaseFile::read("t", &file(value)).unwrap_err().to_string();
        let says = format!("{value:?} may be text, or a number, true or false; put it in quotes");
        assert!(refused.contains(&says), "{refused}");
        let quoted = file(&format!("'{value}'"));
        assert!(CaseFile::read("t", &quoted).is_ok(), "{value}");
    }
    for value in [
        "true",
        "1",
        "2026-01-01",
        "1.5",
        "yesterday",
        "null",
        "~",
        "'#'",
    ] {
        assert!(CaseFile::read("t", &file(value)).is_ok(), "{value}");
    }
}
