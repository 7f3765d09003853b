//! Works jobs off: whose turn it is, as many at once as there are places.

mod handle;
mod next;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::claim::{Claim, Claimed, Horizon, put_back_all, still_stored};
use super::event_key::EventKey;
use super::job::Job;
use super::memory::{JobReservation, Memory};
use super::queue::{Queue, Wait, Work, WorkKind};
use crate::config::WorkerConfig;
use crate::ledger::{End, JobEnd, Ledger, Settlement};
use crate::livekit::event::Event;
use crate::metrics::{Metrics, Step};
use crate::pipeline::Pipeline;
use crate::postgres::Pool;
use quell_policy::TenantId;

/// How often the job table is polled for what other replicas left.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How often a process that stops looks for what it can leave to others.
const LET_GO_INTERVAL: Duration = Duration::from_millis(50);
/// For how long a statement may go on whose answer was lost: Postgres ends it after 30 s.
const LOST_FOR: Duration = Duration::from_secs(35);
/// Nothing is claimed while there is memory for fewer.
const FREE_MIN: usize = 64;

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    /// The database.
    pub pool: Pool,
    /// What handles a track.
    pub pipeline: Pipeline,
    /// What writes how jobs end.
    pub ledger: Ledger,
    /// How many at once, and for how long.
    pub config: WorkerConfig,
    /// Where the time goes.
    pub metrics: Metrics,
    /// What a drain waits for.
    pub tracker: TaskTracker,
    /// When to stop.
    pub stop: CancellationToken,
    /// The name of this process in its leases.
    pub replica: String,
}

/// The worker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker(Arc<WorkerInner>);

#[derive(Debug)]
struct WorkerInner {
    parts: WorkerParts,
    memory: Memory,
    queue: Queue,
    /// There may be something to claim.
    claim: Notify,
    horizon: Mutex<Horizon>,
    /// Something waits that is due before what was the first.
    timer: Notify,
    /// Until when this process may have jobs in Postgres that it does not know of.
    lost_until: Mutex<Option<Instant>>,
}

impl Worker {
    /// A worker that works on what it is given; [`Worker::run`] claims more.
    #[must_use]
    pub fn new(parts: WorkerParts) -> Self {
        let places = usize::try_from(parts.config.concurrency).unwrap_or(usize::MAX);
        let memory = Memory::default();
        Self(Arc::new(WorkerInner {
            queue: Queue::new(places, memory.clone()),
            memory,
            claim: Notify::new(),
            horizon: Mutex::new(Horizon::new()),
            timer: Notify::new(),
            lost_until: Mutex::default(),
            parts,
        }))
    }

    pub(super) fn replica(&self) -> &str {
        &self.0.parts.replica
    }

    /// Memory for a job of `event`; without it the job is left to others, or for later.
    pub(super) fn reserve(&self, event: &Event) -> Option<JobReservation> {
        let works = self.0.parts.config.concurrency > 0 && !self.is_stopping();
        works.then(|| self.0.memory.reserve(event)).flatten()
    }

    /// Whose room it is, as an event says: so that tenants take turns.
    pub(super) fn note_tenant(&self, room_sid: &str, tenant: Option<&TenantId>) {
        self.0.memory.note_tenant(room_sid, tenant);
    }

    /// Takes jobs in that this process has.
    pub(super) fn push(&self, jobs: Vec<Job>) {
        self.0.queue.push(jobs);
        self.dispatch();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.0.parts.stop.is_cancelled()
    }

    /// Drops jobs that are over.
    pub(super) fn forget(&self, events: &HashSet<EventKey>) {
        self.drop_over(events);
        for _ in events {
            self.0.parts.metrics.settled(Settlement::Gone.as_str());
        }
    }

    fn drop_over(&self, events: &HashSet<EventKey>) {
        self.0.memory.end(events);
        self.0.queue.forget(events);
    }

