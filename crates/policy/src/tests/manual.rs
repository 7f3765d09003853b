//! docs/POLICIES.md says what is so.

use crate::case::CaseFile;
use crate::limits::PRIORITY_DEFAULT;
use crate::{Document, Effect, Kind, KindDetail, Mode, Policy, Source, TrackType};

const MANUAL: &str = include_str!("../../../../docs/POLICIES.md");
const README: &str = include_str!("../../../../README.md");

/// The blocks of code in this language.
fn blocks<'t>(page: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    page.split(start.as_str())
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

#[test]
fn every_example_loads_without_a_warning() {
    let readmes: Vec<_> = blocks(README, "yaml")
        .into_iter()
        .filter(|block| block.starts_with("policies:"))
        .collect();
    assert_eq!(readmes.len(), 1);
    let manuals: Vec<_> = blocks(MANUAL, "yaml")
        .into_iter()
        .filter(|block| !is_test(block))
        .collect();
    assert!(manuals.len() >= 2);
    for (index, block) in manuals.into_iter().enumerate() {
        let checked = Document::load([("docs/POLICIES.md", block)])
            .unwrap_or_else(|problems| panic!("block {index}: {problems}"));
        assert_eq!(checked.warnings, [], "block {index}");
    }
    for block in readmes {
        Document::load([("README.md", block)]).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

fn is_test(block: &str) -> bool {
    block.contains("\ntests:\n")
}

#[test]
fn the_tests_pass_with_the_policies_at_the_top() {
    let blocks = blocks(MANUAL, "yaml");
    let policies = Document::load([("docs/POLICIES.md", blocks[0])]).unwrap();
    let tests: Vec<_> = blocks.iter().filter(|block| is_test(block)).collect();
    assert_eq!(tests.len(), 1);
    let file = CaseFile::read("docs/POLICIES.md", tests[0]);
    let file = file.unwrap_or_else(|problems| panic!("{problems}"));
    let report = file.run(&policies.value.policies).unwrap();
    let failed: Vec<_> = report.lines(false).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn every_key_of_tests_is_in_the_manual() {
    fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            if key == "properties" {
                found.extend(value.as_object().unwrap().keys().cloned());
            }
            keys(value, found);
        }
    }
    let mut found = Vec::new();
    keys(&crate::case::json_schema(), &mut found);
    assert!(found.len() > 30, "{found:?}");
    let (_, section) = MANUAL.split_once("\n## Tests\n").unwrap();
    for key in found {
        assert!(section.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn every_example_is_in_the_table() {
    for (name, _) in super::make::examples().0 {
        assert!(MANUAL.contains(&format!("\n| `{name}` | ")), "{name}");
    }
}

#[test]
fn every_policy_of_the_curl_examples_is_one() {
    let commands = blocks(MANUAL, "sh").concat();
    let bodies: Vec<_> = commands
        .split("-d '")
        .skip(1)
        .map(|rest| rest.split_once('\'').unwrap().0)
        // A rollback names a revision instead.
        .filter(|body| !body.starts_with(r#"{"to""#))
        .collect();
    assert_eq!(bodies.len(), 5);
    for body in bodies {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let policies = match body["policies"].as_array() {
            Some(policies) => policies.clone(),
            None => vec![body],
        };
        for mut policy in policies {
            policy["name"] = "any".into();
            Policy::from_json(policy.to_string().as_bytes(), &crate::Owner::Operator)
                .unwrap_or_else(|problems| panic!("{policy}: {problems}"));
        }
    }
    let answers = blocks(MANUAL, "json").into_iter();
    let mut answers = answers.map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    let answer = answers
        .find(|answer| answer.get("policy").is_some())
        .unwrap();
    let policy = Policy::from_json(
        answer["policy"].to_string().as_bytes(),
        &crate::Owner::Operator,
    );
    assert_eq!(policy.unwrap().value.to_json(), answer["policy"]);
}

#[test]
fn every_field_word_and_warning_is_in_the_manual() {
    let everything = r#"
policies:
  - { name: a, match: {}, effect: mute }
  - { name: b, match: { source: MICROPHONE }, effect: mute }
  - { name: c, match: { type: AUDIO }, unless: { attributes: { a: 'b*' } }, effect: mute }
  - { name: h, match: { type: AUDIO }, when: 'room.num_participants >= 0', effect: mute }
  - { name: i, match: { type: AUDIO }, when: 'size(room.name) < 0', effect: mute }
  - { name: f, match: {}, when: 'room.name == "x" && true', effect: mute }
  - { name: g, match: {}, when: 'room.name == "x" || false', effect: mute }
  - { name: j, match: { type: VIDEO, source: MICROPHONE }, effect: mute }
  - { name: k, match: { type: AUDIO }, unless: { type: AUDIO }, effect: mute }
  - { name: l, match: { source: CAMERA }, when: 'track.source == "CAMERA"', effect: mute }
  - { name: m, match: { source: CAMERA }, when: 'track.source == "MICROPHONE"', effect: mute }
  - { name: n, match: { source: CAMERA }, when: 'room.name == "x" && track.source == "CAMERA"', effect: mute }
  - { name: o, match: { source: CAMERA }, when: 'room.name == "x" || track.source == "UNKNOWN"', effect: mute }
  - name: p
    match: { type: AUDIO }
    effect: exempt
    reason: a week without
    not_before: 2026-03-02T00:00:00Z
    not_after: 2026-03-08T00:00:00Z
    active: { cron: '0 0 * 3 *', duration: 1d, timezone: UTC }
  - { name: q, match: { attributes: { role: host } }, effect: exempt, reason: hosts speak }
  - { name: r, match: { room: '^x-.*$' }, effect: mute }
  - { name: r2, match: { room: '!x' }, effect: mute }
  - { name: r3, match: { room: 'x-%' }, effect: mute }
  - { name: r4, match: { room: 'x; y' }, effect: mute }
  - { name: r5, match: { room: 'x,' }, effect: mute }
  - { name: r6, match: { room: '"x"' }, effect: mute }
  - { name: r7, match: { room: '${X}' }, effect: mute }
  - { name: r8, match: { room: 'x\y' }, effect: mute }
  - { name: r9, match: { kind: SIP, kind_details: CONNECTOR_TWILIO }, effect: mute }
  - { name: s, match: { room: x }, when: 'participant.identity == "host-*"', effect: mute }
  - { name: t, match: { room: x }, owner: '*', effect: mute }
  - { name: u, match: { room: y }, owner: a, effect: mute, priority: 200 }
  - { name: v, match: { room: y }, owner: a, effect: exempt, reason: r }
  - { name: w, match: { room: y }, owner: b, effect: exempt, reason: r }
  - { name: x, match: { room: y, identity: x }, owner: a, effect: mute, priority: 5 }
  - { name: y, match: { room: 'y*' }, owner: a, effect: mute, priority: 600 }
  - name: d
    match: { type: AUDIO }
    effect: mute
    active: { cron: '* * * * *', duration: 1m, timezone: UTC }
  - name: e
    match: { type: AUDIO }
    effect: mute
    active:
      - { cron: '30 2 * * *', duration: 1h, timezone: Europe/Berlin }
      - { cron: '59 2 * OCT SUN', duration: 1m, timezone: Europe/Berlin }
      - { cron: '0 22 * * *', duration: 8h, timezone: Europe/Berlin }
      - { cron: '0 22 * * *', duration: 8h, timezone: Etc/GMT+5 }
"#;
    let warnings = Document::load([("all.yaml", everything)]).unwrap().warnings;
    assert_eq!(warnings.len(), 34);
    for warning in warnings {
        // The table leaves out what changes with the policy.
        let message = warning
            .message
            .split([',', ':', '('])
            .next()
            .unwrap()
            .trim();
        assert!(MANUAL.contains(message), "{message}");
    }
    for words in [
        Source::WORDS,
        TrackType::WORDS,
        Kind::WORDS,
        KindDetail::WORDS,
        Effect::WORDS,
        Mode::WORDS,
        crate::keys::POLICY_KEYS,
        crate::keys::MATCH_KEYS,
        crate::keys::WINDOW_KEYS,
    ] {
        for word in words {
            assert!(MANUAL.contains(&format!("`{word}`")), "{word}");
        }
    }
    assert!(MANUAL.contains(&format!("| 0 to 9999 | {PRIORITY_DEFAULT} |")));
}
