//! The decision that was recorded with an event, beside the one that is made now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::answer::{Decided, Recorded};
use super::event::Event;
use super::{Which, words};
use crate::access::Viewer;
use quell_policy::{Candidate, Decision, PolicyKey, PolicyRef, Tri, Verdict};

/// So many policies that differ are named; further ones are only counted.
const DIFFERS_MAX: usize = 20;

/// Which policies there are, beside those of then.
pub(super) struct There {
    /// None where there is nothing to compare them with.
    pub(super) now: Option<HashSet<PolicyKey>>,
    pub(super) which: Which,
}

pub(super) fn recorded(event: Event, again: &Decision, there: &There, viewer: &Viewer) -> Recorded {
    let differs = event.decision.as_ref().map(|then| {
        let comparison = Comparison {
            then,
            again,
            there_then: event.there_then.as_ref(),
            there,
            viewer,
        };
        let mut differs = comparison.differences();
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
            .map(|decision| Decided::new(decision, viewer)),
        same_as_recorded: differs.as_ref().map(Vec::is_empty),
        differs: differs.unwrap_or_default(),
    }
}

/// Two decisions, and which policies there were for each.
struct Comparison<'a> {
    then: &'a Decision,
    again: &'a Decision,
    there_then: Option<&'a HashSet<PolicyKey>>,
    there: &'a There,
    viewer: &'a Viewer,
}

impl Comparison<'_> {
    /// What is not the same, as far as the asker may know; nothing where all is. The time it is made
    /// for may differ, and so may how much was known of the policies.
    fn differences(&self) -> Vec<String> {
        let (then, again) = (self.then, self.again);
        let mut differs = Vec::new();
        let mut said = None;
        for (what, then, again) in [
            ("enforced", &then.enforced, &again.enforced),
            ("dry_run", &then.dry_run, &again.dry_run),
        ] {
            // What would be with the dry-run policies is mostly the same.
            if !self.is_same_verdict(then, again)
                && said.replace((then, again)) != Some((then, again))
            {
                differs.push(format!(
                    "{what}: then {}, now {}",
                    words::verdict(then),
                    words::verdict(again)
                ));
            }
        }
        let (then, again) = (traced(then, self.viewer), traced(again, self.viewer));
        let names: BTreeSet<_> = then.keys().chain(again.keys()).collect();
        let mut policies: Vec<_> = names
            .into_iter()
            .filter_map(|name| {
                let said = self.policy(then.get(name).copied(), again.get(name).copied())?;
                Some(format!("{name}: {said}"))
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

    /// What is not the same about one policy, which is in at least one of the two traces.
    fn policy(&self, then: Option<&Candidate>, again: Option<&Candidate>) -> Option<String> {
        match (then, again) {
            (Some(then), Some(again)) => {
                let is_same = self.is_same(&then.policy, &again.policy)
                    && (then.effect, then.mode, then.applies, then.exempt)
                        == (again.effect, again.mode, again.applies, again.exempt);
                let differs = || format!("then {}, now {}", standing(then), standing(again));
                (!is_same).then(differs)
            }
            (None, Some(again)) => {
                let is_new = self
                    .there_then
                    .is_some_and(|there| self.lacks(there, again));
                let now = standing(again);
                Some(if is_new {
                    format!("it is new, and now {now}")
                } else {
                    format!("then not about it, now {now}")
                })
            }
            (Some(then), None) => {
                let there = self.there.now.as_ref();
                let is_gone = there.is_some_and(|there| self.lacks(there, then));
                let was = standing(then);
                Some(match (is_gone, self.there.which) {
                    (false, _) => format!("then {was}, now not about it"),
                    (true, Which::Files) => format!("then {was}; it is not in the files"),
                    (true, _) => format!("then {was}; it is not there any more"),
                })
            }
            (None, None) => None,
        }
    }

    /// Whether the policy was, or is, not there at all. Of policies that are not the asker's, it is
    /// not told whether they are there where they do not apply.
    fn lacks(&self, there: &HashSet<PolicyKey>, candidate: &Candidate) -> bool {
        self.viewer.may_read(&candidate.policy.owner) && !there.contains(&candidate.policy.key())
    }

    fn is_same_verdict(&self, then: &Verdict, again: &Verdict) -> bool {
        match (then, again) {
            (Verdict::Mute { policy: then }, Verdict::Mute { policy: again }) => {
                self.is_same(then, again)
            }
            (
                Verdict::Nothing {
                    exempted: Some(then),
                },
                Verdict::Nothing {
                    exempted: Some(again),
                },
            ) => {
                self.is_same(&then.mute, &again.mute)
                    && self.is_same(&then.by, &again.by)
                    && then.reason == again.reason
            }
            _ => then == again,
        }
    }

    /// Policies of files have no revisions: they are the same where all else is.
    fn is_same(&self, then: &PolicyRef, again: &PolicyRef) -> bool {
        let is_same_revision = then.revision == again.revision;
        (is_same_revision || self.there.which == Which::Files)
            && (&then.owner, &then.name) == (&again.owner, &again.name)
            && (then.priority, then.overridable) == (again.priority, again.overridable)
    }
}

type Traced<'a> = BTreeMap<String, &'a Candidate>;

/// The trace, by the names of policies.
fn traced<'a>(decision: &'a Decision, viewer: &Viewer) -> Traced<'a> {
    let seen = decision.trace.iter().filter(|candidate| {
        viewer.may_know_of(&candidate.policy.owner, candidate.mode, candidate.applies)
    });
    seen.map(|candidate| (words::named(&candidate.policy), candidate))
        .collect()
}

fn standing(candidate: &Candidate) -> String {
    let applies = match candidate.applies {
        Tri::True => "applies",
        Tri::Unknown => "may apply",
        Tri::False => "leaves it alone by its `unless`",
    };
    let (effect, mode) = (candidate.effect.as_str(), candidate.mode.as_str());
    match candidate.policy.revision {
        // Policies of files have none yet.
        0 => format!("({effect}, {mode}) {applies}"),
        revision => format!("revision {revision} ({effect}, {mode}) {applies}"),
    }
}