    /// Drops the jobs of tracks that these events end, as far as another replica's statement has ended them.
    pub(super) fn ended<'a>(&self, ends: impl Iterator<Item = &'a Event>) {
        let is_ours = |end: &&Event| self.0.memory.has_room(&end.room.sid);
        let ends: Vec<_> = ends.filter(is_ours).collect();
        let keys = self.0.queue.ended_by(&ends);
        if keys.is_empty() {
            return;
        }
        let worker = self.clone();
        self.0.parts.tracker.spawn(async move {
            match still_stored(&worker.0.parts.pool, &keys).await {
                Ok(stored) => worker.drop_over(&(&keys - &stored)),
                Err(error) => {
                    tracing::warn!(%error, "whether jobs are over is seen when they are tried");
                }
            }
        });
    }

    /// Jobs were left for whoever has memory for them.
    pub(super) fn claim_soon(&self) {
        self.0.claim.notify_one();
    }

    /// An answer of Postgres was lost: some jobs may be this process's without its knowledge.
    pub(super) fn claim_lost(&self) {
        self.note_lost();
        self.claim_soon();
    }

    fn note_lost(&self) {
        *self.lost_until() = Some(Instant::now() + LOST_FOR);
    }

    fn lost_until(&self) -> MutexGuard<'_, Option<Instant>> {
        let until = self.0.lost_until.lock();
        until.unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what has its turn, as far as there are places.
    fn dispatch(&self) {
        if self.is_stopping() {
            return;
        }
        while let Some(work) = self.0.queue.next() {
            let worker = self.clone();
            self.0.parts.tracker.spawn(async move {
                Box::pin(worker.work(work)).await;
                worker.dispatch();
            });
        }
    }

    async fn work(&self, work: Work) {
        let Work { jobs, kind, turn } = work;
        let metrics = &self.0.parts.metrics;
        let is_first_turn = |job: &&Job| kind == WorkKind::Handle && job.is_new();
        for job in jobs.iter().filter(is_first_turn) {
            metrics.observe(Step::Queue, job.arrived.elapsed());
        }
        let jobs = Mutex::new(jobs);
        let left = left_by_panic(&jobs, async {
            match kind {
                WorkKind::Handle => self.handle(&jobs).await,
                WorkKind::Look => Box::pin(self.look(&jobs)).await,
            }
        });
        for job in left.await {
            let event_id = &job.event.id;
            tracing::error!(event_id, "handling a job panicked; it is tried again");
            self.retry(job, "its handling panicked").await;
        }
        drop(turn);
    }

    fn wait(&self, job: Job, at: Instant, wait: Wait) {
        // Its end came while it was worked on.
        if self.0.memory.is_over(&job.key()) {
            return;
        }
        if self.0.queue.wait(job, at, wait) {
            self.0.timer.notify_one();
        }
    }

    /// Gives those their turn who waited for time.
    async fn keep_time(&self) {
        loop {
            let woken = self.0.timer.notified();
            match self.0.queue.next_due() {
                Some(at) => drop(tokio::time::timeout_at(at, woken).await),
                None => woken.await,
            }
            self.0.queue.wake(Instant::now());
            self.dispatch();
        }
    }

    /// Claims and handles jobs until it is told to stop; then it lets go of what it did not begin.
    pub async fn run(self) {
        let stop = self.0.parts.stop.clone();
        if self.0.parts.config.concurrency == 0 {
            return stop.cancelled().await;
        }
        let working = async {
            tokio::join!(self.keep_time(), self.keep_claiming());
        };
        stop.run_until_cancelled(working).await;
        self.let_go().await;
    }

    /// Leaves what was not begun to others, and what waits again after it was tried.
    async fn let_go(&self) {
        let parts = &self.0.parts;
        let mut has_told = false;
        loop {
            self.0.queue.clear();
            let left = put_back_all(&parts.pool, &parts.replica, &self.0.memory).await;
            if let Err(error) = left
                && !std::mem::replace(&mut has_told, true)
            {
                tracing::warn!(%error, "jobs are left to others only when this process has ended");
            }
            if !self.0.memory.is_in_use() {
                return;
            }
            tokio::time::sleep(LET_GO_INTERVAL).await;
        }
    }

    async fn keep_claiming(&self) {
        let mut after_room = String::new();
        loop {
            let (jobs, oldest) = self.0.queue.depth();
            let oldest = oldest.map_or(Duration::ZERO, |since| since.elapsed());
            self.0.parts.metrics.queue(jobs, oldest);
            let mut claimed = 0;
            if self.0.memory.free() >= FREE_MIN {
                // In a task of its own: a claim that is broken off could leave jobs that nobody works on.
                let worker = self.clone();
                let after = std::mem::take(&mut after_room);
                let claiming = self
                    .0
                    .parts
                    .tracker
                    .spawn(async move { worker.claim(&after).await });
                if let Ok((count, last_room)) = claiming.await {
                    claimed = count;
                    after_room = last_room.unwrap_or_default();
                }
            }
            if claimed == 0 {
                // Nothing wakes us for another replica's jobs: they are found when the wait ends.
                let woken = self.0.claim.notified();
                drop(tokio::time::timeout(POLL_INTERVAL, woken).await);
            }
        }
    }

    /// Claims some jobs; returns how many, and where to go on.
    async fn claim(&self, after_room: &str) -> (usize, Option<String>) {
        let parts = &self.0.parts;
        let may_be_lost = self
            .lost_until()
            .is_some_and(|until| Instant::now() < until);
        let claim = Claim {
            pool: &parts.pool,
            replica: &parts.replica,
            memory: &self.0.memory,
            after_room,
            may_be_lost,
            horizon: &self.0.horizon,
        };
        let (claimed, error) = claim.run().await;
        if let Some(error) = error {
            tracing::error!(%error, "jobs cannot be claimed");
            self.note_lost();
        }
        let Claimed {
            jobs,
            unreadable,
            last_room,
        } = claimed;
        let count = jobs.len() + unreadable.len();
        for (lease, error) in unreadable {
            let event_id = lease.event_id.clone();
            tracing::error!(event_id, error, "a job was given up");
            let end = End {
                action: None,
                job: Some(JobEnd {
                    lease,
                    settlement: Settlement::DeadLetter,
                    given_up: Some(error),
                    facts: None,
                    decision: None,
                    tenant: None,
                    rows: Vec::new(),
                }),
            };
            if let Err(error) = parts.ledger.end(end).await {
                tracing::error!(%error, event_id, "a job could not be given up");
            }
        }
        self.push(jobs);
        (count, last_room)
    }
}

/// Runs `working`, which takes out of `jobs` what it has done. What is left where it panics comes back.
fn left_by_panic<J: Default>(
    jobs: &Mutex<J>,
    working: impl Future<Output = ()>,
) -> impl Future<Output = J> {
    let worked = AssertUnwindSafe(working).catch_unwind();
    worked.map(|worked| match worked {
        Ok(()) => J::default(),
        Err(_) => std::mem::take(&mut *jobs.lock().unwrap_or_else(PoisonError::into_inner)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_panic_leaves_comes_back_and_what_was_done_does_not() {
        let jobs = Mutex::new(vec![1, 2, 3]);
        let panics = async {
            let mut held = jobs.lock().unwrap();
            held.pop();
            panic!("as a bug would");
        };
        let left: Vec<i32> = left_by_panic(&jobs, panics).await;
        assert_eq!(left, [1, 2]);
        let left: Vec<i32> = left_by_panic(&jobs, async {}).await;
        assert!(left.is_empty());
    }
}
