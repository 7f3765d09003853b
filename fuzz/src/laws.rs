//! What holds of any policies that were read, whatever they say.

use chrono::{DateTime, Utc};

use crate::samples;
use quell_policy::{
    CompiledPolicy, Decision, Facts, Mode, Policy, PolicySet, StoredPolicy, Tri, decide, explain,
};

/// They are stored and read back as they were, and decide by the laws of decisions.
pub fn check(policies: &[Policy], input: &[u8]) {
    for policy in policies {
        let stored = policy.to_json();
        match Policy::from_stored(&stored, &policy.owner) {
            Ok(again) => assert_eq!(again, *policy, "another policy is stored"),
            Err(problems) => panic!("what is stored cannot be read: {problems}\n{stored}"),
        }
    }
    let rows = policies.iter().map(StoredPolicy::first_revision);
    let set = PolicySet::from_stored(rows).unwrap_or_else(|error| panic!("{error}"));
    for facts in samples::known() {
        let known = decides(&set, &facts, samples::noon());
        assert!(!known.is_indeterminate(), "all is known, and it is open");
        for faded in samples::fading(&facts, input) {
            let less = decides(&set, &faded, samples::noon());
            for (less, known) in [
                (&less.enforced, &known.enforced),
                (&less.dry_run, &known.dry_run),
            ] {
                assert!(
                    less.is_indeterminate() || less.mute() == known.mute(),
                    "knowing more turned a definite decision"
                );
            }
        }
    }
}

/// No sign that means something to YAML is passed over: all that stand in a text stand in what is
/// stored. Comments and escapes hide some.
pub fn nothing_is_lost(policies: &[Policy], text: &str) {
    if text.contains(['#', '\\']) {
        return;
    }
    let stored = policies.iter().fold(String::new(), |all, policy| {
        let owner = policy.owner.as_str().unwrap_or_default();
        format!("{all}{owner}{}", policy.to_json())
    });
    for sign in ['!', '&', '@', '%', '`'] {
        let count = |text: &str| text.matches(sign).count();
        assert_eq!(count(&stored), count(text), "{sign:?} was lost");
    }
}

/// The decision, which the index must not change and the explanation must tell.
fn decides(set: &PolicySet, facts: &Facts, now: DateTime<Utc>) -> Decision {
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
    decision
}
