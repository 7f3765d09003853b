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
use crate::postgres::{Connection, Write, to_pg_text};

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
    pub(super) fn is_both(&self) -> bool {
        self.action.is_some() && self.job.is_some()
    }

    pub(super) fn split(self) -> (Self, Self) {
        let (action, job) = (self.action, self.job);
        (Self { action, job: None }, Self { action: None, job })
    }
}

/// Writes ends.
#[derive(Debug)]
pub(super) struct EndWriter {
    pub(super) metrics: Metrics,
    pub(super) stop: CancellationToken,
}

impl Write for EndWriter {
    type Item = End;
    /// Whether the job was ended; true where there is none.
    type Answer = bool;
    const MAX: usize = 64;
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
    fn retry_after(&self, tries: usize) -> Option<Duration> {
        let longest = RETRY_PAUSES_MS.last();
        let pause = RETRY_PAUSES_MS.get(tries).or(longest)?;
        (!self.stop.is_cancelled()).then(|| Duration::from_millis(*pause))
    }

    fn wrote(&self, count: usize) {
        self.metrics.batch(Batch::Ends, count);
    }
}

/// Which jobs were ended, in the order of `items`.
///
/// Where an intent was closed as `unknown` meanwhile, that stands. Jobs are locked first, then leases, each in
/// the order of its key, as those who begin do: nobody waits in a circle. (A bare UPDATE would lock in the
/// order of its join.) An open intent is its action's alone, and who closes it late waits for nobody.
async fn end(connection: &mut Connection, items: &[End]) -> Result<Vec<bool>, sqlx::Error> {
    let places: Vec<i32> = (0..).take(items.len()).collect();
    let actions: Vec<_> = items.iter().map(|end| end.action.as_ref()).collect();
    let jobs: Vec<_> = items.iter().map(|end| end.job.as_ref()).collect();
    let unfinished = || {
        actions
            .iter()
            .map(|action| action.map(|(unfinished, _)| unfinished))
    };
    let completions = || {
        actions
            .iter()
            .map(|action| action.map(|(_, completion)| completion))
    };
    let action_ids: Vec<_> = unfinished().map(|u| u.map(|u| u.action_id)).collect();
    let started_ats: Vec<_> = unfinished().map(|u| u.map(|u| u.started_at)).collect();
    let room_sids: Vec<_> = unfinished()
        .map(|u| u.map(|u| u.key.room_sid.as_str()))
        .collect();
    let identities: Vec<_> = unfinished()
        .map(|u| u.map(|u| u.key.identity.as_str()))
        .collect();
    let sources: Vec<_> = unfinished()
        .map(|u| u.map(|u| u.key.source.as_str()))
        .collect();
    let outcomes: Vec<_> = completions()
        .map(|c| c.map(|c| c.outcome.as_str()))
        .collect();
    let errors: Vec<_> = completions()
        .map(|c| c.and_then(|c| c.error.as_deref()).map(to_pg_text))
        .collect();
    let muted: Vec<_> = completions().map(|c| c.and_then(|c| c.muted)).collect();
    let latencies: Vec<_> = completions()
        .map(|c| c.map(|c| c.latency.as_secs_f64() * 1000.0))
        .collect();
    let may_stand: Vec<_> = completions().map(|c| c.map(|c| c.may_stand)).collect();
    let lease = |job: Option<&JobEnd>| job.map(|job| job.lease.clone());
    let leases: Vec<_> = jobs.iter().map(|job| lease(*job)).collect();
    let job_times: Vec<_> = leases
        .iter()
        .map(|l| l.as_ref().map(|l| l.created_at))
        .collect();
    let job_ids: Vec<_> = leases
        .iter()
        .map(|l| l.as_ref().map(|l| l.event_id.as_str()))
        .collect();
    let attempts: Vec<_> = leases
        .iter()
        .map(|l| l.as_ref().map(|l| l.attempt))
        .collect();
    let settlements: Vec<_> = jobs
        .iter()
        .map(|job| job.map(|j| j.settlement.as_str()))
        .collect();
    let given_up: Vec<_> = jobs
        .iter()
        .map(|job| job.and_then(|j| j.given_up.as_deref()).map(to_pg_text))
        .collect();
    let facts: Vec<_> = jobs
        .iter()
        .map(|job| job.and_then(|j| j.facts.as_deref()))
        .collect();
    let decisions: Vec<_> = jobs
        .iter()
        .map(|job| job.and_then(|j| j.decision.as_deref()))
        .collect();
    let tenants: Vec<_> = jobs
        .iter()
        .map(|job| job.and_then(|j| j.tenant.as_ref()).map(TenantId::as_str))
        .collect();
    // The ranges of time let Postgres leave the other partitions alone.
    let ended = sqlx::query_scalar!(
        r#"with over as materialized (
            select * from unnest($1::int[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[],
                $6::text[], $7::text[], $8::text[], $9::bool[], $10::float8[], $11::bool[],
                $12::timestamptz[], $13::text[], $14::int[], $15::text[], $16::text[], $17::text[],
                $18::text[], $19::text[])
            as t(place, action_id, started_at, room_sid, identity, source, outcome, error, muted,
                 latency_ms, may_stand, created_at, event_id, attempt, settlement, given_up, facts,
                 decision, tenant)),
        jobs as materialized (
            select o.place, j.event_created_at, j.event_id
            from job j join over o
                on j.event_created_at = o.created_at and j.event_id = o.event_id
                   and j.attempt = o.attempt and j.state = 'leased'
            order by j.event_created_at, j.event_id
            for update of j),
        leases as materialized (
            select o.place
            from track_lease t join over o
                on t.room_sid = o.room_sid and t.identity = o.identity and t.source = o.source
                   and t.action_id = o.action_id
            where (select count(*) from jobs) >= 0
            order by t.room_sid, t.identity, t.source
            for update of t),
        released as (
            update track_lease t
            set action_id = null, leased_until = null, leased_by = null, action = null,
                touched_at = clock_timestamp(),
                track_sid = case when o.muted is null then t.track_sid else i.track_sid end,
                muted_at = case when o.muted is null then t.muted_at else clock_timestamp() end,
                muted = coalesce(o.muted, t.muted)
            from leases l join over o using (place)
            join audit_log i on i.started_at = o.started_at and i.action_id = o.action_id
                and i.phase = 'intent' and i.started_at between $20 and $21
            where t.room_sid = o.room_sid and t.identity = o.identity and t.source = o.source),
        forgotten as (
            delete from manual_unmute m using over o where m.action_id = o.action_id and not o.may_stand),
        closed as (
            delete from open_intent i where i.action_id = any($2::uuid[])
            returning i.action_id),
        outcomes as (
            insert into audit_log
                (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
                 identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
                 request_id, outcome, error, before, after, changed, latency_ms)
            select i.started_at, i.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
                   i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
                   i.policy_name, i.policy_revision, i.event_id, i.request_id, o.outcome, o.error,
                   i.before, case when o.muted is not null then json_build_object('muted', o.muted) end,
                   -- Where LiveKit answers other than was asked for, nothing is known of a change.
                   case when o.muted = (i.action = 'mute')
                        then (i.before ->> 'muted')::boolean is distinct from o.muted end,
                   o.latency_ms
            from closed join over o using (action_id)
            join audit_log i on i.started_at = o.started_at and i.action_id = o.action_id
                and i.phase = 'intent' and i.started_at between $20 and $21
            on conflict do nothing),
        settled as (
            update webhook_event e
            set settlement = o.settlement, settled_at = clock_timestamp(), facts = o.facts::json,
                decision = o.decision::json, tenant = coalesce(o.tenant, e.tenant)
            from jobs join over o using (place)
            where e.created_at = o.created_at and e.event_id = o.event_id
              and e.created_at between $22 and $23),
        deleted as (
            delete from job j using jobs join over o using (place)
            where j.event_created_at = jobs.event_created_at and j.event_id = jobs.event_id
              and o.given_up is null),
        given_up as (
            update job j
            set state = 'dead', leased_by = null, last_error = o.given_up
            from jobs join over o using (place)
            where j.event_created_at = jobs.event_created_at and j.event_id = jobs.event_id
              and o.given_up is not null)
        select place as "place!" from jobs"#,
        &places,
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
        started_ats.iter().flatten().min(),
        started_ats.iter().flatten().max(),
        job_times.iter().flatten().min(),
        job_times.iter().flatten().max(),
    )
    .fetch_all(connection)
    .await?;
    let ended: HashSet<i32> = ended.into_iter().collect();
    let of_each = places.iter().zip(&jobs);
    Ok(of_each
        .map(|(place, job)| job.is_none() || ended.contains(place))
        .collect())
}
