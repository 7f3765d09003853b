//! Which facts were not recorded that a decision hangs on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::draft::Side;
use crate::policy::{Decision, Facts, Needs, Tri};

/// So many different sets of missing facts are told apart.
const GROUPS_MAX: usize = 30;

/// The facts that may be unknown, as they are named in documents.
const NAMES: [&str; 3] = ["room.tenant", "participant.kind", "participant.attributes"];

/// Facts that are missing: a bit for each of [`NAMES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing(u32);

impl Missing {
    /// What the policies of `side` ask for that may turn `decision`, and that is not in `facts`.
    /// With a tenant, what others' policies ask for is nobody's to know.
    pub(super) fn of(
        side: &Side,
        decision: &Decision,
        facts: &Facts,
        tenant: Option<&str>,
    ) -> Self {
        if !decision.is_indeterminate() {
            return Self::default();
        }
        let mut missing = Self::default();
        for candidate in &decision.trace {
            let policy = &candidate.policy;
            let owner = policy.owner.as_deref();
            if candidate.applies != Tri::Unknown || (tenant.is_some() && owner != tenant) {
                continue;
            }
            // All fields are named, so that a new one is not forgotten here.
            let Needs { kind, attributes } = side.needs(policy);
            for (bit, is_missing) in [
                owner.is_some() && facts.room.tenant.is_unknown(),
                kind && facts.participant.kind.is_unknown(),
                attributes && facts.participant.attributes.is_unknown(),
            ]
            .into_iter()
            .enumerate()
            {
                missing.0 |= u32::from(is_missing) << bit;
            }
        }
        missing
    }

    /// What either lacks.
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names, in the order of documents.
    pub(super) fn names(self) -> Vec<&'static str> {
        NAMES
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
            .collect()
    }
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
    groups: BTreeMap<(Missing, bool), u64>,
    left_off: u64,
}

impl MissingTally {
    pub(super) fn add(&mut self, missing: Missing, by_event_alone: bool) {
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
