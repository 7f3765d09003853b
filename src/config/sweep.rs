//! When all rooms are swept: `QUELL_SWEEP_CRON`.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use cron::Schedule;

/// Twice a minute.
pub(super) const DEFAULT: &str = "*/30 * * * * *";
const FIELDS: usize = 6;

/// Instants, by a cron line of six fields, seconds first, in UTC.
#[derive(Debug, Clone)]
pub struct SweepSchedule(Schedule);

impl SweepSchedule {
    /// Reads a line; an error says what is wrong with it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let fields = line.split_whitespace().count();
        if fields != FIELDS {
            return Err(format!("it has {fields} fields, and not {FIELDS}"));
        }
        let schedule = Schedule::from_str(line).map_err(|error| error.to_string())?;
        let schedule = Self(schedule);
        // 30 February never comes.
        let never = DateTime::<Utc>::from_timestamp(0, 0).and_then(|at| schedule.next(at));
        never
            .map(|_| schedule)
            .ok_or_else(|| "it names no instant".to_owned())
    }

    /// The first instant after `now`; none: there is no more.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.after(&now).next()
    }
}
