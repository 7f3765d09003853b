//! Whose rooms they are, as far as it was seen: so that tenants take turns. Nothing is allowed by it.

use std::collections::HashMap;
use std::mem;

use quell_policy::TenantId;

/// Rooms of each of the two halves.
const ROOMS_MAX: usize = 25_000;

/// Tenants by room SID. What nobody asked for since the half before was full is forgotten.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    new: HashMap<String, Option<TenantId>>,
    old: HashMap<String, Option<TenantId>>,
}

impl Tenants {
    pub(super) fn note(&mut self, room_sid: &str, tenant: Option<&TenantId>) {
        if self
            .new
            .get(room_sid)
            .is_some_and(|known| known.as_ref() == tenant)
        {
            return;
        }
        if self.new.len() >= ROOMS_MAX {
            self.old = mem::take(&mut self.new);
        }
        self.new.insert(room_sid.to_owned(), tenant.cloned());
    }

    /// The room's tenant; none also where it is not known, so that rooms without a tenant, and those not seen
    /// yet, take turns like one tenant.
    pub(super) fn of(&mut self, room_sid: &str) -> Option<TenantId> {
        if let Some(tenant) = self.new.get(room_sid) {
            return tenant.clone();
        }
        let tenant = self.old.remove(room_sid)?;
        self.note(room_sid, tenant.as_ref());
        tenant
    }
}
