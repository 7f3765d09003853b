//! A job that this process has, and when it is tried again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use tokio::time::Instant;

use super::event_key::{EventKey, event_key};
use super::memory::JobReservation;
use crate::ledger::JobLease;
use crate::livekit::event::Event;
use crate::pipeline::Look;
use crate::traces::Parent;

/// A track that LiveKit does not show is asked for again so long after its webhook: a record may be some 10 to
/// 100 ms late, and sometimes seconds.
const NOT_SHOWN_MS: [u64; 5] = [50, 250, 1_250, 5_000, 15_000];
/// And then each time after this.
const NOT_SHOWN_EVERY: Duration = Duration::from_secs(15);
const RETRY_BASE: Duration = Duration::from_millis(100);
const RETRY_CAP: Duration = Duration::from_secs(10);
/// How soon an action is tried again that another replica's action holds up.
const BUSY_BASE: Duration = Duration::from_millis(10);
const BUSY_CAP: Duration = Duration::from_millis(250);

/// A job that this process has.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) event: Event,
    /// Counts who had the job: only the newest may act and settle.
    pub(super) attempt: i32,
    /// When the event was committed, by Postgres's clock.
    pub(super) received_at: DateTime<Utc>,
    /// The same on this process's monotonic clock: where latency and pauses count from.
    pub(super) arrived: Instant,
    /// Until when it is tried.
    pub(super) deadline: Instant,
    /// Whoever had it was gone only after its deadline: it is not tried again.
    pub(super) deadline_exceeded: bool,
    /// How often it was tried in vain, here.
    pub(super) tries: u32,
    /// The same of tries that another action held up.
    pub(super) busy: u32,
    /// Whether its track may have ended while it was acted on, when no event ends a job.
    pub(super) may_have_ended: bool,
    /// What LiveKit showed of it when it was asked for all that its room waits for.
    pub(super) look: Option<Look>,
    /// The span of its webhook, where that came to this process.
    pub(super) traced: Parent,
    /// What it takes up in this process's memory.
    pub(super) _reservation: JobReservation,
}

/// Since when there is a job, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct JobTimes {
    pub(super) received_at: DateTime<Utc>,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
}

impl Job {
    /// A job that was not tried yet.
    pub(super) fn new(
        mut event: Event,
        attempt: i32,
        times: JobTimes,
        reservation: JobReservation,
    ) -> Self {
        if attempt > 1 {
            // It was for the first attempt.
            event.room.full = None;
        }
        Self {
            event,
            attempt,
            received_at: times.received_at,
            arrived: times.arrived,
            deadline: times.deadline,
            deadline_exceeded: false,
            tries: 0,
            busy: 0,
            // By whoever had it before.
            may_have_ended: attempt > 1,
            look: None,
            traced: Parent::default(),
            _reservation: reservation,
        }
    }

    /// Whether nobody has worked on it yet, where it comes to be handled.
    pub(super) fn is_new(&self) -> bool {
        self.tries == 0 && self.busy == 0 && self.look.is_none()
    }

    /// Its event's key.
    pub(super) fn key(&self) -> EventKey {
        event_key(&self.event)
    }

    /// What it is settled by.
    pub(super) fn lease(&self) -> JobLease {
        let (created_at, event_id) = self.key();
        JobLease {
            created_at,
            event_id,
            attempt: self.attempt,
        }
    }

    /// When LiveKit is asked again for a track that it does not show; none after the deadline. Times are rounded
    /// up, so that what waits in a room is asked for together.
    pub(super) fn not_shown_until(&self, now: Instant) -> Option<Instant> {
        let waited = now.saturating_duration_since(self.arrived);
        let mut steps = NOT_SHOWN_MS.into_iter().map(Duration::from_millis);
        let (after, grid) = match steps.find(|step| *step > waited) {
            Some(step) => (step, step / 4),
            None => (waited + NOT_SHOWN_EVERY, NOT_SHOWN_EVERY / 4),
        };
        let at = rounded_up(self.arrived + after, grid);
        // The last time is at the deadline.
        (now < self.deadline).then(|| at.min(self.deadline))
    }

    /// When it is tried again after a failure; none after the deadline. With equal jitter: from half of a bound
    /// that doubles to all of it, so that replicas do not march in step, and a person who waits comes first.
    pub(super) fn retry_at(&mut self, now: Instant) -> Option<Instant> {
        self.may_have_ended = true;
        self.tries = self.tries.saturating_add(1);
        self.if_in_time(now + jittered(RETRY_BASE, RETRY_CAP, self.tries))
    }

    /// When it is tried again where another replica acts on the same source.
    pub(super) fn busy_until(&mut self, now: Instant) -> Option<Instant> {
        self.busy = self.busy.saturating_add(1);
        self.if_in_time(now + jittered(BUSY_BASE, BUSY_CAP, self.busy))
    }

    fn if_in_time(&self, at: Instant) -> Option<Instant> {
        (at <= self.deadline).then_some(at)
    }
}

/// The next instant on a grid that all jobs share.
fn rounded_up(at: Instant, grid: Duration) -> Instant {
    static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let epoch = *EPOCH.get_or_init(Instant::now);
    let since = at.saturating_duration_since(epoch).as_nanos();
    let grid = grid.as_nanos().max(1);
    let up = since.div_ceil(grid) * grid - since;
    at + u64::try_from(up).map_or(Duration::ZERO, Duration::from_nanos)
}

fn jittered(base: Duration, cap: Duration, tries: u32) -> Duration {
    let bound = base.saturating_mul(1 << tries.min(16)).min(cap);
    bound.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_before_another_try_grows_to_a_cap_and_is_spread_out() {
        for (tries, bound_ms) in [
            (1, 200),
            (2, 400),
            (5, 3200),
            (7, 10_000),
            (30, 10_000),
            (u32::MAX, 10_000),
        ] {
            let waits: Vec<_> = (0..200)
                .map(|_| jittered(RETRY_BASE, RETRY_CAP, tries))
                .collect();
            let bound = Duration::from_millis(bound_ms);
            assert!(waits.iter().all(|wait| *wait <= bound), "{tries}");
            assert!(waits.iter().all(|wait| *wait >= bound / 2), "{tries}");
            assert!(waits.iter().any(|wait| *wait < bound * 5 / 8), "{tries}");
            assert!(waits.iter().any(|wait| *wait > bound * 7 / 8), "{tries}");
        }
    }

    #[test]
    fn what_waits_together_is_asked_for_together() {
        let grid = Duration::from_millis(100);
        let now = Instant::now() + Duration::from_secs(1);
        let at = rounded_up(now, grid);
        assert!(at >= now && at - now < grid);
        assert_eq!(rounded_up(at, grid), at);
        assert_eq!(rounded_up(at + Duration::from_nanos(1), grid), at + grid);
    }
}
