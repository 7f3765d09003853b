//! How long something lasts: whole minutes, written `90m`, `8h`, `1h30m` or `2d`.

use std::fmt;

use chrono::TimeDelta;
use serde::{Serialize, Serializer};

use crate::diagnostic::Diagnostic;
use crate::terminal::quoted;

/// The longest duration; the shortest is a minute.
pub const DURATION_DAYS_MAX: u32 = 7;
const MINUTES_MAX: u32 = DURATION_DAYS_MAX * 24 * 60;
const HINT: &str = "such as `90m`, `8h`, `1h30m` or `2d`";

/// A duration of 1 minute to 7 days. Two are equal where they are written the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Length {
    minutes: u32,
    written: Box<str>,
}

impl Length {
    /// Reads days, hours and minutes, in this order, each with its unit.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        Ok(Self {
            minutes: minutes(text)?,
            written: text.into(),
        })
    }

    /// How many minutes it has.
    #[must_use]
    pub fn minutes(&self) -> u32 {
        self.minutes
    }

    /// The same as a difference of times.
    #[must_use]
    pub fn delta(&self) -> TimeDelta {
        TimeDelta::minutes(self.minutes.into())
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// The number that a duration starts with, the unit behind it, and the rest: `1h30m` is `1`, `h` and
/// `30m`.
#[must_use]
pub fn split_unit(text: &str) -> (&str, Option<char>, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, after) = text.split_at(digits);
    let mut rest = after.chars();
    (number, rest.next(), rest.as_str())
}

fn minutes(text: &str) -> Result<u32, Diagnostic> {
    let shown = quoted(text);
    let error = |what: &str| Diagnostic::new(format!("{shown} {what}"), HINT);
    let mut units = [('d', 24 * 60_u32), ('h', 60), ('m', 1)].into_iter();
    let mut total = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, after) = split_unit(rest);
        let Some(unit) = unit else {
            return Err(error("ends in a number without a unit (d, h or m)"));
        };
        if number.is_empty() {
            return Err(error("is no duration"));
        }
        let Some((_, minutes)) = units.find(|(known, _)| *known == unit) else {
            return Err(match unit {
                'd' | 'h' | 'm' => error("has its units in another order than d, h, m"),
                's' => error("has seconds, and windows have whole minutes"),
                '.' | ',' => error("has a fraction, and windows have whole minutes"),
                _ => error("has a unit other than d, h and m"),
            });
        };
        // Of more than nine digits it is too long whatever they are.
        let number = number.parse().unwrap_or(u32::MAX);
        total = total.saturating_add(minutes.saturating_mul(number));
        rest = after;
    }
    match total {
        0 if text.is_empty() => Err(error("is no duration")),
        1..=MINUTES_MAX => Ok(total),
        _ => {
            let hint = format!("the shortest is 1m, the longest {DURATION_DAYS_MAX}d");
            let long = if total == 0 { "short" } else { "long" };
            Err(Diagnostic::new(format!("{shown} is too {long}"), hint))
        }
    }
}
