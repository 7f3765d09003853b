//! Ends a job, or puts it back, by id and attempt: a replica that lost the lease ends nothing.

use std::time::Duration;

use uuid::Uuid;

use super::Job;
use crate::audit;
use crate::pipeline::AuditRow;
use crate::postgres::{Connection, Pool, interval, to_pg_key, to_pg_text};
use quell_policy::TenantId;

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    /// A policy muted the track.
    Muted,
    /// No policy wants it muted.
    Nothing,
    /// A policy wants it muted whose owner may not act in the room.
    Refused,
    /// The room of that name is another one now.
    Stale,
    /// The track is not there (any more).
    Gone,
    /// A person decided meanwhile.
    Superseded,
    /// The facts could not be had by the deadline.
    Undecided,
    /// The mute did not succeed by the deadline.
    DeadLetter,
}

impl Settlement {
    pub(super) const fn as_str(self) -> &'static str {
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

/// What is stored with the event when its job ends.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// JSON as text: a `Value` is sent as `jsonb`, which refuses the escaped NUL of a name.
    pub(super) facts: Option<String>,
    pub(super) decision: Option<String>,
    pub(super) tenant: Option<TenantId>,
    /// Rows of the audit log that belong to the end of the job.
    pub(super) rows: Vec<AuditRow>,
}

/// Ends `job`; false where its lease was lost to another replica, which then ends it.
pub(super) async fn settle(
    pool: &Pool,
    job: &Job,
    settlement: Settlement,
    record: Record,
) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let ended = sqlx::query!(
        "delete from job where id = $1 and attempt = $2 and state = 'leased'",
        job.id,
        job.attempt,
    )
    .execute(&mut *tx)
    .await?;
    if ended.rows_affected() != 1 {
        return Ok(false);
    }
    conclude(&mut tx, job, settlement, record).await?;
    tx.commit().await?;
    Ok(true)
}

/// Stores with the event how its job ended, and the audit rows that belong to it.
async fn conclude(
    tx: &mut Connection,
    job: &Job,
    settlement: Settlement,
    record: Record,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update webhook_event
         set settlement = $3, settled_at = clock_timestamp(), facts = $4::text::json,
             decision = $5::text::json, tenant = coalesce($6, tenant)
         where created_at = $1 and event_id = $2",
        job.event.created_at,
        to_pg_key(&job.event.id),
        settlement.as_str(),
        record.facts,
        record.decision,
        record.tenant.as_ref().map(TenantId::as_str),
    )
    .execute(&mut *tx)
    .await?;
    for row in &record.rows {
        audit::record(&mut *tx, &row.entry, row.outcome, row.error.as_deref()).await?;
    }
    Ok(())
}

/// What became of a job that could not be ended now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retried {
    /// It is tried again.
    Queued,
    /// Its deadline is over: it is a dead letter.
    DeadLetter,
    /// Another replica has it.
    Lost,
}

/// Puts `job` back to be tried after `delay`, or ends it as a dead letter where that would be
/// past its deadline. The job row of a dead letter stays, for people to find.
pub(super) async fn retry(
    pool: &Pool,
    job: &Job,
    delay: Duration,
    error: &str,
    if_dead: Settlement,
    record: Record,
) -> Result<Retried, sqlx::Error> {
    let mut tx = pool.begin().await?;
    let gave_up = sqlx::query_scalar!(
        r#"update job
           set state = case when clock_timestamp() + $3 > deadline then 'dead' else 'queued' end,
               run_at = clock_timestamp() + $3, leased_by = null, leased_until = null, last_error = $4
           where id = $1 and attempt = $2 and state = 'leased'
           returning state = 'dead' as "is_dead!""#,
        job.id,
        job.attempt,
        interval(delay),
        to_pg_text(error),
    )
    .fetch_optional(&mut *tx)
    .await?;
    let retried = match gave_up {
        None => return Ok(Retried::Lost),
        Some(false) => Retried::Queued,
        Some(true) => {
            conclude(&mut tx, job, if_dead, record).await?;
            Retried::DeadLetter
        }
    };
    tx.commit().await?;
    Ok(retried)
}

/// Ends a job that nobody can work on; its row stays, for people to find.
pub(super) async fn dead_letter(
    pool: &Pool,
    id: Uuid,
    attempt: i32,
    error: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "with dead as (
            update job set state = 'dead', leased_by = null, leased_until = null, last_error = $3
            where id = $1 and attempt = $2 and state = 'leased'
            returning event_created_at, event_id)
         update webhook_event e
         set settlement = 'dead_letter', settled_at = clock_timestamp()
         from dead
         where e.created_at = dead.event_created_at and e.event_id = dead.event_id",
        id,
        attempt,
        to_pg_text(error),
    )
    .execute(pool)
    .await?;
    Ok(())
}
