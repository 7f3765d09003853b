//! Handles jobs, a bounded number at once: pipeline -> settle.

mod handle;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Job;
use super::claim::{Claimed, claim};
use super::settle;
use crate::config::WorkerConfig;
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::postgres::Pool;

/// How often the job table is polled for retries and for what other replicas left.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const CLAIM_MAX: usize = 16;

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    /// The database.
    pub pool: Pool,
    /// What handles a track.
    pub pipeline: Pipeline,
    /// How many at once, and for how long.
    pub config: WorkerConfig,
    /// Where the time goes.
    pub metrics: Metrics,
    /// What a drain waits for.
    pub tracker: TaskTracker,
    /// When to stop polling for jobs.
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
    slots: Arc<Semaphore>,
    wake: Notify,
}

impl Worker {
    /// A worker that does nothing until it is given jobs, or [`Worker::run`] claims some.
    #[must_use]
    pub fn new(parts: WorkerParts) -> Self {
        let slots = usize::try_from(parts.config.concurrency).unwrap_or(usize::MAX);
        Self(Arc::new(WorkerInner {
            slots: Arc::new(Semaphore::new(slots.min(Semaphore::MAX_PERMITS))),
            wake: Notify::new(),
            parts,
        }))
    }

    pub(super) fn replica(&self) -> &str {
        &self.0.parts.replica
    }

    pub(super) fn free_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.slots).try_acquire_owned().ok()
    }

    pub(super) fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Works on a job whose lease this process has.
    pub(super) fn start(&self, job: Job, slot: OwnedSemaphorePermit) {
        let worker = self.clone();
        self.0.parts.tracker.spawn(async move {
            worker.handle(&job).await;
            drop(slot);
            worker.wake();
        });
    }

    /// Claims and handles jobs until it is told to stop.
    pub async fn run(self) {
        if self.0.parts.config.concurrency == 0 {
            return self.0.parts.stop.cancelled().await;
        }
        // Only the waits are cancelled: a cancelled claim could leave claimed jobs that nobody works on.
        let stop = self.0.parts.stop.clone();
        while let Some(Some(slots)) = stop.run_until_cancelled(self.free_slots()).await {
            if self.claim_jobs(slots).await == 0 {
                let woken = tokio::time::timeout(POLL_INTERVAL, self.0.wake.notified());
                // Nothing wakes us for another replica's jobs: they are found when the wait ends.
                stop.run_until_cancelled(woken).await;
            }
        }
    }

    /// Waits for a free slot, and takes the others that are free.
    async fn free_slots(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = Arc::clone(&self.0.slots).acquire_owned().await.ok()?;
        let more = std::iter::from_fn(|| self.free_slot());
        Some(
            std::iter::once(first)
                .chain(more.take(CLAIM_MAX - 1))
                .collect(),
        )
    }

    /// Claims at most one job for each of `slots`; returns how many.
    async fn claim_jobs(&self, mut slots: Vec<OwnedSemaphorePermit>) -> usize {
        let parts = &self.0.parts;
        let limit = i64::try_from(slots.len()).unwrap_or(1);
        let claimed = claim(&parts.pool, &parts.replica, parts.config.lease, limit).await;
        let claimed = claimed.unwrap_or_else(|error| {
            tracing::error!(%error, "jobs cannot be claimed");
            Vec::new()
        });
        let count = claimed.len();
        for claimed in claimed {
            match (claimed, slots.pop()) {
                (Claimed::Job(job), Some(slot)) => self.start(*job, slot),
                (Claimed::Job(job), None) => {
                    tracing::error!(
                        event_id = job.event.id,
                        "a job was claimed without a free slot"
                    );
                }
                (Claimed::Unreadable { id, attempt, error }, _) => {
                    tracing::error!(job = %id, error, "a job was given up");
                    if let Err(error) = settle::dead_letter(&parts.pool, id, attempt, &error).await
                    {
                        tracing::error!(job = %id, %error, "a job could not be given up");
                    }
                }
            }
        }
        count
    }
}
