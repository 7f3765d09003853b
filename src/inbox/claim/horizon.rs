//! How far back a claim looks: rows of finished jobs may be in its way for as long as an old transaction is open.

use std::time::Duration;

use tokio::time::Instant;

/// Since when something may be queued: a claim looks no further back, since rows of finished jobs may still be in its way.
#[derive(Debug)]
pub(in crate::inbox) struct Horizon {
    /// All that was queued before is claimed; none where that is not known.
    clear_before: Option<Instant>,
    /// When all was looked at last.
    looked_at_all: Option<Instant>,
}

/// A job's `placed_at` is from before its commit: a statement that queues one takes less than this.
const MARGIN: Duration = Duration::from_secs(10);
/// How often all is looked at: clocks of databases are set, and what one claim had locked another did not see.
const ALL_INTERVAL: Duration = Duration::from_mins(1);
/// Longer than anything is queued.
const ALWAYS: Duration = Duration::from_hours(24 * 365);

impl Horizon {
    pub(in crate::inbox) const fn new() -> Self {
        Self {
            clear_before: None,
            looked_at_all: None,
        }
    }

    /// How far back to look, and whether that is at everything.
    pub(super) fn look(&mut self, now: Instant) -> (Duration, bool) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= ALL_INTERVAL;
        if self.looked_at_all.is_none_or(is_due) {
            self.looked_at_all = Some(now);
            self.clear_before = None;
        }
        self.clear_before.map_or((ALWAYS, true), |clear_before| {
            (now.saturating_duration_since(clear_before) + MARGIN, false)
        })
    }

    /// A claim that began at `now` found that the oldest was queued `oldest` ago, or that nothing is queued.
    pub(super) fn found(&mut self, now: Instant, oldest: Option<Duration>) {
        let oldest = oldest.map_or(Some(now), |age| now.checked_sub(age));
        self.clear_before = oldest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_claim_looks_back_to_what_an_earlier_one_had_not_found_and_at_all_once_a_minute() {
        let mut horizon = Horizon::new();
        let start = Instant::now() + Duration::from_hours(1);
        assert_eq!(horizon.look(start), (ALWAYS, true));
        // Until a claim has told, all is looked at.
        assert_eq!(horizon.look(start), (ALWAYS, true));
        horizon.found(start, None);
        let second = Duration::from_secs(1);
        assert_eq!(horizon.look(start + second), (second + MARGIN, false));
        horizon.found(start + second, Some(second * 30));
        assert_eq!(
            horizon.look(start + second * 2),
            (second * 31 + MARGIN, false)
        );
        assert_eq!(horizon.look(start + ALL_INTERVAL), (ALWAYS, true));
    }
}
