//! The sentences and the size of an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Value;

use super::{POLICIES, event, everything, explained, now, set, track_question, without};
use crate::explain::PolicySource;
use crate::explain::answer::answer;
use crate::explain::track_question::{RecordedEvent, TrackQuestion};
use crate::test_data::viewer;
use quell_policy::{CompiledPolicy, Decision, Document, Facts, PolicyRef, PolicySet, decide};

#[test]
fn decisions_are_said_in_a_sentence() {
    let one = "  - { name: mics, match: {}, effect: mute }\n";
    let more = "  - { name: b, match: {}, effect: mute, priority: 5 }\n";
    let third = "  - { name: c, match: {}, effect: mute, priority: 4 }\n";
    let exempt = "  - { name: agents, owner: acme, match: { kind: [STANDARD, AGENT] }, effect: exempt, reason: they speak }\n";
    let soft = "  - { name: mics, match: {}, effect: mute, overridable: true }\n";
    let unless = "  - { name: mics, match: {}, unless: { identity: ann }, effect: mute }\n";
    let exempt_unless =
        "  - { name: no-mute, match: {}, unless: { identity: ann }, effect: exempt, reason: x }\n";
    let trial = "  - { name: trial, match: {}, effect: mute, mode: dry_run }\n";
    let sip = "  - { name: sip, owner: acme, match: { kind: SIP }, effect: mute }\n";
    let say = |yaml: &[&str], unknown: &[&str]| {
        let policies = set(&format!("policies:\n{}", yaml.concat()));
        let answer = explained(&policies, &without(everything(), unknown), None);
        let names = |names: &[Arc<PolicyRef>]| {
            let names: Vec<_> = names.iter().map(|name| &*name.name).collect();
            names.join(" ")
        };
        let winner: Vec<_> = answer.winner.clone().into_iter().collect();
        let (winner, losers) = (names(&winner), names(&answer.losers));
        let dry_run = answer.dry_run_summary.unwrap_or_else(|| "-".to_owned());
        format!(
            "{}\n    in dry run: {dry_run}\n    {winner} > {losers}",
            answer.summary
        )
    };
    let said = [
        say(
            &["  - { name: x, match: { room: x }, effect: mute }\n"],
            &[],
        ),
        say(&[one], &[]),
        say(&[one, more], &[]),
        say(&[one, more, third], &[]),
        say(&[one, exempt], &[]),
        say(&[soft, exempt], &[]),
        say(&[soft, exempt, trial], &[]),
        say(&[unless], &[]),
        say(&[trial], &[]),
        say(&[exempt_unless], &[]),
        say(
            &[&unless.replace("effect: mute", "effect: mute, mode: dry_run")],
            &[],
        ),
        say(&[sip], &["participant.kind"]),
        say(
            &[sip],
            &["participant.kind", "room.tenant", "room.metadata"],
        ),
        say(&[soft, exempt], &["participant.kind"]),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_was_recorded_is_compared_with_what_is_decided_now() {
    let at = now();
    let recorded = |yaml: &str, settlement: &str, tenant: Option<&str>| {
        let facts: Facts = serde_json::from_value(everything()).unwrap();
        let then = decide(&set(yaml), &facts, at);
        // As it comes back from the database.
        let text = serde_json::to_string(&then).unwrap();
        let decision: Decision = serde_json::from_str(&text).unwrap();
        let event = RecordedEvent {
            settlement: Some(settlement.to_owned()),
            ..event(decision)
        };
        let track = TrackQuestion {
            at: at + TimeDelta::hours(1),
            ..track_question(facts, Some(event))
        };
        let answer = answer(&set(POLICIES), PolicySource::Now, track, &viewer(tenant));
        let recorded = answer.recorded.unwrap();
        assert_eq!(recorded.same_as_recorded, Some(recorded.differs.is_empty()));
        recorded.differs.join("\n")
    };
    assert_eq!(recorded(POLICIES, "muted", None), "");
    let other = POLICIES.replace("ann }, effect: mute", "bob }, effect: mute");
    insta::assert_snapshot!(recorded(&other, "muted", None));
    // A tenant may not know of an operator's policy that does not apply now.
    insta::assert_snapshot!(
        "recorded_of_tenant",
        recorded(&other, "muted", Some("acme"))
    );
    let exempt = POLICIES.replace("{}, unless: { identity: ann }", "{ identity: bob }");
    let seen = recorded(&exempt, "muted", None);
    assert!(
        seen.contains("op-exempts-secret: then not about it"),
        "{seen}"
    );
    assert_eq!(recorded(&exempt, "muted", Some("acme")), "");
    let late = recorded(&exempt, "gone", None);
    assert!(late.contains("LiveKit was asked after that"), "{late}");
}

#[test]
fn only_facts_that_a_policy_depends_on_are_missing() {
    let missing = |policy: &str| {
        let policies = set(&format!("policies: [{policy}]"));
        let unknown = [
            "participant.kind",
            "participant.attributes",
            "room.tenant",
            "room.metadata",
            "room.created_at",
        ];
        let facts = without(everything(), &unknown);
        explained(&policies, &facts, None)
            .provenance
            .missing
            .join(" ")
    };
    for (policy, expect) in [
        (
            "{ name: a, match: { kind: SIP }, effect: mute }",
            "participant.kind",
        ),
        (
            "{ name: a, match: { attributes: { a: b } }, effect: mute }",
            "participant.attributes",
        ),
        (
            "{ name: a, match: {}, unless: { kind: SIP }, effect: mute }",
            "participant.kind",
        ),
        (
            "{ name: a, owner: acme, match: {}, effect: mute }",
            "room.tenant",
        ),
        (
            "{ name: a, match: { kind: SIP }, effect: mute, mode: dry_run }",
            "participant.kind",
        ),
        (
            "{ name: a, match: { kind: SIP }, effect: mute, mode: \"off\" }",
            "",
        ),
        (
            "{ name: a, match: { kind: SIP, identity: bob }, effect: mute }",
            "",
        ),
        ("{ name: a, match: {}, effect: mute }", ""),
    ] {
        assert_eq!(missing(policy), expect, "{policy}");
    }
}

const MANUAL: &str = include_str!("../../../docs/POLICIES.md");

#[test]
fn every_field_of_an_answer_is_in_the_manual() {
    fn keys(json: &Value, found: &mut BTreeSet<String>) {
        match json {
            Value::Object(fields) => {
                for (key, value) in fields {
                    found.insert(key.clone());
                    // Their fields are documented elsewhere, or are paths.
                    if !matches!(key.as_str(), "facts" | "sources") {
                        keys(value, found);
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let facts: Facts = serde_json::from_value(everything()).unwrap();
    let policies = set(POLICIES);
    let event = event(decide(&policies, &facts, now()));
    let track = track_question(facts, Some(event));
    let answer = answer(&policies, PolicySource::Then, track, &viewer(None));
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(&answer).unwrap(), &mut found);
    assert!(found.len() > 35, "{found:?}");
    let (_, section) = MANUAL.split_once("\n## Why was this muted?\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let words = found.iter().map(String::as_str).chain([
        "tracks",
        "mutes",
        "also_mutes",
        "cancelled",
        "exempts",
        "exempts_nothing",
        "dry_run",
        "off",
        "does_not_apply",
        "depends",
        "request",
        "caller",
        "assumed",
        "event",
        "ListRooms",
        "GetParticipant",
        "unknown",
        "now",
        "then",
        "files",
    ]);
    for word in words {
        assert!(section.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn an_answer_is_no_longer_than_somebody_reads_whatever_its_texts_are() {
    let long = |c: char| c.to_string().repeat(60_000);
    let key = "k".repeat(200);
    let globs: Vec<_> = (0..50).map(|n| format!("nomatch-{n}")).collect();
    let globs = globs.join(", ");
    let many = (0..600).map(|n| {
        format!(
            "  - {{ name: room-{n}, match: {{ room: [{globs}] }}, effect: mute }}
  - {{ name: attr-{n}, match: {{ attributes: {{ {key}: [{globs}] }} }}, effect: mute }}
  - {{ name: when-{n}, match: {{}}, when: 'participant.name == \"x\"', effect: mute }}
  - {{ name: unless-{n}, match: {{}}, unless: {{ identity: \"*\", room: \"*\" }}, effect: mute }}\n"
        )
    });
    let policies = set(&format!("policies:\n{}", many.collect::<String>()));
    let mut facts: Facts = serde_json::from_value(everything()).unwrap();
    facts.room.name = long('"');
    facts.participant.identity = long('\u{202e}');
    facts.participant.name = quell_policy::Fact::Known(long('x'));
    facts.participant.attributes =
        quell_policy::Fact::Known([(key.clone(), long('\0'))].into_iter().collect());
    let given = serde_json::to_vec(&facts).unwrap().len();
    let track = track_question(facts, None);
    let answer = answer(&policies, PolicySource::Now, track, &viewer(None));
    assert_eq!(answer.candidates.len(), 1_000);
    let bytes = serde_json::to_vec(&answer).unwrap().len();
    assert!(bytes < given + (2 << 20), "{bytes} bytes, {given} of facts");
}

#[test]
fn what_is_new_or_gone_is_not_said_to_be_about_something_else() {
    let now_and_then = |then: &str, again: &str, source: PolicySource, tenant: Option<&str>| {
        let facts: Facts = serde_json::from_value(everything()).unwrap();
        let policies = |yaml: &str| set(&format!("policies: [{yaml}]"));
        let then = policies(then);
        let policies_then = then.visible(&facts);
        let policies_then = policies_then.map(|(policy, _)| policy.id.key());
        let event = RecordedEvent {
            policies_then: Some(policies_then.collect()),
            ..event(decide(&then, &facts, now()))
        };
        let track = track_question(facts, Some(event));
        let again = match source {
            PolicySource::Files => {
                let yaml = format!("policies: [{again}]");
                let document = Document::load([("test.yaml", &*yaml)]).unwrap().value;
                let compiled = document.policies.iter();
                PolicySet::new(compiled.map(|policy| CompiledPolicy::new(policy, 0).unwrap()))
            }
            PolicySource::Now | PolicySource::Then => policies(again),
        };
        let recorded = answer(&again, source, track, &viewer(tenant))
            .recorded
            .unwrap();
        recorded.differs.join("\n")
    };
    let base = "{ name: base, match: {}, effect: mute }";
    let quiet = "{ name: quiet, owner: acme, match: {}, effect: mute }";
    let far = "{ name: quiet, owner: acme, match: { room: far }, effect: mute }";
    let (with, without_it) = (format!("{base}, {quiet}"), base.to_owned());
    let beside = format!("{base}, {far}");
    let stands = "revision 1 (mute, enforce) applies";
    for tenant in [None, Some("acme")] {
        let ask = |then: &str, again: &str, source| now_and_then(then, again, source, tenant);
        assert_eq!(
            ask(&without_it, &with, PolicySource::Now),
            format!("acme/quiet: it is new, and now {stands}")
        );
        assert_eq!(
            ask(&beside, &with, PolicySource::Now),
            format!("acme/quiet: then not about it, now {stands}")
        );
        assert_eq!(
            ask(&with, &without_it, PolicySource::Now),
            format!("acme/quiet: then {stands}; it is not there any more")
        );
        assert_eq!(
            ask(&with, &beside, PolicySource::Now),
            format!("acme/quiet: then {stands}, now not about it")
        );
        assert_eq!(
            ask(&with, &without_it, PolicySource::Files),
            format!("acme/quiet: then {stands}; it is not in the files")
        );
        assert_eq!(
            ask(&without_it, &with, PolicySource::Files),
            "acme/quiet: it is new, and now (mute, enforce) applies"
        );
        // Files with the same policies decide the same.
        assert_eq!(ask(&with, &with, PolicySource::Files), "");
    }
    // A tenant may not know whether the operator has a policy that does not apply.
    let theirs = now_and_then(&with, quiet, PolicySource::Now, Some("acme"));
    assert!(
        theirs.ends_with(&format!("(operator)/base: then {stands}, now not about it")),
        "{theirs}"
    );
    let operators = now_and_then(&with, quiet, PolicySource::Now, None);
    assert!(
        operators.ends_with("it is not there any more"),
        "{operators}"
    );
}
