//! Handles one job: runs the pipeline, then settles the job or puts it back for a retry.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::Worker;
use crate::action::{Cause, Correlation};
use crate::audit::Origin;
use crate::inbox::Job;
use crate::inbox::settle::{self, Record, Retried, Settlement};
use crate::metrics::Step;
use crate::pipeline::{Handled, Seen, TrackResult};
use crate::postgres::to_pg_json;

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(10);
/// A database that fails over is back within seconds; a job's lease is longer than these together.
const SETTLE_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// A job that was worked on, and what came of its track.
struct JobContext<'a> {
    job: &'a Job,
    cause: Cause,
    handled: Handled,
}

/// What a job comes to.
enum JobResult {
    Settled(Settlement, Option<String>),
    /// Not now, because of this.
    Retry(String),
}

impl JobContext<'_> {
    fn end(&self) -> JobResult {
        let settled = |settlement, why: &str| JobResult::Settled(settlement, Some(why.to_owned()));
        match &self.handled.result {
            TrackResult::Muted(policy) => settled(Settlement::Muted, &policy.name),
            TrackResult::Nothing => JobResult::Settled(Settlement::Nothing, None),
            TrackResult::Refused(why) => settled(Settlement::Refused, why),
            TrackResult::Stale => settled(
                Settlement::Stale,
                "the room of that name is another one now",
            ),
            TrackResult::Gone => settled(Settlement::Gone, "LiveKit does not show the track"),
            TrackResult::Superseded => settled(
                Settlement::Superseded,
                "a person decided on this track meanwhile",
            ),
            TrackResult::Retry(why) => JobResult::Retry(why.clone()),
        }
    }

    /// The settlement where there is no other try: `undecided`, unless a mute was decided.
    fn exhausted(&self) -> Settlement {
        if self.handled.is_mute_decided() {
            Settlement::DeadLetter
        } else {
            Settlement::Undecided
        }
    }

    fn record(&self) -> Record {
        Record {
            facts: Some(to_json(&self.handled.facts)),
            decision: self.handled.decision.as_ref().map(to_json),
            tenant: self.handled.tenant().cloned(),
            rows: Vec::new(),
        }
    }
}

/// `value` as it is stored: participants choose much of what is in it, NULs too.
fn to_json<T: serde::Serialize>(value: &T) -> String {
    // Only maps with keys that are no strings fail, and there are none.
    to_pg_json(serde_json::to_value(value).unwrap_or_default()).to_string()
}

impl Worker {
    pub(super) async fn handle(&self, job: &Job) {
        let parts = &self.0.parts;
        parts.metrics.observe(Step::Queue, job.leased_at.elapsed());
        let cause = Cause {
            origin: Origin::Webhook,
            correlation: Correlation::Event(job.event.id.clone()),
            arrived: job.arrived,
        };
        let handled = if job.deadline_exceeded {
            Handled::untried(&job.event, "whoever worked on it ended without a word")
        } else {
            let seen = Seen::Told(&job.event);
            parts.pipeline.run(seen, job.received_at, &cause).await
        };
        let context = JobContext {
            job,
            cause,
            handled,
        };
        let begun = Instant::now();
        if let Err(error) = self.settle_surely(&context).await {
            self.not_settled(job, &error).await;
        }
        parts.metrics.observe(Step::Settle, begun.elapsed());
    }

    /// Settles the job, also where the database is away for a moment.
    async fn settle_surely(&self, context: &JobContext<'_>) -> Result<(), sqlx::Error> {
        for pause in SETTLE_PAUSES {
            match self.settle(context).await {
                Err(error) if error.as_database_error().is_none() => {
                    tracing::warn!(%error, event_id = context.job.event.id, "a job could not be settled yet");
                    tokio::time::sleep(pause).await;
                }
                settled => return settled,
            }
        }
        self.settle(context).await
    }

