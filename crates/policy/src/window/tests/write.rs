//! Any cron line, with the values of its fields worked out beside its text.

use proptest::prelude::*;
use proptest::sample::select;

/// The text of one field and the values that it stands for.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) values: Vec<u32>,
}

/// Five of them.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day: Field,
    pub(super) month: Field,
    pub(super) weekday: Field,
}

pub(super) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

impl Line {
    /// Whether it goes by what clocks show, and not by the hours that it names.
    pub(super) fn any_hour(&self) -> bool {
        self.hour.text.contains('*')
    }

    pub(super) fn text(&self) -> String {
        let Self {
            minute,
            hour,
            day,
            month,
            weekday,
        } = self;
        [minute, hour, day, month, weekday]
            .map(|field| field.text.as_str())
            .join(" ")
    }
}

fn all(first: u32, last: u32) -> Field {
    Field {
        text: "*".to_owned(),
        values: (first..=last).collect(),
    }
}

/// From one value up to another, over the end where that is smaller.
fn walk(from: u32, to: u32, first: u32, last: u32, step: usize) -> Vec<u32> {
    let mut values = vec![from];
    let mut value = from;
    while value != to {
        value = if value == last { first } else { value + 1 };
        values.push(value);
    }
    values.into_iter().step_by(step).collect()
}

fn name(value: u32, names: &[&str], first: u32, by_name: bool) -> String {
    let at = usize::try_from(value - first).unwrap();
    match names.get(at) {
        Some(name) if by_name => (*name).to_owned(),
        _ => value.to_string(),
    }
}

/// Lists of values and ranges, some with a step; `likely` values come up often.
fn some(
    first: u32,
    last: u32,
    names: &'static [&'static str],
    likely: Vec<u32>,
    may_step: bool,
) -> impl Strategy<Value = Field> {
    let value = prop_oneof![2 => select(likely), 1 => first..=last];
    let item = (
        value.clone(),
        value,
        any::<bool>(),
        any::<bool>(),
        1_usize..12,
    )
        .prop_map(move |(from, to, is_range, by_name, step)| {
            let by_name = by_name || !may_step;
            let word = |value| name(value, names, first, by_name);
            if !is_range || from == to {
                let text = word(from);
                return Field {
                    text,
                    values: vec![from],
                };
            }
            let whole = walk(from, to, first, last, 1);
            let step = if may_step && step < whole.len() {
                step
            } else {
                1
            };
            let range = format!("{}-{}", word(from), word(to));
            let text = match step {
                1 => range,
                _ => format!("{range}/{step}"),
            };
            Field {
                text,
                values: walk(from, to, first, last, step),
            }
        });
    proptest::collection::vec(item, 1..3).prop_map(|items| {
        let texts: Vec<_> = items.iter().map(|item| item.text.as_str()).collect();
        Field {
            text: texts.join(","),
            values: items.iter().flat_map(|item| item.values.clone()).collect(),
        }
    })
}

fn every(first: u32, last: u32) -> impl Strategy<Value = Field> {
    (1_u32..=20).prop_map(move |step| {
        let step = step.min(last - first);
        Field {
            text: format!("*/{step}"),
            values: (first..=last)
                .filter(|n| (n - first).is_multiple_of(step))
                .collect(),
        }
    })
}

/// Lines that name a time around which clocks are changed, more often than not.
pub(super) fn line() -> impl Strategy<Value = Line> {
    let minute = prop_oneof![
        4 => some(0, 59, &[], vec![0, 1, 15, 30, 45, 59], true),
        1 => every(0, 59),
        1 => Just(all(0, 59)),
    ];
    let hours = || some(0, 23, &[], vec![0, 1, 2, 3, 4, 22, 23], true);
    let both = (hours(), every(0, 23), any::<bool>()).prop_map(|(some, every, first)| {
        let (one, other) = if first { (every, some) } else { (some, every) };
        Field {
            text: format!("{},{}", one.text, other.text),
            values: [one.values, other.values].concat(),
        }
    });
    let hour = prop_oneof![
        6 => hours(),
        3 => every(0, 23),
        3 => Just(all(0, 23)),
        1 => both,
    ];
    let february = Just((
        Field {
            text: "29".to_owned(),
            values: vec![29],
        },
        Field {
            text: "FEB".to_owned(),
            values: vec![2],
        },
        all(0, 6),
    ));
    let month = || {
        prop_oneof![
            5 => Just(all(1, 12)),
            1 => some(1, 12, &MONTHS, vec![2, 3, 10, 12], true),
            1 => every(1, 12),
        ]
    };
    let by_day = (
        some(1, 31, &[], vec![1, 28, 29, 30, 31], true),
        Just(all(1, 12)),
    )
        .prop_map(|(day, month)| (day, month, all(0, 6)));
    let by_weekday = (month(), some(0, 6, &WEEKDAYS, vec![0, 1, 5, 6], false))
        .prop_map(|(month, weekday)| (all(1, 31), month, weekday));
    let daily = month().prop_map(|month| (all(1, 31), month, all(0, 6)));
    let days = prop_oneof![1 => february, 2 => by_day, 3 => by_weekday, 3 => daily];
    (minute, hour, days).prop_map(|(minute, hour, (day, month, weekday))| Line {
        minute,
        hour,
        day,
        month,
        weekday,
    })
}
