//! Sweeps: looks at all live tracks, for what no webhook tells.
//!
//! ```text
//! start, schedule, edge of time, changed policy, missing webhook, by hand
//!     -> Tick --lease--> rooms -> participants -> facts -> decide
//!                                                   | something is forbidden
//!                          the same room again -> Pipeline::run -> row
//! ```
//!
//! A tick is a row: whoever of the replicas has its lease sweeps. Nothing is done in a room whose SID is not the
//! same before and after its participants are read.

mod edges;
mod missed;
mod reader;
mod reading;
mod record;
mod run;
mod tick;
mod tracks;
mod unmutes;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use reader::ListedRoom;
pub use reader::{Reader, RoomScope};
pub use tick::{Counts, Tick, TickCause, TickLease, Ticks};

use crate::config::SweepSchedule;
use crate::livekit::event::Event;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::supervisor::Supervisor;
use edges::{Due, Edges, RoomAge};
use quell_policy::PolicySet;
use tracks::Tracks;
pub(crate) use tracks::{TrackRoom, TrackTimes, peek};
pub(crate) use unmutes::{UnmutedTrack, unmutes_that_stand};

/// How long a lease lasts. Its holder renews it every quarter of that; after it, others may take the tick.
pub const LEASE: Duration = Duration::from_secs(2);
/// How often ticks are looked for that nobody has.
const TAKE_OVER_EVERY: Duration = Duration::from_secs(1);
/// The schedule is compared with the clock at least once a second.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// Tracks that are acted on at the same time, in all sweeps of this process.
const TRACKS_AT_ONCE: usize = 16;
/// Sweeps under way at once in this process, of each kind.
const SWEEPS_AT_ONCE: usize = 8;
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What sweeps work with.
#[derive(Debug)]
pub struct SweeperParts {
    /// What happens to a track that is seen.
    pub pipeline: Pipeline,
    /// Where rooms are read.
    pub reader: Reader,
    /// The table of ticks.
    pub ticks: Ticks,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when no more is begun.
    pub stop: CancellationToken,
    /// Where sweeps run.
    pub tracker: TaskTracker,
}

/// Everything that sweeps share.
#[derive(Debug)]
struct Shared {
    with: SweeperParts,
    tracks: Tracks,
    edges: Edges,
    places: Arc<Semaphore>,
    /// What time forbids waits for no other sweep.
    edge_places: Arc<Semaphore>,
    others_places: Arc<Semaphore>,
    /// Tracks that are acted on at once, in all sweeps: each takes up what is said of its room and participant.
    acts: Semaphore,
    /// A webhook was lost, and nobody knows of which room.
    lost: Notify,
}

impl Deref for Shared {
    type Target = SweeperParts;

    fn deref(&self) -> &SweeperParts {
        &self.with
    }
}

/// Sweeps; cheap to clone.
#[derive(Debug, Clone)]
pub struct Sweeper {
    parts: Arc<Shared>,
}

impl Sweeper {
    /// A sweeper that sweeps for nothing by itself.
    #[must_use]
    pub fn new(parts: SweeperParts) -> Self {
        Self {
            parts: Arc::new(Shared {
                with: parts,
                tracks: Tracks::default(),
                edges: Edges::default(),
                places: Arc::new(Semaphore::new(SWEEPS_AT_ONCE)),
                edge_places: Arc::new(Semaphore::new(SWEEPS_AT_ONCE)),
                others_places: Arc::new(Semaphore::new(SWEEPS_AT_ONCE)),
                acts: Semaphore::new(TRACKS_AT_ONCE),
                lost: Notify::new(),
            }),
        }
    }

    /// Sweeps at start, by `schedule`, at edges of time, for changed policies, and where an event among `events`
    /// shows that a webhook is missing.
    pub(crate) fn start(
        &self,
        supervisor: &Supervisor,
        schedule: SweepSchedule,
        events: mpsc::Receiver<Event>,
    ) {
        // Subscribed first: no change is missed.
        let changed = self.parts.pipeline.policies.subscribe();
        let before = self.snapshot();
        let all = self.clone().of_all(schedule, Arc::clone(&before));
        supervisor.supervise("sweeps of all rooms", all);
        supervisor.supervise("sweeps at edges", self.clone().at_edges());
        supervisor.supervise(
            "sweeps for policies",
            self.clone().for_policies(changed, before),
        );
        supervisor.supervise("sweeps for webhooks", self.clone().for_webhooks(events));
        supervisor.supervise("sweeps for lost webhooks", self.clone().for_lost());
        supervisor.supervise("sweeps of others", self.clone().of_others());
    }

