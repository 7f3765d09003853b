//! The last stretch of time that a window was asked about, in one word that cannot tear.
//!
//! ```text
//! | begin, in seconds from the year 1425: 35 bits | length, in seconds: 28 bits | open: 1 bit |
//! ```

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

/// 35 bits of seconds reach to the year 2514.
const BEGIN_BITS: u32 = 35;
const BEGIN_MIN: i64 = -(1 << (BEGIN_BITS - 1));
/// 28 bits of seconds are 8 years and a half, more than from one 29 February to the next.
const LENGTH_BITS: u32 = 28;
const LENGTH_MAX: i64 = (1 << LENGTH_BITS) - 1;

/// A stretch of time through which a window stays open, or stays closed; empty at first.
///
/// Threads that ask about different times overwrite each other's stretch: each then works out its own,
/// and the answers are the same.
#[derive(Default)]
pub(super) struct Cache(AtomicU64);

impl Cache {
    /// Whether the window is open then, where that is in the stretch.
    pub(super) fn at(&self, now: DateTime<Utc>) -> Option<bool> {
        let word = self.0.load(Ordering::Relaxed);
        let open = word & 1 == 1;
        let length = word >> 1 & ((1 << LENGTH_BITS) - 1);
        let begin = word >> (1 + LENGTH_BITS);
        let since = u64::try_from(now.timestamp() - BEGIN_MIN).ok()?;
        (begin..begin + length).contains(&since).then_some(open)
    }

    /// Keeps a stretch of whole seconds, unless its begin does not fit.
    pub(super) fn keep(&self, open: bool, from: DateTime<Utc>, until: DateTime<Utc>) {
        let length = (until.timestamp() - from.timestamp()).clamp(0, LENGTH_MAX);
        let begin = from.timestamp() - BEGIN_MIN;
        if let (Ok(begin), Ok(length)) = (u64::try_from(begin), u64::try_from(length))
            && begin >> BEGIN_BITS == 0
        {
            let word = begin << (1 + LENGTH_BITS) | length << 1 | u64::from(open);
            self.0.store(word, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cache")
    }
}
