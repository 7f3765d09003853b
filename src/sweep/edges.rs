//! Edges of time: the instants at which policies forbid more although nothing happens. A mute's window opens, an
//! exemption's closes, `not_before` and `not_after` pass; `first` does so a room at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::sync::Notify;

use super::reader::ListedRoom;
use super::tick::{Tick, TickCause};
use crate::livekit::event::Event;
use quell_policy::{CompiledPolicy, Owner, PolicySet, TenantId};

/// Clocks are set and machines sleep: time is compared with the clock at least once a second.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// What is further away is found by later sweeps.
const FIRST_WITHIN: TimeDelta = TimeDelta::days(1);
/// A webhook of a new room may come late; a tick that was is no new one.
const FIRST_LATE: TimeDelta = TimeDelta::seconds(10);
const ROOMS_MAX: usize = 100_000;
/// Of one room, the nearest: later lists of rooms tell of the others.
const EDGES_A_ROOM_MAX: usize = 8;

/// A room, as far as edges need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoomAge<'a> {
    pub(crate) sid: &'a str,
    pub(crate) name: &'a str,
    pub(crate) tenant: Option<&'a TenantId>,
    /// Its making, in Unix seconds.
    pub(crate) created_at: i64,
}

impl<'a> From<&'a ListedRoom> for RoomAge<'a> {
    fn from(room: &'a ListedRoom) -> Self {
        Self {
            sid: &room.sid,
            name: &room.name,
            tenant: room.tenant.as_ref(),
            created_at: room.created_at,
        }
    }
}

impl<'a> RoomAge<'a> {
    /// Of a room that an event tells of whole.
    pub(crate) fn of_start(event: &'a Event) -> Option<Self> {
        let room = &event.room;
        (room.created_at > 0).then_some(Self {
            sid: &room.sid,
            name: &room.name,
            tenant: room.tenant.as_ref(),
            created_at: room.created_at,
        })
    }
}

/// The next edges of all policies in force.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    inner: Mutex<Inner>,
    /// Told of edges that may come before those that are known.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    policies: Vec<Edge>,
    /// The next instant of each, by its place among them.
    heap: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    /// Those that exempt a room at first, by owner.
    first: HashMap<Owner, Vec<Arc<CompiledPolicy>>>,
    rooms: BTreeSet<(DateTime<Utc>, String, String)>,
    as_of: i64,
}

/// A policy, and when time makes it forbid more next.
#[derive(Debug)]
struct Edge {
    policy: Arc<CompiledPolicy>,
    at: DateTime<Utc>,
}

/// What is due: a tick, and the policies that forbid more by it; of a room, whatever is forbidden there.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) tick: Tick,
    pub(crate) policies: Vec<Arc<CompiledPolicy>>,
}

impl Edges {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over new policies: from `now` on, theirs are the edges. Those that stayed the same are not looked at
    /// again; others take up to a millisecond each.
    pub(crate) fn set(&self, policies: &PolicySet, now: DateTime<Utc>) {
        let known: HashMap<_, _> = {
            let inner = self.lock();
            let edges = inner.policies.iter();
            edges
                .map(|edge| (Arc::as_ptr(&edge.policy), edge.at))
                .collect()
        };
        let mut inner = Inner {
            as_of: policies.as_of(),
            ..Inner::default()
        };
        for policy in policies.live() {
            if policy.exempts_first().is_some() {
                let of_owner = inner.first.entry(policy.owner().clone()).or_default();
                of_owner.push(Arc::clone(policy));
            }
            // What came due while they were read is due all the same.
            let at = known.get(&Arc::as_ptr(policy)).copied();
            if let Some(at) = at.or_else(|| policy.forbids_more_at(now)) {
                inner.add(policy, at);
            }
        }
        let mut old = self.lock();
        inner.rooms = std::mem::take(&mut old.rooms);
        *old = inner;
        drop(old);
        self.sooner.notify_one();
    }

    /// Forgets what it knows: the clock was set back.
    pub(crate) fn forget(&self) {
        *self.lock() = Inner::default();
    }

