//! Claims jobs that nobody has a lease of: retries, those that another replica left, and those that
//! came while all workers were busy.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::Job;
use crate::livekit::event;
use crate::postgres::{Pool, interval};

/// A job that was claimed, as far as its event can be read.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It can be worked on.
    Job(Box<Job>),
    /// Its event cannot be read, or is no longer there: nobody can work on it, ever.
    Unreadable {
        id: Uuid,
        attempt: i32,
        error: String,
    },
}

/// Claims at most `limit` runnable jobs under a lease; committed when this returns.
pub(super) async fn claim(
    pool: &Pool,
    replica: &str,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Claimed>, sqlx::Error> {
    // Each half reads its own index from the front: `statement_timestamp` is one value, so an index scan
    // can use it. MATERIALIZED evaluates it once: as a subquery of the update, the limit could be applied
    // anew for each row.
    let rows = sqlx::query!(
        r#"with queued as materialized (
            select id, deadline, null::timestamptz as lease_ended from job
            where state = 'queued' and run_at <= statement_timestamp()
            order by run_at limit $3 for update skip locked),
        abandoned as materialized (
            select id, deadline, leased_until as lease_ended from job
            where state = 'leased' and leased_until < statement_timestamp()
            order by leased_until limit $3 for update skip locked),
        next as materialized (
            select * from abandoned union all select * from queued limit $3),
        claimed as (
            update job set state = 'leased', attempt = attempt + 1, leased_by = $1,
                           leased_until = clock_timestamp() + $2
            from next
            where job.id = next.id
            returning job.id, job.attempt, job.event_created_at, job.event_id, job.received_at,
                      coalesce(next.lease_ended > next.deadline, false) as deadline_exceeded)
        select c.id, c.attempt, c.received_at, c.deadline_exceeded as "deadline_exceeded!", e.body::text as "body?",
               extract(epoch from clock_timestamp() - c.received_at)::float8 as "age_secs!"
        from claimed c
        left join webhook_event e on e.created_at = c.event_created_at and e.event_id = c.event_id"#,
        replica,
        interval(lease),
        limit,
    )
    .fetch_all(pool)
    .await?;
    let now = Instant::now();
    let claimed = rows.into_iter().map(|row| {
        let unreadable = |error| Claimed::Unreadable {
            id: row.id,
            attempt: row.attempt,
            error,
        };
        let Some(body) = row.body else {
            return unreadable("its event is no longer there".to_owned());
        };
        match event::read(body.as_bytes()) {
            Ok(read) => Claimed::Job(Box::new(Job {
                id: row.id,
                attempt: row.attempt,
                deadline_exceeded: row.deadline_exceeded,
                event: read.event,
                received_at: row.received_at,
                leased_at: now,
                arrived: Duration::try_from_secs_f64(row.age_secs)
                    .ok()
                    .and_then(|age| now.checked_sub(age))
                    .unwrap_or(now),
            })),
            Err(error) => unreadable(format!("its event cannot be read: {error}")),
        }
    });
    Ok(claimed.collect())
}
