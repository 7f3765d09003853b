//! What one caller may ask for: at most N requests a second, and at most N at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::codes;
use super::problem::Problem;
use crate::cell_rate::CellRate;

/// A caller that was silent may send as many requests at once as it may in two seconds.
const BURST: Duration = Duration::from_secs(2);
/// Callers that are remembered before those with nothing under way are forgotten.
const CALLERS_MAX: usize = 10_000;

/// The limits of each caller, by its id; clones share the counts.
#[derive(Debug, Clone)]
pub struct CallerLimits {
    per_second: u32,
    rate: CellRate,
    at_once_max: usize,
    callers: Arc<Mutex<Callers>>,
}

type Callers = HashMap<Option<String>, Usage>;

/// What a caller has used of its limits.
#[derive(Debug)]
struct Usage {
    due: Instant,
    under_way: usize,
}

/// A request that may go on; one of its caller's until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    rate: CellRate,
    callers: Arc<Mutex<Callers>>,
    caller: Option<String>,
}

impl Turn {
    /// Counts so many more for the same request, which turned out to be for several.
    pub(super) fn charge(&self, more: usize) {
        if let Some(usage) = lock(&self.callers).get_mut(&self.caller) {
            self.rate
                .charge(&mut usage.due, u32::try_from(more).unwrap_or(u32::MAX));
        }
    }
}

impl CallerLimits {
    /// `per_second` requests a second of one caller, and `at_once_max` under way.
    #[must_use]
    pub fn new(per_second: u32, at_once_max: usize) -> Self {
        Self {
            per_second,
            rate: CellRate::new(per_second, BURST),
            at_once_max,
            callers: Arc::default(),
        }
    }

    /// Counts a request of `caller` (none: callers without an id, together), or says when to try again.
    pub(super) fn enter(&self, caller: Option<&str>) -> Result<Turn, Problem> {
        let now = Instant::now();
        let mut callers = lock(&self.callers);
        if callers.len() >= CALLERS_MAX {
            callers.retain(|_, usage| usage.under_way > 0 || usage.due > now);
        }
        let caller = caller.map(str::to_owned);
        let usage = callers.entry(caller.clone()).or_insert(Usage {
            due: now,
            under_way: 0,
        });
        if usage.under_way >= self.at_once_max {
            let text = format!(
                "you have {} requests under way, which is the most of one caller; try again when one has been answered",
                self.at_once_max
            );
            return Err(too_many(text, Duration::ZERO));
        }
        self.rate.take(&mut usage.due, now).map_err(|wait| {
            let text = format!(
                "you send more than {} requests a second, which is the most of one caller; try again later",
                self.per_second
            );
            too_many(text, wait)
        })?;
        usage.under_way += 1;
        Ok(Turn {
            rate: self.rate,
            callers: Arc::clone(&self.callers),
            caller,
        })
    }
}

fn lock(callers: &Mutex<Callers>) -> MutexGuard<'_, Callers> {
    callers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 429 `TOO_MANY_REQUESTS`.
fn too_many(text: String, wait: Duration) -> Problem {
    Problem {
        retry_after_secs: Some(wait.as_secs() + 1),
        ..Problem::new(codes::TOO_MANY_REQUESTS, text)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(usage) = lock(&self.callers).get_mut(&self.caller) {
            usage.under_way = usage.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_its_rate_and_no_other_caller_notices() {
        let limits = CallerLimits::new(10, 100);
        let burst = (0..50).take_while(|_| limits.enter(Some("acme")).is_ok());
        assert_eq!(burst.count(), 21);
        let refused = limits.enter(Some("acme")).unwrap_err();
        assert_eq!(refused.code, codes::TOO_MANY_REQUESTS);
        assert_eq!(refused.retry_after_secs, Some(1));
        assert!(limits.enter(Some("globex")).is_ok());
        assert!(limits.enter(None).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = (0..50).take_while(|_| limits.enter(Some("acme")).is_ok());
        assert_eq!(second.count(), 10);
        // One that is for several counts as several.
        tokio::time::advance(Duration::from_secs(3)).await;
        limits.enter(Some("acme")).unwrap().charge(15);
        let left = (0..50).take_while(|_| limits.enter(Some("acme")).is_ok());
        assert_eq!(left.count(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_a_number_of_requests_under_way_and_counts_are_forgotten() {
        let limits = CallerLimits::new(10, 2);
        let turns = [limits.enter(None).unwrap(), limits.enter(None).unwrap()];
        assert!(limits.enter(None).is_err());
        drop(turns);
        assert!(limits.enter(None).is_ok());
        for caller in 0..CALLERS_MAX {
            drop(limits.enter(Some(&caller.to_string())).unwrap());
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let kept = limits.enter(Some("kept")).unwrap();
        drop(limits.enter(Some("new")).unwrap());
        assert!(lock(&limits.callers).len() <= 2);
        drop(kept);
    }
}
