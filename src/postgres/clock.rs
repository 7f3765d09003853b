//! Postgres's clock, as far as this process knows it: what replicas share is compared by it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The last reading of Postgres's clock. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct PostgresClock(Arc<Mutex<Option<Reading>>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    at: DateTime<Utc>,
    /// When it came here.
    came: Instant,
}

impl PostgresClock {
    /// Takes a reading that has just come.
    pub(crate) fn was(&self, at: DateTime<Utc>) {
        let came = Instant::now();
        *self.reading() = Some(Reading { at, came });
    }

    /// The earliest that it was at `instant`: a reading takes a while to come here. None where there was none.
    pub(crate) fn earliest(&self, instant: Instant) -> Option<DateTime<Utc>> {
        let Reading { at, came } = (*self.reading())?;
        let between = |from, to: Instant| TimeDelta::from_std(to.duration_since(from)).ok();
        if instant >= came {
            at.checked_add_signed(between(came, instant)?)
        } else {
            at.checked_sub_signed(between(instant, came)?)
        }
    }

    fn reading(&self) -> MutexGuard<'_, Option<Reading>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_it_was_is_told_from_the_last_reading() {
        let clock = PostgresClock::default();
        let second = Duration::from_secs(1);
        let before = Instant::now();
        assert_eq!(clock.earliest(before), None);
        tokio::time::advance(second).await;
        let at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        clock.was(at);
        assert_eq!(clock.earliest(before), Some(at - second));
        tokio::time::advance(second).await;
        assert_eq!(clock.earliest(Instant::now()), Some(at + second));
    }
}
