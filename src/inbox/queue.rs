//! The jobs that this process has, and whose turn it is.
//!
//! ```text
//! tenants take turns -> the tenant's rooms take turns -> the room's sources take turns -> its jobs, in order
//! ```
//!
//! Jobs of one source of one participant (a track's key) run one after the other; all that wait there are
//! handed out together, so that one look at LiveKit answers for all. What waits for time holds no place.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::event_key::EventKey;
use super::job::Job;
use super::memory::Memory;
use super::turns::{SourceKey, Taken, Turn, Turns};
use crate::livekit::event::Event;

/// Jobs of one source that are handed out together.
const TOGETHER_MAX: usize = 32;

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

#[derive(Debug)]
struct State {
    turns: Turns,
    /// Sources that have a turn, which waits or runs, and the jobs for the next one.
    sources: HashMap<SourceKey, VecDeque<Job>>,
    /// The same of looks, by room SID: jobs whose tracks are to be looked for.
    looks: HashMap<String, Vec<Job>>,
    /// What waits for time, by when and in order.
    waiting: BTreeMap<(Instant, u64), (Job, Wait)>,
    waits: u64,
}

/// The queue; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue(Arc<Mutex<State>>);

/// A turn that is taken, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    queue: Queue,
    taken: Taken,
}

impl Queue {
    pub(super) fn new(places: usize, memory: Memory) -> Self {
        Self(Arc::new(Mutex::new(State {
            turns: Turns::new(places, memory),
            sources: HashMap::new(),
            looks: HashMap::new(),
            waiting: BTreeMap::new(),
            waits: 0,
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

    /// Takes a job in that waits until `at`. Returns whether it is the first that is due now.
    pub(super) fn wait(&self, job: Job, at: Instant, wait: Wait) -> bool {
        self.lock().wait(job, at, wait)
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
        let taken = state.turns.next()?;
        let (jobs, kind) = match &taken.turn {
            Turn::Source(key) => {
                let jobs = state.sources.entry(key.clone()).or_default();
                let together = jobs.len().min(TOGETHER_MAX);
                (jobs.drain(..together).collect(), WorkKind::Handle)
            }
            Turn::Look => {
                let jobs = state.looks.entry(taken.room_sid.clone()).or_default();
                (std::mem::take(jobs), WorkKind::Look)
            }
        };
        drop(state);
        let turn = Held {
            queue: self.clone(),
            taken,
        };
        Some(Work { jobs, kind, turn })
    }

    /// Drops the jobs of these events, which are over, unless they run just now.
    pub(super) fn forget(&self, events: &HashSet<EventKey>) {
        let times: HashSet<_> = events.iter().map(|(created_at, _)| *created_at).collect();
        self.take_out(|job| times.contains(&job.event.created_at) && events.contains(&job.key()));
    }

    /// The jobs that wait, of tracks that one of these events ends.
    pub(super) fn ended_by(&self, ends: &[&Event]) -> HashSet<EventKey> {
        if ends.is_empty() {
            return HashSet::new();
        }
        let state = self.lock();
        let is_over = |job: &&Job| ends.iter().any(|end| end.ends(&job.event));
        state.jobs().filter(is_over).map(Job::key).collect()
    }

    /// Drops all that does not run: it is for others.
    pub(super) fn clear(&self) {
        self.take_out(|_| true);
    }

    fn take_out(&self, is_over: impl Fn(&Job) -> bool) {
        let mut state = self.lock();
        let mut over = Vec::new();
        for jobs in state.sources.values_mut() {
            if jobs.iter().any(&is_over) {
                let (out, kept): (Vec<_>, Vec<_>) = jobs.drain(..).partition(&is_over);
                jobs.extend(kept);
                over.extend(out);
            }
        }
        for jobs in state.looks.values_mut() {
            over.extend(jobs.extract_if(.., |job| is_over(job)));
        }
        let waiting = state.waiting.extract_if(.., |_, (job, _)| is_over(job));
        over.extend(waiting.map(|(_, (job, _))| job));
        // Memory is given back without the lock.
        drop(state);
    }

    /// How many jobs wait for their turn or for time, and since when the oldest has been here.
    pub(super) fn depth(&self) -> (usize, Option<Instant>) {
        let state = self.lock();
        state.jobs().fold((0, None), |(count, oldest), job| {
            let oldest = oldest.map_or(job.arrived, |at: Instant| at.min(job.arrived));
            (count + 1, Some(oldest))
        })
    }
}

impl State {
    /// All that do not run.
    fn jobs(&self) -> impl Iterator<Item = &Job> {
        let ready = self.sources.values().flatten();
        let looked_for = self.looks.values().flatten();
        let waiting = self.waiting.values().map(|(job, _)| job);
        ready.chain(looked_for).chain(waiting)
    }

    fn push(&mut self, job: Job) {
        match self.sources.entry(SourceKey::of(&job.event)) {
            Entry::Occupied(mut entry) => entry.get_mut().push_back(job),
            Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(VecDeque::from([job]));
                self.turns.add(&key.room_sid.clone(), Turn::Source(key));
            }
        }
    }

    fn wait(&mut self, job: Job, at: Instant, wait: Wait) -> bool {
        let first = self.waiting.first_key_value();
        let is_first = first.is_none_or(|((first, _), _)| at < *first);
        self.waits += 1;
        self.waiting.insert((at, self.waits), (job, wait));
        is_first
    }

    fn look_for(&mut self, job: Job) {
        match self.looks.entry(job.event.room.sid.clone()) {
            Entry::Occupied(mut entry) => entry.get_mut().push(job),
            Entry::Vacant(entry) => {
                self.turns.add(entry.key(), Turn::Look);
                entry.insert(vec![job]);
            }
        }
    }

    /// Gives a turn back; where more came meanwhile, it is at the end of its room's turns.
    fn give_back(&mut self, taken: &Taken) {
        self.turns.give_back(taken);
        let has_more = match &taken.turn {
            Turn::Source(key) => self.sources.get(key).is_some_and(|jobs| !jobs.is_empty()),
            Turn::Look => {
                let jobs = self.looks.get(&taken.room_sid);
                jobs.is_some_and(|jobs| !jobs.is_empty())
            }
        };
        if has_more {
            return self.turns.add(&taken.room_sid, taken.turn.clone());
        }
        match &taken.turn {
            Turn::Source(key) => drop(self.sources.remove(key)),
            Turn::Look => drop(self.looks.remove(&taken.room_sid)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.queue.lock().give_back(&self.taken);
    }
}

#[cfg(test)]
mod tests;
