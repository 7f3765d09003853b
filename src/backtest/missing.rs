//! The facts that a decision depends on and that were not recorded.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Viewer;
use crate::draft::ComparedSet;
use quell_policy::{Decision, Facts, Reads, Tri};

/// At most this many sets of missing facts are counted on their own.
const GROUPS_MAX: usize = 30;

/// The facts that are unknown in `facts` and that may change `decision`, since a policy of `set` that
/// may apply reads them. Policies that `viewer` may not read are left out.
pub(super) fn missing(
    set: &ComparedSet,
    decision: &Decision,
    facts: &Facts,
    viewer: &Viewer,
) -> Reads {
    if !decision.is_indeterminate() {
        return Reads::default();
    }
    let candidates = decision.trace.iter().filter(|candidate| {
        candidate.applies == Tri::Unknown && viewer.may_read(&candidate.policy.owner)
    });
    let read = candidates.fold(Reads::default(), |reads, candidate| {
        reads.or(set.reads(&candidate.policy))
    });
    read.and(Reads::unknown_in(facts))
}

/// Tracks that lack the same facts for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissingFacts {
    /// The names of the missing facts; empty where only others' policies read them.
    pub facts: Vec<&'static str>,
    /// Whether `LiveKit` was never asked: the event alone had decided.
    pub by_event_alone: bool,
    /// How many tracks.
    pub tracks: u64,
}

/// Counts tracks by their missing facts.
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

    /// The most frequent first, and how many tracks are in no group.
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
