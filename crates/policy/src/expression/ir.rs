//! A checked expression as a small tree over facts: what is evaluated for every track.
//!
//! Nothing is allocated and no name is looked up but the keys of attributes and metadata.
//! A key that is absent, or holds another type than it is compared with, is a known fact: it
//! equals nothing, it is in no list and no order, and no text test holds of it. A fact that could
//! not be had leaves a test open, unless the other side fails it already, or its type does.

use std::cmp::Ordering;

use super::diagnostic::Span;
use super::operand::{Literal, Operand};
use super::value::Value;
use crate::facts::{Fact, Facts};
use crate::text::{PairTest, TextReader};
use crate::tri::Tri;

/// A condition and the text that it was made from.
#[derive(Debug, PartialEq)]
pub(super) struct Predicate {
    pub(super) what: Logic,
    pub(super) span: Span,
}

/// A condition: a test, or others joined.
#[derive(Debug, PartialEq)]
pub(super) enum Logic {
    Test(Test),
    Not(Box<Predicate>),
    /// Joined by `&&`.
    All(Box<[Predicate]>),
    /// Joined by `||`.
    Any(Box<[Predicate]>),
}

/// A condition that is not made of others.
#[derive(Debug, PartialEq)]
pub(super) enum Test {
    /// `true` or `false`.
    Always(bool),
    /// A field that is true or false.
    Flag(Operand),
    Compare(Comparison, Operand, Operand),
    In(Operand, Box<[Literal]>),
    /// The first is among the kind details, which the second is.
    Detail(Operand, Operand),
    Text(TextTest, Operand, Operand),
    Has(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl Predicate {
    /// Whether it holds.
    pub(super) fn holds(&self, facts: &Facts, texts: &mut TextReader<'_>) -> Tri {
        self.answer(&mut |test| test.holds(facts, texts))
    }

    /// Its answer, from those that `of_test` gives for its tests.
    pub(super) fn answer(&self, of_test: &mut impl FnMut(&Test) -> Tri) -> Tri {
        match &self.what {
            Logic::Test(test) => of_test(test),
            Logic::Not(inner) => !inner.answer(of_test),
            Logic::All(parts) => joined(parts, of_test, Tri::False),
            Logic::Any(parts) => joined(parts, of_test, Tri::True),
        }
    }

    /// Calls `visit` for every test, with whether it has to hold (or not to) for the whole to hold.
    pub(super) fn each_test<'n>(&'n self, expected: bool, visit: &mut impl FnMut(&'n Test, bool)) {
        match &self.what {
            Logic::Not(inner) => inner.each_test(!expected, visit),
            Logic::All(parts) | Logic::Any(parts) => {
                for part in parts {
                    part.each_test(expected, visit);
                }
            }
            Logic::Test(test) => visit(test, expected),
        }
    }
}

/// Joins the answers of parts: `decisive` if any part is.
fn joined(parts: &[Predicate], of_test: &mut impl FnMut(&Test) -> Tri, decisive: Tri) -> Tri {
    let mut answer = !decisive;
    for part in parts {
        match part.answer(of_test) {
            Tri::Unknown => answer = Tri::Unknown,
            known @ (Tri::True | Tri::False) if known == decisive => return decisive,
            Tri::True | Tri::False => {}
        }
    }
    answer
}

impl Test {
    fn holds(&self, facts: &Facts, texts: &mut TextReader<'_>) -> Tri {
        match self {
            Self::Always(flag) => Tri::from(*flag),
            Self::Flag(field) => match field.value(facts, texts) {
                Value::Bool(flag) => Tri::from(flag),
                Value::Unknown => Tri::Unknown,
                Value::Text(_) | Value::Number(_) | Value::Nothing => Tri::False,
            },
            Self::Compare(how, left, right) => how.of(left, right, facts, texts),
            Self::In(operand, list) => {
                let value = operand.value(facts, texts);
                if value == Value::Unknown {
                    return Tri::Unknown;
                }
                Tri::from(list.iter().any(|literal| value.equals(literal.value())))
            }
            Self::Detail(item, _) => is_detail(item.value(facts, texts), facts),
            Self::Text(how, of, with) => {
                let (of, with) = (of.value(facts, texts), with.value(facts, texts));
                how.of(of, with, texts)
            }
            Self::Has(operand) => operand.is_there(facts),
        }
    }

    /// What it compares.
    pub(super) fn operands(&self) -> impl Iterator<Item = &Operand> {
        let (left, right) = match self {
            Self::Flag(operand) | Self::In(operand, _) | Self::Has(operand) => {
                (Some(operand), None)
            }
            Self::Compare(_, left, right)
            | Self::Detail(left, right)
            | Self::Text(_, left, right) => (Some(left), Some(right)),
            Self::Always(_) => (None, None),
        };
        left.into_iter().chain(right)
    }
}

/// What was not read, as it was too much, is unknown.
fn read(known: Option<bool>) -> Tri {
    known.map_or(Tri::Unknown, Tri::from)
}

/// Whether this is one of the participant's kind details.
fn is_detail(item: Value<'_>, facts: &Facts) -> Tri {
    match (item, &facts.participant.kind_details) {
        (Value::Number(_) | Value::Bool(_) | Value::Nothing, _) => Tri::False,
        (_, Fact::Known(details)) if details.is_empty() => Tri::False,
        (Value::Text(word), Fact::Known(details)) => {
            Tri::from(details.iter().any(|detail| detail.as_str() == word))
        }
        (Value::Unknown, _) | (_, Fact::Unknown) => Tri::Unknown,
    }
}

impl Comparison {
    fn of(self, left: &Operand, right: &Operand, facts: &Facts, texts: &mut TextReader<'_>) -> Tri {
        let known = match (left.value(facts, texts), right.value(facts, texts)) {
            (Value::Nothing, _) | (_, Value::Nothing) => self == Self::NotEqual,
            (Value::Unknown, known) if self.is_apart(left, known) => self == Self::NotEqual,
            (known, Value::Unknown) if self.is_apart(right, known) => self == Self::NotEqual,
            (Value::Unknown, _) | (_, Value::Unknown) => return Tri::Unknown,
            (Value::Text(left), Value::Text(right)) => return self.of_texts(left, right, texts),
            (left, right) => self.of_known(left, right),
        };
        Tri::from(known)
    }

    /// Whether nothing that the unknown operand may turn out to be compares with this value.
    fn is_apart(self, unknown: &Operand, known: Value<'_>) -> bool {
        match known {
            Value::Bool(_) if self.is_order() => true,
            Value::Text(_) => unknown.is_number() || unknown.is_flag(),
            Value::Number(_) => unknown.is_text() || unknown.is_flag(),
            Value::Bool(_) => unknown.is_text() || unknown.is_number(),
            Value::Nothing | Value::Unknown => false,
        }
    }

    fn of_texts(self, left: &str, right: &str, texts: &mut TextReader<'_>) -> Tri {
        let mut compare = |test, one, other| read(texts.compare(test, one, other));
        match self {
            Self::Equal => compare(PairTest::Equals, left, right),
            Self::NotEqual => !compare(PairTest::Equals, left, right),
            // Bytes of UTF-8 have the order of their code points.
            Self::Less => compare(PairTest::IsLess, left, right),
            Self::LessOrEqual => !compare(PairTest::IsLess, right, left),
            Self::Greater => compare(PairTest::IsLess, right, left),
            Self::GreaterOrEqual => !compare(PairTest::IsLess, left, right),
        }
    }

    /// Of values that could be had.
    pub(super) fn of_known(self, left: Value<'_>, right: Value<'_>) -> bool {
        match self {
            Self::Equal => left.equals(right),
            Self::NotEqual => !left.equals(right),
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                left.order(right).is_some_and(|order| self.holds_for(order))
            }
        }
    }

    pub(super) fn holds_for(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Whether it asks for an order rather than for sameness.
    pub(super) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// The same with its sides exchanged.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same @ (Self::Equal | Self::NotEqual) => same,
        }
    }
}

/// The text tests by the names of their functions.
pub(super) const TEXT_TESTS: &[(&str, TextTest)] = &[
    ("startsWith", TextTest::StartsWith),
    ("endsWith", TextTest::EndsWith),
    ("contains", TextTest::Contains),
];

impl TextTest {
    fn of(self, text: Value<'_>, with: Value<'_>, texts: &mut TextReader<'_>) -> Tri {
        match (text, with) {
            (Value::Text(text), Value::Text(with)) => read(match self {
                Self::StartsWith => texts.compare(PairTest::StartsWith, text, with),
                Self::EndsWith => texts.compare(PairTest::EndsWith, text, with),
                Self::Contains => texts.contains(text, with),
            }),
            (Value::Unknown, Value::Unknown | Value::Text(_))
            | (Value::Text(_), Value::Unknown) => Tri::Unknown,
            // One side is no text, whatever the other turns out to be.
            _ => Tri::False,
        }
    }

    pub(super) fn holds_for(self, text: &str, with: &str) -> bool {
        match self {
            Self::StartsWith => text.starts_with(with),
            Self::EndsWith => text.ends_with(with),
            Self::Contains => text.contains(with),
        }
    }
}