    async fn settle(&self, context: &JobContext<'_>) -> Result<(), sqlx::Error> {
        let parts = &self.0.parts;
        let JobContext {
            job,
            cause,
            handled,
        } = context;
        let mut record = context.record();
        match context.end() {
            JobResult::Settled(settlement, why) => {
                record.rows.extend(handled.dry_run_row(cause));
                if settle::settle(&parts.pool, job, settlement, record).await? {
                    parts.metrics.settled(settlement.as_str());
                    tracing::info!(
                        event_id = job.event.id,
                        room = job.event.room.name,
                        track = job.event.track.sid,
                        settlement = settlement.as_str(),
                        why,
                        "a track was dealt with",
                    );
                }
            }
            JobResult::Retry(error) => {
                let exhausted = context.exhausted();
                record
                    .rows
                    .push(handled.given_up_row(cause, job.attempt, &error));
                let delay = jittered(job.attempt);
                let retried =
                    settle::retry(&parts.pool, job, delay, &error, exhausted, record).await?;
                self.retried(job, retried, delay, &error, exhausted);
            }
        }
        Ok(())
    }

    /// Where Postgres does not answer, the lease runs out and the job is claimed again: nothing is lost.
    /// Where Postgres refuses to store the record, it will refuse it again, so the job is put back without
    /// it, until its deadline.
    async fn not_settled(&self, job: &Job, error: &sqlx::Error) {
        tracing::error!(%error, event_id = job.event.id, "a job could not be settled");
        if error.as_database_error().is_none() {
            return;
        }
        let (pool, delay) = (&self.0.parts.pool, jittered(job.attempt));
        let text = format!("it could not be settled: {error}");
        let (exhausted, nothing) = (Settlement::DeadLetter, Record::default());
        match settle::retry(pool, job, delay, &text, exhausted, nothing).await {
            Ok(retried) => self.retried(job, retried, delay, &text, exhausted),
            Err(error) => {
                tracing::error!(%error, event_id = job.event.id, "a job could not be put back");
            }
        }
    }

    fn retried(
        &self,
        job: &Job,
        retried: Retried,
        delay: Duration,
        error: &str,
        exhausted: Settlement,
    ) {
        let parts = &self.0.parts;
        match retried {
            Retried::Lost => {}
            Retried::Queued => {
                tracing::warn!(
                    event_id = job.event.id,
                    attempt = job.attempt,
                    error,
                    "a job is tried again later"
                );
                let worker = self.clone();
                let stop = parts.stop.clone();
                parts.tracker.spawn(async move {
                    // The job is due in the database then; nothing else tells us.
                    if stop
                        .run_until_cancelled(tokio::time::sleep(delay))
                        .await
                        .is_some()
                    {
                        worker.wake();
                    }
                });
            }
            Retried::DeadLetter => {
                parts.metrics.settled(exhausted.as_str());
                tracing::error!(
                    event_id = job.event.id,
                    attempt = job.attempt,
                    error,
                    "a job was given up: its deadline is over"
                );
            }
        }
    }
}

/// Full jitter: anything from nothing to a bound that doubles, so that replicas do not march in step.
fn jittered(attempt: i32) -> Duration {
    let doublings = u32::try_from(attempt).unwrap_or(0).min(16);
    let bound = RETRY_BASE.saturating_mul(1 << doublings).min(RETRY_CAP);
    bound.mul_f64(rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_another_try_grows_to_a_cap_and_is_spread_out() {
        for (attempt, bound_ms) in [
            (1, 200),
            (2, 400),
            (5, 3200),
            (7, 10_000),
            (30, 10_000),
            (i32::MAX, 10_000),
        ] {
            let waits: Vec<_> = (0..200).map(|_| jittered(attempt)).collect();
            assert!(
                waits
                    .iter()
                    .all(|wait| *wait <= Duration::from_millis(bound_ms)),
                "{attempt}"
            );
            assert!(
                waits
                    .iter()
                    .any(|wait| *wait < Duration::from_millis(bound_ms / 4)),
                "{attempt}"
            );
            assert!(
                waits
                    .iter()
                    .any(|wait| *wait > Duration::from_millis(bound_ms / 2)),
                "{attempt}"
            );
        }
    }
}
