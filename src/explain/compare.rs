//! How the decision that was recorded with an event and the one that is made now differ.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::question::PolicySource;
use super::summary;
use super::track_question::RecordedEvent;
use crate::access::Viewer;
use quell_policy::{Candidate, Decision, PolicyKey, PolicyRef, Tri, Verdict};

/// At most this many policies that differ are named; more are only counted.
const DIFFERS_MAX: usize = 20;

/// The policies that decide now.
pub(super) struct CurrentPolicies {
    /// All that exist, also those that do not see the room.
    pub(super) keys: HashSet<PolicyKey>,
    pub(super) source: PolicySource,
}

/// How `then`, the decision that was recorded with `event`, and `again` differ, one sentence each.
pub(super) fn differences(
    event: &RecordedEvent,
    then: &Decision,
    again: &Decision,
    current: &CurrentPolicies,
    viewer: &Viewer,
) -> Vec<String> {
    let diff = DecisionDiff {
        then,
        again,
        policies_then: event.policies_then.as_ref(),
        current,
        viewer,
    };
    let mut differs = diff.differences();
    let is_late = matches!(event.settlement.as_deref(), Some("gone" | "stale"));
    if is_late && !differs.is_empty() {
        differs.push(
            "it was decided by the event alone; LiveKit was asked after that, and some facts are from then"
                .to_owned(),
        );
    }
    differs
}

/// Two decisions, and the policies that existed for each.
struct DecisionDiff<'a> {
    then: &'a Decision,
    again: &'a Decision,
    policies_then: Option<&'a HashSet<PolicyKey>>,
    current: &'a CurrentPolicies,
    viewer: &'a Viewer,
}

impl DecisionDiff<'_> {
    /// The differences that the viewer may know. The times that the decisions are made for, and the
    /// snapshots of policies, are not compared.
    fn differences(&self) -> Vec<String> {
        let (then, again) = (self.then, self.again);
        let mut differs = Vec::new();
        let mut said = None;
        for (what, then, again) in [
            ("enforced", &then.enforced, &again.enforced),
            ("dry_run", &then.dry_run, &again.dry_run),
        ] {
            // Mostly the two views differ in the same way, which is said once.
            if !self.is_same_verdict(then, again)
                && said.replace((then, again)) != Some((then, again))
            {
                differs.push(format!(
                    "{what}: then {}, now {}",
                    summary::verdict(then),
                    summary::verdict(again)
                ));
            }
        }
        let (then, again) = (
            candidates(then, self.viewer),
            candidates(again, self.viewer),
        );
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

    /// The difference in one policy, which is in at least one of the two traces.
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
                    .policies_then
                    .is_some_and(|existing| self.lacks(existing, again));
                let now = standing(again);
                Some(if is_new {
                    format!("it is new, and now {now}")
                } else {
                    format!("then not about it, now {now}")
                })
            }
            (Some(then), None) => {
                let is_gone = self.lacks(&self.current.keys, then);
                let was = standing(then);
                Some(match (is_gone, self.current.source) {
                    (false, _) => format!("then {was}, now not about it"),
                    (true, PolicySource::Files) => format!("then {was}; it is not in the files"),
                    (true, _) => format!("then {was}; it is not there any more"),
                })
            }
            (None, None) => None,
        }
    }

    /// Whether the policy is not among `existing`. A viewer may not know this of policies that it may
    /// not read.
    fn lacks(&self, existing: &HashSet<PolicyKey>, candidate: &Candidate) -> bool {
        self.viewer.may_read(&candidate.policy.owner) && !existing.contains(&candidate.policy.key())
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

    /// Policies of files have no revisions: they are compared without.
    fn is_same(&self, then: &PolicyRef, again: &PolicyRef) -> bool {
        let is_same_revision = then.revision == again.revision;
        (is_same_revision || self.current.source == PolicySource::Files)
            && (&then.owner, &then.name) == (&again.owner, &again.name)
            && (then.priority, then.overridable) == (again.priority, again.overridable)
    }
}

/// The candidates that the viewer may know of, by their policies' names.
fn candidates<'a>(decision: &'a Decision, viewer: &Viewer) -> BTreeMap<String, &'a Candidate> {
    let seen = decision.trace.iter().filter(|candidate| {
        viewer.may_know_of(&candidate.policy.owner, candidate.mode, candidate.applies)
    });
    seen.map(|candidate| (summary::named(&candidate.policy), candidate))
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
