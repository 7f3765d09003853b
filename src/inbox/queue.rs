//! The jobs that this process has, and whose turn it is.
//!
//! ```text
//! tenants take turns -> the tenant's rooms take turns -> the room's sources take turns -> its jobs, in order
//! ```
//!
//! Jobs of one source of one participant (a track's key) run one after the other; all that wait there are
//! handed out together, so that one look at LiveKit answers for all. What waits for time holds no place. A tenant
//! has at most half of the places, and a room at most a quarter, so that one whose calls hang keeps nobody else
//! waiting.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::job::Job;
use super::memory::{Memory, TenantKey, rooms_share, tenants_share};
use crate::livekit::event::Event;

/// Jobs of one source that are handed out together.
const TOGETHER_MAX: usize = 32;

/// The key of an event.
pub(super) type EventKey = (DateTime<Utc>, String);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SourceKey {
    room_sid: String,
    identity: String,
    source: String,
}

impl SourceKey {
    fn of(event: &Event) -> Self {
        Self {
            room_sid: event.room.sid.clone(),
            identity: event.participant.identity.clone(),
            source: event.track.source.clone(),
        }
    }
}

/// What may be done in a room, in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Turn {
    /// Jobs of a source.
    Source(SourceKey),
    /// A look at the room for all whose tracks are not shown yet.
    Look,
}

/// Work that was handed out.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) jobs: Vec<Job>,
    pub(super) kind: WorkKind,
    /// Until it is dropped, nobody else works there.
    pub(super) turn: Held,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkKind {
    /// Handle the jobs, which are of one source.
    Handle,
    /// Ask for all of the room, for jobs whose tracks were not shown.
    Look,
}

/// Why a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// To be tried again.
    Retry,
    /// LiveKit does not show its track.
    NotShown,
}

#[derive(Debug, Default)]
struct Source {
    jobs: VecDeque<Job>,
    is_running: bool,
}

#[derive(Debug, Default)]
struct Room {
    tenant: TenantKey,
    turns: VecDeque<Turn>,
    running: usize,
    /// Jobs whose tracks are to be looked for now.
    look: Vec<Job>,
    is_looking: bool,
}

#[derive(Debug, Default)]
struct Tenant {
    /// Rooms with turns.
    rooms: VecDeque<String>,
    running: usize,
}

#[derive(Debug)]
struct State {
    places: usize,
    running: usize,
    sources: HashMap<SourceKey, Source>,
    rooms: HashMap<String, Room>,
    tenants: HashMap<TenantKey, Tenant>,
    /// Tenants with rooms with turns.
    ring: VecDeque<TenantKey>,
    /// What waits for time, by when and in order.
    waiting: BTreeMap<(Instant, u64), (Job, Wait)>,
    waits: u64,
    memory: Memory,
}

/// The queue; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Mutex<State>>);

/// A turn that is taken, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    queue: Queue,
    room_sid: String,
    tenant: TenantKey,
    turn: Turn,
}

