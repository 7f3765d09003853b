//! What is long, or no plain text, and how it is told of.

use super::{MEGABYTE, json, matching, policy, yaml};
use crate::Document;

#[test]
fn long_words_are_cut_where_they_are_told_of() {
    let long = "k".repeat(MEGABYTE - 200);
    let windows = |cron: &str| {
        policy(&format!(
            "    active: {{cron: '{cron}', duration: 1h, timezone: UTC}}"
        ))
    };
    for (name, text, says) in [
        (
            "a key",
            policy(&format!("    ? {long}\n    : x")),
            "there is no key \"kkk",
        ),
        (
            "a simple key",
            policy(&format!("    {long}: x")),
            "expected a key with a `:` and a space after it",
        ),
        (
            "a word",
            policy(&format!("    mode: {long}")),
            "there is no mode \"kkk",
        ),
        (
            "words",
            matching(&format!(
                "source: [{}]",
                format!("{},", "k".repeat(9_000)).repeat(100)
            )),
            "there is no source \"kkk",
        ),
        (
            "a name",
            format!("policies: [{{name: {long}}}]"),
            "is longer than 128 characters",
        ),
        (
            "an owner",
            policy(&format!("    owner: {long}")),
            "is longer than 256 characters",
        ),
        (
            "prose",
            policy(&format!("    description: {long}")),
            "is longer than 2000 characters",
        ),
        (
            "a glob",
            matching(&format!("room: '{}'", "*a".repeat(500_000))),
            "it has more than 256 characters",
        ),
        (
            "an expression",
            policy(&format!("    when: {long}")),
            "the expression has more than 1024 bytes",
        ),
        (
            "minutes",
            windows(&"0,".repeat(5_000)),
            "is longer than 256 characters",
        ),
        (
            "a cron line",
            windows(&"* ".repeat(500_000)),
            "is longer than 256 characters",
        ),
        (
            "a duration",
            policy(&format!("    first: '{}h'", "9".repeat(1_000_000))),
            "is longer than 32 characters",
        ),
        (
            "a short duration",
            policy(&format!("    first: '{}h'", "9".repeat(31))),
            "is too long; the shortest is 1m",
        ),
        (
            "a time",
            policy(&format!("    not_before: {long}")),
            "is longer than 64 characters",
        ),
        (
            "a list in place of a text",
            policy("    owner: []"),
            "expected text, found a list",
        ),
    ] {
        yaml(name, &text, says);
    }
    let body = format!("{{\"{long}\": 1}}");
    json("a key", body.as_bytes(), "there is no key \"kkk");
    let body = format!("{{\"mode\": \"{long}\"}}");
    json("a word", body.as_bytes(), "there is no mode \"kkk");
}

