//! How many tracks each policy mutes or exempts, by what is live and by the draft.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::Serialize;

use super::tally::{Ruling, View};
use quell_policy::{Owner, PolicyKey, TenantId};

/// Tracks, by what is live and by the draft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// By what is live.
    pub live: u64,
    /// By the draft.
    pub draft: u64,
}

/// What one policy does, or would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Deeds {
    /// Tracks that it mutes.
    pub mutes: Beside,
    /// Tracks that it exempts, as an exemption.
    pub exempts: Beside,
}

/// One policy and the tracks that are muted or exempted in its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// Which.
    #[serde(flatten)]
    pub policy: PolicyKey,
    /// In earnest.
    pub enforced: Deeds,
    /// If the dry-run policies were enforced as well.
    pub dry_run: Deeds,
}

impl Beside {
    /// The draft's more, or less.
    #[must_use]
    pub fn difference(self) -> i128 {
        i128::from(self.draft) - i128::from(self.live)
    }
}

type Names = HashMap<String, [Deeds; 2]>;

/// Counts by policy; as many as there are policies.
#[derive(Debug, Default)]
pub(super) struct ByPolicy {
    operator: Names,
    tenants: HashMap<TenantId, Names>,
}

impl ByPolicy {
    pub(super) fn add(&mut self, view: View, live: Option<Ruling<'_>>, draft: Option<Ruling<'_>>) {
        for (ruling, is_draft) in [(live, false), (draft, true)] {
            let (policy, is_mute) = match ruling {
                Some(Ruling::Muted(policy)) => (policy, true),
                Some(Ruling::Exempted(exempted)) => (&*exempted.by, false),
                Some(Ruling::Left) | None => continue,
            };
            let count = |[enforced, dry_run]: &mut [Deeds; 2]| {
                let deeds = match view {
                    View::Enforced => enforced,
                    View::DryRun => dry_run,
                };
                let beside = if is_mute {
                    &mut deeds.mutes
                } else {
                    &mut deeds.exempts
                };
                *(if is_draft {
                    &mut beside.draft
                } else {
                    &mut beside.live
                }) += 1;
            };
            let names = match &policy.owner {
                Owner::Operator => &mut self.operator,
                Owner::Tenant(tenant) => self.tenants.entry(tenant.clone()).or_default(),
            };
            with(names, &policy.name, count);
        }
    }

    /// Those with the largest difference first, then those that do most.
    pub(super) fn finish(self) -> Vec<PolicyRow> {
        let operator = self
            .operator
            .into_iter()
            .map(|(name, deeds)| (Owner::Operator, name, deeds));
        let tenants = self.tenants.into_iter().flat_map(|(owner, names)| {
            names
                .into_iter()
                .map(move |(name, deeds)| (Owner::Tenant(owner.clone()), name, deeds))
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
            let besides = row.besides();
            let difference = besides.map(|beside| beside.difference().abs());
            let all: u64 = besides
                .map(|beside| beside.live.max(beside.draft))
                .iter()
                .sum();
            let difference: i128 = difference.iter().sum();
            (Reverse(difference), Reverse(all), row.policy.clone())
        });
        rows
    }
}

impl PolicyRow {
    fn besides(&self) -> [Beside; 4] {
        [
            self.enforced.mutes,
            self.enforced.exempts,
            self.dry_run.mutes,
            self.dry_run.exempts,
        ]
    }
}

/// Changes the entry of that name, which is copied only where it is new.
fn with(map: &mut Names, name: &str, change: impl FnOnce(&mut [Deeds; 2])) {
    match map.get_mut(name) {
        Some(value) => change(value),
        None => change(map.entry(name.to_owned()).or_default()),
    }
}
