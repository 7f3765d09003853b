//! A least rate: how long something of unknown length may take.

use std::time::Duration;

use tokio::time::Instant;

/// At least `bytes_per_second`, after a `grace`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) grace: Duration,
    pub(super) bytes_per_second: u64,
}

impl Pace {
    /// When the next byte has to be there, of which `bytes` have come since `begun`.
    pub(super) fn deadline(self, begun: Instant, bytes: u64) -> Instant {
        let millis = bytes.saturating_mul(1000) / self.bytes_per_second;
        begun + self.grace + Duration::from_millis(millis)
    }
}