    /// What rooms are read with.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.parts.reader
    }

    fn now(&self) -> DateTime<Utc> {
        self.parts.pipeline.clock.now()
    }

    fn snapshot(&self) -> Arc<PolicySet> {
        self.parts.pipeline.policies.snapshot()
    }

    /// Takes the tick and sweeps; none where it could not be finished.
    pub(crate) async fn sweep_now(
        &self,
        tick: Tick,
        scope: RoomScope,
    ) -> Result<Option<Counts>, sqlx::Error> {
        Ok(match self.parts.ticks.begin(tick).await? {
            Some(lease) => self.sweep(&lease, scope).await,
            None => None,
        })
    }

    /// Takes the tick and sweeps, where no other replica has; what cannot be taken is tried again until the stop.
    async fn run_tick(self, tick: Tick, scope: RoomScope) {
        while !self.parts.stop.is_cancelled() {
            match self.parts.ticks.begin(tick.clone()).await {
                Ok(Some(lease)) => {
                    // Where it is lost, it is another's.
                    self.sweep(&lease, scope).await;
                    return;
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, cause = tick.cause.as_str(), "a sweep cannot be begun; that is tried again");
                    self.pause(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// The same in a task of its own, which keeps `place`.
    fn spawn_tick(&self, tick: Tick, scope: RoomScope, place: Option<OwnedSemaphorePermit>) {
        let sweeper = self.clone();
        self.parts.tracker.spawn(async move {
            sweeper.run_tick(tick, scope).await;
            drop(place);
        });
    }

    /// The same, once there is a place among these.
    fn queue_tick(&self, tick: Tick, scope: RoomScope, places: &Arc<Semaphore>) {
        let (sweeper, places) = (self.clone(), Arc::clone(places));
        self.parts.tracker.spawn(async move {
            let place = places.acquire_owned().await;
            sweeper.run_tick(tick, scope).await;
            drop(place);
        });
    }

    /// Sleeps, but not beyond the stop.
    async fn pause(&self, pause: Duration) {
        let sleeping = tokio::time::sleep(pause);
        self.parts.stop.run_until_cancelled(sleeping).await;
    }

    /// Before rooms are listed: the list tells of edges, too.
    async fn set_edges(&self, policies: Arc<PolicySet>) {
        let sweeper = self.clone();
        let set = move || sweeper.parts.edges.set(&policies, sweeper.now());
        // A panic there is logged, and would be met again.
        drop(spawn_blocking(set).await);
    }

    /// At start and by the schedule, one after the other: two at once would have half of the rate each.
    async fn of_all(self, schedule: SweepSchedule, policies: Arc<PolicySet>) {
        self.set_edges(policies).await;
        let tick = Tick {
            cause: TickCause::Start,
            key: self.parts.ticks.replica.clone(),
            room_name: None,
        };
        self.clone().run_tick(tick, RoomScope::All).await;
        let mut next = schedule.next(self.now());
        let mut before = self.now();
        while !self.parts.stop.is_cancelled() {
            let now = self.now();
            if now < before {
                // The clock was set back.
                next = schedule.next(now);
            }
            before = now;
            let Some(at) = next else {
                self.parts.stop.cancelled().await;
                return;
            };
            if at > now {
                let left = (at - now).to_std().unwrap_or_default();
                self.pause(left.min(SLEEP_MAX)).await;
                continue;
            }
            let tick = Tick {
                cause: TickCause::Schedule,
                key: at.to_rfc3339_opts(SecondsFormat::Secs, true),
                room_name: None,
            };
            self.clone().run_tick(tick, RoomScope::All).await;
            self.parts.tracks.forget_old();
            // What came due meanwhile is done.
            next = schedule.next(self.now());
        }
    }

    async fn at_edges(self) {
        let stop = self.parts.stop.clone();
        let running = async {
            let mut before = self.now();
            loop {
                let now = self.now();
                if now < before {
                    // The clock was set back: what comes next may be what has been.
                    self.parts.edges.forget();
                    self.set_edges(self.snapshot()).await;
                }
                before = now;
                let mut over = Vec::new();
                for Due { tick, policies } in self.parts.edges.due(now) {
                    let scope = if tick.room_name.is_some() {
                        RoomScope::All
                    } else {
                        over.extend(policies.iter().cloned());
                        RoomScope::About(Arc::new(PolicySet::of_shared(policies)))
                    };
                    self.queue_tick(tick, scope, &self.parts.edge_places);
                }
                if !over.is_empty() {
                    let sweeper = self.clone();
                    let go_on = move || sweeper.parts.edges.go_on(&over, now);
                    // Thousands of windows take a while: not on a thread that webhooks need.
                    drop(spawn_blocking(go_on).await);
                }
                self.parts.edges.wait(self.now()).await;
            }
        };
        stop.run_until_cancelled(running).await;
    }

    async fn for_policies(self, mut changed: watch::Receiver<()>, mut before: Arc<PolicySet>) {
        let stop = self.parts.stop.clone();
        let running = async {
            while changed.changed().await.is_ok() {
                // What changes while there is no place for a sweep is swept for together.
                let place = Arc::clone(&self.parts.places).acquire_owned().await;
                let after = self.snapshot();
                self.set_edges(Arc::clone(&after)).await;
                let (then, now) = (Arc::clone(&before), Arc::clone(&after));
                // Thousands of policies take a while: not on a thread that webhooks need.
                let more = spawn_blocking(move || now.forbids_more_than(&then)).await;
                before = after;
                // A panic there is logged, and would be met again.
                let Ok(more) = more else { continue };
                if more.is_empty() {
                    continue;
                }
                let tick = Tick {
                    cause: TickCause::Policy,
                    key: before.as_of().to_string(),
                    room_name: None,
                };
                self.spawn_tick(tick, RoomScope::About(Arc::new(more)), place.ok());
            }
        };
        stop.run_until_cancelled(running).await;
    }

    async fn for_webhooks(self, mut events: mpsc::Receiver<Event>) {
        let stop = self.parts.stop.clone();
        let running = async {
            while let Some(events) = missed::gather(&mut events).await {
                for room in events.iter().filter_map(RoomAge::of_start) {
                    self.parts.edges.note_room(room, self.now());
                }
                match missed::rooms(&self.parts.ticks.pool, &events, self.now()).await {
                    Ok(ticks) => {
                        for tick in ticks {
                            self.queue_tick(tick, RoomScope::All, &self.parts.places);
                        }
                    }
                    // The schedule's next sweep sees these rooms too.
                    Err(error) => {
                        tracing::warn!(%error, "whether webhooks are missing cannot be read");
                    }
                }
            }
        };
        stop.run_until_cancelled(running).await;
    }

    /// Has all rooms swept, soon, where this process sweeps by itself: an event of LiveKit's could not be taken.
    pub(crate) fn lost_webhook(&self) {
        self.parts.lost.notify_one();
    }

    async fn for_lost(self) {
        let stop = self.parts.stop.clone();
        let running = async {
            loop {
                self.parts.lost.notified().await;
                let tick = missed::somewhere(&self.parts.ticks.replica, self.now());
                self.clone().run_tick(tick, RoomScope::All).await;
                self.pause(missed::EVERY).await;
            }
        };
        stop.run_until_cancelled(running).await;
    }

    /// Sweeps for ticks of replicas that are gone.
    async fn of_others(self) {
        while !self.parts.stop.is_cancelled() {
            // A place first: a tick that is taken does not wait.
            if let Ok(place) = Arc::clone(&self.parts.others_places).try_acquire_owned() {
                match self.parts.ticks.take_over().await {
                    Ok(Some(lease)) => {
                        let cause = lease.tick.cause.as_str();
                        tracing::info!(
                            sweep_id = %lease.id,
                            cause,
                            key = lease.tick.key,
                            "a sweep was left by another replica"
                        );
                        let sweeper = self.clone();
                        self.parts.tracker.spawn(async move {
                            sweeper.sweep(&lease, RoomScope::All).await;
                            drop(place);
                        });
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, "ticks cannot be read"),
                }
            }
            if let Ok(Some(at)) = self.parts.ticks.last_finished().await {
                self.parts.metrics.last_sweep(at);
            }
            self.pause(TAKE_OVER_EVERY).await;
        }
    }
}
