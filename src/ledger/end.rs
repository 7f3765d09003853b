//! Ends actions and jobs: writes outcomes and gives leases back, and settles what is over, in one statement;
//! of each action and job all or nothing.
//!
//! A job is ended by its event's key and its attempt: a replica that lost it ends nothing. What is known of an
//! action never depends on that.

use std::collections::HashSet;
use std::time::Duration;

use quell_policy::TenantId;
use tokio_util::sync::CancellationToken;

use super::JobLease;
use super::begin::Unfinished;
use crate::audit::{self, AuditRow, Outcome};
use crate::metrics::{Batch, Metrics};
use crate::postgres::{BatchWrite, Connection, to_pg_text};

/// Postgres stores so much well within the bound of a statement.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// A database that fails over is back within seconds; until then, what is to be written waits.
const RETRY_PAUSES_MS: [u64; 4] = [50, 250, 1000, 3000];

/// How an action ended.
#[derive(Debug)]
pub struct Completion {
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the track is muted now, as LiveKit reports it.
    pub muted: Option<bool>,
    /// From the request or the event to LiveKit's answer.
    pub latency: Duration,
    /// Whether it was carried out, or may have been: then a person's unmute stands.
    pub may_stand: bool,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// A policy muted the track.
    Muted,
    /// No policy wants it muted.
    Nothing,
    /// A policy wants it muted whose owner may not act in the room.
    Refused,
    /// The room of that name is another one now.
    Stale,
    /// LiveKit says that the track is gone.
    Gone,
    /// A person decided meanwhile.
    Superseded,
    /// The facts could not be had by the deadline.
    Undecided,
    /// The mute did not succeed by the deadline.
    DeadLetter,
}

impl Settlement {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Muted => "muted",
            Self::Nothing => "nothing",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Gone => "gone",
            Self::Superseded => "superseded",
            Self::Undecided => "undecided",
            Self::DeadLetter => "dead_letter",
        }
    }
}

/// The end of a job, and what is stored with its event.
#[derive(Debug)]
pub(crate) struct JobEnd {
    pub(crate) lease: JobLease,
    pub(crate) settlement: Settlement,
    /// Why it was given up: its row stays then, for people to find.
    pub(crate) given_up: Option<String>,
    /// JSON as text: a `Value` is sent as `jsonb`, which refuses the escaped NUL of a name.
    pub(crate) facts: Option<String>,
    pub(crate) decision: Option<String>,
    pub(crate) tenant: Option<TenantId>,
    /// Rows of the audit log that belong to the end of the job.
    pub(crate) rows: Vec<AuditRow>,
}

/// What is over: an action, a job, or both.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) action: Option<(Unfinished, Completion)>,
    pub(crate) job: Option<JobEnd>,
}

impl End {
    fn bytes(&self) -> usize {
        let texts = self.job.iter().flat_map(|job| [&job.facts, &job.decision]);
        texts.flatten().map(String::len).sum()
    }

    pub(super) fn is_both(&self) -> bool {
        self.action.is_some() && self.job.is_some()
    }

    pub(super) fn split(self) -> (Self, Self) {
        let (action, job) = (self.action, self.job);
        (Self { action, job: None }, Self { action: None, job })
    }
}

/// Writes ends.
#[derive(Debug, Clone)]
pub(super) struct EndWriter {
    pub(super) metrics: Metrics,
    pub(super) stop: CancellationToken,
}

impl BatchWrite for EndWriter {
    type Item = End;
    /// Whether the job was ended; true where there is none.
    type Answer = bool;
    const NAME: &'static str = "outcomes";
    const MAX: usize = 64;
    const BYTES_MAX: usize = BATCH_BYTES_MAX;
    const PACE: Duration = Duration::from_millis(5);

    async fn write(
        &self,
        connection: &mut Connection,
        items: &[End],
    ) -> Result<Vec<bool>, sqlx::Error> {
        let has_rows = |end: &End| end.job.as_ref().is_some_and(|job| !job.rows.is_empty());
        if !items.iter().any(has_rows) {
            return end(connection, items).await;
        }
        connection.begin().await?;
        let ended = end(connection, items).await?;
        for (end, _) in items.iter().zip(&ended).filter(|(_, ended)| **ended) {
            for row in end.job.iter().flat_map(|job| job.rows.as_slice()) {
                let error = row.error.as_deref();
                audit::record(&mut *connection, &row.entry, row.outcome, error).await?;
            }
        }
        connection.commit().await?;
        Ok(ended)
    }

    /// Until the process stops: what is known shall not be lost.
    fn retry_after(&self, _: &sqlx::Error, tries: usize) -> Option<Duration> {
        let longest = RETRY_PAUSES_MS.last();
        let pause = RETRY_PAUSES_MS.get(tries).or(longest)?;
        (!self.stop.is_cancelled()).then(|| Duration::from_millis(*pause))
    }

