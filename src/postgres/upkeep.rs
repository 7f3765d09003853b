//! Partitions ahead, and an end for what has served its time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{query, query_scalar};

use super::pool::Pool;

/// No running job refers to a track's lease that nobody touched for so long.
const TRACK_LEASE_KEPT: TimeDelta = TimeDelta::days(1);

/// Making or dropping many partitions takes a while, and ends by `statement_timeout`.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(35);

/// What `upkeep` removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Partitions of webhook events, one a day.
    pub event_partitions: i32,
    /// Jobs that had been given up.
    pub dead_jobs: u64,
    /// Leases that nobody holds.
    pub track_leases: u64,
}

/// Makes the partitions that the next two weeks need and removes what has served its time.
/// To be called at start and every hour or so, by any replica.
pub async fn upkeep(
    pool: &Pool,
    now: DateTime<Utc>,
    retention_days: u32,
) -> Result<Upkeep, sqlx::Error> {
    let pool = &pool.within(UPKEEP_TIMEOUT);
    query!("select quell_ensure_partitions($1)", now)
        .execute(pool)
        .await?;
    let kept_from = now - TimeDelta::days(retention_days.into());
    let event_partitions =
        query_scalar!(r#"select quell_drop_events($1) as "dropped!""#, kept_from)
            .fetch_one(pool)
            .await?;
    let dead_jobs = query!(
        "delete from job where state = 'dead' and received_at < $1",
        kept_from
    )
    .execute(pool)
    .await?
    .rows_affected();
    // No job is as old: an unmute that none can run into any more.
    query!(
        "delete from manual_unmute where at < $1",
        now - TRACK_LEASE_KEPT
    )
    .execute(pool)
    .await?;
    let track_leases = query!(
        "delete from track_lease
         where touched_at < $1 and (leased_until is null or leased_until < clock_timestamp())",
        now - TRACK_LEASE_KEPT
    )
    .execute(pool)
    .await?
    .rows_affected();
    Ok(Upkeep {
        event_partitions,
        dead_jobs,
        track_leases,
    })
}
