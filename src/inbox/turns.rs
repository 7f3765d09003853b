//! Whose turn it is: tenants take turns, then the rooms of each, then what there is to do in a room. A tenant has
//! at most as many places as are left, and a room a third of that, so that those whose calls hang keep nobody else
//! waiting.

use std::collections::{HashMap, VecDeque};

use super::memory::{Memory, TenantKey, rooms_share, tenants_share};
use crate::livekit::event::Event;

/// A source of one participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SourceKey {
    pub(super) room_sid: String,
    identity: String,
    source: String,
}

impl SourceKey {
    pub(super) fn of(event: &Event) -> Self {
        Self {
            room_sid: event.room.sid.clone(),
            identity: event.participant.identity.clone(),
            source: event.track.source.clone(),
        }
    }
}

/// What may be done in a room, in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Jobs of a source.
    Source(SourceKey),
    /// A look at the room for all whose tracks are not shown yet.
    Look,
}

/// A turn that somebody has, with a place.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) tenant: TenantKey,
    pub(super) room_sid: String,
    pub(super) turn: Turn,
}

#[derive(Debug, Default)]
struct Room {
    tenant: TenantKey,
    turns: VecDeque<Turn>,
    running: usize,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Rooms with turns.
    rooms: VecDeque<String>,
    running: usize,
}

/// Turns that wait, and places.
#[derive(Debug)]
pub(super) struct Turns {
    places: usize,
    running: usize,
    memory: Memory,
    rooms: HashMap<String, Room>,
    tenants: HashMap<TenantKey, Tenant>,
    /// Tenants with rooms with turns.
    ring: VecDeque<TenantKey>,
}

impl Turns {
    pub(super) fn new(places: usize, memory: Memory) -> Self {
        Self {
            places,
            running: 0,
            memory,
            rooms: HashMap::new(),
            tenants: HashMap::new(),
            ring: VecDeque::new(),
        }
    }

    /// Puts a turn at the end of its room's.
    pub(super) fn add(&mut self, room_sid: &str, turn: Turn) {
        let memory = &self.memory;
        let room = self
            .rooms
            .entry(room_sid.to_owned())
            .or_insert_with(|| Room {
                tenant: memory.tenant_of(room_sid),
                ..Room::default()
            });
        room.turns.push_back(turn);
        if room.turns.len() > 1 {
            return;
        }
        let tenant = self.tenants.entry(room.tenant.clone()).or_default();
        tenant.rooms.push_back(room_sid.to_owned());
        if tenant.rooms.len() == 1 {
            self.ring.push_back(room.tenant.clone());
        }
    }

    /// Takes the next turn, and a place for it.
    pub(super) fn next(&mut self) -> Option<Taken> {
        if self.running >= self.places {
            return None;
        }
        for _ in 0..self.ring.len() {
            let tenant = self.ring.pop_front()?;
            let taken = self.next_of(&tenant);
            let has_more = self
                .tenants
                .get(&tenant)
                .is_some_and(|t| !t.rooms.is_empty());
            if has_more {
                self.ring.push_back(tenant.clone());
            }
            if let Some((room_sid, turn)) = taken {
                self.running += 1;
                return Some(Taken {
                    tenant,
                    room_sid,
                    turn,
                });
            }
        }
        None
    }

    fn next_of(&mut self, tenant: &TenantKey) -> Option<(String, Turn)> {
        let tenant = self.tenants.get_mut(tenant)?;
        let free = self.places.saturating_sub(self.running);
        if tenant.running >= tenants_share(free) {
            return None;
        }
        for _ in 0..tenant.rooms.len() {
            let room_sid = tenant.rooms.pop_front()?;
            let Some(room) = self.rooms.get_mut(&room_sid) else {
                continue;
            };
            if room.running >= rooms_share(free) {
                tenant.rooms.push_back(room_sid);
                continue;
            }
            let turn = room.turns.pop_front()?;
            if !room.turns.is_empty() {
                tenant.rooms.push_back(room_sid.clone());
            }
            room.running += 1;
            tenant.running += 1;
            return Some((room_sid, turn));
        }
        None
    }

    /// Gives a place back.
    pub(super) fn give_back(&mut self, taken: &Taken) {
        self.running -= 1;
        if let Some(room) = self.rooms.get_mut(&taken.room_sid) {
            room.running -= 1;
            if room.running == 0 && room.turns.is_empty() {
                self.rooms.remove(&taken.room_sid);
            }
        }
        if let Some(tenant) = self.tenants.get_mut(&taken.tenant) {
            tenant.running -= 1;
            if tenant.running == 0 && tenant.rooms.is_empty() {
                self.tenants.remove(&taken.tenant);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.running == 0
            && self.rooms.is_empty()
            && self.tenants.is_empty()
            && self.ring.is_empty()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }
}
