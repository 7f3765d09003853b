//! Handles jobs: looks at LiveKit, runs the pipeline, then ends the job or lets it wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Worker;
use super::next::{Next, cause};
use crate::fail_point::{self, FailPoint};
use crate::inbox::job::Job;
use crate::inbox::queue::Wait;
use crate::ledger::{Completion, End, JobEnd, Settlement, Unfinished};
use crate::metrics::Step;
use crate::pipeline::{Handled, Look, Seen, TrackResult, facts_text};
use crate::postgres::{json_text, to_pg_text};
use crate::traces;

/// An answer that is older is asked for again.
const LOOK_AGE_MAX: Duration = Duration::from_millis(100);
/// The same of one that all share who waited on a source: their actions take turns.
const SHARED_LOOK_AGE_MAX: Duration = Duration::from_secs(1);
const BUSY: &str = "another action on this track is still under way";
const NOT_SHOWN: &str = "LiveKit does not show the track";

/// Jobs that were handed out and are not ended yet.
type Jobs = Mutex<Vec<Job>>;

fn with<R>(jobs: &Jobs, change: impl FnOnce(&mut Vec<Job>) -> R) -> R {
    change(&mut jobs.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Worker {
    /// Handles jobs of one source, in order. One look at LiveKit answers for all that came before it.
    pub(super) async fn handle(&self, jobs: &Jobs) {
        let mut shared: Option<Look> = None;
        while let Some(mut next) = with(jobs, |jobs| jobs.first_mut().map(Next::of)) {
            let span = next.span();
            async {
                let handled = self.handle_next(&mut next, &mut shared).await;
                let job = with(jobs, |jobs| jobs.remove(0));
                self.conclude(job, handled).await;
            }
            .instrument(span)
            .await;
        }
    }

    async fn handle_next(&self, next: &mut Next, shared: &mut Option<Look>) -> Handled {
        let parts = &self.0.parts;
        fail_point::reach(FailPoint::Claim);
        let event = &next.event;
        if next.untried {
            return Handled::untried(event, "whoever worked on it ended without a word");
        }
        if let Some(handled) = parts.pipeline.by_event_alone(event) {
            return handled;
        }
        let own = next.own.take();
        let own = own.filter(|look| look.asked_at.elapsed() < LOOK_AGE_MAX);
        let is_old = |look: &Look| look.asked_at.elapsed() >= SHARED_LOOK_AGE_MAX;
        if own.is_none() && shared.as_ref().is_none_or(is_old) {
            *shared = parts.pipeline.look(event).await;
        }
        let Some(look) = own.as_ref().or(shared.as_ref()) else {
            return Handled::untried(event, "LiveKit is not configured");
        };
        let seen = Seen::Told {
            event,
            look,
            job: &next.lease,
        };
        let handled = parts.pipeline.run(seen, next.as_of, &next.cause).await;
        if let Ok(Some(room)) = &look.room {
            self.note_tenant(&room.info.sid, room.tenant.as_ref());
        }
        handled
    }

    /// Asks for the room and everybody in it, for jobs whose tracks were not shown. Those that are shown now are
    /// handled in their turn, with this answer.
    pub(super) async fn look(&self, jobs: &Jobs) {
        let parts = &self.0.parts;
        let Some(name) = with(jobs, |jobs| Some(jobs.first()?.event.room.name.clone())) else {
            return;
        };
        let Some(room) = parts.pipeline.look_at_room(&name).await else {
            return;
        };
        let mut shown = Vec::new();
        while let Some(next) = with(jobs, |jobs| jobs.last_mut().map(Next::of)) {
            let look = room.of(&next.event.participant.identity);
            if look.shows(&next.event) {
                let job = with(jobs, Vec::pop);
                shown.extend(job.map(|job| Job {
                    look: Some(look),
                    ..job
                }));
                continue;
            }
            let seen = Seen::Told {
                event: &next.event,
                look: &look,
                job: &next.lease,
            };
            async {
                let handled = parts.pipeline.run(seen, next.as_of, &next.cause).await;
                if let Some(job) = with(jobs, Vec::pop) {
                    self.conclude(job, handled).await;
                }
            }
            .instrument(next.span())
            .await;
        }
        self.push(shown);
    }

    /// Ends the job, or lets it wait.
    async fn conclude(&self, mut job: Job, mut handled: Handled) {
        let now = Instant::now();
        let (settlement, why) = match &handled.result {
            TrackResult::Muted(policy) => (Settlement::Muted, Some(policy.name.to_string())),
            TrackResult::Nothing => (Settlement::Nothing, None),
            TrackResult::Refused(why) => (Settlement::Refused, Some(why.clone())),
            TrackResult::Undecided(why) => {
                let why = why.clone();
                handled.row = Some(handled.undecided_row(&cause(&job), &why));
                (Settlement::Undecided, Some(why))
            }
            TrackResult::Stale => (
                Settlement::Stale,
                Some("the room of that name is another one now".to_owned()),
            ),
            TrackResult::Gone => (
                Settlement::Gone,
                Some("LiveKit has no such track any more".to_owned()),
            ),
            TrackResult::Superseded => (
                Settlement::Superseded,
                Some("a person decided on this track meanwhile".to_owned()),
            ),
            TrackResult::NotShown if self.has_ended(&mut job).await => (
                Settlement::Gone,
                Some("LiveKit told of its end while it was acted on".to_owned()),
            ),
            TrackResult::NotShown => {
                match job.not_shown_until(now) {
                    Some(at) => self.wait(job, at, Wait::NotShown),
                    None => self.give_up(job, handled, NOT_SHOWN).await,
                }
                return;
            }
            TrackResult::Busy => {
                match job.busy_until(now) {
                    Some(at) => self.wait(job, at, Wait::Retry),
                    None => self.give_up(job, handled, BUSY).await,
                }
                return;
            }
            TrackResult::Lost => return,
            TrackResult::Retry(why) => {
                let why = why.clone();
                // The outcome of what was tried is written at once.
                if let (Some(end), Some(runner)) =
                    (handled.action.take(), &self.0.parts.pipeline.runner)
                {
                    runner.finish(end).await;
                }
                match job.retry_at(now).filter(|_| !job.deadline_exceeded) {
                    Some(at) => self.try_later(job, at, handled.action_id(), &why),
                    None => self.give_up(job, handled, &why).await,
                }
                return;
            }
        };
        self.settle(job, handled, settlement, why).await;
    }

    /// Whether an event that ends the job's track is stored. What comes later ends the job itself, so it is
    /// read once; where it cannot be read, it is the next time.
    async fn has_ended(&self, job: &mut Job) -> bool {
        if !job.may_have_ended {
            return false;
        }
        let event = &job.event;
        let ended = sqlx::query_scalar!(
            r#"select exists (
                select from webhook_event
                where room_name = $1 and created_at >= $2 and room_sid = $3
                  and (event = 'room_finished'
                       or event = 'track_unpublished' and track_sid = $5
                       or case when event in ('participant_left', 'participant_connection_aborted')
                                    and identity = $6
                               -- It fails on a body with an escaped NUL, which others may send.
                               then body #>> '{participant,sid}' = $4 end)) as "ended!""#,
            to_pg_text(&event.room.name),
            event.created_at,
            to_pg_text(&event.room.sid),
            event.participant.sid,
            to_pg_text(&event.track.sid),
            to_pg_text(&event.participant.identity),
        )
        .fetch_one(&self.0.parts.pool)
        .await;
        match ended {
            Ok(ended) => {
                job.may_have_ended = false;
                ended
            }
            Err(error) => {
                tracing::warn!(%error, event_id = event.id, "whether a track has ended cannot be read");
                false
            }
        }
    }

    fn try_later(&self, job: Job, at: Instant, action_id: Option<Uuid>, why: &str) {
        tracing::warn!(
            event_id = job.event.id,
            action_id = action_id.map(display),
            tries = job.tries,
            error = why,
            "a job is tried again later"
        );
        self.wait(job, at, Wait::Retry);
    }

    /// Tries a job again of whose handling nothing is known.
    pub(super) async fn retry(&self, mut job: Job, why: &str) {
        if let Some(at) = job.retry_at(Instant::now()) {
            return self.try_later(job, at, None, why);
        }
        let handled = Handled::untried(&job.event, why);
        self.give_up(job, handled, why).await;
    }

    /// Gives a job up: its deadline is over. Where no mute was decided, it is undecided.
    async fn give_up(&self, job: Job, handled: Handled, why: &str) {
        let settlement = if handled.is_mute_decided() {
            Settlement::DeadLetter
        } else {
            Settlement::Undecided
        };
        let tries = job.tries.max(1);
        let end = JobEnd {
            given_up: Some(why.to_owned()),
            rows: vec![handled.given_up_row(&cause(&job), tries, why)],
            ..job_end(&job, &handled, settlement)
        };
        let action_id = handled.action_id();
        drop(handled);
        tracing::error!(
            event_id = job.event.id,
            action_id = action_id.map(display),
            tries,
            error = why,
            "a job was given up: its deadline is over"
        );
        self.end(job, None, end).await;
    }

    async fn settle(
        &self,
        job: Job,
        mut handled: Handled,
        settlement: Settlement,
        why: Option<String>,
    ) {
        let action = handled.action.take();
        let rows = handled.row.take();
        let cause = cause(&job);
        let rows = rows.into_iter().chain(handled.exempted_row(&cause));
        let rows = rows.chain(handled.dry_run_row(&cause));
        let end = JobEnd {
            // It stays for people to find.
            given_up: why.clone().filter(|_| settlement == Settlement::Undecided),
            rows: rows.collect(),
            ..job_end(&job, &handled, settlement)
        };
        let action_id = handled.action_id();
        // Metadata can take up megabytes.
        drop(handled);
        tracing::info!(
            event_id = job.event.id,
            action_id = action_id.map(display),
            room = job.event.room.name,
            track = job.event.track.sid,
            settlement = settlement.as_str(),
            why,
            "a track was dealt with",
        );
        self.end(job, action, end).await;
    }

    /// Writes how the job ended. Where Postgres refuses to store that, it will refuse it again, so the job is
    /// tried again until its deadline, and then given up without it.
    async fn end(&self, mut job: Job, action: Option<(Unfinished, Completion)>, end: JobEnd) {
        let parts = &self.0.parts;
        let (begun, settlement) = (Instant::now(), end.settlement);
        traces::settled(settlement.as_str());
        let action_id = action.as_ref().map(|(it, _)| it.intent().action_id);
        let end = End {
            action,
            job: Some(end),
        };
        let ended = parts
            .ledger
            .end(end)
            .instrument(traces::outcome(action_id))
            .await;
        parts.metrics.observe(Step::Settle, begun.elapsed());
        let error = match ended {
            Ok(true) => return parts.metrics.settled(settlement.as_str()),
            Ok(false) => {
                return tracing::info!(
                    event_id = job.event.id,
                    "a job was another replica's by its end, or had ended without an answer"
                );
            }
            Err(error) => error,
        };
        tracing::error!(%error, event_id = job.event.id, "a job could not be settled");
        if !error.is_refusal() {
            // This process stops: the job is another's.
            return;
        }
        let why = format!("it could not be settled: {error}");
        if let Some(at) = job.retry_at(Instant::now()) {
            return self.try_later(job, at, None, &why);
        }
        let end = JobEnd {
            lease: job.lease(),
            settlement: Settlement::DeadLetter,
            given_up: Some(why),
            facts: None,
            decision: None,
            tenant: None,
            rows: Vec::new(),
        };
        match parts
            .ledger
            .end(End {
                action: None,
                job: Some(end),
            })
            .await
        {
            Ok(_) => parts.metrics.settled(Settlement::DeadLetter.as_str()),
            Err(error) => {
                tracing::error!(%error, event_id = job.event.id, "a job could not be given up");
            }
        }
    }
}

fn job_end(job: &Job, handled: &Handled, settlement: Settlement) -> JobEnd {
    JobEnd {
        lease: job.lease(),
        settlement,
        given_up: None,
        facts: Some(facts_text(&handled.facts)),
        decision: handled.decision.as_ref().map(json_text),
        tenant: handled.tenant().cloned(),
        rows: Vec::new(),
    }
}
