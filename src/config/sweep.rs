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

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigError};

    fn read(settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_environment(&settings.iter().copied().collect())
    }

    #[test]
    fn a_schedule_of_sweeps_has_six_fields_in_utc() {
        let next = |line: &str| {
            let config = read(&[("QUELL_SWEEP_CRON", line)]).map_err(|error| error.to_string())?;
            let now = "2026-03-02T12:00:10Z".parse().unwrap();
            let schedule = config.sweep.schedule.as_ref();
            Ok::<_, String>(schedule.map(|schedule| schedule.next(now).unwrap().to_rfc3339()))
        };
        let at = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(next("*/30 * * * * *"), at("2026-03-02T12:00:30+00:00"));
        let usual = read(&[]).unwrap().sweep;
        let now = "2026-03-02T12:00:10Z".parse().unwrap();
        let next_usual = usual.schedule.unwrap().next(now).unwrap();
        assert_eq!(
            (next_usual.timestamp() % 60, usual.calls_per_second),
            (30, 200)
        );
        assert_eq!(next(" 0 0 3 * * Sun "), at("2026-03-08T03:00:00+00:00"));
        assert_eq!(next("off"), Ok(None));
        for (line, why) in [
            ("*/30 * * * *", "it has 5 fields, and not 6"),
            ("0 0 0 1 1 * 2027", "it has 7 fields"),
            ("@daily", "it has 1 fields"),
            ("60 * * * * *", "60"),
            ("0 0 0 30 2 *", "it names no instant"),
            ("0 0 0 x * *", "such as"),
        ] {
            let error = next(line).unwrap_err();
            assert!(
                error.contains(why) && error.contains("QUELL_SWEEP_CRON"),
                "{error}"
            );
        }
    }
}
