//! The five fields of a cron line, checked in our own words.
//!
//! What cron programs do not agree on is refused: weekdays by number (0 or 1 for Sunday?), a day
//! of the month and a weekday at once (both, or either?), `L`, `W`, `#`, `?`, names like `@daily`,
//! seconds and years. Ranges may go over the end: `22-2`, `SAT-SUN`, `NOV-FEB`.

use super::cron::Cron;
use crate::diagnostic::Diagnostic;
use crate::terminal::quoted;

struct Field {
    place: &'static str,
    name: &'static str,
    first: u32,
    last: u32,
    /// Names of the values from `first` on.
    names: &'static [&'static str],
    by_number: bool,
    /// What is allowed.
    values: &'static str,
}

const FIELDS: [Field; 5] = [
    Field {
        place: "first",
        name: "minute",
        first: 0,
        last: 59,
        names: &[],
        by_number: true,
        values: "a minute is 0 to 59",
    },
    Field {
        place: "second",
        name: "hour",
        first: 0,
        last: 23,
        names: &[],
        by_number: true,
        values: "an hour is 0 to 23; midnight is 0",
    },
    Field {
        place: "third",
        name: "day of the month",
        first: 1,
        last: 31,
        names: &[],
        by_number: true,
        values: "a day of the month is 1 to 31",
    },
    Field {
        place: "fourth",
        name: "month",
        first: 1,
        last: 12,
        names: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        by_number: true,
        values: "a month is 1 to 12, or JAN to DEC",
    },
    Field {
        place: "fifth",
        name: "weekday",
        first: 0,
        last: 6,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        by_number: false,
        values: "a weekday is one of SUN, MON, TUE, WED, THU, FRI, SAT",
    },
];

const SHAPE: &str = "five fields: minute, hour, day of the month, month, weekday, such as \
                     `0 22 * * MON-FRI`";
const FEBRUARY: u32 = 2;

impl Cron {
    /// Reads the five fields; refuses what other programs understand in other ways.
    pub(crate) fn parse(text: &str) -> Result<Self, Diagnostic> {
        let trimmed = text.trim();
        if trimmed.starts_with('@') {
            let message = format!("{} is a name that is not known here", quoted(trimmed));
            let hint = "write the fields: `0 0 * * *` is every midnight, `0 * * * *` every hour";
            return Err(Diagnostic::new(message, hint));
        }
        let mut texts = trimmed.split_ascii_whitespace();
        let mut sets = [0_u64; 5];
        let mut any_hour = false;
        for ((field, set), at) in FIELDS.iter().zip(&mut sets).zip(0..) {
            let Some(text) = texts.next() else {
                let message = match at {
                    0 => "there is nothing here".to_owned(),
                    1 => "there is one field here".to_owned(),
                    _ => format!("there are {at} fields here"),
                };
                return Err(Diagnostic::new(message, SHAPE));
            };
            *set = field.parse(text)?;
            any_hour |= field.name == "hour" && text.contains('*');
        }
        let more = texts.count();
        if more > 0 {
            let message = format!("there are {} fields here", FIELDS.len() + more);
            return Err(Diagnostic::new(
                message,
                format!("{SHAPE}; no seconds and no years"),
            ));
        }
        let [minutes, hours, days, months, weekdays] = sets;
        // Each of them has at most 32 values.
        let small = |set: u64| u32::try_from(set).unwrap_or(0);
        let cron = Cron {
            minutes,
            hours: small(hours),
            days: small(days),
            months: small(months),
            weekdays: small(weekdays),
            any_hour,
        };
        let [_, _, day_field, _, weekday_field] = &FIELDS;
        if days != day_field.all() && weekdays != weekday_field.all() {
            return Err(Diagnostic::new(
                "this names days of the month and weekdays as well; some programs want both, others either",
                "write `*` for one of them, or two windows",
            ));
        }
        if !any_date_exists(&cron) {
            return Err(Diagnostic::new(
                "there is no such date in any year, so this would never open",
                "the shortest months have 30 days, and February 28 or 29",
            ));
        }
        Ok(cron)
    }
}

