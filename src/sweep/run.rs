//! One sweep: keeps its tick, lists the rooms that are wanted, and goes through them.

mod room;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Sweeper;
use super::reader::{ListedRoom, RoomScope};
use super::tick::{Counts, TickCause, TickLease};
use crate::livekit::{LiveKitError, Oversized, Urgency};
use crate::traces;

/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 32;
/// The pauses before the rooms are gone through again.
const PASS_PAUSES_MS: [u64; 3] = [1000, 2000, 4000];
/// Where rooms cannot be listed, that is tried again after these, and then every 5 s.
const LIST_PAUSES_MS: [u64; 4] = [100, 500, 1000, 2500];
const LIST_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Then it is given up: the next tick of the schedule does the same.
const LIST_FOR: Duration = Duration::from_mins(2);

/// What a sweep found and did.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) sweeper: &'a Sweeper,
    pub(super) lease: &'a TickLease,
    pub(super) scope: RoomScope,
    pub(super) urgency: Urgency,
    /// Cancelled when the tick is somebody else's.
    pub(super) lost: CancellationToken,
    pub(super) counts: Mutex<Counts>,
    pub(super) begun: Instant,
    /// How often the rooms were gone through before.
    pub(super) passes: AtomicUsize,
}

impl Sweeper {
    /// Sweeps for a tick that this process has, and finishes it; none where it could not.
    pub async fn sweep(&self, lease: &TickLease, scope: RoomScope) -> Option<Counts> {
        // At the level `error`, so that every line is inside it, whatever the filter is.
        let span = tracing::error_span!("sweep", sweep_id = %lease.id);
        let traced = traces::sweep(lease.id, lease.tick.cause.as_str());
        let running = Box::pin(self.run(lease, scope)).instrument(span);
        running.instrument(traced).await
    }

    async fn run(&self, lease: &TickLease, scope: RoomScope) -> Option<Counts> {
        let urgency = match lease.tick.cause {
            TickCause::Edge | TickCause::Policy => Urgency::Urgent,
            TickCause::Start
            | TickCause::Schedule
            | TickCause::MissingWebhook
            | TickCause::Manual => Urgency::Routine,
        };
        let run = Run {
            sweeper: self,
            lease,
            scope,
            urgency,
            lost: CancellationToken::new(),
            counts: Mutex::default(),
            begun: Instant::now(),
            passes: AtomicUsize::new(0),
        };
        let done = {
            let ended = CancellationToken::new();
            let sweeping = async {
                let done = run.passes().await;
                ended.cancel();
                done
            };
            let renewing = ended.run_until_cancelled(run.keep());
            tokio::join!(sweeping, renewing).0
        };
        let counts = *run.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let ticks = &self.parts.ticks;
        if !run.may_go_on() {
            // At once another's, where it is not already.
            if let Err(error) = ticks.release(lease).await {
                tracing::warn!(%error, "a sweep could not be left to other replicas at once");
            }
            return None;
        }
        let error = done.err().map(|error| error.to_string());
        match ticks.finish(lease, &counts, error.as_deref()).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::error!(%error, "the end of a sweep could not be written; it is done again");
                return None;
            }
        }
        self.parts
            .metrics
            .swept(lease.tick.cause.as_str(), run.begun.elapsed());
        let cause = lease.tick.cause.as_str();
        let took = run.begun.elapsed();
        if let Some(error) = error {
            tracing::error!(
                cause,
                key = lease.tick.key,
                error,
                "rooms could not be swept"
            );
        } else {
            tracing::info!(
                cause,
                key = lease.tick.key,
                ?counts,
                ?took,
                "rooms were swept"
            );
        }
        Some(counts)
    }
}

