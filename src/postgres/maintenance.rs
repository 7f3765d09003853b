//! The chores' SQL: makes partitions ahead of time and removes what is old enough. All times are by
//! Postgres's clock, so that a replica whose clock is wrong removes nothing too early.

use std::time::Duration;

use sqlx::{query, query_scalar};

use super::pool::Pool;

/// Partitions and many rows take longer than other statements; `statement_timeout` (30 s) ends them
/// before this does.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(35);

/// Makes the partitions that the next two weeks need.
pub async fn create_partitions(pool: &Pool) -> Result<(), sqlx::Error> {
    query!("select quell_ensure_partitions(clock_timestamp())")
        .execute(&pool.within(MAINTENANCE_TIMEOUT))
        .await?;
    Ok(())
}

/// Drops the days of webhook events that are older than `retention_days`; returns how many.
pub async fn drop_events(pool: &Pool, retention_days: u32) -> Result<u64, sqlx::Error> {
    let dropped = query_scalar!(
        r#"select quell_drop_events(clock_timestamp() - make_interval(days => $1)) as "dropped!""#,
        days(retention_days),
    )
    .fetch_one(&pool.within(MAINTENANCE_TIMEOUT))
    .await?;
    Ok(u64::try_from(dropped).unwrap_or_default())
}

/// Removes dead letters that are older than `retention_days`; returns how many.
pub async fn delete_dead_jobs(pool: &Pool, retention_days: u32) -> Result<u64, sqlx::Error> {
    let deleted = query!(
        "delete from job
         where state = 'dead' and received_at < clock_timestamp() - make_interval(days => $1)",
        days(retention_days),
    )
    .execute(&pool.within(MAINTENANCE_TIMEOUT))
    .await?;
    Ok(deleted.rows_affected())
}

/// Removes the leases of sources that nobody acted on for a day and nobody holds, and replicas that are gone for
/// as long; returns how many leases.
pub async fn delete_leases(pool: &Pool) -> Result<u64, sqlx::Error> {
    let deleted = query!(
        "delete from track_lease
         where touched_at < clock_timestamp() - interval '1 day'
           and (leased_until is null or leased_until < clock_timestamp())",
    )
    .execute(&pool.within(MAINTENANCE_TIMEOUT))
    .await?;
    query!("delete from replica where alive_until < clock_timestamp() - interval '1 day'")
        .execute(pool)
        .await?;
    Ok(deleted.rows_affected())
}

/// Removes people's unmutes in rooms that are over for more than a day; returns how many.
pub async fn delete_unmutes(pool: &Pool, retention_days: u32) -> Result<u64, sqlx::Error> {
    let deleted = query!(
        "delete from manual_unmute m
         where m.at < clock_timestamp() - interval '1 day'
           and quell_is_room_over(m.room_sid, m.at, $1)",
        days(retention_days),
    )
    .execute(&pool.within(MAINTENANCE_TIMEOUT))
    .await?;
    Ok(deleted.rows_affected())
}

/// Removes what sweeps have written: runs and decisions that are older than `retention_days`, and when tracks were
/// first seen in rooms that are over for more than a day; returns how many runs.
pub async fn delete_sweeps(pool: &Pool, retention_days: u32) -> Result<u64, sqlx::Error> {
    let pool = pool.within(MAINTENANCE_TIMEOUT);
    let deleted = query!(
        "delete from sweep_run where created_at < clock_timestamp() - make_interval(days => $1)",
        days(retention_days),
    )
    .execute(&pool)
    .await?;
    query!(
        "delete from sweep_decision
         where decided_at < clock_timestamp() - make_interval(days => $1)",
        days(retention_days),
    )
    .execute(&pool)
    .await?;
    query!(
        "delete from swept_track t
         where t.first_seen_at < clock_timestamp() - interval '1 day'
           and quell_is_room_over(t.room_sid, t.first_seen_at, $1)",
        days(retention_days),
    )
    .execute(&pool)
    .await?;
    Ok(deleted.rows_affected())
}

/// As SQL takes it.
fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX - 1)
}
