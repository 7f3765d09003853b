//! Which facts were not recorded that a decision hangs on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::draft::Side;
use crate::access::Viewer;
use quell_policy::{Decision, Facts, Reads, Tri};

/// So many different sets of missing facts are told apart.
const GROUPS_MAX: usize = 30;

/// What the policies of `side` read that may turn `decision`, and that is not in `facts`. What
/// others' policies read is not for `viewer` to know.
pub(super) fn missing(side: &Side, decision: &Decision, facts: &Facts, viewer: &Viewer) -> Reads {
    if !decision.is_indeterminate() {
        return Reads::default();
    }
    let candidates = decision.trace.iter().filter(|candidate| {
        candidate.applies == Tri::Unknown && viewer.may_read(&candidate.policy.owner)
    });
    let read = candidates.fold(Reads::default(), |reads, candidate| {
        reads.or(side.reads(&candidate.policy))
    });
    read.and(Reads::unknown_in(facts))
}

/// Tracks that lack the same facts for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingFacts {
    /// What lacks; empty where only policies of others ask for it.
    pub facts: Vec<&'static str>,
    /// Whether `LiveKit` was never asked for it: the event alone had decided.
    pub by_event_alone: bool,
    /// How many.
    pub tracks: u64,
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct MissingTally {
    groups: BTreeMap<(Reads, bool), u64>,
    left_off: u64,
}

impl MissingTally {
    pub(super) fn add(&mut self, missing: Reads, by_event_alone: bool) {
        let key = (missing, by_event_alone);
        if self.groups.len() < GROUPS_MAX || self.groups.contains_key(&key) {
            *self.groups.entry(key).or_default() += 1;
        } else {
            self.left_off += 1;
        }
    }

    /// The most frequent first, and how many tracks are in none of them.
    pub(super) fn finish(self) -> (Vec<MissingFacts>, u64) {
        let mut groups: Vec<_> = self
            .groups
            .into_iter()
            .map(|((missing, by_event_alone), tracks)| MissingFacts {
                facts: missing.names(),
                by_event_alone,
                tracks,
            })
            .collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.tracks));
        (groups, self.left_off)
    }
}
