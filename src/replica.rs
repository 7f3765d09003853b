//! This process among the others on the same database: its heartbeat. What a process holds (jobs, leases of
//! mutes) is free for others once its heartbeat is overdue.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::postgres::{Dedicated, Pool, PostgresClock, failed_query, interval};

/// A process whose last heartbeat is older is gone.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(600);
/// How long the end of what is under way may take, at most.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(20);
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(150);
const WARN_EVERY: Duration = Duration::from_secs(10);

/// The first heartbeat of `replica`: before it holds anything.
pub(crate) async fn register(
    pool: &Pool,
    replica: &str,
    clock: &PostgresClock,
) -> Result<(), sqlx::Error> {
    let mut connection = pool.dedicated();
    beat(&mut connection, replica, HEARTBEAT_TIMEOUT, clock).await
}

/// Sends heartbeats until `stop`; the last one holds for as long as it takes to end what is under way.
pub(crate) async fn heartbeat(
    pool: Pool,
    replica: String,
    clock: PostgresClock,
    stop: CancellationToken,
) {
    // A connection of its own: what waits for the others does not make it look dead.
    let mut connection = pool.dedicated();
    let mut ticks = tokio::time::interval(HEARTBEAT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned: Option<Instant> = None;
    let mut is_stopping = false;
    while !is_stopping {
        is_stopping = stop.run_until_cancelled(ticks.tick()).await.is_none();
        let alive_for = if is_stopping {
            DRAIN_MAX
        } else {
            HEARTBEAT_TIMEOUT
        };
        if let Err(error) = beat(&mut connection, &replica, alive_for, &clock).await {
            connection.release();
            if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                let error = failed_query(&error);
                tracing::warn!(
                    error,
                    "other replicas may take this one for dead: its heartbeat cannot be written"
                );
                warned = Some(Instant::now());
            }
        }
    }
}

/// Frees what `replica` holds.
pub(crate) async fn leave(pool: &Pool, replica: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update replica set alive_until = clock_timestamp() - interval '1 second' where id = $1",
        replica,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Nothing is lost where Postgres forgets it in a crash, so it waits for no disk. Its answer says what time it is.
async fn beat(
    connection: &mut Dedicated,
    replica: &str,
    alive_for: Duration,
    clock: &PostgresClock,
) -> Result<(), sqlx::Error> {
    let now = sqlx::query_scalar!(
        "insert into replica as r (id, alive_until)
         select $1, clock_timestamp() + $2::interval
         where set_config('synchronous_commit', 'off', true) = 'off'
         on conflict (id) do update set alive_until = excluded.alive_until, is_cleared = false
         returning clock_timestamp() as \"now!\"",
        replica,
        interval(alive_for),
    )
    .fetch_one(connection.get().await?)
    .await?;
    clock.was(now);
    Ok(())
}