impl Run<'_> {
    fn may_go_on(&self) -> bool {
        !self.lost.is_cancelled() && !self.sweeper.parts.stop.is_cancelled()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keeps the tick for as long as the database is reached.
    async fn keep(&self) {
        let ticks = &self.sweeper.parts.ticks;
        let mut good_until = self.lease.asked_at + ticks.lease;
        let mut times = tokio::time::interval(ticks.lease / 4);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.tick().await;
        loop {
            times.tick().await;
            let asked_at = Instant::now();
            let Ok(renewed) = timeout_at(good_until, ticks.renew(self.lease)).await else {
                break;
            };
            match renewed {
                Ok(true) => good_until = asked_at + ticks.lease,
                Err(error) if Instant::now() < good_until => {
                    tracing::debug!(%error, "the lease of a sweep could not be renewed");
                }
                Ok(false) | Err(_) => break,
            }
        }
        tracing::info!(
            cause = self.lease.tick.cause.as_str(),
            "a sweep is another replica's by now"
        );
        self.lost.cancel();
    }

    fn is_first_pass(&self) -> bool {
        self.passes.load(Ordering::Relaxed) == 0
    }

    /// Goes through the rooms, and once more where one look is not enough: where something failed, and where what
    /// is forbidden has changed. A track may have been decided on just before the change, by its webhook or by a
    /// replica that had not heard of it, and LiveKit may not have shown it yet.
    async fn passes(&self) -> Result<(), LiveKitError> {
        let cause = self.lease.tick.cause;
        self.rooms().await?;
        if matches!(cause, TickCause::Schedule | TickCause::Manual) {
            return Ok(());
        }
        for pause in PASS_PAUSES_MS.map(Duration::from_millis) {
            let has_changed = matches!(cause, TickCause::Edge | TickCause::Policy);
            let has_failed = self
                .counts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .failed
                > 0;
            if !(has_failed || has_changed && self.is_first_pass()) {
                break;
            }
            let sleeping = tokio::time::sleep(pause);
            self.sweeper.parts.stop.run_until_cancelled(sleeping).await;
            if !self.may_go_on() {
                break;
            }
            self.passes.fetch_add(1, Ordering::Relaxed);
            self.count(|counts| counts.failed = 0);
            self.rooms().await?;
        }
        Ok(())
    }

    async fn rooms(&self) -> Result<(), LiveKitError> {
        let parts = &self.sweeper.parts;
        let policies = parts.pipeline.policies.snapshot();
        if !policies.any_mute(parts.pipeline.clock.now()) {
            return Ok(());
        }
        let listed = self.list().await?;
        stream::iter(listed)
            .for_each_concurrent(ROOMS_AT_ONCE, |room| Box::pin(self.room(room)))
            .await;
        Ok(())
    }

    /// The rooms that are wanted, and in which a policy may mute.
    async fn list(&self) -> Result<Vec<ListedRoom>, LiveKitError> {
        let parts = &self.sweeper.parts;
        let mut pauses = LIST_PAUSES_MS.iter().copied().map(Duration::from_millis);
        loop {
            let (policies, now) = (
                parts.pipeline.policies.snapshot(),
                parts.pipeline.clock.now(),
            );
            let name = self.lease.tick.room_name.as_deref();
            let wants = |room: &ListedRoom| {
                parts.edges.note_room(room.into(), now);
                self.scope.concerns(&policies, now, room)
            };
            let error = match parts.reader.list(self.urgency, name, wants).await {
                Ok(listed) => {
                    self.skip("room", None, &listed.oversized);
                    return Ok(listed.rooms);
                }
                Err(error) => error,
            };
            let pause = pauses.next().unwrap_or(LIST_PAUSE_MAX);
            if !self.may_go_on() || self.begun.elapsed() + pause > LIST_FOR {
                return Err(error);
            }
            tracing::warn!(%error, "rooms cannot be listed for a sweep; that is tried again soon");
            let stopped = parts.stop.run_until_cancelled(tokio::time::sleep(pause));
            stopped.await;
        }
    }

    fn skip(&self, what: &'static str, room: Option<&str>, oversized: &[Oversized]) {
        if !self.is_first_pass() {
            return;
        }
        for Oversized { sid, name, bytes } in oversized {
            self.sweeper.parts.metrics.sweep_skipped(what);
            self.count(|counts| counts.skipped += 1);
            tracing::warn!(
                what,
                room,
                sid,
                name,
                bytes,
                "a sweep left out what has too much metadata to be read: nothing in it is muted by sweeps"
            );
        }
    }
}