    /// Remembers when exemptions for the first while of a room end there.
    pub(crate) fn note_room(&self, room: RoomAge<'_>, now: DateTime<Utc>) {
        let Some(made_at) = DateTime::from_timestamp(room.created_at, 0) else {
            return;
        };
        let mut inner = self.lock();
        let owners = [
            Some(Owner::Operator),
            room.tenant.cloned().map(Owner::Tenant),
        ];
        let mut ends: Vec<_> = owners
            .iter()
            .flatten()
            .filter_map(|owner| inner.first.get(owner))
            .flatten()
            .filter(|policy| policy.is_about_room(room.name))
            .filter_map(|policy| made_at.checked_add_signed(policy.exempts_first()?))
            .filter(|at| *at > now - FIRST_LATE && *at - now < FIRST_WITHIN)
            .collect();
        ends.sort_unstable();
        ends.dedup();
        for at in ends.into_iter().take(EDGES_A_ROOM_MAX) {
            if inner.rooms.len() < ROOMS_MAX
                && inner
                    .rooms
                    .insert((at, room.sid.to_owned(), room.name.to_owned()))
            {
                self.sooner.notify_one();
            }
        }
    }

    /// What is due at `now`: policies' edges of one second together, and then rooms'.
    pub(crate) fn due(&self, now: DateTime<Utc>) -> Vec<Due> {
        let mut inner = self.lock();
        let mut seconds: BTreeMap<i64, (DateTime<Utc>, Vec<Arc<CompiledPolicy>>)> = BTreeMap::new();
        while let Some(Reverse((at, place))) = inner.heap.peek().copied()
            && at <= now
        {
            inner.heap.pop();
            if let Some(edge) = inner.policies.get(place) {
                let second = seconds.entry(at.timestamp()).or_default();
                second.0 = at;
                second.1.push(Arc::clone(&edge.policy));
            }
        }
        let as_of = inner.as_of;
        let mut due: Vec<_> = seconds
            .into_values()
            .map(|(at, policies)| Due {
                tick: tick(at, as_of, None),
                policies,
            })
            .collect();
        while let Some((at, ..)) = inner.rooms.first()
            && *at <= now
            && let Some((at, sid, name)) = inner.rooms.pop_first()
        {
            due.push(Due {
                tick: tick(at, as_of, Some((&sid, name))),
                policies: Vec::new(),
            });
        }
        due
    }

    /// Looks for the next edges of policies that were due.
    pub(crate) fn go_on(&self, policies: &[Arc<CompiledPolicy>], now: DateTime<Utc>) {
        let next = policies.iter();
        let next: Vec<_> = next
            .filter_map(|policy| Some((policy, policy.forbids_more_at(now)?)))
            .collect();
        let mut inner = self.lock();
        let places = inner.policies.iter().zip(0..);
        let places: HashMap<_, usize> = places
            .map(|(edge, place)| (Arc::as_ptr(&edge.policy), place))
            .collect();
        for (policy, at) in next {
            // One that was changed meanwhile has its own.
            if let Some(place) = places.get(&Arc::as_ptr(policy)).copied()
                && let Some(edge) = inner.policies.get_mut(place)
            {
                edge.at = at;
                inner.heap.push(Reverse((at, place)));
            }
        }
    }

    /// Waits for the next edge, at most for a second.
    pub(crate) async fn wait(&self, now: DateTime<Utc>) {
        let next = {
            let inner = self.lock();
            let policy = inner.heap.peek().map(|Reverse((at, _))| *at);
            let room = inner.rooms.first().map(|(at, ..)| *at);
            policy.into_iter().chain(room).min()
        };
        let until = next.and_then(|next| (next - now).to_std().ok());
        let pause = until.map_or(SLEEP_MAX, |until| until.min(SLEEP_MAX));
        // An edge that came in meanwhile may be sooner.
        drop(tokio::time::timeout(pause, self.sooner.notified()).await);
    }
}

impl Inner {
    fn add(&mut self, policy: &Arc<CompiledPolicy>, at: DateTime<Utc>) {
        self.heap.push(Reverse((at, self.policies.len())));
        self.policies.push(Edge {
            policy: Arc::clone(policy),
            at,
        });
    }
}

/// The same in all replicas that have the same policies.
fn tick(at: DateTime<Utc>, as_of: i64, room: Option<(&str, String)>) -> Tick {
    let at = at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let (key, room_name) = match room {
        Some((sid, name)) => (format!("{at} {as_of} {sid}"), Some(name)),
        None => (format!("{at} {as_of}"), None),
    };
    Tick {
        cause: TickCause::Edge,
        key,
        room_name,
    }
}
