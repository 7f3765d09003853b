//! Reads a time range as people write it (`7d` ago, or from `2026-03-01`) as two instants.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use quell_policy::terminal::quoted;
use quell_policy::window::duration::split_unit;

/// The longest time ago that is read; events are kept for less.
const AGO_MAX: TimeDelta = TimeDelta::days(3660);
/// Where a range begins when the request does not say.
pub const SINCE_DEFAULT: &str = "7d";

/// From `since`, inclusive, to `until`, exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TimeRange {
    /// The first instant.
    pub since: DateTime<Utc>,
    /// The first instant after the range.
    pub until: DateTime<Utc>,
}

/// Why a range cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeRangeError {
    /// A text is not a time.
    #[error(
        "`{what}`: {text} is no time; write how long ago (7d, 36h, 90m, 1d12h) or when (2026-03-01, 2026-03-01T12:00:00Z)"
    )]
    Unreadable {
        /// `since` or `until`.
        what: &'static str,
        /// The text in quotes, cut at 60 characters.
        text: String,
    },
    /// It ends before it begins.
    #[error("`since` ({since}) is not before `until` ({until})")]
    Empty {
        /// Its beginning.
        since: DateTime<Utc>,
        /// Its end.
        until: DateTime<Utc>,
    },
}

impl TimeRange {
    /// Reads both ends. It ends at `now` at the latest, and without `until`.
    pub fn read(
        since: &str,
        until: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Self, TimeRangeError> {
        Self::since(read("since", since, now)?, until, now)
    }

    /// Reads only the end, as `read` does.
    pub fn since(
        since: DateTime<Utc>,
        until: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Self, TimeRangeError> {
        let until = until
            .map_or(Ok(now), |until| read("until", until, now))?
            .min(now);
        if since < until {
            Ok(Self { since, until })
        } else {
            Err(TimeRangeError::Empty { since, until })
        }
    }
}

/// The time that `text` says, for `what`.
pub(crate) fn read(
    what: &'static str,
    text: &str,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, TimeRangeError> {
    instant(text, now).ok_or_else(|| TimeRangeError::Unreadable {
        what,
        text: quoted(text),
    })
}

fn instant(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Some(ago) = ago(text) {
        return now.checked_sub_signed(ago);
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(date.and_time(NaiveTime::MIN).and_utc());
    }
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    Some(instant.to_utc())
}

/// A duration: `7d`, `36h`, `90m`, `45s`, or several in a row.
pub(crate) fn ago(text: &str) -> Option<TimeDelta> {
    let mut total = TimeDelta::zero();
    let mut rest = text;
    loop {
        let (number, unit, after) = split_unit(rest);
        let number: i64 = number.parse().ok()?;
        let part = match unit? {
            'd' => TimeDelta::try_days(number),
            'h' => TimeDelta::try_hours(number),
            'm' => TimeDelta::try_minutes(number),
            's' => TimeDelta::try_seconds(number),
            _ => None,
        }?;
        total = total.checked_add(&part).filter(|sum| *sum <= AGO_MAX)?;
        rest = after;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-08T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_time_is_how_long_ago_or_when() {
        for (text, expected) in [
            ("7d", Some("2026-03-01T12:00:00Z")),
            ("36h", Some("2026-03-07T00:00:00Z")),
            ("90m", Some("2026-03-08T10:30:00Z")),
            (" 1d12h ", Some("2026-03-07T00:00:00Z")),
            ("45s", Some("2026-03-08T11:59:15Z")),
            ("0d", Some("2026-03-08T12:00:00Z")),
            ("2026-03-01", Some("2026-03-01T00:00:00Z")),
            ("2026-03-01T12:00:00+01:00", Some("2026-03-01T11:00:00Z")),
            ("2026-03-01T12:00:00", None),
            ("2026-02-30", None),
            ("3661d", None),
            ("99999999999999999999d", None),
            ("-1d", None),
            ("7", None),
            ("d", None),
            ("", None),
            ("7 days", None),
            ("7d ago", None),
            ("1w", None),
            ("٣d", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(instant(text, now()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_range_is_not_empty_and_ends_now_at_the_latest() {
        let range = TimeRange::read("7d", Some("2027-01-01"), now()).unwrap();
        assert_eq!(range.until, now());
        let range = TimeRange::read("7d", Some("1d"), now()).unwrap();
        assert_eq!(range.until, now() - TimeDelta::days(1));
        for (since, until, error) in [
            ("1h", Some("2h"), "is not before `until`"),
            ("0m", None, "is not before `until`"),
            ("2027-01-01", None, "is not before `until`"),
            ("yesterday", None, "`since`: \"yesterday\" is no time"),
            ("7d", Some("now"), "`until`: \"now\" is no time"),
        ] {
            let refused = TimeRange::read(since, until, now())
                .unwrap_err()
                .to_string();
            assert!(refused.contains(error), "{refused}");
        }
    }
}