    fn wrote(&self, count: usize) {
        self.metrics.batch(Batch::Ends, count);
    }

    fn bytes_of(end: &End) -> usize {
        end.bytes()
    }
}

/// One value of each, as a statement takes them; null where there is none.
fn column<'a, S, T>(of: &[Option<&'a S>], value: impl Fn(&'a S) -> Option<T>) -> Vec<Option<T>> {
    of.iter().map(|each| each.and_then(&value)).collect()
}

/// Which jobs were ended, in the order of `items`.
///
/// Where an intent was closed as `unknown` meanwhile, that stands. Jobs are locked first, then leases, each in
/// the order of its key, as those who begin do: nobody waits in a circle. (A bare UPDATE would lock in the
/// order of its join.) An open intent is its action's alone, and who closes it late waits for nobody.
async fn end(connection: &mut Connection, items: &[End]) -> Result<Vec<bool>, sqlx::Error> {
    let ordinals: Vec<i32> = (0..).take(items.len()).collect();
    let actions = items.iter().map(|end| end.action.as_ref());
    let parts = actions.map(|action| action.map(|(unfinished, end)| (unfinished, end)).unzip());
    let (unfinished, completions): (Vec<_>, Vec<_>) = parts.unzip();
    let jobs: Vec<_> = items.iter().map(|end| end.job.as_ref()).collect();
    let action_ids = column(&unfinished, |u| Some(u.action_id));
    let started_ats = column(&unfinished, |u| Some(u.started_at));
    let room_sids = column(&unfinished, |u| Some(u.key.room_sid.as_str()));
    let identities = column(&unfinished, |u| Some(u.key.identity.as_str()));
    let sources = column(&unfinished, |u| Some(u.key.source.as_str()));
    let outcomes = column(&completions, |c| Some(c.outcome.as_str()));
    let errors = column(&completions, |c| c.error.as_deref().map(to_pg_text));
    let muted = column(&completions, |c| c.muted);
    let latencies = column(&completions, |c| Some(c.latency.as_secs_f64() * 1000.0));
    let may_stand = column(&completions, |c| Some(c.may_stand));
    // Of one that failed before, that intent; what is written of it else has its own key.
    let repeats: Vec<_> = unfinished
        .iter()
        .map(|u| u.and_then(|u| u.repeats.as_ref()))
        .collect();
    let intent_ids = column(&unfinished, |u| Some(u.intent().action_id));
    let intent_ats = column(&unfinished, |u| Some(u.intent().started_at));
    let repeat_events = column(&repeats, |repeats| repeats.event_id.as_deref());
    // An action that ends without its job lets go of it.
    let of_actions = unfinished.iter().map(|u| u.and_then(|u| u.job.as_ref()));
    let of_jobs = jobs.iter().map(|job| job.map(|job| &job.lease));
    let leases: Vec<_> = of_jobs
        .zip(of_actions)
        .map(|(job, action)| job.or(action))
        .collect();
    let job_times = column(&leases, |lease| Some(lease.created_at));
    let job_ids = column(&leases, |lease| Some(lease.event_id.as_str()));
    let attempts = column(&leases, |lease| Some(lease.attempt));
    let settlements = column(&jobs, |job| Some(job.settlement.as_str()));
    let given_up = column(&jobs, |job| job.given_up.as_deref().map(to_pg_text));
    let facts = column(&jobs, |job| job.facts.as_deref());
    let decisions = column(&jobs, |job| job.decision.as_deref());
    let tenants = column(&jobs, |job| job.tenant.as_ref().map(TenantId::as_str));
    // The ranges of time let Postgres leave the other partitions alone.
    let ended = sqlx::query_file_scalar!(
        "src/ledger/end.sql",
        &ordinals,
        &action_ids as _,
        &started_ats as _,
        &room_sids as _,
        &identities as _,
        &sources as _,
        &outcomes as _,
        &errors as _,
        &muted as _,
        &latencies as _,
        &may_stand as _,
        &job_times as _,
        &job_ids as _,
        &attempts as _,
        &settlements as _,
        &given_up as _,
        &facts as _,
        &decisions as _,
        &tenants as _,
        intent_ats.iter().flatten().min(),
        intent_ats.iter().flatten().max(),
        job_times.iter().flatten().min(),
        job_times.iter().flatten().max(),
        &intent_ids as _,
        &intent_ats as _,
        &repeat_events as _,
    )
    .fetch_all(connection)
    .await?;
    let ended: HashSet<i32> = ended.into_iter().collect();
    let of_each = ordinals.iter().zip(&jobs);
    Ok(of_each
        .map(|(ordinal, job)| job.is_none() || ended.contains(ordinal))
        .collect())
}
