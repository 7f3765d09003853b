//! The law: what is written is what is stored and what is shown, for every document that is read.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::document::Document;
use crate::invisible::is_invisible;

/// What stands after a key, and what a person reads there.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) raw: String,
    pub(super) means: String,
}

/// What a person reads in text that has no quotes around it on purpose: the text itself, to where a
/// comment plainly starts; where quotes are around it all the same, what they hold.
fn as_read(raw: &str) -> String {
    let raw = raw.trim_matches([' ', '\t']);
    if let Some(quote) = raw.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &raw[1..];
        let doubled = format!("{quote}{quote}");
        let hidden = match quote {
            '\'' => inner.replace(&doubled, "\0\0"),
            _ => inner.to_owned(),
        };
        let end = hidden.find(quote).unwrap_or(hidden.len());
        return hidden[..end].replace("\0\0", "'");
    }
    let mut chars = raw.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        let after = chars.peek().map_or(' ', |(_, after)| *after);
        if c == '#' && matches!(before, ' ' | '\t') && matches!(after, ' ' | '\t' | '#') {
            return raw[..at].trim_end_matches([' ', '\t']).to_owned();
        }
        before = c;
    }
    raw.to_owned()
}

/// Text of one line with much in it that means something in YAML.
fn weird() -> impl Strategy<Value = String> {
    let start = select(vec![
        "", "! ", "!", "!!str ", "&a ", "*a ", "*", "@", "`", "%", "|", ">", "[", "{", "- ", "-",
        "? ", "?", ": ", ":", "#", "# ", "'", "\"", "~", "<<", "true", "010", ".5", "1e3", "null",
        "No", "=", "\t", ", ", "--- ", "...",
    ]);
    let middle = select(vec![
        "",
        "a",
        "a b",
        "x == y",
        "x: y",
        "x #y",
        "x # y",
        "x #",
        "a:b",
        "'",
        "\"",
        "a'b",
        "webinar-*",
        "{a,b}",
        "[a-z]",
        "12:30",
        "1_000",
        "é",
        "\u{2028}",
        "\u{85}",
        "\u{a0}",
        "\u{feff}",
        " ",
        "*",
        "!",
    ]);
    let end = select(vec![
        "", "", "'", "\"", ":", " ", "]", "}", " # b", " #b", "\t# b", "!",
    ]);
    (start, middle, "[a-z:#'\" !&*,-]{0,4}", end)
        .prop_map(|(start, middle, any, end)| format!("{start}{middle}{any}{end}"))
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 !&*#:'\"{}\\[\\],|>@%?`~<=/.é-]{1,12}"
}

/// A value in any way of writing one, on lines that this indents.
pub(super) fn written(indent: &'static str) -> impl Strategy<Value = Written> {
    let plain = || {
        prop_oneof![weird(), text()].prop_map(|raw| Written {
            means: as_read(&raw),
            raw,
        })
    };
    let single = text().prop_map(|means| Written {
        raw: format!("'{}'", means.replace('\'', "''")),
        means,
    });
    let double = text().prop_map(|means| Written {
        raw: format!("{means:?}"),
        means,
    });
    let block =
        (select(vec!["|", "|-", ">-"]), text(), text()).prop_map(move |(sign, one, two)| {
            let (one, two) = (format!("x{one}"), format!("x{two}"));
            let joint = if sign == ">-" { " " } else { "\n" };
            // Folding keeps the spaces before the end of a line, and people do not see them.
            let one = one.trim_end();
            Written {
                raw: format!("{sign}\n{indent}{one}\n{indent}{two}"),
                means: format!("{one}{joint}{two}"),
            }
        });
    let name = "[a-z]{1,5}".prop_map(|raw: String| Written {
        means: raw.clone(),
        raw,
    });
    prop_oneof![3 => plain(), 1 => single, 1 => double, 1 => block, 3 => name]
}

/// Tries a law many times, of which this many in 100 are about what is read: a law about what is
/// refused anyway holds for nothing.
pub(super) fn law<S: Strategy>(
    accepted_percent_min: u32,
    of: S,
    holds: impl Fn(&S::Value) -> Result<bool, TestCaseError>,
) {
    const CASES: u32 = 2_000;
    let accepted = Cell::new(0);
    let mut runner = TestRunner::new(Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    });
    let run = runner.run(&of, |value| {
        accepted.set(accepted.get() + u32::from(holds(&value)?));
        Ok(())
    });
    if let Err(failed) = run {
        panic!("{failed}");
    }
    let accepted = accepted.get();
    assert!(
        accepted * 100 >= accepted_percent_min * CASES,
        "{accepted} of {CASES} are read"
    );
}

