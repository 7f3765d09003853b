//! Which rooms a set's policies may be about, by the name and the tenant alone, and what a change of policies
//! makes them forbid more.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{OwnerPolicies, PolicySet};
use crate::compile::CompiledPolicy;
use crate::index::Probe;
use crate::owner::{Owner, TenantId};
use crate::policy::Effect;

impl PolicySet {
    /// Every live policy.
    pub fn live(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        self.owners().flat_map(|of_owner| of_owner.live.iter())
    }

    /// Whether any live policy mutes at this time.
    #[must_use]
    pub fn any_mute(&self, now: DateTime<Utc>) -> bool {
        self.live().any(|policy| mutes(policy, now))
    }

    /// Whether some track in a room of this name and tenant may be muted at this time.
    #[must_use]
    pub fn may_mute_in(&self, room: &str, tenant: Option<&TenantId>, now: DateTime<Utc>) -> bool {
        self.is_any_about(room, tenant, |policy| mutes(policy, now))
    }

    /// Whether any live policy is about rooms of this name and tenant.
    #[must_use]
    pub fn is_about_room(&self, room: &str, tenant: Option<&TenantId>) -> bool {
        self.is_any_about(room, tenant, |_| true)
    }

    fn is_any_about(
        &self,
        room: &str,
        tenant: Option<&TenantId>,
        is_wanted: impl Fn(&CompiledPolicy) -> bool,
    ) -> bool {
        let probe = Probe::of_room(room, &self.hash);
        let theirs = tenant.and_then(|tenant| self.tenants.get(tenant));
        let mut owners = std::iter::once(&self.operator).chain(theirs);
        owners.any(|of_owner| of_owner.is_any_about(room, &probe, &is_wanted))
    }

    /// What makes this set forbid more than `before`: mutes that are new or changed, what exemptions were
    /// before they were changed or removed, and new ones for the first while of a room, which end some time.
    /// Where `before` is of another history, more than that.
    #[must_use]
    pub fn forbids_more_than(&self, before: &Self) -> Self {
        let unlike = |one: &Self, other: &Self, is_meant: fn(&CompiledPolicy) -> bool| {
            let mut unlike: Vec<Arc<CompiledPolicy>> = Vec::new();
            for (owner, of_owner) in one.by_owner() {
                let theirs = other.of(&owner);
                if theirs.is_some_and(|theirs| std::ptr::eq(theirs, of_owner)) {
                    continue;
                }
                let theirs: HashMap<&str, i32> = theirs
                    .into_iter()
                    .flat_map(|theirs| theirs.live.iter())
                    .map(|policy| (&*policy.id.name, policy.id.revision))
                    .collect();
                let is_unlike = |policy: &&Arc<CompiledPolicy>| {
                    is_meant(policy) && theirs.get(&*policy.id.name) != Some(&policy.id.revision)
                };
                unlike.extend(of_owner.live.iter().filter(is_unlike).cloned());
            }
            unlike
        };
        let now = unlike(self, before, |policy| {
            policy.effect == Effect::Mute || policy.exempts_first().is_some()
        });
        let then = unlike(before, self, |policy| policy.effect == Effect::Exempt);
        Self::of_shared(now.into_iter().chain(then))
    }

    fn owners(&self) -> impl Iterator<Item = &OwnerPolicies> {
        let tenants = self.tenants.values();
        std::iter::once(&*self.operator).chain(tenants.map(|of_tenant| &**of_tenant))
    }

    fn by_owner(&self) -> impl Iterator<Item = (Owner, &OwnerPolicies)> {
        let of_tenants = self.tenants.iter();
        let of_tenants = of_tenants.map(|(id, of)| (Owner::Tenant(id.clone()), &**of));
        std::iter::once((Owner::Operator, &*self.operator)).chain(of_tenants)
    }
}

impl OwnerPolicies {
    fn is_any_about(
        &self,
        room: &str,
        probe: &Probe<'_>,
        is_wanted: impl Fn(&CompiledPolicy) -> bool,
    ) -> bool {
        let is_wanted = |position: u32| self.at(position).is_some_and(|policy| is_wanted(policy));
        if self.everywhere.iter().copied().any(is_wanted) {
            return true;
        }
        let mut is_any = false;
        self.index.find_by_room(probe, |position| {
            is_any = is_any
                || is_wanted(position)
                    && self
                        .at(position)
                        .is_some_and(|policy| policy.is_about_room(room));
        });
        is_any
    }
}

fn mutes(policy: &CompiledPolicy, now: DateTime<Utc>) -> bool {
    policy.effect == Effect::Mute && policy.is_in_time(now)
}
