//! Edges of time: the instants at which policies forbid more although nothing happens. A mute's window opens, an
//! exemption's closes, `not_before` and `not_after` pass; `first` does so a room at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, DurationRound as _, SecondsFormat, TimeDelta, Utc};
use tokio::sync::Notify;

use super::reader::ListedRoom;
use super::tick::{Tick, TickCause};
use crate::livekit::event::Event;
use quell_policy::{CompiledPolicy, Owner, PolicySet, TenantId};

/// Clocks are set and machines sleep: time is compared with the clock at least so often.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// What is further away is found by later sweeps.
const FIRST_WITHIN: TimeDelta = TimeDelta::days(1);
const ROOMS_MAX: usize = 100_000;

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
    policies: Vec<Arc<CompiledPolicy>>,
    /// The next edge of each, by its place among them.
    heap: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    /// Those that exempt a room at first.
    first: Vec<Arc<CompiledPolicy>>,
    rooms: BTreeSet<(DateTime<Utc>, String, String)>,
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

    /// Takes over new policies: from `now` on, theirs are the edges. It may take a while where there are many.
    pub(crate) fn set(&self, policies: &PolicySet, now: DateTime<Utc>) {
        let live: Vec<_> = policies.live().cloned().collect();
        let mut inner = Inner::default();
        for policy in live {
            if policy.exempts_first().is_some() {
                inner.first.push(Arc::clone(&policy));
            }
            if let Some(at) = policy.forbids_more_at(now) {
                inner.heap.push(Reverse((at, inner.policies.len())));
                inner.policies.push(policy);
            }
        }
        let mut old = self.lock();
        inner.rooms = std::mem::take(&mut old.rooms);
        // What came due while they were read is due all the same.
        let (mut heap, policies) = (
            std::mem::take(&mut old.heap),
            std::mem::take(&mut old.policies),
        );
        while let Some(Reverse((at, place))) = heap.pop()
            && at <= now
        {
            if let Some(policy) = policies.get(place) {
                inner.heap.push(Reverse((at, inner.policies.len())));
                inner.policies.push(Arc::clone(policy));
            }
        }
        *old = inner;
        drop(old);
        self.sooner.notify_one();
    }

    /// Remembers when exemptions for the first while of a room end there.
    pub(crate) fn note_room(&self, room: RoomAge<'_>, now: DateTime<Utc>) {
        let mut inner = self.lock();
        let Some(made_at) = DateTime::from_timestamp(room.created_at, 0) else {
            return;
        };
        let is_seen = |owner: &Owner| owner.is_operator() || owner.tenant() == room.tenant;
        let ends: Vec<_> = inner
            .first
            .iter()
            .filter(|policy| is_seen(policy.owner()) && policy.is_about_room(room.name))
            .filter_map(|policy| made_at.checked_add_signed(policy.exempts_first()?))
            .filter(|at| *at > now && *at - now < FIRST_WITHIN)
            .collect();
        for at in ends {
            if inner.rooms.len() < ROOMS_MAX
                && inner
                    .rooms
                    .insert((at, room.sid.to_owned(), room.name.to_owned()))
            {
                self.sooner.notify_one();
            }
        }
    }

    /// What is due at `now`: those of one second together.
    pub(crate) fn due(&self, now: DateTime<Utc>) -> Vec<Due> {
        let mut inner = self.lock();
        let mut seconds: BTreeMap<DateTime<Utc>, Vec<Arc<CompiledPolicy>>> = BTreeMap::new();
        while let Some(Reverse((at, place))) = inner.heap.peek().copied()
            && at <= now
        {
            inner.heap.pop();
            let Some(policy) = inner.policies.get(place).cloned() else {
                continue;
            };
            if let Some(next) = policy.forbids_more_at(now) {
                inner.heap.push(Reverse((next, place)));
            }
            let second = at.duration_trunc(TimeDelta::seconds(1)).unwrap_or(at);
            seconds.entry(second).or_default().push(policy);
        }
        let mut due: Vec<_> = seconds
            .into_iter()
            .map(|(at, policies)| Due {
                tick: tick(at, None),
                policies,
            })
            .collect();
        while let Some((at, ..)) = inner.rooms.first()
            && *at <= now
            && let Some((at, sid, name)) = inner.rooms.pop_first()
        {
            due.push(Due {
                tick: tick(at, Some((&sid, name))),
                policies: Vec::new(),
            });
        }
        due
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

fn tick(at: DateTime<Utc>, room: Option<(&str, String)>) -> Tick {
    let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (key, room_name) = match room {
        Some((sid, name)) => (format!("{at} {sid}"), Some(name)),
        None => (at, None),
    };
    Tick {
        cause: TickCause::Edge,
        key,
        room_name,
    }
}
