//! Watches over the Postgres of a server that goes on: when it ends, it is started again.
//!
//! The same for one that another quell had started, which ends with that one, as a rule.

use std::collections::VecDeque;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::APPLICATION;
use super::super::error::LocalPostgresError;
use super::LocalPostgres;
use super::instance::End;

/// Where it cannot be started, the next attempt waits for so long.
const RETRY: Duration = Duration::from_secs(1);

/// How often it may end and be started again.
#[derive(Debug)]
pub(in crate::postgres) struct Limit {
    ends_max: usize,
    within: Duration,
    ends: VecDeque<Instant>,
}

impl Limit {
    /// What `quell serve` does before whoever watches over it has to look into it.
    pub(in crate::postgres) fn of_server() -> Self {
        Self::new(5, Duration::from_mins(1))
    }

    pub(super) fn new(ends_max: usize, within: Duration) -> Self {
        Self {
            ends_max,
            within,
            ends: VecDeque::new(),
        }
    }

    /// Counts an end, and says whether a start may follow.
    fn allows_start_after(&mut self, end: Instant) -> bool {
        self.ends.push_back(end);
        while self
            .ends
            .front()
            .is_some_and(|first| end.duration_since(*first) >= self.within)
        {
            self.ends.pop_front();
        }
        self.ends.len() <= self.ends_max
    }
}

/// A Postgres that is watched over until it is stopped.
#[derive(Debug)]
pub(in crate::postgres) struct Supervised {
    task: JoinHandle<LocalPostgres>,
    stop: CancellationToken,
}

impl Supervised {
    /// Watches over `local`, behind `pool`, from now on. The future is over when it is given up.
    pub(in crate::postgres) fn start(
        mut local: LocalPostgres,
        pool: PgPool,
        limit: Limit,
    ) -> (
        Self,
        impl Future<Output = LocalPostgresError> + Send + use<>,
    ) {
        let (tell, told) = oneshot::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = TaskTracker::new().spawn(async move {
            let watching = watch_over(&mut local, &pool, limit);
            if let Some(error) = stopped.run_until_cancelled(watching).await {
                // Nobody listens where the server is ending anyway.
                tell.send(error).ok();
            } else {
                drop(tell);
            }
            local
        });
        let given_up = async { told.await.unwrap_or(LocalPostgresError::Unwatched) };
        (Self { task, stop }, given_up)
    }

    /// Watches no longer, and stops it where it is ours.
    pub(in crate::postgres) async fn stop(self) {
        self.stop.cancel();
        if let Ok(local) = self.task.await {
            local.stop().await;
        }
    }
}

async fn watch_over(
    local: &mut LocalPostgres,
    pool: &PgPool,
    mut limit: Limit,
) -> LocalPostgresError {
    loop {
        let End { how, log } = local.instance.ended().await;
        let ended = Instant::now();
        let data = local.data().display().to_string();
        tracing::warn!(data, how, "the machine's own Postgres ended");
        let mut last = format!("{how}. The last lines of its log:{log}");
        loop {
            if !limit.allows_start_after(Instant::now()) {
                return LocalPostgresError::GivenUp {
                    data: local.data().to_owned(),
                    ends: limit.ends.len(),
                    within_seconds: limit.within.as_secs(),
                    last,
                };
            }
            let Err(error) = local.start_again().await else {
                break;
            };
            last = error.to_string();
            tracing::error!(data, error = one_line(&last), "it cannot be started again");
            tokio::time::sleep(RETRY).await;
        }
        pool.set_connect_options(local.service.clone().application_name(APPLICATION));
        let by = if local.is_ours() {
            "us"
        } else {
            "another program"
        };
        let away_ms = u64::try_from(ended.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(
            data,
            by,
            away_ms,
            "the machine's own Postgres was started again"
        );
    }
}

/// Lines of Postgres's log are on lines of their own in an error, but not in our log.
fn one_line(text: &str) -> String {
    text.replace("\n    ", " | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_ends_a_minute_are_survived() {
        let check = |seconds: &[u64], want: &[bool]| {
            let mut limit = Limit::of_server();
            let start = Instant::now();
            let got = seconds
                .iter()
                .map(|s| limit.allows_start_after(start + Duration::from_secs(*s)))
                .collect::<Vec<_>>();
            assert_eq!(got, want, "{seconds:?}");
        };
        check(&[0, 0, 0, 0, 0, 0], &[true, true, true, true, true, false]);
        check(
            &[0, 10, 20, 30, 40, 59],
            &[true, true, true, true, true, false],
        );
        // The minute slides: one that is a minute old counts no longer.
        check(&[0, 10, 20, 30, 40, 60], &[true; 6]);
        check(
            &[0, 50, 51, 52, 53, 61, 62],
            &[true, true, true, true, true, true, false],
        );
        check(&[0, 12, 24, 36, 48, 60, 72, 84, 96, 108], &[true; 10]);
    }
}
