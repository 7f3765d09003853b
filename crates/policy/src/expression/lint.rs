//! Conditions that are always or never true because of what one operand can be:
//! `room.num_participants >= 0`, or `track.source == "CAMERA" && track.source == "MICROPHONE"`.
//!
//! The tests of an operand compare it with a few literals. Every value between two of them answers
//! the same, so a handful of values stands for all that it can be, and a condition that has one
//! answer for each of those has it for every track. There is no false alarm: a text test (such as
//! `startsWith`) of a text that is no literal may come out either way, and a condition that only two
//! operands together make constant is not reported.

use std::cmp::Ordering;

use super::diagnostic::{Span, SpannedDiagnostic};
use super::ir::{Comparison, Logic, Predicate, Test};
use super::operand::{Literal, Operand};
use super::value::{Number, Value};
use super::{Expression, ExpressionProblem};
use crate::facts::catalog::FactType;
use crate::tri::Tri;

/// Fields with the words that `match` allows them; any word, where the list is empty.
pub(crate) type Limits<'l> = &'l [(&'static str, Vec<&'l str>)];

impl Expression {
    /// The conditions in it that are always or never true: the whole, or the largest below it. Those
    /// that are so only where fields have one of these words are told apart.
    pub(crate) fn constant_conditions(&self, limits: Limits<'_>) -> Vec<ExpressionProblem> {
        let root = &self.0.root;
        let mut anywhere = Vec::new();
        find(root, &[], &mut anywhere);
        let mut within = Vec::new();
        find(root, limits, &mut within);
        within.retain(|found| !anywhere.contains(found));
        let lint = |(span, always): (Span, bool), where_: &str| {
            let says = if always { "always" } else { "never" };
            let (part, so, hint) = match (span == root.span, always) {
                (true, true) => ("", "", "leave `when` out, or mend it"),
                (true, false) => ("", ", so the policy does nothing", "mend it"),
                (false, _) => (" part", "", "leave it out, or mend it"),
            };
            let message = format!("this{part} is {says} true{where_}{so}");
            SpannedDiagnostic::new(span, message, hint).in_text(self.text())
        };
        let anywhere = anywhere.into_iter().map(|found| lint(found, ""));
        let within = within.into_iter();
        anywhere
            .chain(within.map(|found| lint(found, " of what `match` is about")))
            .collect()
    }
}

/// The conditions with one answer: the largest, from the top down.
pub(super) fn find(node: &Predicate, limits: Limits<'_>, found: &mut Vec<(Span, bool)>) {
    match (constant(node, limits), &node.what) {
        (Some(answer), _) => found.push((node.span, answer)),
        (None, Logic::Not(inner)) => find(inner, limits, found),
        (None, Logic::All(parts) | Logic::Any(parts)) => {
            parts.iter().for_each(|part| find(part, limits, found));
        }
        (None, Logic::Test(_)) => {}
    }
}

/// The answer of a condition, where all tracks have the same.
fn constant(node: &Predicate, limits: Limits<'_>) -> Option<bool> {
    if operands(node).len() < 2 {
        let is = |answer: &bool| one_is_always(*answer, &[node], limits);
        return [true, false].into_iter().find(is);
    }
    match &node.what {
        Logic::Not(inner) => constant(inner, limits).map(|answer| !answer),
        Logic::All(parts) => joined(parts, false, limits),
        Logic::Any(parts) => joined(parts, true, limits),
        Logic::Test(_) => None,
    }
}

/// The answer of parts of which each decides the whole by being `decisive`.
fn joined(parts: &[Predicate], decisive: bool, limits: Limits<'_>) -> Option<bool> {
    let answers: Vec<_> = parts.iter().map(|part| constant(part, limits)).collect();
    let together = |operand: &Operand| {
        let about_it = |part: &&Predicate| operands(part).as_slice() == [operand];
        let parts: Vec<_> = parts.iter().filter(about_it).collect();
        one_is_always(decisive, &parts, limits)
    };
    if answers.contains(&Some(decisive)) || parts.iter().flat_map(operands).any(together) {
        return Some(decisive);
    }
    let all = answers.iter().all(|answer| *answer == Some(!decisive));
    all.then_some(!decisive)
}

/// Whether one at least of these conditions on one operand has this answer, whatever that is.
fn one_is_always(answer: bool, nodes: &[&Predicate], limits: Limits<'_>) -> bool {
    let states = states(nodes, limits);
    let is = |state: &Ordered<'_>| {
        let of_test = |test: &Test| state.test(test);
        nodes
            .iter()
            .any(|node| node.answer(&mut { of_test }) == answer.into())
    };
    !states.is_empty() && states.iter().all(is)
}

/// What a condition reads.
fn operands(node: &Predicate) -> Vec<&Operand> {
    let mut found: Vec<&Operand> = Vec::new();
    node.each_test(true, &mut |test, _| {
        for operand in test.operands() {
            if operand.literal().is_none() && !found.contains(&operand) {
                found.push(operand);
            }
        }
    });
    found
}

/// What the operand is: this value, or (`Greater`) one right after it, or (`Less`) absent.
#[derive(Clone, Copy, PartialEq)]
struct Ordered<'n>(Value<'n>, Ordering);

const ABSENT: Ordered<'_> = Ordered(Value::Nothing, Ordering::Less);
/// There, and nothing that compares: null, a list, a map.
const INCOMPARABLE: Ordered<'_> = Ordered(Value::Nothing, Ordering::Equal);

