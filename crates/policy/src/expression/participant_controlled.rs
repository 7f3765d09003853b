//! Whether participants control how an expression comes out, by what they set themselves.

use super::Expression;
use super::ir::{Comparison, Logic, Predicate, Test};
use super::operand::{Literal, Operand};
use super::value::Value;
use crate::facts::catalog::{FactType, SetBy};

/// Who controls that a condition comes out one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Control {
    /// Whoever issues the participant's token: it says who the participant is.
    Token,
    /// Somebody else, or nobody.
    Other,
    /// The participant, by what it sets itself.
    Participant,
}

impl Control {
    /// Who controls that two conditions both come out that way.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Token, _) | (_, Self::Token) => Self::Token,
            (one, other) => one.max(other),
        }
    }
}

impl Expression {
    /// Who controls that it holds.
    pub(crate) fn holds_by(&self) -> Control {
        control(&self.0.root, true, true, false)
    }

    /// Who controls that it fails. The participant does only where it has to set a particular value (a
    /// role that is `host`), and not any other.
    pub(crate) fn fails_by(&self) -> Control {
        control(&self.0.root, false, false, false)
    }

    /// Whether it holds only of participants who cannot write their attributes and metadata.
    pub(crate) fn holds_of_not_updatable(&self) -> bool {
        is_not_updatable(&self.0.root, true)
    }

    /// What the participant sets itself, of the fields that it reads.
    pub(crate) fn participant_controlled(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        self.0.root.each_test(true, &mut |test, _| {
            words.extend(participant_controlled(test));
        });
        words
    }

    /// Whether it asks for the source `MICROPHONE` and not for `UNKNOWN`, which a microphone may have
    /// as well.
    pub(crate) fn misses_unnamed_microphones(&self) -> bool {
        let (mut microphone, mut unknown) = (false, false);
        self.0.root.each_test(true, &mut |test, expected| {
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
            microphone |= expected == asked && names("MICROPHONE");
            // However it is named, its author has thought of it.
            unknown |= names("UNKNOWN");
        });
        microphone && !unknown
    }
}

fn participant_controlled(test: &Test) -> impl Iterator<Item = &'static str> {
    test.operands()
        .filter_map(|operand| operand.field()?.participant_controlled())
}

/// Who controls that a condition comes out as `expected`. With `any_other`, participants control it also
/// where any value but the one that it names will do. `may_not_update`: their permissions let them write
/// nothing of their own name, attributes and metadata, or it comes out otherwise.
fn control(node: &Predicate, expected: bool, any_other: bool, may_not_update: bool) -> Control {
    let of = |part, may_not_update| control(part, expected, any_other, may_not_update);
    match &node.what {
        Logic::Not(inner) => control(inner, !expected, any_other, may_not_update),
        Logic::All(parts) | Logic::Any(parts) => {
            if matches!(node.what, Logic::All(_)) == expected {
                // All parts have to come out so ...
                let asked = parts.iter().any(|part| is_not_updatable(part, expected));
                let of = |part| of(part, may_not_update || asked);
                return parts.iter().map(of).fold(Control::Other, Control::and);
            }
            // ... or one of them.
            let of = |part| of(part, may_not_update);
            parts.iter().map(of).max().unwrap_or(Control::Other)
        }
        Logic::Test(test) => {
            // To be one of the staff takes an identity; not to be one of them takes nothing.
            let named = expected != matches!(test, Test::Compare(Comparison::NotEqual, ..));
            let own = |operand: &Operand| {
                operand.field().is_some_and(|field| {
                    let is_updated = field.name.starts_with("participant.");
                    field.participant_controlled().is_some() && !(may_not_update && is_updated)
                })
            };
            if test.operands().any(own) && (named || any_other) {
                Control::Participant
            } else if needs_token(test, expected) {
                Control::Token
            } else {
                Control::Other
            }
        }
    }
}

/// Whether a part comes out as `expected` only where participants cannot write their metadata.
fn is_not_updatable(part: &Predicate, expected: bool) -> bool {
    let is_asked = |operand: &Operand| matches!(operand, Operand::Field(field) if field.name == "participant.can_update_metadata");
    match &part.what {
        Logic::Not(inner) => is_not_updatable(inner, !expected),
        Logic::Test(Test::Flag(operand)) => !expected && is_asked(operand),
        Logic::Test(
            Test::Compare(how, operand, Operand::Literal(flag))
            | Test::Compare(how, Operand::Literal(flag), operand),
        ) if is_asked(operand) => how.of_known(Value::Bool(true), flag.value()) != expected,
        // All parts of it have to come out so.
        Logic::All(parts) if expected => parts.iter().any(|it| is_not_updatable(it, expected)),
        Logic::Any(parts) if !expected => parts.iter().any(|it| is_not_updatable(it, expected)),
        Logic::All(_) | Logic::Any(_) | Logic::Test(_) => false,
    }
}

/// Whether a test comes out as `expected` only for participants with certain tokens. Anybody with a client
/// is `STANDARD` without details, and an identity's length, or its place in an order, tells nobody
/// from others.
fn needs_token(test: &Test, expected: bool) -> bool {
    const ANYBODY: Value<'_> = Value::Text("STANDARD");
    let any_text = Value::Text("");
    match test {
        Test::Compare(how, kind, Operand::Literal(word))
        | Test::Compare(how, Operand::Literal(word), kind)
            if is_kind(kind) =>
        {
            how.of_known(ANYBODY, word.value()) != expected
        }
        Test::In(kind, words) if is_kind(kind) => {
            words.iter().any(|word| word.value() == ANYBODY) != expected
        }
        Test::Compare(how, Operand::Size(of), Operand::Literal(number))
        | Test::Compare(how, Operand::Literal(number), Operand::Size(of))
            if **of == Operand::KindDetails =>
        {
            let literal_first = matches!(test, Test::Compare(_, Operand::Literal(_), _));
            let how = if literal_first { how.flipped() } else { *how };
            how.of_known(Value::count(0), number.value()) != expected
        }
        Test::Detail(..) => expected,
        Test::Compare(how, left, right) => {
            let asked = match how {
                Comparison::Equal => expected,
                Comparison::NotEqual => !expected,
                Comparison::Less
                | Comparison::LessOrEqual
                | Comparison::Greater
                | Comparison::GreaterOrEqual => false,
            };
            asked && left != right && (is_from_token(left) || is_from_token(right))
        }
        Test::In(item, _) => expected && is_from_token(item),
        Test::Text(_, of, with) => {
            let empty = |operand: &Operand| matches!(operand, Operand::Literal(literal) if literal.value() == any_text);
            expected && of != with && !empty(with) && (is_from_token(of) || is_from_token(with))
        }
        Test::Always(_) | Test::Flag(_) | Test::Has(_) => false,
    }
}

fn is_from_token(operand: &Operand) -> bool {
    matches!(operand, Operand::Field(field) if field.set_by == SetBy::Token)
}

fn is_kind(operand: &Operand) -> bool {
    is_from_token(operand)
        && matches!(operand, Operand::Field(field) if matches!(field.shape, FactType::Word { .. }))
}