impl Queue {
    pub(super) fn new(places: usize, memory: Memory) -> Self {
        Self(Arc::new(Mutex::new(State {
            places,
            running: 0,
            sources: HashMap::new(),
            rooms: HashMap::new(),
            tenants: HashMap::new(),
            ring: VecDeque::new(),
            waiting: BTreeMap::new(),
            waits: 0,
            memory,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes jobs in, to be handled when it is their turn.
    pub(super) fn push(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.lock();
        for job in jobs {
            state.push(job);
        }
    }

    /// Takes a job in that waits until `at`.
    pub(super) fn wait(&self, job: Job, at: Instant, wait: Wait) {
        self.lock().wait(job, at, wait);
    }

    /// When the next of those that wait is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let state = self.lock();
        state.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Gives those their turn who have waited until `now`.
    pub(super) fn wake(&self, now: Instant) {
        let mut state = self.lock();
        while let Some(entry) = state.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                (job, Wait::Retry) => state.push(job),
                (job, Wait::NotShown) => state.look_for(job),
            }
        }
    }

    /// The next work, where a place is free; whose turn it is has waited longest.
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        let (whose, room_sid, turn) = state.next_turn()?;
        let (jobs, kind) = match &turn {
            Turn::Source(key) => {
                let source = state.sources.entry(key.clone()).or_default();
                source.is_running = true;
                let together = source.jobs.len().min(TOGETHER_MAX);
                (source.jobs.drain(..together).collect(), WorkKind::Handle)
            }
            Turn::Look => {
                let room = state.rooms.entry(room_sid.clone()).or_default();
                room.is_looking = true;
                (std::mem::take(&mut room.look), WorkKind::Look)
            }
        };
        drop(state);
        let turn = Held {
            queue: self.clone(),
            room_sid,
            tenant: whose,
            turn,
        };
        Some(Work { jobs, kind, turn })
    }

    /// Drops the jobs of these events, which are over, unless they run just now.
    pub(super) fn forget(&self, events: &HashSet<EventKey>) {
        self.take_out(|job| {
            let lease = job.lease();
            events.contains(&(lease.created_at, lease.event_id))
        });
    }

    /// Drops all that does not run: it is for others.
    pub(super) fn clear(&self) {
        self.take_out(|_| true);
    }

    fn take_out(&self, is_over: impl Fn(&Job) -> bool) {
        let mut state = self.lock();
        let mut over = Vec::new();
        for source in state.sources.values_mut() {
            if source.jobs.iter().any(&is_over) {
                let jobs = std::mem::take(&mut source.jobs);
                let (out, kept): (Vec<_>, Vec<_>) = jobs.into_iter().partition(&is_over);
                source.jobs = kept.into();
                over.extend(out);
            }
        }
        for room in state.rooms.values_mut() {
            over.extend(room.look.extract_if(.., |job| is_over(job)));
        }
        let waiting = std::mem::take(&mut state.waiting);
        for (at, (job, wait)) in waiting {
            if is_over(&job) {
                over.push(job);
            } else {
                state.waiting.insert(at, (job, wait));
            }
        }
    }

    /// How many jobs wait for their turn or for time, and since when the oldest has been here.
    pub(super) fn depth(&self) -> (usize, Option<Instant>) {
        let state = self.lock();
        let ready = state.sources.values().flat_map(|source| &source.jobs);
        let looked_for = state.rooms.values().flat_map(|room| &room.look);
        let waiting = state.waiting.values().map(|(job, _)| job);
        let all = ready.chain(looked_for).chain(waiting);
        all.fold((0, None), |(count, oldest), job| {
            let oldest = oldest.map_or(job.arrived, |at: Instant| at.min(job.arrived));
            (count + 1, Some(oldest))
        })
    }
}

impl State {
    fn push(&mut self, job: Job) {
        let key = SourceKey::of(&job.event);
        let source = self.sources.entry(key.clone()).or_default();
        let is_new = source.jobs.is_empty() && !source.is_running;
        source.jobs.push_back(job);
        if is_new {
            self.add_turn(&key.room_sid.clone(), Turn::Source(key));
        }
    }

    fn wait(&mut self, job: Job, at: Instant, wait: Wait) {
        self.waits += 1;
        self.waiting.insert((at, self.waits), (job, wait));
    }

    fn look_for(&mut self, job: Job) {
        let room_sid = job.event.room.sid.clone();
        self.room(&room_sid);
        let room = self.rooms.entry(room_sid.clone()).or_default();
        room.look.push(job);
        if room.look.len() == 1 && !room.is_looking {
            self.add_turn(&room_sid, Turn::Look);
        }
    }

    /// Makes the room where it is not there.
    fn room(&mut self, room_sid: &str) {
        if !self.rooms.contains_key(room_sid) {
            let room = Room {
                tenant: self.memory.tenant_of(room_sid),
                ..Room::default()
            };
            self.rooms.insert(room_sid.to_owned(), room);
        }
    }

    fn add_turn(&mut self, room_sid: &str, turn: Turn) {
        self.room(room_sid);
        let Some(room) = self.rooms.get_mut(room_sid) else {
            return;
        };
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
    fn next_turn(&mut self) -> Option<(TenantKey, String, Turn)> {
        if self.running >= self.places {
            return None;
        }
        for _ in 0..self.ring.len() {
            let whose = self.ring.pop_front()?;
            let taken = self.turn_of(&whose);
            let has_more = self
                .tenants
                .get(&whose)
                .is_some_and(|tenant| !tenant.rooms.is_empty());
            if has_more {
                self.ring.push_back(whose.clone());
            }
            if let Some((room_sid, turn)) = taken {
                self.running += 1;
                return Some((whose, room_sid, turn));
            }
        }
        None
    }

    fn turn_of(&mut self, whose: &TenantKey) -> Option<(String, Turn)> {
        let (most, most_of_a_room) = (tenants_share(self.places), rooms_share(self.places));
        let tenant = self.tenants.get_mut(whose)?;
        if tenant.running >= most {
            return None;
        }
        for _ in 0..tenant.rooms.len() {
            let room_sid = tenant.rooms.pop_front()?;
            let Some(room) = self.rooms.get_mut(&room_sid) else {
                continue;
            };
            if room.running >= most_of_a_room {
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

    /// Gives a turn back; where more came meanwhile, it is at the end of its room's turns.
    fn give_back(&mut self, whose: &TenantKey, room_sid: &str, turn: Turn) {
        self.running -= 1;
        if let Some(tenant) = self.tenants.get_mut(whose) {
            tenant.running -= 1;
        }
        let has_more = match &turn {
            Turn::Source(key) => match self.sources.get_mut(key) {
                Some(source) if source.jobs.is_empty() => {
                    self.sources.remove(key);
                    false
                }
                Some(source) => {
                    source.is_running = false;
                    true
                }
                None => false,
            },
            Turn::Look => self.rooms.get_mut(room_sid).is_some_and(|room| {
                room.is_looking = false;
                !room.look.is_empty()
            }),
        };
        if let Some(room) = self.rooms.get_mut(room_sid) {
            room.running -= 1;
        }
        if has_more {
            self.add_turn(room_sid, turn);
        }
        let is_idle =
            |room: &Room| room.running == 0 && room.turns.is_empty() && room.look.is_empty();
        if self.rooms.get(room_sid).is_some_and(is_idle) {
            self.rooms.remove(room_sid);
        }
        let is_idle = |tenant: &Tenant| tenant.running == 0 && tenant.rooms.is_empty();
        if self.tenants.get(whose).is_some_and(is_idle) {
            self.tenants.remove(whose);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let turn = self.turn.clone();
        self.queue
            .lock()
            .give_back(&self.tenant, &self.room_sid, turn);
    }
}

#[cfg(test)]
mod tests;
