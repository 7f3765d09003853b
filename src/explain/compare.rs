//! The decision that was recorded with an event, beside the one that is made now.

use std::collections::BTreeMap;

use super::answer::{Decided, Recorded, View};
use super::event::Event;
use super::words;
use crate::policy::{Candidate, Decision, Tri};

/// So many policies that differ are named; further ones are only counted.
const DIFFERS_MAX: usize = 20;

pub(super) fn recorded(event: Event, again: &Decision, view: View<'_>) -> Recorded {
    let differs = event.decision.as_ref().map(|then| {
        let mut differs = differences(then, again, view);
        let is_late = matches!(event.settlement.as_deref(), Some("gone" | "stale"));
        if is_late && !differs.is_empty() {
            differs.push(
                "it was decided by the event alone; LiveKit was asked after that, and some facts are from then"
                    .to_owned(),
            );
        }
        differs
    });
    Recorded {
        event_id: event.id,
        created_at: event.created_at,
        received_at: event.received_at,
        settlement: event.settlement,
        settled_at: event.settled_at,
        decision: event
            .decision
            .as_ref()
            .map(|decision| Decided::new(decision, view)),
        same_as_recorded: differs.as_ref().map(Vec::is_empty),
        differs: differs.unwrap_or_default(),
    }
}

/// What is not the same, as far as `view` may know; nothing where all is. The time it is made for
/// may differ, and so may how much was known of the policies.
fn differences(then: &Decision, again: &Decision, view: View<'_>) -> Vec<String> {
    let mut differs = Vec::new();
    for (what, then, again) in [
        ("enforced", &then.enforced, &again.enforced),
        ("shadow", &then.shadow, &again.shadow),
    ] {
        if then != again {
            differs.push(format!(
                "{what}: then {}, now {}",
                words::verdict(then),
                words::verdict(again)
            ));
        }
    }
    let (then, again) = (traced(then, view), traced(again, view));
    let names: std::collections::BTreeSet<_> = then.keys().chain(again.keys()).collect();
    let mut policies: Vec<_> = names
        .into_iter()
        .filter(|name| then.get(*name) != again.get(*name))
        .map(|name| {
            let say = |trace: &Traced<'_>| trace.get(name).map_or_else(not_there, |c| standing(c));
            format!("{name}: then {}, now {}", say(&then), say(&again))
        })
        .collect();
    let left_off = policies.len().saturating_sub(DIFFERS_MAX);
    policies.truncate(DIFFERS_MAX);
    differs.extend(policies);
    if left_off > 0 {
        differs.push(format!("{left_off} more policies"));
    }
    differs
}

type Traced<'a> = BTreeMap<String, &'a Candidate>;

/// The trace, by the names of policies.
fn traced<'a>(decision: &'a Decision, view: View<'_>) -> Traced<'a> {
    let seen = decision.trace.iter().filter(|candidate| {
        let owner = candidate.policy.owner.as_deref();
        view.sees(owner, candidate.mode, candidate.applies)
    });
    seen.map(|candidate| (words::named(&candidate.policy), candidate))
        .collect()
}

fn not_there() -> String {
    "not about it".to_owned()
}

fn standing(candidate: &Candidate) -> String {
    let applies = match candidate.applies {
        Tri::True => "applies",
        Tri::Unknown => "may apply",
        Tri::False => "leaves it alone by its `unless`",
    };
    format!(
        "revision {} ({}, {}) {applies}",
        candidate.policy.revision,
        candidate.effect.as_str(),
        candidate.mode.as_str()
    )
}
