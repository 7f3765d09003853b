//! Explanations: every policy that sees the room, what it comes to, and why.

use super::generate::{policies as any_policies, some_facts};
use super::make::{attributes, facts, now, policies, set};
use crate::{Effect, Explained, Fact, Facts, PolicyOutcome, PolicyRef, Tri, Verdict, explain};
use proptest::prelude::*;

/// One line a policy, as a person would want to read it.
fn lines(yaml: &str, facts: &Facts) -> String {
    let explanation = explain(&set(&policies(yaml)), facts, now());
    let line = |explained: &Explained| {
        let outcome = if let PolicyOutcome::Cancelled { by } = &explained.outcome {
            format!("cancelled by {}", by.name)
        } else {
            format!("{:?}", explained.outcome)
        };
        let why = explained.failed.as_ref().map(|clause| {
            format!(
                " ({}: expected {}, actual {}: {:?})",
                clause.clause,
                clause.expected.as_deref().unwrap(),
                clause.actual.as_deref().unwrap(),
                clause.holds
            )
        });
        format!(
            "{}: {outcome}{}\n",
            explained.policy.name,
            why.unwrap_or_default()
        )
    };
    explanation.candidates.iter().map(line).collect()
}

const EVERYTHING: &str = r#"
policies:
  - { name: wins, match: { room: "webinar-*" }, effect: mute, priority: 300 }
  - { name: second, match: { type: AUDIO }, effect: mute, priority: 200 }
  - { name: cancelled, match: {}, effect: mute, priority: 50 }
  - { name: exempts, match: {}, effect: exempt, reason: x, priority: 60 }
  - { name: for-nothing, match: {}, effect: exempt, reason: x, priority: 10 }
  - { name: trial, match: {}, effect: mute, mode: dry_run, priority: 400 }
  - { name: "off", match: {}, effect: mute, mode: "off" }
  - { name: other-room, match: { room: ["x-*", y], type: VIDEO }, effect: mute }
  - { name: other-room-2, match: { room: ["x-*", y] }, effect: mute }
  - { name: other-source, match: { source: [CAMERA, SCREEN_SHARE] }, effect: mute }
  - { name: other-identity, match: { identity: "host-*" }, effect: mute }
  - { name: other-kind, match: { kind: SIP }, effect: mute }
  - { name: other-details, match: { kind_details: [CONNECTOR_TWILIO, CONNECTOR_WHATSAPP] }, effect: mute }
  - { name: other-role, match: { attributes: { team: red, role: [host, guest] } }, effect: mute }
  - { name: left-alone, match: {}, unless: { identity: "attendee-*", attributes: { role: attendee } }, effect: mute }
  - { name: not-seen, owner: acme, match: {}, effect: mute }
"#;

#[test]
fn each_policy_says_what_it_comes_to_and_the_first_clause_that_fails() {
    insta::assert_snapshot!("everything", lines(EVERYTHING, &facts()));
}

#[test]
fn what_is_not_known_is_named() {
    let mut facts = facts();
    facts.room.tenant = Fact::Unknown;
    facts.participant.kind = Fact::Unknown;
    facts.participant.kind_details = Fact::Unknown;
    facts.participant.attributes = Fact::Unknown;
    insta::assert_snapshot!("unknown", lines(EVERYTHING, &facts));
}

#[test]
fn an_attribute_that_is_not_there_is_said_to_be_so() {
    let mut facts = facts();
    facts.participant.attributes = Fact::Known(attributes(&[]));
    let yaml = "policies: [{ name: p, match: { attributes: { role: host } }, effect: mute }]";
    let expected = "p: DoesNotApply (match.attributes.role: expected \"host\", actual no such attribute: False)\n";
    assert_eq!(lines(yaml, &facts), expected);
}

proptest! {
    /// The outcomes in an explanation are what the decision is.
    #[test]
    fn the_outcomes_agree_with_the_decision(policies in any_policies(), facts in some_facts()) {
        let explanation = explain(&set(&policies), &facts, now());
        let winner = explanation.candidates.iter().find(|one| one.outcome == PolicyOutcome::Mutes);
        let enforced = &explanation.decision.enforced;
        prop_assert_eq!(winner.map(|winner| &*winner.policy), enforced.mute());
        if let Some(exempted) = enforced.exempted() {
            let of = |name: &PolicyRef| {
                explanation.candidates.iter().find(|one| *one.policy == *name).unwrap()
            };
            let is_cancelled = matches!(of(&exempted.mute).outcome, PolicyOutcome::Cancelled { .. });
            prop_assert!(is_cancelled);
            prop_assert_eq!(&of(&exempted.by).outcome, &PolicyOutcome::Exempts);
        }
        for one in &explanation.candidates {
            prop_assert_eq!(one.failed.is_none(), one.applies == Tri::True);
            if one.outcome == PolicyOutcome::AlsoMutes {
                let is_nothing = matches!(enforced, Verdict::Nothing { .. });
                prop_assert!(one.effect == Effect::Mute && !is_nothing);
            }
            if let Some(failed) = &one.failed {
                prop_assert!(failed.holds != Tri::True);
                prop_assert!(one.applies == Tri::Unknown || failed.holds == Tri::False, "{:?}", one);
            }
        }
    }
}
