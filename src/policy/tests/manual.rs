//! docs/POLICIES.md says what is so.

use crate::policy::document::PRIORITY_DEFAULT;
use crate::policy::{Document, Effect, Kind, Mode, Policy, Source, TrackType};

const MANUAL: &str = include_str!("../../../docs/POLICIES.md");
const README: &str = include_str!("../../../README.md");

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
    let manuals = blocks(MANUAL, "yaml");
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

#[test]
fn every_policy_of_the_curl_examples_is_one() {
    let commands = blocks(MANUAL, "sh").concat();
    let bodies: Vec<_> = commands
        .split("-d '")
        .skip(1)
        .map(|rest| rest.split_once('\'').unwrap().0)
        .collect();
    assert_eq!(bodies.len(), 4);
    for body in bodies {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let policies = match body["policies"].as_array() {
            Some(policies) => policies.clone(),
            None => vec![body],
        };
        for mut policy in policies {
            policy["name"] = "any".into();
            Policy::from_json(policy.to_string().as_bytes(), None)
                .unwrap_or_else(|problems| panic!("{policy}: {problems}"));
        }
    }
    let answer: serde_json::Value = serde_json::from_str(blocks(MANUAL, "json")[0]).unwrap();
    let policy = Policy::from_json(answer["policy"].to_string().as_bytes(), None);
    assert_eq!(policy.unwrap().value.to_json(), answer["policy"]);
}

#[test]
fn every_field_word_and_warning_is_in_the_manual() {
    let everything = r"
policies:
  - { name: a, match: {}, effect: mute }
  - { name: b, match: { source: MICROPHONE }, effect: mute }
  - { name: c, match: { type: AUDIO }, unless: { attributes: { a: 'b*' } }, effect: mute }
";
    let warnings = Document::load([("all.yaml", everything)]).unwrap().warnings;
    assert_eq!(warnings.len(), 4);
    for warning in warnings {
        // The table leaves out what changes with the policy.
        let message = warning.message.split([',', ':']).next().unwrap();
        assert!(MANUAL.contains(message), "{message}");
    }
    for words in [
        Source::WORDS,
        TrackType::WORDS,
        Kind::WORDS,
        Effect::WORDS,
        Mode::WORDS,
        crate::policy::read::POLICY_KEYS,
        crate::policy::read::MATCH_KEYS,
        crate::policy::read::UNEVALUATED_KEYS,
    ] {
        for word in words {
            assert!(MANUAL.contains(&format!("`{word}`")), "{word}");
        }
    }
    assert!(MANUAL.contains(&format!("| 0 to 9999 | {PRIORITY_DEFAULT} |")));
}