/// All that the one operand of these conditions can be, as far as they can tell; empty where that is
/// not known.
fn states<'n>(nodes: &[&'n Predicate], limits: Limits<'n>) -> Vec<Ordered<'n>> {
    let Some(operand) = nodes.iter().flat_map(|node| operands(node)).next() else {
        return vec![ABSENT];
    };
    let literals = literals(nodes);
    let is = |value| Ordered(value, Ordering::Equal);
    let values_and_gaps = |lowest: &[Value<'n>]| -> Vec<_> {
        let values = literals.iter().chain(lowest);
        let states = values.flat_map(|value| [is(*value), Ordered(*value, Ordering::Greater)]);
        states.collect()
    };
    let integers = |min: i64, max: i64| -> Vec<_> {
        let (min, max) = (i128::from(min), i128::from(max));
        let near = literals.iter().filter_map(|value| value.number());
        let near = near.flat_map(Number::integers_around).chain([min, max]);
        let possible = near.filter(|number| (min..=max).contains(number));
        possible.map(|number| is(Value::int(number))).collect()
    };
    let flags = [false, true].map(|flag| is(Value::Bool(flag)));
    let mut states = match operand {
        Operand::Field(field) => match field.shape {
            FactType::Text(_) | FactType::Word { .. } => {
                let named = |limit: &&(&str, Vec<_>)| limit.0 == field.name && !limit.1.is_empty();
                match limits.iter().find(named) {
                    Some((_, words)) => words.iter().map(|word| is(Value::Text(word))).collect(),
                    None => values_and_gaps(&[Value::Text("")]),
                }
            }
            FactType::Flag(_) => flags.to_vec(),
            FactType::Count(_) => integers(0, u32::MAX.into()),
            FactType::Time(_) => integers(i64::MIN, i64::MAX),
            FactType::KindDetails(_)
            | FactType::Tenant(_)
            | FactType::Attributes(_)
            | FactType::Metadata(_) => Vec::new(),
        },
        Operand::Attribute(_) => values_and_gaps(&[Value::Text("")]),
        Operand::Metadata(..) => {
            let values = values_and_gaps(&[Value::Text(""), Value::int(i128::MIN)]);
            [values.as_slice(), &flags, &[INCOMPARABLE]].concat()
        }
        Operand::Size(_) => integers(0, i64::MAX),
        Operand::Literal(_) | Operand::Attributes | Operand::KindDetails => Vec::new(),
    };
    let of = if let Operand::Size(of) = operand {
        of
    } else {
        operand
    };
    if matches!(of, Operand::Attribute(_) | Operand::Metadata(..)) {
        states.push(ABSENT);
    }
    states
}

/// What the tests of these conditions compare with.
fn literals<'n>(nodes: &[&'n Predicate]) -> Vec<Value<'n>> {
    let mut literals = Vec::new();
    for node in nodes {
        node.each_test(true, &mut |test, _| {
            literals.extend(test.operands().filter_map(Operand::literal));
            if let Test::In(_, list) = test {
                literals.extend(list.iter().map(Literal::value));
            }
        });
    }
    literals
}

impl Ordered<'_> {
    /// The answer of a test of the operand that is this.
    fn test(self, test: &Test) -> Tri {
        let known = match test {
            Test::Always(flag) => *flag,
            Test::Flag(_) => self.compares(Comparison::Equal, Value::Bool(true)),
            Test::Has(_) => self != ABSENT,
            Test::In(Operand::Literal(item), list) => list.contains(item),
            Test::In(_, list) => list
                .iter()
                .any(|literal| self.compares(Comparison::Equal, literal.value())),
            Test::Compare(how, left, right) => match (left.literal(), right.literal()) {
                (Some(left), Some(right)) => how.of_known(left, right),
                (Some(left), None) => self.compares(how.flipped(), left),
                (None, Some(right)) => self.compares(*how, right),
                // The operand with itself: what is absent equals nothing, not even that.
                (None, None) if self.0 == Value::Nothing => *how == Comparison::NotEqual,
                (None, None) => how.holds_for(Ordering::Equal),
            },
            Test::Text(how, of, with) => {
                let (of, with) = (self.part(of), self.part(with));
                let (Value::Text(whole), Value::Text(part)) = (of.0, with.0) else {
                    return Tri::False;
                };
                let exact = of.1.is_eq() && with.1.is_eq();
                match with {
                    Ordered(Value::Text(""), Ordering::Equal) => true,
                    same if same == of => true,
                    _ if exact => how.holds_for(whole, part),
                    _ => return Tri::Unknown,
                }
            }
            Test::Detail(..) => return Tri::Unknown,
        };
        Tri::from(known)
    }

    /// What an operand of a test is: a literal, or else the one that is in this state.
    fn part<'a>(&'a self, operand: &'a Operand) -> Ordered<'a> {
        let literal = operand.literal();
        literal.map_or(*self, |literal| Ordered(literal, Ordering::Equal))
    }

    fn compares(self, how: Comparison, with: Value<'_>) -> bool {
        let Self(value, side) = self;
        match value.order(with) {
            Some(order) => how.holds_for(order.then(side)),
            None if side.is_eq() => how.of_known(value, with),
            None => how == Comparison::NotEqual,
        }
    }
}
