//! A rate with bursts, by the generic cell rate algorithm: all that is kept of somebody is one time.

use std::time::Duration;

use tokio::time::Instant;

/// At most N a second, and after a pause as many at once as come in `burst` (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy)]
pub(crate) struct CellRate {
    interval: Duration,
    burst: Duration,
}

impl CellRate {
    pub(crate) fn new(per_second: u32, burst: Duration) -> Self {
        Self {
            interval: Duration::from_secs(1) / per_second.max(1),
            burst,
        }
    }

    /// Counts one more at `now`, or says how long to wait. `due` is the theoretical arrival time of the next one; of
    /// somebody new, it is `now`.
    pub(crate) fn take(self, due: &mut Instant, now: Instant) -> Result<(), Duration> {
        let next = (*due).max(now);
        let too_early = (next - now).saturating_sub(self.burst);
        if !too_early.is_zero() {
            return Err(too_early);
        }
        *due = next + self.interval;
        Ok(())
    }

    /// Counts so many more, whether they may be now or not: whoever comes next waits for them.
    pub(crate) fn charge(self, due: &mut Instant, more: u32) {
        *due += self.interval * more;
    }
}
