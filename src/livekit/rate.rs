//! A rate of calls, at which urgent ones go first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Whether a call may wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody who is forbidden may speak until it is answered.
    Urgent,
    /// At most one such call has a turn before an urgent one that comes now.
    Routine,
}

/// At most `per_second` calls a second, evenly spaced; clones share it.
#[derive(Debug, Clone)]
pub struct RateLimit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    interval: Duration,
    next: Mutex<Instant>,
    routine: tokio::sync::Mutex<()>,
}

impl RateLimit {
    /// `per_second` calls a second.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self(Arc::new(Inner {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
            routine: tokio::sync::Mutex::default(),
        }))
    }

    /// Returns when it is the caller's turn.
    pub async fn turn(&self, urgency: Urgency) {
        let waiting = match urgency {
            Urgency::Urgent => None,
            Urgency::Routine => Some(self.0.routine.lock().await),
        };
        let turn = {
            let mut next = self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
            // A timer is a millisecond late at times: a turn that was missed by little is made up for.
            let now = Instant::now();
            let turn = (*next).max(now.checked_sub(CATCH_UP).unwrap_or(now));
            *next = turn + self.0.interval;
            turn
        };
        sleep_until(turn).await;
        drop(waiting);
    }
}

/// What is made up for of the time in which nobody had a turn.
const CATCH_UP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    async fn took(limit: &RateLimit, turns: u32, urgency: Urgency) -> Duration {
        let begun = Instant::now();
        for _ in 0..turns {
            limit.turn(urgency).await;
        }
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn turns_are_at_the_rate_and_an_urgent_one_is_next() {
        let limit = RateLimit::new(100);
        let first = took(&limit, 101, Urgency::Routine).await;
        assert!(
            first.abs_diff(Duration::from_secs(1)) <= CATCH_UP * 2,
            "{first:?}"
        );
        let tracker = TaskTracker::new();
        let many: Vec<_> = (0..50)
            .map(|_| {
                let limit = limit.clone();
                tracker.spawn(async move { limit.turn(Urgency::Routine).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let urgent = took(&limit, 1, Urgency::Urgent).await;
        assert!(urgent <= Duration::from_millis(20), "{urgent:?}");
        assert!(many.iter().filter(|turn| turn.is_finished()).count() <= 3);
        for turn in many {
            turn.await.unwrap();
        }
    }
}
