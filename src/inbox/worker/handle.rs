//! What happens to a job: facts -> decide -> `mute::run` -> settle, or another try later.

use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use super::Worker;
use crate::inbox::Job;
use crate::inbox::case::{self, Case, End};
use crate::inbox::look::{self, Seen};
use crate::inbox::settle::{self, Record, Retry, Settlement};
use crate::livekit::LiveKit;
use crate::livekit::facts::facts_of_event;
use crate::metrics::Step;
use crate::postgres::bounded;
use quell_policy::{Decision, Facts, PolicySet, Verdict, decide};

const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(10);
/// A database that fails over is back within seconds; a job's lease is longer than these together.
const END_AGAIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

impl Worker {
    pub(super) async fn handle(&self, job: &Job) {
        self.0
            .parts
            .metrics
            .observe(Step::Queue, job.held_since.elapsed());
        let mut case = Case {
            facts: facts_of_event(&job.event),
            decision: None,
        };
        let end = if job.is_spent {
            case::later(&case, "whoever worked on it ended without a word")
        } else {
            self.work(job, &mut case).await
        };
        let begun = Instant::now();
        if let Err(error) = self.end_surely(job, &case, &end).await {
            self.not_settled(job, &error).await;
        }
        self.0.parts.metrics.observe(Step::Settle, begun.elapsed());
    }

    async fn work(&self, job: &Job, case: &mut Case) -> End {
        let parts = &self.0.parts;
        let policies = parts.policies.snapshot();
        if !policies.any_tenant_live() {
            // Operators' policies alone may be decided by the event itself.
            let decision = self.decide(&policies, &case.facts);
            let nothing = case::is_nothing(&decision);
            case.decision = Some(decision);
            if nothing {
                return End::Settled(Settlement::Nothing, None);
            }
        }
        let Some(muter) = &parts.muter else {
            return case::later(
                case,
                "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET",
            );
        };
        let deadline = Instant::now() + parts.livekit_timeout;
        let seen = self.look(&muter.livekit, job, case, deadline).await;
        let live = match seen {
            Seen::Stale => {
                return End::Settled(
                    Settlement::Stale,
                    Some("the room of that name is another one now".to_owned()),
                );
            }
            Seen::Gone => {
                return End::Settled(
                    Settlement::Gone,
                    Some("LiveKit does not show the track".to_owned()),
                );
            }
            Seen::Partly(error) => {
                let decision = self.decide(&parts.policies.snapshot(), &case.facts);
                let nothing = matches!(decision.enforced, Verdict::Nothing { .. });
                let decided = nothing && !decision.dry_run.is_indeterminate();
                case.decision = Some(decision);
                return if decided {
                    End::Settled(Settlement::Nothing, None)
                } else {
                    case::later(case, &error.to_string())
                };
            }
            Seen::All(live) => live,
        };
        // By what is in force now: LiveKit may have been asked for longer than a change takes.
        let decision = self.decide(&parts.policies.snapshot(), &case.facts);
        let verdict = decision.enforced.clone();
        case.decision = Some(decision);
        match verdict {
            Verdict::Mute { policy } => case::mute(muter, job, &live, &policy, deadline).await,
            Verdict::Indeterminate => {
                case::later(case, "a fact that the decision hangs on is unknown")
            }
            Verdict::Nothing { .. } => End::Settled(Settlement::Nothing, None),
        }
    }

    async fn look(&self, livekit: &LiveKit, job: &Job, case: &mut Case, deadline: Instant) -> Seen {
        let begun = Instant::now();
        let seen = look::look(livekit, &job.event, &mut case.facts, deadline).await;
        self.0.parts.metrics.observe(Step::Facts, begun.elapsed());
        seen
    }

    fn decide(&self, policies: &PolicySet, facts: &Facts) -> Decision {
        let begun = Instant::now();
        let decision = decide(policies, facts, self.0.parts.clock.now());
        self.0.parts.metrics.observe(Step::Decide, begun.elapsed());
        decision
    }

    /// Ends the job, also where the database is away for a moment.
    async fn end_surely(&self, job: &Job, case: &Case, end: &End) -> Result<(), sqlx::Error> {
        for pause in END_AGAIN {
            match bounded(self.end(job, case, end)).await {
                Err(error) if error.as_database_error().is_none() => {
                    tracing::warn!(%error, event_id = job.event.id, "a job could not be settled yet");
                    tokio::time::sleep(pause).await;
                }
                ended => return ended,
            }
        }
        bounded(self.end(job, case, end)).await
    }

    async fn end(&self, job: &Job, case: &Case, end: &End) -> Result<(), sqlx::Error> {
        let parts = &self.0.parts;
        let mut record = Record {
            facts: Some(case::to_json(&case.facts)),
            decision: case.decision.as_ref().map(case::to_json),
            tenant: case::tenant(case),
            rows: Vec::new(),
        };
        match end {
            End::Settled(settlement, why) => {
                if matches!(
                    settlement,
                    Settlement::Muted | Settlement::Nothing | Settlement::Superseded
                ) {
                    record.rows.extend(case::dry_run(job, case));
                }
                let settlement = *settlement;
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
            End::Later { error, if_dead } => {
                let if_dead = *if_dead;
                record.rows.push(case::given_up(job, case, if_dead, error));
                let delay = jittered(job.attempt);
                let retry =
                    settle::retry_or_bury(&parts.pool, job, delay, error, if_dead, record).await?;
                self.later(job, retry, delay, error, if_dead);
            }
        }
        Ok(())
    }

    /// Without a word from Postgres the lease runs out and the job is taken again: nothing is lost.
    /// What Postgres refuses to store it will refuse again, so then the job goes on towards its
    /// deadline without it.
    async fn not_settled(&self, job: &Job, error: &sqlx::Error) {
        tracing::error!(%error, event_id = job.event.id, "a job could not be settled");
        if error.as_database_error().is_none() {
            return;
        }
        let (pool, delay) = (&self.0.parts.pool, jittered(job.attempt));
        let text = format!("it could not be settled: {error}");
        let (dead, nothing) = (Settlement::DeadLetter, Record::default());
        match bounded(settle::retry_or_bury(
            pool, job, delay, &text, dead, nothing,
        ))
        .await
        {
            Ok(retry) => self.later(job, retry, delay, &text, dead),
            Err(error) => {
                tracing::error!(%error, event_id = job.event.id, "a job could not be put back");
            }
        }
    }

    fn later(&self, job: &Job, retry: Retry, delay: Duration, error: &str, if_dead: Settlement) {
        let parts = &self.0.parts;
        match retry {
            Retry::Lost => {}
            Retry::Queued => {
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
            Retry::Dead => {
                parts.metrics.settled(if_dead.as_str());
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
