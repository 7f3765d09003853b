//! How long a Postgres that does not answer yet is waited for, and how often it is asked.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;

/// The time between two log lines that Postgres is still waited for.
const TELL: Duration = Duration::from_mins(1);
/// The first pause. Most answer when they are asked a second time.
const POLL_MIN: Duration = Duration::from_millis(30);
/// One that is starting writes a line to its log each time that it is asked.
const POLL_MAX: Duration = Duration::from_millis(250);

/// Counts for how long Postgres has said nothing, and bounds that.
pub(super) struct Patience {
    heard: Instant,
    told: Instant,
    silence_max: Duration,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(now: Instant, silence_max: Duration) -> Self {
        Self {
            heard: now,
            told: now,
            silence_max,
            pause: POLL_MIN,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.heard) > self.silence_max
    }

    /// The pause before the next question: longer each time that it said that it is on its way.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Notes that it is on its way; returns whether a log line is due.
    fn hears(&mut self, now: Instant) -> bool {
        self.heard = now;
        self.pause = (self.pause * 2).min(POLL_MAX);
        let tells = now.duration_since(self.told) >= TELL;
        if tells {
            self.told = now;
        }
        tells
    }

    /// Notes that it is on its way, as `error` says, and logs that from time to time.
    pub(super) fn goes_on(&mut self, folder: &Path, error: &dyn fmt::Display) {
        if self.hears(Instant::now()) {
            tracing::warn!(data = %folder.display(), %error, "Postgres is still waited for");
        }
    }
}

/// Whether Postgres says that it comes up, recovers or goes down.
pub(super) fn is_on_its_way(error: &sqlx::Error) -> bool {
    const CANNOT_CONNECT_NOW: &str = "57P03";
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some(CANNOT_CONNECT_NOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_that_it_comes_up_is_waited_for_and_one_that_is_silent_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start, Duration::from_mins(1));
        assert!(!patience.is_over(at(60)));
        assert!(patience.is_over(at(61)));
        // A line a minute.
        let told: Vec<_> = [1, 59, 60, 61, 119, 121, 600]
            .map(|s| patience.hears(at(s)))
            .into();
        assert_eq!(told, [false, false, true, false, false, true, true]);
        assert!(!patience.is_over(at(660)));
        assert!(patience.is_over(at(661)));
    }

    #[test]
    fn one_that_is_on_its_way_is_asked_less_and_less_often() {
        let mut patience = Patience::new(Instant::now(), Duration::from_mins(1));
        let pauses = [(); 6].map(|()| {
            let pause = patience.pause().as_millis();
            patience.hears(Instant::now());
            pause
        });
        assert_eq!(pauses, [30, 60, 120, 240, 250, 250]);
    }
}
