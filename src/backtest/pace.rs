//! How much of a backtest is done at a time, and when it stops before the end.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Tracks in each page at full speed; two pages are held at once.
const PAGE_TRACKS: i64 = 5_000;
/// The same inside a running server: each page takes some milliseconds.
const PAGE_TRACKS_GENTLE: i64 = 1_000;

/// How fast a backtest goes, and how far.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// To the end, as fast as possible.
    Full,
    /// Rests as long as it works, and stops at the first of the two limits.
    Gentle {
        /// Stops at the end of the page that reaches this many tracks.
        tracks_max: u64,
        /// Stops after this time, as soon as all tracks of the same second are decided. Where a tenant
        /// has no track so far, it stops only where a later whole hour is reached.
        time_max: Duration,
    },
}

impl Pace {
    pub(super) fn page_tracks(self) -> i64 {
        match self {
            Self::Full => PAGE_TRACKS,
            Self::Gentle { .. } => PAGE_TRACKS_GENTLE,
        }
    }

    fn time_max(self) -> Option<Duration> {
        match self {
            Self::Full => None,
            Self::Gentle { time_max, .. } => Some(time_max),
        }
    }
}

/// When a thread stops before its end.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Cancelled when nobody waits for the report any more.
    pub(super) cancelled: CancellationToken,
    /// When the time of `Pace::Gentle` is over.
    pub(super) deadline: Option<Instant>,
}

impl Bounds {
    /// The bounds for threads, and a guard that cancels them when it is dropped.
    pub(super) fn new(pace: Pace, begun: Instant) -> (Self, DropGuard) {
        let cancelled = CancellationToken::new();
        let guard = cancelled.clone().drop_guard();
        let deadline = pace.time_max().map(|time_max| begun + time_max);
        let bounds = Self {
            cancelled,
            deadline,
        };
        (bounds, guard)
    }

    pub(super) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}
