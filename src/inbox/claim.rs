//! Takes jobs that nobody holds: retries, what another replica left, what came while all were busy.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;

use super::Job;
use crate::livekit::event;
use crate::postgres::interval;

/// Takes up to `limit` runnable jobs under a lease; committed when this returns.
pub(super) async fn claim(
    pool: &PgPool,
    replica: &str,
    lease: Duration,
    limit: i64,
) -> Result<Vec<Job>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with taken as (
            update job set state = 'leased', attempt = attempt + 1, leased_by = $1,
                           leased_until = clock_timestamp() + $2
            where id in (
                select id from job
                where (state = 'queued' and run_at <= clock_timestamp())
                   or (state = 'leased' and leased_until < clock_timestamp())
                order by run_at
                limit $3
                for update skip locked)
            returning id, attempt, event_created_at, event_id, received_at)
        select t.id, t.attempt, t.received_at, e.body::text as "body!",
               extract(epoch from clock_timestamp() - t.received_at)::float8 as "age_secs!"
        from taken t
        join webhook_event e on e.created_at = t.event_created_at and e.event_id = t.event_id"#,
        replica,
        interval(lease),
        limit,
    )
    .fetch_all(pool)
    .await?;
    let now = Instant::now();
    Ok(rows
        .into_iter()
        .filter_map(|row| match event::read(row.body.as_bytes()) {
            Ok(read) => Some(Job {
                id: row.id,
                attempt: row.attempt,
                event: read.event,
                received_at: row.received_at,
                held_since: now,
                arrived: Duration::try_from_secs_f64(row.age_secs)
                    .ok()
                    .and_then(|age| now.checked_sub(age))
                    .unwrap_or(now),
            }),
            // It was read before it was stored; only a hand-made row comes here.
            Err(error) => {
                tracing::error!(job = %row.id, %error, "a stored event cannot be read");
                None
            }
        })
        .collect())
}