/// The document that a text is; none where it is refused. What is shown of it is the same again.
pub(super) fn read(yaml: &str) -> Result<Option<Document>, TestCaseError> {
    let Ok(read) = Document::load([("p.yaml", yaml)]) else {
        return Ok(None);
    };
    let shown = read.value.to_yaml().unwrap();
    prop_assert!(
        !shown.contains(|c| is_invisible(c) && c != '\u{a0}'),
        "{shown:?}"
    );
    let again = Document::load([("p.yaml", shown.as_str())]);
    let again = again.map(|again| again.value);
    prop_assert_eq!(again.as_ref(), Ok(&read.value), "{}\n{}", yaml, shown);
    Ok(Some(read.value))
}

fn check(
    yaml: &str,
    stored: impl Fn(&Document) -> Vec<(String, String)>,
) -> Result<bool, TestCaseError> {
    let Some(read) = read(yaml)? else {
        return Ok(false);
    };
    for (found, means) in stored(&read) {
        prop_assert_eq!(found, means, "{}", yaml);
    }
    Ok(true)
}

#[test]
fn prose_is_what_is_written() {
    law(25, (written("    "), written("    ")), |(one, two)| {
        let yaml = format!(
            "policies:\n- name: p\n  description: {}\n  effect: exempt\n  match: {{kind: SIP}}\n  reason: {}\n",
            one.raw, two.raw
        );
        check(&yaml, |read| {
            let policy = &read.policies[0];
            let stored = [(&policy.description, one), (&policy.reason, two)];
            stored
                .map(|(found, written)| (found.clone().unwrap(), written.means.trim().to_owned()))
                .into()
        })
    });
}

#[test]
fn names_and_globs_are_what_is_written() {
    let value = written("          ");
    law(
        5,
        (written("    "), written("      "), weird(), value),
        |(owner, room, key, value)| {
            // Where a key and a comment start is seen by these alone; and a brace before it can make a map of it and its value.
            let key = key.replace([':', '#', '{'], "");
            let yaml = format!(
                "policies:\n- owner: {}\n  name: p\n  match:\n    room: {}\n    attributes:\n      {key}: {}\n  effect: mute\n",
                owner.raw, room.raw, value.raw
            );
            check(&yaml, |read| {
                let policy = &read.policies[0];
                let mut stored = vec![(policy.owner.to_string(), owner.means.clone())];
                // A list is one also to people.
                if !room.raw.starts_with('[') {
                    stored.push((policy.match_.room[0].clone(), room.means.clone()));
                }
                let (name, values) = policy.match_.attributes.first_key_value().unwrap();
                stored.push((name.clone(), as_read(&key)));
                if !value.raw.starts_with('[') {
                    stored.push((values[0].clone(), value.means.clone()));
                }
                stored
            })
        },
    );
}

#[test]
fn what_stands_within_braces_is_what_is_written() {
    let text = || prop_oneof![2 => weird(), 1 => "[a-z]{1,5}"];
    law(10, (text(), text()), |(room, identity)| {
        let [room, identity] =
            [room, identity].map(|text| text.replace([',', '[', ']', '{', '}'], ""));
        let yaml = format!(
            "policies:\n- {{ name: p, effect: mute, match: {{ room: {room}, identity: [a, {identity}\n] }} }}\n"
        );
        check(&yaml, |read| {
            let found = &read.policies[0].match_;
            let mut stored = vec![(found.room[0].clone(), as_read(&room))];
            // Where a comment plainly starts, there is no item.
            let item = Some(as_read(&identity))
                .filter(|item| !item.is_empty() || identity.starts_with(['\'', '"']));
            let found = found.identity.get(1).cloned();
            stored.extend(found.zip(item));
            stored
        })
    });
}

#[test]
fn conditions_are_what_is_written() {
    let parts = (
        prop_oneof![2 => Just(""), 1 => select(vec!["!", "! ", "!(", "!!", "& ", "#"])],
        select(vec![
            "participant.is_publisher",
            "room.name == \"a # b\"",
            "room.name == 'a #b'",
            "\"x\" == room.name",
            "'x' == room.name",
            "track.name != \"!\"",
        ]),
        select(vec![
            "",
            " # note",
            " #note",
            " && room.active_recording",
            ")",
            ": x",
        ]),
    );
    law(5, parts, |(sign, field, more)| {
        let raw = format!("{sign}{field}{more}");
        let yaml = format!(
            "policies:\n- {{ name: a, match: {{}}, effect: mute, when: {raw}\n  }}\n- name: b\n  match: {{}}\n  effect: mute\n  when: {raw}\n"
        );
        check(&yaml, |read| {
            let whens = read
                .policies
                .iter()
                .map(|policy| policy.when.as_ref().unwrap());
            whens
                .map(|when| (when.text().to_owned(), as_read(&raw)))
                .collect()
        })
    });
}