#[test]
fn numbers_are_told_of_in_short() {
    let nines = "9".repeat(900_000);
    for (number, says) in [
        (nines.as_str(), "is too large a number"),
        (
            &format!("{nines}.5e{}", "9".repeat(99_000)),
            "is too large a number",
        ),
        (".inf", "\".inf\" may be read as another value"),
        (".nan", "\".nan\" may be read as another value"),
        (&"9".repeat(40), "is too large a number"),
        (&"9".repeat(38), "is no priority"),
        (
            "1.7976931348623157e308",
            "the number 1.7976931348623157e308 is no priority",
        ),
        (&"9".repeat(38), "is no priority"),
        (
            &format!("0x{}", "f".repeat(900_000)),
            "may be read as another value",
        ),
        ("-1", "the number -1 is no priority"),
        ("10000", "the number 10000 is no priority"),
        ("5.0", "the number 5.0 is no priority"),
    ] {
        yaml(
            "a number",
            &policy(&format!("    priority: {number}")),
            says,
        );
    }
    for (number, says) in [
        (nines.as_str(), "number out of range"),
        ("1e400", "number out of range"),
        (
            "18446744073709551616",
            "the number 1.8446744073709552e19 is no priority",
        ),
    ] {
        json(
            "a number",
            format!("{{\"priority\": {number}}}").as_bytes(),
            says,
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_no_plain_text_is_refused() {
    for (name, text, says) in [
        ("NUL", "policies: \0", "there is a control character here"),
        (
            "escape",
            &policy("    reason: \u{1b}[31mx"),
            "there is a control character here",
        ),
        (
            "escape in quotes",
            &policy("    reason: \"\\e[31m\""),
            "`\\e` is no escape of JSON's",
        ),
        (
            "escape of a tab",
            &policy("    reason: \"a\\\tb\""),
            "`\\` before U+0009 is no escape of JSON's",
        ),
        (
            "NUL in quotes",
            &policy("    reason: \"\\u0000\""),
            "\"\\0\" has a control character in it",
        ),
        (
            "escape in a key",
            &policy("    \"\\u001b[31m\": x"),
            "there is no key \"\\u{1b}[31m\"",
        ),
        (
            "UTF-16 as UTF-8",
            "p\0o\0l\0i\0c\0i\0e\0s\0:\0",
            "there is a control character here",
        ),
        (
            "mark inside",
            "policies:\n\u{feff}- name: x\n",
            "a byte order mark stands here",
        ),
        ("tabs", "policies:\n\t- name: x\n", "a tab indents nothing"),
        (
            "documents",
            &"---\na\n".repeat(100_000),
            "a second document starts here",
        ),
        (
            "directives",
            &"%YAML 1.2\n".repeat(90_000),
            "`%` at the start of a line starts a YAML directive",
        ),
        (
            "bytes",
            &policy("    reason: !!binary //79/A=="),
            "`!` starts a YAML tag",
        ),
        (
            "no base64",
            &policy("    reason: !!binary '*'"),
            "`!` starts a YAML tag",
        ),
        (
            "a program",
            "policies: !!python/object/apply:os.system ['x']\n",
            "`!` starts a YAML tag",
        ),
        (
            "nothing",
            &"\n".repeat(MEGABYTE),
            "there are no policies here",
        ),
        (
            "spaces",
            &" ".repeat(MEGABYTE),
            "there are no policies here",
        ),
        (
            "remarks",
            &"# x\n".repeat(MEGABYTE / 4),
            "there are no policies here",
        ),
        (
            "a quote",
            &("\"".to_owned() + &"x\n".repeat(MEGABYTE / 2 - 1)),
            "this quote is never closed",
        ),
        ("colons", &":".repeat(MEGABYTE), "and no key can stand here"),
        (
            "commas",
            &("[".to_owned() + &",".repeat(MEGABYTE - 1)),
            "an item is missing before this comma",
        ),
        ("tag", &"!".repeat(MEGABYTE), "`!` starts a YAML tag"),
        ("anchor", &"&".repeat(MEGABYTE), "`&` starts a YAML anchor"),
        ("alias", &"*".repeat(MEGABYTE), "`*` starts a YAML alias"),
    ] {
        yaml(name, text, says);
    }
    assert!(Document::load([("p.yaml", "\u{feff}policies: []\n")]).is_ok());
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    for (name, text, says) in [
        ("nothing", b"".as_slice(), "there is nothing in it"),
        (
            "no UTF-8",
            b"{\"name\": \"\xff\"}",
            "it is not in UTF-8: the byte at 10 is not",
        ),
        (
            "cut off",
            b"{\"name\": \"\xc3",
            "it is not in UTF-8: the byte at 10 is not",
        ),
        (
            "UTF-16",
            &utf16("{\"name\": 1}"),
            "it is in UTF-16 or UTF-32; send it in UTF-8",
        ),
        (
            "UTF-16 with its mark",
            &utf16("\u{feff}{\"name\": 1}"),
            "it is in UTF-16 or UTF-32",
        ),
        (
            "UTF-8 with a mark",
            b"\xef\xbb\xbf{}",
            "it begins with a byte order mark; send it without",
        ),
        (
            "half a pair",
            br#"{"name": "\ud800"}"#,
            "unexpected end of hex escape",
        ),
        (
            "NUL",
            br#"{"name": "\u0000"}"#,
            "\"\\0\" has a control character in it",
        ),
        ("NUL as it is", b"{\"name\": \"\0\"}", "control character"),
        ("two", b"{} {}", "trailing characters"),
        ("no JSON", b"name: x", "this is not JSON that can be read"),
    ] {
        json(name, text, says);
    }
}