fn any_date_exists(cron: &Cron) -> bool {
    (1..=12_u32)
        .filter(|month| cron.months >> month & 1 == 1)
        .any(|month| {
            let length = match month {
                FEBRUARY => 29,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            cron.days & (u32::MAX >> (31 - length)) != 0
        })
}

impl Field {
    fn all(&self) -> u64 {
        (self.first..=self.last).fold(0, |set, value| set | 1 << value)
    }

    fn parse(&self, text: &str) -> Result<u64, Diagnostic> {
        text.split(',')
            .try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    /// `*`, `*/n`, `a`, `a-b` or `a-b/n`.
    fn item(&self, item: &str) -> Result<u64, Diagnostic> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((from, to)) if !from.is_empty() && !to.is_empty() => {
                (self.value(from, item)?, self.value(to, item)?)
            }
            Some(_) => return Err(self.error(item, "is no range", self.values)),
            None => {
                let value = self.value(range, item)?;
                if let Some(step) = step {
                    if !self.by_number {
                        return Err(self.no_step(item));
                    }
                    let hint = format!("write `*/{step}`, or `{range}-{}/{step}`", self.last);
                    return Err(self.error(item, "has a step without a range", hint));
                }
                (value, value)
            }
        };
        let mut values: Vec<u32> = if from <= to {
            (from..=to).collect()
        } else {
            (from..=self.last).chain(self.first..=to).collect()
        };
        if let Some(step) = step {
            values = self.stepped(&values, step, item)?;
        }
        Ok(values.into_iter().fold(0, |set, value| set | 1 << value))
    }

    fn stepped(&self, values: &[u32], step: &str, item: &str) -> Result<Vec<u32>, Diagnostic> {
        if !self.by_number {
            return Err(self.no_step(item));
        }
        let step = number(step).and_then(|step| usize::try_from(step).ok());
        match step {
            Some(step) if (1..values.len()).contains(&step) => {
                Ok(values.iter().copied().step_by(step).collect())
            }
            _ => {
                let hint = match values.len() {
                    0..=2 => "list the values, such as `0,30`".to_owned(),
                    count => format!("a step here is a number from 1 to {}", count - 1),
                };
                Err(self.error(item, "has a step that leads nowhere", hint))
            }
        }
    }

    fn no_step(&self, item: &str) -> Diagnostic {
        let hint = "weekdays take no step: list them, such as `MON,WED,FRI`";
        self.error(item, "has a step", hint)
    }

    fn value(&self, text: &str, item: &str) -> Result<u32, Diagnostic> {
        let named = self
            .names
            .iter()
            .zip(self.first..)
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((_, value)) = named {
            return Ok(value);
        }
        match number(text) {
            Some(_) if !self.by_number => {
                let hint =
                    "programs number weekdays differently: write SUN, MON, TUE, WED, THU, FRI, SAT";
                Err(self.error(item, "has a weekday by number", hint))
            }
            Some(value) if (self.first..=self.last).contains(&value) => Ok(value),
            Some(_) => Err(self.error(item, "is out of range", self.values)),
            None => Err(self.unknown(text, item)),
        }
    }

    fn unknown(&self, text: &str, item: &str) -> Diagnostic {
        let letter = |c: char| matches!(c, 'L' | 'W' | 'l' | 'w');
        let moving = text.contains(letter)
            && text
                .chars()
                .all(|c| letter(c) || c == '-' || c.is_ascii_digit());
        if text == "?" {
            self.error(item, "is Quartz's word for any", "write `*`")
        } else if text.contains('#') || moving {
            let hint = "`L`, `W` and `#` are not known here: name days that are fixed";
            self.error(item, "is no fixed day", hint)
        } else {
            let what = format!("is no {}", self.name);
            self.error(item, &what, self.values)
        }
    }

    fn error(&self, item: &str, what: &str, hint: impl Into<String>) -> Diagnostic {
        let Self { place, name, .. } = self;
        let message = format!("the {place} field ({name}): {} {what}", quoted(item));
        Diagnostic::new(message, hint)
    }
}

/// A number of one or two digits; a longer one is larger than any field's.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}
