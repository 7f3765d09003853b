//! Takes jobs over that another replica stored and did not begin: LiveKit sends every event to all URLs that it
//! has, so one of two replicas that dies delays nothing.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::event_key::{EventKey, event_key};
use super::job::{Job, JobTimes};
use super::memory::JobReservation;
use super::worker::Worker;
use crate::livekit::event::Event;
use crate::postgres::Pool;

/// How long the replica that stored an event has to begin an action, where one is called for.
const PATIENCE: Duration = Duration::from_millis(20);
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 256;

/// An event whose job this process may have to take.
#[derive(Debug)]
pub(super) struct TakeoverCandidate {
    pub(super) event: Event,
    pub(super) reservation: JobReservation,
    pub(super) arrived: Instant,
}

/// Where duplicates go; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Takeover(mpsc::Sender<(Instant, TakeoverCandidate)>);

impl Takeover {
    /// The way in, and what takes jobs over until the last of them is dropped.
    pub(super) fn new(
        pool: Pool,
        worker: Worker,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        (Self(queue), run(pool, worker, receiver))
    }

    /// An event that was stored before, perhaps by another replica.
    pub(super) fn duplicate(&self, candidate: TakeoverCandidate) {
        // Where there are too many, the others are left to the replica that has them, or to whoever misses it.
        drop(self.0.try_send((Instant::now() + PATIENCE, candidate)));
    }
}

async fn run(pool: Pool, worker: Worker, mut queue: mpsc::Receiver<(Instant, TakeoverCandidate)>) {
    // They come in the order in which they are due.
    let mut waiting = VecDeque::new();
    let mut batch = Vec::new();
    loop {
        if waiting.is_empty() {
            if queue.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            waiting.extend(batch.drain(..));
        }
        let first = waiting.front().map_or_else(Instant::now, |(due, _)| *due);
        tokio::time::sleep_until(first).await;
        while let Ok(more) = queue.try_recv() {
            waiting.push_back(more);
        }
        let now = Instant::now();
        let due = waiting.partition_point(|(due, _)| *due <= now);
        let candidates = waiting
            .drain(..due)
            .map(|(_, candidate)| candidate)
            .collect();
        take(&pool, &worker, candidates).await;
    }
}

/// Takes the jobs of events over that another replica did not begin.
async fn take(pool: &Pool, worker: &Worker, candidates: Vec<TakeoverCandidate>) {
    let keys = candidates
        .iter()
        .map(|candidate| event_key(&candidate.event));
    let (times, ids): (Vec<_>, Vec<_>) = keys.unzip();
    // At most once: where both replicas are slow, they shall not take a job from each other for ever.
    let taken = sqlx::query!(
        r#"with found as materialized (
            select j.event_created_at, j.event_id
            from job j join unnest($1::timestamptz[], $2::text[]) as k(created_at, event_id)
                on j.event_created_at = k.created_at and j.event_id = k.event_id
            where j.state = 'leased' and j.action_id is null and j.attempt = 1
              and j.leased_by <> $3
            order by j.event_created_at, j.event_id
            for update of j skip locked)
        update job j set attempt = attempt + 1, leased_by = $3
        from found
        where j.event_created_at = found.event_created_at and j.event_id = found.event_id
        returning j.event_created_at, j.event_id, j.attempt, j.received_at,
                  extract(epoch from j.deadline - clock_timestamp())::float8 as "left_secs!""#,
        &times,
        &ids,
        worker.replica(),
    )
    .fetch_all(pool)
    .await;
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(%error, "jobs of another replica cannot be looked for");
            worker.claim_lost();
            return;
        }
    };
    let mut by_key: HashMap<EventKey, _> = taken
        .into_iter()
        .map(|row| ((row.event_created_at, row.event_id.clone()), row))
        .collect();
    let mut jobs = Vec::new();
    for candidate in candidates {
        let Some(row) = by_key.remove(&event_key(&candidate.event)) else {
            continue;
        };
        let patience = Duration::try_from_secs_f64(row.left_secs).unwrap_or_default();
        let times = JobTimes {
            received_at: row.received_at,
            arrived: candidate.arrived,
            deadline: Instant::now() + patience,
        };
        let (event, reservation) = (candidate.event, candidate.reservation);
        jobs.push(Job::new(event, row.attempt, times, reservation));
    }
    if !jobs.is_empty() {
        tracing::info!(
            jobs = jobs.len(),
            "jobs were taken over that nobody had begun"
        );
    }
    worker.push(jobs);
}
