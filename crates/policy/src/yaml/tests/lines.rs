//! The law where text goes on over lines: a person sees a line for each thing, and no folding.

use proptest::prelude::*;
use proptest::sample::select;

use super::law::law;
use crate::case::CaseFile;
use crate::document::Document;
use crate::facts::Fact;

/// A word as names are made of.
fn word() -> impl Strategy<Value = String> {
    "[a-z]{1,4}(-[a-z0-9*]{1,3})?"
}

/// Lines as somebody may write a list, and what a person reads in them: an item on each.
fn list() -> impl Strategy<Value = (String, Vec<String>)> {
    let bullet = prop_oneof![
        8 => Just("- "),
        1 => select(vec!["-", "", "* ", "• ", "-\u{a0}", "-- ", "+ ", "– ", "- - "]),
    ];
    let indent = prop_oneof![8 => Just(6), 1 => select(vec![5_usize, 7, 8, 10])];
    let quote = prop_oneof![
        6 => Just(("", "")),
        1 => select(vec![("'", "'"), ("\"", "\""), ("'", ""), ("", "'"), ("\"", "")]),
    ];
    let end = prop_oneof![9 => Just(""), 1 => select(vec![" # note", " "])];
    let line = (indent, bullet, quote, word(), end);
    prop::collection::vec(line, 1..4).prop_map(|lines| {
        let raw = lines
            .iter()
            .map(|(indent, bullet, (open, close), word, end)| {
                format!("\n{}{bullet}{open}{word}{close}{end}", " ".repeat(*indent))
            });
        // One quote alone is a part of the name.
        let items = lines.iter().map(|(_, _, (open, close), word, _)| {
            if open == close {
                word.clone()
            } else {
                format!("{open}{word}{close}")
            }
        });
        (raw.collect(), items.collect())
    })
}

#[test]
fn lists_are_what_is_written() {
    law(30, list(), |(raw, items)| {
        let yaml = format!(
            "policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  unless:\n    identity:{raw}\n"
        );
        let Some(read) = super::law::read(&yaml)? else {
            return Ok(false);
        };
        let found = &read.policies[0].unless.as_ref().unwrap().identity;
        prop_assert_eq!(found, items, "{}", yaml);
        Ok(true)
    });
}

/// Text on two lines in any style, and what a person reads in it where it is prose.
fn two_lines() -> impl Strategy<Value = (String, Option<String>)> {
    let words = || "[a-z]{1,4}( [a-z]{1,4})?";
    let bullet = prop_oneof![3 => Just(""), 1 => select(vec!["- ", "* ", "-", "• "])];
    let style = select(vec!["", "'", "\"", "|", "|-", ">", ">-"]);
    (style, words(), bullet, words()).prop_map(|(style, one, bullet, two)| {
        let two = format!("{bullet}{two}");
        let raw = match style {
            "" | "'" | "\"" => format!("{style}{one}\n      {two}{style}"),
            block => format!("{block}\n      {one}\n      {two}"),
        };
        let joint = if style.starts_with('|') { "\n" } else { " " };
        // Below `>`, whoever writes it means one line.
        let several = !bullet.is_empty() && bullet != "-" && !style.starts_with(['|', '>']);
        (raw, (!several).then(|| format!("{one}{joint}{two}")))
    })
}

#[test]
fn prose_of_several_lines_is_what_is_written() {
    law(50, two_lines(), |(raw, means)| {
        let yaml = format!(
            "policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  description: {raw}\n"
        );
        let Some(read) = super::law::read(&yaml)? else {
            return Ok(false);
        };
        let found = read.policies[0].description.as_ref();
        prop_assert_eq!(found, means.as_ref(), "{}", yaml);
        Ok(true)
    });
}

#[test]
fn no_other_text_goes_on_over_lines() {
    let keys = select(vec![
        "name",
        "owner",
        "room",
        "identity",
        "role",
        "item",
        "effect",
        "mode",
        "not_after",
        "cron",
        "timezone",
    ]);
    law(0, (keys, two_lines()), |(key, (raw, _))| {
        let given = |expected: &str, other: &str| {
            if *key == expected {
                raw.clone()
            } else {
                other.to_owned()
            }
        };
        let yaml = format!(
            "policies:
- name: {}
  owner: {}
  match:
    room: {}
    identity: {}
    attributes:
      role: {}
      roles:
      - {}
  active:
    cron: {}
    duration: 1h
    timezone: {}
  not_after: {}
  effect: {}
  mode: {}
",
            given("name", "p"),
            given("owner", "acme"),
            given("room", "r"),
            given("identity", "i"),
            given("role", "host"),
            given("item", "host").replace("\n ", "\n    "),
            given("cron", "0 22 * * *"),
            given("timezone", "UTC"),
            given("not_after", "2099-01-01T00:00:00Z"),
            given("effect", "mute"),
            given("mode", "off"),
        );
        prop_assert_eq!(super::law::read(&yaml)?, None, "{}", yaml);
        Ok(false)
    });
}

