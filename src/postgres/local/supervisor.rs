//! Watches over the Postgres of a running server, and starts it again when it ends.
//!
//! It does the same for a Postgres that another quell had started, which usually ends with that quell.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cluster::LocalPostgres;
use super::instance::ServerExit;
use crate::postgres::error::LocalPostgresError;
use crate::postgres::pool::Pool;

/// The ends of the last minute count.
const WITHIN: Duration = Duration::from_mins(1);

/// How often it may end and be started again, and how often a start may fail.
#[derive(Debug)]
pub(in crate::postgres) struct Limit {
    ends_max: usize,
    failed_starts_max: usize,
    /// The longest pause after a start that failed; the first is a sixteenth of it, and each twice
    /// the one before.
    pause_max: Duration,
    ends: VecDeque<Instant>,
}

impl Limit {
    /// The limits of `quell serve`; beyond them it ends with an error.
    pub(in crate::postgres) fn of_server() -> Self {
        // A disk may be full for a while: all pauses before the last start are two minutes.
        Self::new(5, 12, Duration::from_secs(16))
    }

    pub(super) fn new(ends_max: usize, failed_starts_max: usize, pause_max: Duration) -> Self {
        Self {
            ends_max,
            failed_starts_max,
            pause_max,
            ends: VecDeque::new(),
        }
    }

    /// The pause after this many failed starts in a row.
    fn pause(&self, failed: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(failed.saturating_sub(1))
            .unwrap_or(u32::MAX);
        (self.pause_max / 16)
            .saturating_mul(doubled)
            .min(self.pause_max)
    }

    /// Counts an end, and says whether a start may follow.
    fn allows_start_after(&mut self, end: Instant) -> bool {
        self.ends.push_back(end);
        while self
            .ends
            .front()
            .is_some_and(|first| end.duration_since(*first) >= WITHIN)
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
        pool: Pool,
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
                // Nobody receives it where the server is ending anyway.
                tell.send(error).ok();
            } else {
                drop(tell);
            }
            local
        });
        let given_up = async { told.await.unwrap_or(LocalPostgresError::Unwatched) };
        (Self { task, stop }, given_up)
    }

    /// Stops watching; returns what was watched over.
    pub(in crate::postgres) async fn end(self) -> Option<LocalPostgres> {
        self.stop.cancel();
        self.task.await.ok()
    }
}

async fn watch_over(
    local: &mut LocalPostgres,
    pool: &Pool,
    mut limit: Limit,
) -> LocalPostgresError {
    loop {
        let ServerExit { how, log } = local.instance.ended().await;
        let ended = Instant::now();
        let data = local.data().display().to_string();
        tracing::warn!(data, how, "the machine's own Postgres ended");
        let given_up = |limit: &Limit, failed_starts, last| LocalPostgresError::GivenUp {
            data: PathBuf::from(&data),
            ends: limit.ends.len(),
            within_seconds: WITHIN.as_secs(),
            failed_starts,
            last,
        };
        if !limit.allows_start_after(ended) {
            let last = format!("{how}. The last lines of its log:{log}");
            return given_up(&limit, 0, last);
        }
        let (mut tried, mut failed) = (0, 0);
        while let Err(error) = local.start_again().await {
            tried += 1;
            // This process lacks something, which says nothing of Postgres: it may well be running.
            if !error.is_own_lack() {
                failed += 1;
            }
            let last = error.to_string();
            if failed == limit.failed_starts_max {
                return given_up(&limit, failed, last);
            }
            let pause = limit.pause(tried);
            tracing::error!(data, error = one_line(&last), next = ?pause, "it cannot be started again");
            tokio::time::sleep(pause).await;
        }
        pool.set_options(local.service.clone());
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

    #[test]
    fn a_start_that_fails_is_tried_for_two_minutes() {
        let limit = Limit::of_server();
        let pauses = |from: usize, to: usize| {
            let pauses = (from..to).map(|failed| limit.pause(failed.try_into().unwrap()));
            pauses.collect::<Vec<_>>()
        };
        let all = pauses(1, limit.failed_starts_max);
        assert_eq!(all[..6], [1, 2, 4, 8, 16, 16].map(Duration::from_secs));
        assert_eq!(all.iter().sum::<Duration>(), Duration::from_secs(127));
        // What this process lacks does not count, so there is no last one.
        assert_eq!(pauses(31, 100), [Duration::from_secs(16); 69]);
    }
}
