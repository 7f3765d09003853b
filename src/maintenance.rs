//! Every chore that runs from time to time. Each has a loop of its own, so that one that hangs stops no
//! other. Every replica runs all of them, which does no harm.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::MissedTickBehavior;

use crate::audit;
use crate::metrics::Metrics;
use crate::postgres::{self, Pool};
use crate::supervisor::Supervisor;
use quell_clock::Clock;

/// What a chore works with.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    pub(crate) pool: Pool,
    /// How long webhook events and dead letters are kept.
    pub(crate) retention_days: u32,
}

/// A chore. `run` returns the number of rows or partitions that it changed.
struct Chore {
    /// As metrics and the log name it.
    name: &'static str,
    every: Duration,
    run: fn(Means) -> BoxFuture<'static, Result<u64, sqlx::Error>>,
}

/// The chores. Each runs for the first time when the server starts.
const CHORES: [Chore; 7] = [
    // Actions whose replica ended, or lost the database, during LiveKit's call.
    Chore {
        name: "close_overdue_intents",
        every: Duration::from_secs(5),
        run: |means| Box::pin(close_overdue_intents(means)),
    },
    Chore {
        name: "create_partitions",
        every: Duration::from_hours(1),
        run: |means| {
            Box::pin(async move { postgres::create_partitions(&means.pool).await.map(|()| 0) })
        },
    },
    Chore {
        name: "drop_events",
        every: Duration::from_hours(1),
        run: |means| {
            Box::pin(async move { postgres::drop_events(&means.pool, means.retention_days).await })
        },
    },
    Chore {
        name: "delete_dead_jobs",
        every: Duration::from_hours(1),
        run: |means| {
            Box::pin(
                async move { postgres::delete_dead_jobs(&means.pool, means.retention_days).await },
            )
        },
    },
    Chore {
        name: "delete_unmutes",
        every: Duration::from_hours(1),
        run: |means| {
            Box::pin(
                async move { postgres::delete_unmutes(&means.pool, means.retention_days).await },
            )
        },
    },
    Chore {
        name: "delete_sweeps",
        every: Duration::from_hours(1),
        run: |means| {
            Box::pin(
                async move { postgres::delete_sweeps(&means.pool, means.retention_days).await },
            )
        },
    },
    Chore {
        name: "delete_leases",
        every: Duration::from_hours(1),
        run: |means| Box::pin(async move { postgres::delete_leases(&means.pool).await }),
    },
];

async fn close_overdue_intents(means: Means) -> Result<u64, sqlx::Error> {
    let closed = audit::close_overdue(&means.pool).await?;
    if closed > 0 {
        tracing::warn!(
            closed,
            "actions were closed as unknown: quell stopped or lost the database during their calls"
        );
    }
    Ok(closed)
}

/// Starts all chores, which go on until the server stops. The clock is for metrics alone.
pub(crate) fn start(supervisor: &Supervisor, means: &Means, metrics: &Metrics, clock: &Clock) {
    begin(CHORES, supervisor, means, metrics, clock);
}

fn begin<const N: usize>(
    chores: [Chore; N],
    supervisor: &Supervisor,
    means: &Means,
    metrics: &Metrics,
    clock: &Clock,
) {
    for chore in chores {
        metrics.chore(chore.name);
        let name = chore.name;
        let repeating = repeat(chore, means.clone(), metrics.clone(), clock.clone());
        let stop = supervisor.stop().clone();
        supervisor.supervise(name, async move {
            stop.run_until_cancelled(repeating).await;
        });
    }
}

async fn repeat(chore: Chore, means: Means, metrics: Metrics, clock: Clock) {
    let mut ticks = tokio::time::interval(chore.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match (chore.run)(means.clone()).await {
            Ok(done) => {
                tracing::debug!(chore = chore.name, done, "a chore is done");
                metrics.chore_succeeded(chore.name, clock.unix_seconds());
            }
            Err(error) => {
                tracing::error!(chore = chore.name, %error, "a chore failed; it is tried again in its time");
                metrics.chore_failed(chore.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use quell_clock::ManualClock;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::postgres::test_support::config;

    fn means() -> Means {
        let mut config = config(None);
        // Nobody is asked.
        config.url = Some("postgres://quell@127.0.0.1:1/quell".to_owned().into());
        Means {
            pool: Pool::lazy(&config).unwrap(),
            retention_days: 30,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chore_that_hangs_or_fails_stops_no_other() {
        let chores = [
            Chore {
                name: "hangs",
                every: Duration::from_secs(5),
                run: |_| Box::pin(pending()),
            },
            Chore {
                name: "fails",
                every: Duration::from_secs(5),
                run: |_| Box::pin(async { Err(sqlx::Error::PoolTimedOut) }),
            },
            Chore {
                name: "is_done",
                every: Duration::from_secs(5),
                run: |_| Box::pin(async { Ok(1) }),
            },
        ];
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let supervisor = Supervisor::new(tracker.clone(), stop.clone());
        let metrics = Metrics::new();
        let clock = ManualClock::new("2026-03-02T12:00:00Z".parse().unwrap());
        begin(chores, &supervisor, &means(), &metrics, &clock.clock());
        tokio::time::sleep(Duration::from_secs(12)).await;

        let text = metrics.text();
        let runs = |chore: &str, result: &str| {
            format!("quell_maintenance_runs_total{{chore=\"{chore}\",result=\"{result}\"}}")
        };
        let last = |chore: &str| {
            format!("quell_maintenance_last_success_timestamp_seconds{{chore=\"{chore}\"}}")
        };
        for sample in [
            format!("{} 0\n", runs("hangs", "ok")),
            format!("{} 0\n", runs("hangs", "error")),
            format!("{} 3\n", runs("fails", "error")),
            format!("{} 0\n", runs("fails", "ok")),
            format!("{} 3\n", runs("is_done", "ok")),
            format!("{} 0\n", last("hangs")),
            format!("{} 0\n", last("fails")),
            format!("{} 1772452800\n", last("is_done")),
        ] {
            assert!(text.contains(&sample), "{sample} is not in:\n{text}");
        }
        assert!(!supervisor.broken().is_cancelled());
        stop.cancel();
        tracker.close();
        tracker.wait().await;
    }

    #[test]
    fn the_manual_names_every_chore() {
        let manual = include_str!("../docs/OPERATIONS.md");
        for chore in CHORES {
            let name = format!("`{}`", chore.name);
            assert!(manual.contains(&name), "{name}");
        }
    }
}
