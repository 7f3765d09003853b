//! What holds of any policies that were read, whatever they say.

use chrono::{DateTime, Utc};

use crate::policy::{
    CompiledPolicy, Facts, Mode, Policy, PolicySet, StoredPolicy, Tri, Verdict, decide, explain,
};
use crate::samples;

/// They are stored and read back as they were, and decide by the laws of decisions.
pub fn check(policies: &[Policy], input: &[u8]) {
    for policy in policies {
        let owner = policy.owner.as_deref();
        let stored = policy.to_json();
        match Policy::from_stored(&stored, owner) {
            Ok(again) => assert_eq!(again, *policy, "another policy is stored"),
            Err(problems) => panic!("what is stored cannot be read: {problems}\n{stored}"),
        }
    }
    let rows = policies.iter().map(|policy| StoredPolicy {
        owner: policy.owner.clone(),
        name: policy.name.clone(),
        revision: 1,
        document: policy.to_json(),
    });
    let set = PolicySet::from_stored(rows).unwrap_or_else(|error| panic!("{error}"));
    for facts in samples::known() {
        let mut known_more: Option<Verdict> = None;
        for faded in samples::fading(&facts, input) {
            let verdict = decides(&set, &faded, samples::noon());
            if let Some(known_more) = &known_more
                && !verdict.is_indeterminate()
            {
                assert_eq!(
                    verdict.mute(),
                    known_more.mute(),
                    "knowing more turned a definite decision"
                );
            }
            // What was definite with less known must be the same with all known.
            known_more.get_or_insert(verdict);
        }
    }
}

/// The decision, which the index must not change and the explanation must tell.
fn decides(set: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Verdict {
    let decision = decide(set, facts, now);
    let asked = |policy: &CompiledPolicy, seen| policy.ask(facts, now).if_seen(seen).matched;
    let matched = set
        .visible(facts)
        .filter(|(policy, seen)| policy.mode != Mode::Off && asked(policy, *seen) != Tri::False)
        .count();
    assert_eq!(
        decision.trace.len() + decision.trace_left_off,
        matched,
        "the index finds others than are asked one by one"
    );
    let explanation = explain(set, facts, now);
    assert_eq!(explanation.decision, decision);
    for candidate in &explanation.candidates {
        assert_eq!(candidate.failed.is_none(), candidate.applies == Tri::True);
    }
    let json = serde_json::to_string(&decision).unwrap_or_else(|error| panic!("{error}"));
    let again = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(decision, again, "another decision is stored");
    decision.enforced
}
