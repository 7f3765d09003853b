//! How many jobs this process may have in memory, and whose they are. A tenant has at most as much as is left, and a
//! room a third of that, so that those who wait for their tracks keep nobody else's out.
//!
//! Whose rooms they are is known as far as it was seen: so that tenants take turns. Nothing is allowed by it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quell_policy::TenantId;

use super::event_key::{EventKey, event_key};
use crate::livekit::event::Event;

/// Jobs in memory at most; what is beyond stays in Postgres.
pub(super) const JOBS_MAX: usize = 20_000;
/// A job counts once more for each of these bytes of its event.
const BYTES_EACH: usize = 4096;
/// Rooms of each of the two halves.
const ROOMS_MAX: usize = 25_000;

/// Whose jobs they are; none: nobody's, or it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct TenantKey(Option<TenantId>);

/// The memory for jobs; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Usage>>);

/// How much is taken, and by whom.
#[derive(Debug, Default)]
struct Usage {
    all: usize,
    by_tenant: HashMap<TenantKey, usize>,
    by_room: HashMap<String, usize>,
    /// The jobs that there is memory for.
    jobs: HashMap<EventKey, InMemory>,
    tenants: Tenants,
}

/// A job in memory.
#[derive(Debug, Default)]
struct InMemory {
    /// How many times: a duplicate's receiver has it too.
    times: usize,
    /// Whether an event has ended it.
    is_over: bool,
}

/// What one job takes up, given back when this is dropped.
#[derive(Debug)]
pub(super) struct JobReservation {
    memory: Memory,
    key: EventKey,
    tenant: TenantKey,
    room_sid: String,
    weight: usize,
}

/// The most that a tenant may have of something while `free` of it is left: half where it is alone. Whoever comes new
/// finds some, however many others take all that they may ("dynamic thresholds", Choudhury and Hahne 1998).
pub(super) fn tenants_share(free: usize) -> usize {
    free
}

/// The same of a room: a quarter where it is alone.
pub(super) fn rooms_share(free: usize) -> usize {
    (free / 3).max(1)
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Usage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whose room it is.
    pub(super) fn note_tenant(&self, room_sid: &str, tenant: Option<&TenantId>) {
        self.lock().tenants.note(room_sid, tenant);
    }

    /// Whose room it is, as far as that was seen.
    pub(super) fn tenant_of(&self, room_sid: &str) -> TenantKey {
        TenantKey(self.lock().tenants.of(room_sid))
    }

    /// Reserves memory for a job of `event`; none where its room, its tenant or all together have no more.
    pub(super) fn reserve(&self, event: &Event) -> Option<JobReservation> {
        let texts = [
            &event.id,
            &event.room.name,
            &event.participant.identity,
            &event.track.name,
            &event.track.mime_type,
            &event.track.sid,
            &event.track.source,
            &event.track.track_type,
            &event.participant.sid,
            &event.room.sid,
        ];
        let bytes: usize = texts.iter().map(|text| text.len()).sum();
        let weight = 1 + bytes / BYTES_EACH;
        let room_sid = event.room.sid.clone();
        let mut taken = self.lock();
        let tenant = TenantKey(taken.tenants.of(&room_sid));
        let with_this = |by: Option<&usize>| by.copied().unwrap_or_default() + weight;
        let free = JOBS_MAX.checked_sub(taken.all + weight)?;
        let fits = with_this(taken.by_tenant.get(&tenant)) <= tenants_share(free)
            && with_this(taken.by_room.get(&room_sid)) <= rooms_share(free);
        if !fits {
            return None;
        }
        taken.all += weight;
        *taken.by_tenant.entry(tenant.clone()).or_default() += weight;
        *taken.by_room.entry(room_sid.clone()).or_default() += weight;
        let key = event_key(event);
        taken.jobs.entry(key.clone()).or_default().times += 1;
        Some(JobReservation {
            memory: self.clone(),
            key,
            tenant,
            room_sid,
            weight,
        })
    }

    /// The rooms that have no more, or whose tenant has none.
    pub(super) fn full_rooms(&self) -> Vec<String> {
        let taken = self.lock();
        let free = JOBS_MAX.saturating_sub(taken.all);
        let is_full = |tenant: &TenantKey| {
            let has = taken.by_tenant.get(tenant);
            has.is_some_and(|has| *has >= tenants_share(free))
        };
        let rooms = taken.by_room.iter();
        let mut full: HashSet<_> = rooms
            .filter(|(_, has)| **has >= rooms_share(free))
            .map(|(room, _)| room)
            .collect();
        if taken.by_tenant.keys().any(is_full) {
            let known = taken.tenants.new.iter().chain(&taken.tenants.old);
            let of_full = known.filter(|(_, tenant)| is_full(&TenantKey((*tenant).clone())));
            full.extend(of_full.map(|(room, _)| room));
        }
        full.into_iter().cloned().collect()
    }

    /// Whether there is memory for jobs of this room.
    pub(super) fn has_room(&self, room_sid: &str) -> bool {
        self.lock().by_room.contains_key(room_sid)
    }

    /// Whether there is memory for any job.
    pub(super) fn is_in_use(&self) -> bool {
        self.lock().all > 0
    }

    /// Whether there is memory for this event's job.
    pub(super) fn has(&self, key: &EventKey) -> bool {
        self.lock().jobs.contains_key(key)
    }

    /// Notes that these jobs are over, for those who work on them just now.
    pub(super) fn end(&self, keys: &HashSet<EventKey>) {
        let mut taken = self.lock();
        for key in keys {
            if let Some(job) = taken.jobs.get_mut(key) {
                job.is_over = true;
            }
        }
    }

    /// Whether an event has ended this job.
    pub(super) fn is_over(&self, key: &EventKey) -> bool {
        let taken = self.lock();
        taken.jobs.get(key).is_some_and(|job| job.is_over)
    }

    /// How many jobs more there is memory for.
    pub(super) fn free(&self) -> usize {
        JOBS_MAX.saturating_sub(self.lock().all)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let taken = self.lock();
        taken.all == 0
            && taken.by_tenant.is_empty()
            && taken.by_room.is_empty()
            && taken.jobs.is_empty()
    }
}

impl Drop for JobReservation {
    fn drop(&mut self) {
        let mut taken = self.memory.lock();
        taken.all -= self.weight;
        give_back(&mut taken.by_tenant, &self.tenant, self.weight);
        give_back(&mut taken.by_room, &self.room_sid, self.weight);
        if let Some(job) = taken.jobs.get_mut(&self.key) {
            job.times -= 1;
            if job.times == 0 {
                taken.jobs.remove(&self.key);
            }
        }
    }
}

fn give_back<K: Hash + Eq>(taken: &mut HashMap<K, usize>, key: &K, weight: usize) {
    if let Some(left) = taken.get_mut(key) {
        *left -= weight;
        if *left == 0 {
            taken.remove(key);
        }
    }
}

/// Tenants by room SID. What nobody asked for since the half before was full is forgotten.
#[derive(Debug, Default)]
struct Tenants {
    new: HashMap<String, Option<TenantId>>,
    old: HashMap<String, Option<TenantId>>,
}

impl Tenants {
    fn note(&mut self, room_sid: &str, tenant: Option<&TenantId>) {
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
    fn of(&mut self, room_sid: &str) -> Option<TenantId> {
        if let Some(tenant) = self.new.get(room_sid) {
            return tenant.clone();
        }
        let tenant = self.old.remove(room_sid)?;
        self.note(room_sid, tenant.as_ref());
        tenant
    }
}
