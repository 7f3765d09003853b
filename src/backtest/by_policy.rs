//! How many tracks each policy mutes or exempts, by the live policies and by the draft.

use std::cmp::Reverse;
use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::disposition::{DispositionRef, View};
use quell_policy::{Owner, PolicyKey, TenantId};

/// How many tracks, by the live policies and by the draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LiveVsDraft {
    /// By the live policies.
    pub live: u64,
    /// By the draft.
    pub draft: u64,
}

/// How many tracks one policy acts on, by its effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct EffectCounts {
    /// Tracks that it mutes.
    pub mutes: LiveVsDraft,
    /// Tracks that it exempts, as an exemption.
    pub exempts: LiveVsDraft,
}

/// One policy, and how many tracks it mutes or exempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyRow {
    /// The policy.
    #[serde(flatten)]
    pub policy: PolicyKey,
    /// What is done.
    pub enforced: EffectCounts,
    /// What would be done if the dry-run policies were enforced as well.
    pub dry_run: EffectCounts,
}

impl LiveVsDraft {
    /// How many more the draft has; negative where it has fewer.
    #[must_use]
    pub fn difference(self) -> i128 {
        i128::from(self.draft) - i128::from(self.live)
    }
}

type Names = HashMap<String, [EffectCounts; 2]>;

/// Counts by policy: its size grows with the policies, not with the tracks.
#[derive(Debug, Default)]
pub(super) struct ByPolicy {
    operator: Names,
    tenants: HashMap<TenantId, Names>,
}

impl ByPolicy {
    pub(super) fn add(&mut self, view: View, live: DispositionRef<'_>, draft: DispositionRef<'_>) {
        for (disposition, is_draft) in [(live, false), (draft, true)] {
            let (policy, is_mute) = match disposition {
                DispositionRef::Muted(policy) => (policy, true),
                DispositionRef::Exempted(exempted) => (&*exempted.by, false),
                DispositionRef::LeftAlone | DispositionRef::NotDecided => continue,
            };
            let count = |[enforced, dry_run]: &mut [EffectCounts; 2]| {
                let counts = match view {
                    View::Enforced => enforced,
                    View::DryRun => dry_run,
                };
                let tracks = if is_mute {
                    &mut counts.mutes
                } else {
                    &mut counts.exempts
                };
                *(if is_draft {
                    &mut tracks.draft
                } else {
                    &mut tracks.live
                }) += 1;
            };
            let names = match &policy.owner {
                Owner::Operator => &mut self.operator,
                Owner::Tenant(tenant) => self.tenants.entry(tenant.clone()).or_default(),
            };
            with(names, &policy.name, count);
        }
    }

    /// The largest difference first, then the most tracks.
    pub(super) fn finish(self) -> Vec<PolicyRow> {
        let operator = self
            .operator
            .into_iter()
            .map(|(name, counts)| (Owner::Operator, name, counts));
        let tenants = self.tenants.into_iter().flat_map(|(owner, names)| {
            names
                .into_iter()
                .map(move |(name, counts)| (Owner::Tenant(owner.clone()), name, counts))
        });
        let mut rows: Vec<_> = operator
            .chain(tenants)
            .map(|(owner, name, [enforced, dry_run])| PolicyRow {
                policy: PolicyKey { owner, name },
                enforced,
                dry_run,
            })
            .collect();
        rows.sort_by_cached_key(|row| {
            let counts = row.counts();
            let difference = counts.map(|tracks| tracks.difference().abs());
            let all: u64 = counts
                .map(|tracks| tracks.live.max(tracks.draft))
                .iter()
                .sum();
            let difference: i128 = difference.iter().sum();
            (Reverse(difference), Reverse(all), row.policy.clone())
        });
        rows
    }
}

impl PolicyRow {
    fn counts(&self) -> [LiveVsDraft; 4] {
        [
            self.enforced.mutes,
            self.enforced.exempts,
            self.dry_run.mutes,
            self.dry_run.exempts,
        ]
    }
}

/// Changes the entry of this name; the name is copied only where it is new.
fn with(map: &mut Names, name: &str, change: impl FnOnce(&mut [EffectCounts; 2])) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => change(map.entry(name.to_owned()).or_default()),
    }
}
