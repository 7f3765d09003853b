//! Time: `active` windows that open by a cron line and close after a duration, and other limits.
//!
//! ```text
//!      22:00              06:00              22:00
//! -------[ open 8h ---------)-- closed --------[ open 8h --
//!        start              end = start + duration
//! ```
//!
//! A window is a state, not an event: at any instant it is open or closed, and the answer depends on
//! nothing but the instant. It is open at `t` if `t < previous start + duration`. Starts
//! go by the time that clocks on the wall show (`starts.rs`); durations are elapsed time.

pub mod duration;
pub mod schedule;

mod cache;
mod cron;
mod fields;
pub(super) mod lint;
mod starts;
mod state;
#[cfg(test)]
mod tests;
pub(super) mod zone;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use serde::{Serialize, Serializer};

use super::diagnostic::Diagnostic;

pub use duration::Length;
pub use schedule::{Schedule, Unmet};
pub use state::State;

use cache::Cache;
pub(super) use cron::Cron;

/// The most runs of starts that `is_open` follows to find where an open stretch ends.
const RUNS_FOLLOWED: usize = 8;

/// A window: open from each time that a cron line names, in a zone, for a duration.
///
/// Cheap to clone; clones share the cache of the last answer. Two are equal where they are written the
/// same.
#[derive(Clone)]
pub struct Window(Arc<Inner>);

struct Inner {
    written: Box<str>,
    length: Length,
    zone: Tz,
    cron: Cron,
    /// Whether it stays open from the first start of a day to the last.
    open_all_day: bool,
    cache: Cache,
}

impl Window {
    /// Reads its three texts; an error is about the first of them that cannot be used.
    pub fn new(cron: &str, duration: &str, timezone: &str) -> Result<Self, Diagnostic> {
        let fields = Cron::parse(cron)?;
        Ok(Self::of(
            cron,
            fields,
            Length::parse(duration)?,
            zone::parse(timezone)?,
        ))
    }

    pub(super) fn of(written: &str, cron: Cron, length: Length, zone: Tz) -> Self {
        Self(Arc::new(Inner {
            written: written.into(),
            open_all_day: cron.gap_minutes_max() <= length.minutes(),
            length,
            zone,
            cron,
            cache: Cache::default(),
        }))
    }

    /// The cron line, as it is written.
    #[must_use]
    pub fn cron(&self) -> &str {
        &self.0.written
    }

    /// How long it stays open after each start.
    #[must_use]
    pub fn duration(&self) -> &Length {
        &self.0.length
    }

    /// The name of its time zone.
    #[must_use]
    pub fn timezone(&self) -> &'static str {
        self.0.zone.name()
    }

    /// Whether it is open then. Asking again about the same stretch of time costs a few ns.
    #[must_use]
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        if let Some(open) = self.0.cache.at(now) {
            return open;
        }
        if let Some((start, end)) = self.open_run(now) {
            self.0.cache.keep(true, start, end);
            return true;
        }
        if let (Some(from), Some(until)) = (self.last_end(now), self.next_start(now)) {
            self.0.cache.keep(false, from, until);
        }
        false
    }

    /// Whether it is open then, since when and until when.
    #[must_use]
    pub fn state_at(&self, now: DateTime<Utc>) -> State {
        state::of(std::slice::from_ref(self), now)
    }

    /// The last start, and an instant until which it stays open at least; none where it is closed.
    fn open_run(&self, now: DateTime<Utc>) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let start = self.last_start(now)?;
        let mut end = self.end_of(start)?;
        if end <= now {
            return None;
        }
        let mut last = start;
        for _ in 0..RUNS_FOLLOWED {
            match self.last_start(end) {
                Some(next) if next > last => last = self.last_of_day(next),
                _ => break,
            }
            end = self.end_of(last)?;
        }
        Some((start, end))
    }

    /// The earliest start on the day of the last start from which it has been open until `now`; none where
    /// it is closed.
    fn opened_by(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = self.last_start(now)?;
        (now < self.end_of(start)?).then(|| self.first_of_day(start))
    }

    /// The last start, not after that instant.
    fn last_start(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        starts::last(&self.0.cron, self.0.zone, at)
    }

    /// The first start after that instant.
    fn next_start(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        starts::next(&self.0.cron, self.0.zone, at)
    }

    fn last_end(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.end_of(self.last_start(at)?)
    }

    fn end_of(&self, start: DateTime<Utc>) -> Option<DateTime<Utc>> {
        start.checked_add_signed(self.0.length.delta())
    }

    /// The last start of that day, where it stays open from `start` until then; else `start`. With it, a
    /// window that opens every minute is followed day by day.
    fn last_of_day(&self, start: DateTime<Utc>) -> DateTime<Utc> {
        let last = self.start_of_day(start, self.0.cron.last_time());
        last.map_or(start, |last| last.max(start))
    }

    fn first_of_day(&self, start: DateTime<Utc>) -> DateTime<Utc> {
        let first = self.start_of_day(start, self.0.cron.first_time());
        first.map_or(start, |first| first.min(start))
    }

    fn start_of_day(&self, start: DateTime<Utc>, time: Option<NaiveTime>) -> Option<DateTime<Utc>> {
        let Inner {
            zone,
            cron,
            open_all_day,
            ..
        } = &*self.0;
        if !open_all_day {
            return None;
        }
        let local = zone::local(*zone, start)?;
        // A start that clocks skip is at another time, and may be on another day, than is named.
        if !cron.names(local) {
            return None;
        }
        let named = local.date().and_time(time?);
        let other = if cron.any_hour {
            start.checked_add_signed(named.signed_duration_since(local))?
        } else {
            zone::instant(*zone, named)?
        };
        // Where clocks change on that day, its starts are not as far apart as their times.
        zone::same_offset(*zone, start, other).then_some(other)
    }
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.cron() == other.cron()
            && self.duration() == other.duration()
            && self.0.zone == other.0.zone
    }
}

impl Eq for Window {}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("cron", &self.cron())
            .field("duration", &self.duration().to_string())
            .field("timezone", &self.timezone())
            .finish()
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            cron: &'a str,
            duration: &'a Length,
            timezone: &'a str,
        }
        let written = Written {
            cron: self.cron(),
            duration: self.duration(),
            timezone: self.timezone(),
        };
        written.serialize(serializer)
    }
}
