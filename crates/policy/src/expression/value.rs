//! Values of facts and literals, and how they compare: exactly, and without taking one type for
//! another.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value as Json;

/// What a field is at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(Number),
    Bool(bool),
    /// Known to be not there, or to be nothing that compares: null, a list, a map.
    Nothing,
    /// It could not be had.
    Unknown,
}

/// A number as JSON has it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    /// Any `i64` or `u64`.
    Int(i128),
    /// Finite.
    Float(f64),
}

impl Number {
    /// A length.
    pub(super) fn count(count: usize) -> Self {
        // No text or list in memory is longer than this.
        Self::Int(i64::try_from(count).unwrap_or(i64::MAX).into())
    }

    /// Compares as numbers on one line: no integer is rounded to a float first.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => int_to_float(a, b),
            (Self::Float(a), Self::Int(b)) => int_to_float(b, a).reverse(),
        }
    }

    pub(super) fn to_json(self) -> Json {
        match self {
            Self::Int(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => Json::from(number),
                (_, Ok(number)) => Json::from(number),
                _ => Json::Null,
            },
            Self::Float(number) => Json::from(number),
        }
    }

    /// The integers next to it: at least one below, one above and, where it is an integer, itself.
    pub(super) fn integers_around(self) -> [i128; 4] {
        let (floor, ceiling) = match self {
            Self::Int(number) => (number, number),
            Self::Float(number) => (whole(number.floor()), whole(number.ceil())),
        };
        let below = floor.saturating_sub(1);
        [below, floor, ceiling, ceiling.saturating_add(1)]
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.compare(*other) == Ordering::Equal
    }
}

fn int_to_float(int: i128, float: f64) -> Ordering {
    let below = float.floor();
    let order = int.cmp(&whole(below));
    if order.is_eq() && float > below {
        return Ordering::Less;
    }
    order
}

/// A float without a fraction as an integer; one beyond all of JSON's integers stays beyond them.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "exact for whole numbers, and it saturates far beyond 64 bits"
)]
fn whole(float: f64) -> i128 {
    float as i128
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::Float(number) => write!(f, "{number:?}"),
        }
    }
}

impl<'a> Value<'a> {
    /// A leaf of metadata.
    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::String(text) => Self::Text(text),
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => {
                if let Some(int) = number.as_i64() {
                    Self::int(int)
                } else if let Some(int) = number.as_u64() {
                    Self::int(int)
                } else {
                    let float = number.as_f64().filter(|float| float.is_finite());
                    float.map_or(Self::Nothing, |float| Self::Number(Number::Float(float)))
                }
            }
            Json::Null | Json::Array(_) | Json::Object(_) => Self::Nothing,
        }
    }

    pub(super) fn int(number: impl Into<i128>) -> Self {
        Self::Number(Number::Int(number.into()))
    }

    /// A length.
    pub(super) fn count(count: usize) -> Self {
        Self::Number(Number::count(count))
    }

    pub(super) fn number(self) -> Option<Number> {
        if let Self::Number(number) = self {
            Some(number)
        } else {
            None
        }
    }

    pub(super) fn equals(self, other: Value<'_>) -> bool {
        match (self, other) {
            (Self::Text(a), Value::Text(b)) => a == b,
            (Self::Number(a), Value::Number(b)) => a == b,
            (Self::Bool(a), Value::Bool(b)) => a == b,
            _ => false,
        }
    }

    /// How it compares to another of its type that has an order.
    pub(super) fn order(self, other: Value<'_>) -> Option<Ordering> {
        match (self, other) {
            // Bytes of UTF-8 have the order of their code points.
            (Self::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Self::Number(a), Value::Number(b)) => Some(a.compare(b)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_exactly() {
        const EXACT: i128 = 1 << 53;
        let float = 9_007_199_254_740_992.0;
        for (a, b, expected) in [
            (Number::Int(EXACT), Number::Float(float), Ordering::Equal),
            (
                Number::Int(EXACT + 1),
                Number::Float(float),
                Ordering::Greater,
            ),
            (Number::Int(EXACT - 1), Number::Float(float), Ordering::Less),
            (
                Number::Int(-EXACT - 1),
                Number::Float(-float),
                Ordering::Less,
            ),
            (Number::Int(1), Number::Float(1.5), Ordering::Less),
            (Number::Int(2), Number::Float(1.5), Ordering::Greater),
            (Number::Int(-1), Number::Float(-1.5), Ordering::Greater),
            (Number::Int(-2), Number::Float(-1.5), Ordering::Less),
            (Number::Int(0), Number::Float(-0.0), Ordering::Equal),
            (
                Number::Int(u64::MAX.into()),
                Number::Float(1e300),
                Ordering::Less,
            ),
            (
                Number::Int(i64::MIN.into()),
                Number::Float(-1e300),
                Ordering::Greater,
            ),
            // The float next to i64::MAX is 2^63: one more.
            (
                Number::Int(i64::MAX.into()),
                Number::Float(9_223_372_036_854_775_808.0),
                Ordering::Less,
            ),
            (Number::Float(0.1), Number::Float(0.1), Ordering::Equal),
        ] {
            assert_eq!(a.compare(b), expected, "{a} and {b}");
            assert_eq!(b.compare(a), expected.reverse(), "{b} and {a}");
        }
    }
}