#[test]
fn conditions_over_lines_are_what_is_written() {
    let breaks = || prop_oneof![2 => Just(" "), 1 => Just("\n    ")];
    let style = select(vec!["", "'", "\"", "|-\n    ", ">-\n    "]);
    let comment = prop_oneof![6 => Just(""), 1 => select(vec![" // it's", " # so"])];
    let quote = select(vec!['\'', '"']);
    let parts = (style, quote, breaks(), breaks(), comment, breaks());
    law(40, parts, |(style, quote, one, two, comment, three)| {
        let written = |one: &str, two: &str, three: &str| {
            format!(
                "room.name{one}== {quote}a{two}b{quote}{comment}{three}&& room.active_recording"
            )
        };
        let when = written(one, two, three);
        let raw = match *style {
            "'" => format!("'{}'", when.replace('\'', "''")),
            "\"" => format!("\"{}\"", when.replace('"', "\\\"")),
            style => format!("{style}{when}"),
        };
        let yaml = format!(
            "policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  when: {raw}\n"
        );
        let Some(read) = super::law::read(&yaml)? else {
            return Ok(false);
        };
        let found = read.policies[0].when.as_ref().unwrap().text();
        // What stands in quotes stands on one line, and the rest may break anywhere.
        prop_assert_eq!(*two, " ", "{}", yaml);
        let mut words: Vec<_> = found.split_whitespace().collect();
        let last = words.pop();
        prop_assert_eq!(
            last,
            Some(if *comment == " # so" {
                found.split(' ').next_back().unwrap()
            } else {
                "room.active_recording"
            })
        );
        let is_comment = comment.starts_with(" //") && *three == " " || *comment == " # so";
        if !is_comment {
            let means = written(" ", " ", " ");
            let means: Vec<_> = means.split_whitespace().collect();
            let found: Vec<_> = found.split_whitespace().collect();
            prop_assert_eq!(found, means, "{}", yaml);
        }
        Ok(true)
    });
}

/// What stands behind a key in a file of tests, in one way or another.
#[test]
fn facts_of_tests_are_what_is_written() {
    let fact = super::law::written("              ");
    law(30, (fact, word()), |(fact, word)| {
        let yaml = format!(
            "tests:\n- name: n\n  facts:\n    participant:\n      identity: {}\n      attributes:\n        role: {word}\n        {word}:x\n  expect: nothing\n",
            fact.raw
        );
        // The second attribute lacks its space.
        prop_assert!(CaseFile::read("t", &yaml).is_err(), "{}", yaml);
        let yaml = yaml.replace(":x\n", ": x\n").replace("role", "the.role");
        let Ok(cases) = CaseFile::read("t", &yaml) else {
            return Ok(false);
        };
        let participant = &cases.cases[0].facts.participant;
        prop_assert_eq!(&participant.identity, &fact.means, "{}", yaml);
        let Fact::Known(attributes) = &participant.attributes else {
            return Err(TestCaseError::fail("there are attributes"));
        };
        prop_assert_eq!(attributes.get("the.role"), Some(word), "{}", yaml);
        Ok(true)
    });
}

#[test]
fn windows_are_what_is_written() {
    let field = || select(vec!["0", "*", "*/5", "1-5", "5,35", "22"]);
    let weekday = select(vec!["*", "MON-FRI", "SUN"]);
    let around = select(vec![
        ("", ""),
        ("'", "'"),
        ("\"", "\""),
        (" ", " # late"),
        ("", " #late"),
        ("[", "]"),
    ]);
    let in_braces = any::<bool>();
    law(
        20,
        (field(), field(), weekday, around, in_braces),
        |(minute, hour, day, around, in_braces)| {
            let cron = format!("{minute} {hour} * * {day}");
            let raw = format!("{}{cron}{}", around.0, around.1);
            let active = if *in_braces {
                format!("[ {{ cron: {raw}\n      , duration: 1h, timezone: UTC }} ]")
            } else {
                format!("\n  - duration: 1h\n    timezone: UTC\n    cron: {raw}")
            };
            let yaml = format!(
                "policies:\n- name: p\n  effect: mute\n  match: {{ type: AUDIO }}\n  active: {active}\n"
            );
            let Some(read) = super::law::read(&yaml)? else {
                return Ok(false);
            };
            let found = serde_json::to_value(&read.policies[0]).unwrap();
            prop_assert_eq!(&found["active"][0]["cron"], &cron, "{}", yaml);
            Ok(true)
        },
    );
}

/// The documents that these laws are about are really read.
#[test]
fn what_a_person_would_write_is_read() {
    let yaml = "policies:\n- name: p\n  effect: mute\n  match: { type: AUDIO }\n  when: room.name == 'a b'\n    && room.active_recording\n";
    assert!(Document::load([("p.yaml", yaml)]).is_ok());
}
