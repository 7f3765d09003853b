//! Whether participants can make an expression come out as they like, by what they write
//! themselves.

use super::Expression;
use super::lowered::{Comparison, Literal, Node, Operand, Test, What};
use super::value::Value;
use crate::facts::catalog::{Control, Shape};

/// What makes a condition come out one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sway {
    /// Who the participant is by its token: nothing that it can change.
    Bound,
    /// Something else, which may be as it wants.
    Open,
    /// What it writes itself.
    Own,
}

impl Sway {
    /// What makes both come out that way.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Bound, _) | (_, Self::Bound) => Self::Bound,
            (one, other) => one.max(other),
        }
    }
}

impl Expression {
    /// What makes it hold.
    pub(crate) fn sway_to_hold(&self) -> Sway {
        sway(&self.0.root, true, true)
    }

    /// What makes it fail, where that takes a particular value (a role that is `host`) and not
    /// just any other.
    pub(crate) fn sway_to_fail(&self) -> Sway {
        sway(&self.0.root, false, false)
    }

    /// What the participant writes of that which it names.
    pub(crate) fn own_words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        self.0.root.each_test(true, &mut |test, _| {
            words.extend(own_words(test));
        });
        words
    }

    /// Whether it asks for the source `MICROPHONE` and not for `UNKNOWN`, which one may be as well.
    pub(crate) fn misses_unnamed_microphones(&self) -> bool {
        let (mut microphone, mut unknown) = (false, false);
        self.0.root.each_test(true, &mut |test, wanted| {
            let is_source = |operand: &Operand| {
                operand
                    .field()
                    .is_some_and(|field| field.name == "track.source")
            };
            if !test.operands().any(is_source) {
                return;
            }
            let is = |word: &str, literal: &Literal| literal.value() == Value::Text(word);
            let names = |word: &str| match test {
                Test::In(_, list) => list.iter().any(|literal| is(word, literal)),
                Test::Compare(..)
                | Test::Detail(..)
                | Test::Always(_)
                | Test::Flag(_)
                | Test::Text(..)
                | Test::Has(_) => test.operands().any(
                    |operand| matches!(operand, Operand::Literal(literal) if is(word, literal)),
                ),
            };
            let asked = !matches!(test, Test::Compare(Comparison::NotEqual, ..));
            microphone |= wanted == asked && names("MICROPHONE");
            // However it is named, its author has thought of it.
            unknown |= names("UNKNOWN");
        });
        microphone && !unknown
    }
}

fn own_words(test: &Test) -> impl Iterator<Item = &'static str> {
    test.operands()
        .filter_map(|operand| operand.field()?.participant_controlled())
}

/// What makes a condition come out as `wanted`; by their own words, also where `any_other` value
/// than the one that is named does it.
fn sway(node: &Node, wanted: bool, any_other: bool) -> Sway {
    let below = |parts: &[Node]| -> Vec<Sway> {
        parts
            .iter()
            .map(|part| sway(part, wanted, any_other))
            .collect()
    };
    match &node.what {
        What::Not(inner) => sway(inner, !wanted, any_other),
        // All parts have to come out so ...
        What::All(parts) if wanted => below(parts).into_iter().fold(Sway::Open, Sway::and),
        What::Any(parts) if !wanted => below(parts).into_iter().fold(Sway::Open, Sway::and),
        // ... or one of them.
        What::All(parts) | What::Any(parts) => below(parts).into_iter().max().unwrap_or(Sway::Open),
        What::Test(test) => {
            // To be one of the staff takes an identity; not to be one of them takes nothing.
            let named = wanted != matches!(test, Test::Compare(Comparison::NotEqual, ..));
            if own_words(test).next().is_some() && (named || any_other) {
                Sway::Own
            } else if binds(test, wanted) {
                Sway::Bound
            } else {
                Sway::Open
            }
        }
    }
}

/// Whether a test comes out as `wanted` only for some that their tokens tell from all others.
/// Whoever has a client is `STANDARD` without details, and of everybody's identity something is so: its length,
/// its place in an order.
fn binds(test: &Test, wanted: bool) -> bool {
    const ANYBODY: Value<'_> = Value::Text("STANDARD");
    let any_text = Value::Text("");
    match test {
        Test::Compare(how, kind, Operand::Literal(word))
        | Test::Compare(how, Operand::Literal(word), kind)
            if is_kind(kind) =>
        {
            how.of_known(ANYBODY, word.value()) != wanted
        }
        Test::In(kind, words) if is_kind(kind) => {
            words.iter().any(|word| word.value() == ANYBODY) != wanted
        }
        Test::Compare(how, Operand::Size(of), Operand::Literal(number))
        | Test::Compare(how, Operand::Literal(number), Operand::Size(of))
            if **of == Operand::KindDetails =>
        {
            let literal_first = matches!(test, Test::Compare(_, Operand::Literal(_), _));
            let how = if literal_first { how.flipped() } else { *how };
            how.of_known(Value::count(0), number.value()) != wanted
        }
        Test::Detail(..) => wanted,
        Test::Compare(how, left, right) => {
            let asked = match how {
                Comparison::Equal => wanted,
                Comparison::NotEqual => !wanted,
                Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Greater
                | Comparison::GreaterOrEqual => false,
            };
            asked && left != right && (is_bound(left) || is_bound(right))
        }
        Test::In(item, _) => wanted && is_bound(item),
        Test::Text(_, of, with) => {
            let empty = |operand: &Operand| matches!(operand, Operand::Literal(literal) if literal.value() == any_text);
            wanted && of != with && !empty(with) && (is_bound(of) || is_bound(with))
        }
        Test::Always(_) | Test::Flag(_) | Test::Has(_) => false,
    }
}

fn is_bound(operand: &Operand) -> bool {
    matches!(operand, Operand::Field(field) if field.control == Control::Token)
}

fn is_kind(operand: &Operand) -> bool {
    is_bound(operand)
        && matches!(operand, Operand::Field(field) if matches!(field.shape, Shape::Word { .. }))
}
