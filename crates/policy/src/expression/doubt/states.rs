//! What each thing that is compared can be, as far as the expression can tell: each literal that
//! it is compared with, what lies between and beyond those, absent, another type.

use std::cmp::Ordering;

use super::super::lowered::{Comparison, Literal, Node, Operand, Test};
use super::super::value::{Number, Value};
use super::Limits;
use super::texts::{self, Asked};
use crate::facts::catalog::Shape;

/// So many states may one thing have.
const STATES_MAX: usize = 256;

/// All that is compared in an expression.
pub(super) struct Slots<'n>(Vec<Slot<'n>>);

struct Slot<'n> {
    of: SlotOf<'n>,
    states: Vec<State<'n>>,
    texts: Vec<&'n str>,
    numbers: Vec<Number>,
    text_tests: Vec<Asked<'n>>,
    ordered: bool,
    open: Open,
}

/// Which of a thing's tests may turn out either way, each by itself, as too much is asked of it.
#[derive(PartialEq)]
enum Open {
    None,
    TextTests,
    All,
}

#[derive(PartialEq)]
enum SlotOf<'n> {
    Operand(&'n Operand),
    /// A test of two fields, or an open one, which may turn out either way.
    Test(&'n Test),
}

#[derive(Clone, Copy)]
enum State<'n> {
    Absent,
    /// There, and of none of the types that it is compared with.
    Other,
    Bool(bool),
    Text(&'n str),
    /// Text right before this literal (after the last, for none), with the answers to its text
    /// tests, one in each bit.
    TextBefore(Option<&'n str>, u64),
    Number(Number),
    NumberBefore(Option<Number>),
}

const BOOLS: [State<'static>; 2] = [State::Bool(false), State::Bool(true)];

impl<'n> Slots<'n> {
    /// What the expression compares, and its states.
    pub(super) fn of(root: &'n Node, limits: Limits<'n>) -> Self {
        let mut slots = Self(Vec::new());
        root.each_test(true, &mut |test, _| slots.note(test));
        for slot in &mut slots.0 {
            slot.fill(limits);
        }
        root.each_test(true, &mut |test, _| slots.note_open(test));
        slots
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many states a slot has.
    pub(super) fn states(&self, slot: usize) -> usize {
        self.0.get(slot).map_or(0, |slot| slot.states.len())
    }

    /// The slot of a test and its answer in each of the states; none where it has no slot.
    pub(super) fn answers(&self, test: &'n Test) -> Option<(usize, Vec<bool>)> {
        let find = |of: &SlotOf<'_>| {
            let index = self.0.iter().position(|slot| slot.of == *of)?;
            Some((index, self.0.get(index)?))
        };
        if let Some((index, _)) = find(&SlotOf::Test(test)) {
            return Some((index, vec![false, true]));
        }
        let mut operands = test.operands();
        let (index, slot) = operands.find_map(|operand| find(&SlotOf::Operand(operand)))?;
        let answers = slot.states.iter().map(|state| slot.answer(test, *state));
        Some((index, answers.collect()))
    }

    /// What a test compares with which literals.
    fn note(&mut self, test: &'n Test) {
        if settled(test).is_some() {
            return;
        }
        let literal = |operand: &Operand| matches!(operand, Operand::Literal(_));
        match test {
            Test::Flag(operand) | Test::Has(operand) => self.with(operand, |_| ()),
            Test::Compare(how, Operand::Literal(with), operand)
            | Test::Compare(how, operand, Operand::Literal(with))
                if !literal(operand) =>
            {
                self.with(operand, |slot| {
                    slot.compared_with(with);
                    slot.ordered |= how.is_order();
                });
            }
            Test::In(operand, list) if !literal(operand) => self.with(operand, |slot| {
                for with in list {
                    slot.compared_with(with);
                }
            }),
            Test::Text(how, operand, Operand::Literal(Literal::Text(with)))
                if !literal(operand) =>
            {
                self.with(operand, |slot| {
                    let asked = (*how, &**with);
                    if !slot.text_tests.contains(&asked) {
                        slot.text_tests.push(asked);
                    }
                });
            }
            Test::Detail(..) => self.slot(SlotOf::Test(test), |_| ()),
            Test::Compare(_, left, right) | Test::Text(_, left, right)
                if !literal(left) || !literal(right) =>
            {
                self.slot(SlotOf::Test(test), |_| ());
            }
            Test::Always(_) | Test::Compare(..) | Test::In(..) | Test::Text(..) => {}
        }
    }

    /// Gives a test that is open a slot of its own.
    fn note_open(&mut self, test: &'n Test) {
        let open = self.0.iter().any(|slot| {
            let SlotOf::Operand(of) = slot.of else {
                return false;
            };
            let asked = match slot.open {
                Open::None => false,
                Open::TextTests => matches!(test, Test::Text(..)),
                Open::All => true,
            };
            asked && test.operands().any(|operand| operand == of)
        });
        if open && settled(test).is_none() {
            self.slot(SlotOf::Test(test), |slot| slot.states = BOOLS.to_vec());
        }
    }

    fn with(&mut self, operand: &'n Operand, change: impl FnOnce(&mut Slot<'n>)) {
        self.slot(SlotOf::Operand(operand), change);
    }

    fn slot(&mut self, of: SlotOf<'n>, change: impl FnOnce(&mut Slot<'n>)) {
        if let Some(known) = self.0.iter_mut().find(|slot| slot.of == of) {
            return change(known);
        }
        let mut slot = Slot {
            of,
            states: Vec::new(),
            texts: Vec::new(),
            numbers: Vec::new(),
            text_tests: Vec::new(),
            ordered: false,
            open: Open::None,
        };
        change(&mut slot);
        self.0.push(slot);
    }
}

impl<'n> Slot<'n> {
    fn compared_with(&mut self, literal: &'n Literal) {
        match literal {
            Literal::Text(text) => self.texts.push(text),
            Literal::Number(number) => self.numbers.push(*number),
            Literal::Bool(_) => {}
        }
    }

    /// Lists the states.
    fn fill(&mut self, limits: Limits<'n>) {
        self.texts.sort_unstable();
        self.texts.dedup();
        self.numbers.sort_by(|a, b| a.compare(*b));
        self.numbers.dedup();
        let SlotOf::Operand(operand) = self.of else {
            self.add_bools();
            return;
        };
        match operand {
            Operand::Field(field) => match field.shape {
                Shape::Text(_) | Shape::Word { .. } => {
                    let limit = limits.iter().find(|(name, _)| *name == field.name);
                    match limit.filter(|(_, words)| !words.is_empty()) {
                        Some((_, words)) => {
                            self.states.extend(words.iter().copied().map(State::Text));
                        }
                        None => self.add_texts(),
                    }
                }
                Shape::Flag(_) => self.add_bools(),
                Shape::Count(_) => self.add_whole_numbers(u32::MIN.into(), u32::MAX.into()),
                Shape::Time(_) => self.add_whole_numbers(i64::MIN.into(), i64::MAX.into()),
                Shape::KindDetails(_)
                | Shape::Tenant(_)
                | Shape::Attributes(_)
                | Shape::Metadata(_) => {}
            },
            Operand::Attribute(_) => {
                self.states.push(State::Absent);
                self.add_texts();
            }
            Operand::Metadata(..) => {
                self.states.extend([State::Absent, State::Other]);
                self.add_texts();
                self.add_numbers();
                self.add_bools();
            }
            Operand::Size(_) => {
                if !is_always_there(operand) {
                    self.states.push(State::Absent);
                }
                self.add_whole_numbers(0, i64::MAX.into());
            }
            Operand::Literal(_) | Operand::Attributes | Operand::KindDetails => {}
        }
        if self.states.is_empty() || self.states.len() > STATES_MAX {
            self.open = Open::All;
        }
    }

    fn add_bools(&mut self) {
        self.states.extend(BOOLS);
    }

    fn add_texts(&mut self) {
        let ways = texts::ways(&self.text_tests).unwrap_or_else(|| {
            self.open = Open::TextTests;
            vec![0]
        });
        self.states
            .extend(self.texts.iter().map(|text| State::Text(text)));
        // Without an order, all text that is equal to no literal is alike.
        let ordered = self.ordered;
        let gaps = self.texts.iter().filter(|text| ordered && !text.is_empty());
        for before in gaps.map(|text| Some(*text)).chain([None]) {
            self.states
                .extend(ways.iter().map(|way| State::TextBefore(before, *way)));
        }
    }

    /// Any numbers of JSON.
    fn add_numbers(&mut self) {
        for number in &self.numbers {
            self.states
                .extend([State::NumberBefore(Some(*number)), State::Number(*number)]);
        }
        self.states.push(State::NumberBefore(None));
    }

    /// Whole numbers from `min` to `max`: what lies outside, or between 3 and 4, is no state.
    fn add_whole_numbers(&mut self, min: i128, max: i128) {
        let mut lowest = min;
        for number in &self.numbers {
            let (floor, ceiling) = number.floor_and_ceiling();
            if lowest <= max.min(ceiling.saturating_sub(1)) {
                self.states.push(State::NumberBefore(Some(*number)));
            }
            if floor == ceiling && (lowest..=max).contains(&floor) {
                self.states.push(State::Number(*number));
            }
            lowest = lowest.max(floor.saturating_add(1));
        }
        if lowest <= max {
            self.states.push(State::NumberBefore(None));
        }
    }

    /// The answer of a test of this slot in one of its states.
    fn answer(&self, test: &Test, state: State<'_>) -> bool {
        match test {
            Test::Flag(_) => matches!(state, State::Bool(true)),
            Test::Has(_) => !matches!(state, State::Absent),
            Test::Compare(how, Operand::Literal(literal), _) => {
                state.compare(how.flipped(), literal)
            }
            Test::Compare(how, _, Operand::Literal(literal)) => state.compare(*how, literal),
            Test::In(_, list) => list
                .iter()
                .any(|literal| state.compare(Comparison::Equal, literal)),
            Test::Text(how, _, Operand::Literal(Literal::Text(with))) => match state {
                State::Text(is) => how.holds_for(is, with),
                State::TextBefore(_, answers) => self
                    .text_tests
                    .iter()
                    .position(|(known, of)| known == how && **of == **with)
                    .is_some_and(|index| answers >> index & 1 == 1),
                State::Absent
                | State::Other
                | State::Bool(_)
                | State::Number(_)
                | State::NumberBefore(_) => false,
            },
            Test::Always(_) | Test::Compare(..) | Test::Detail(..) | Test::Text(..) => false,
        }
    }
}

impl State<'_> {
    fn compare(self, how: Comparison, literal: &Literal) -> bool {
        // What is right before a literal is before that one and all after it.
        let placed = |before: bool| {
            how.holds_for(if before {
                Ordering::Less
            } else {
                Ordering::Greater
            })
        };
        match (self, literal) {
            (Self::Text(text), _) => how.of_known(Value::Text(text), literal.value()),
            (Self::Number(number), _) => how.of_known(Value::Number(number), literal.value()),
            (Self::Bool(flag), _) => how.of_known(Value::Bool(flag), literal.value()),
            (Self::TextBefore(next, _), Literal::Text(text)) => {
                placed(next.is_some_and(|next| next <= &**text))
            }
            (Self::NumberBefore(next), Literal::Number(number)) => {
                placed(next.is_some_and(|next| next.compare(*number).is_le()))
            }
            _ => how == Comparison::NotEqual,
        }
    }
}

/// The answer of a test that has the same one of all facts: it names no field, or one field twice.
pub(super) fn settled(test: &Test) -> Option<bool> {
    match test {
        Test::Always(flag) => Some(*flag),
        Test::Compare(how, Operand::Literal(left), Operand::Literal(right)) => {
            Some(how.of_known(left.value(), right.value()))
        }
        // Nothing is less than itself; what may be absent may not be equal to itself either.
        Test::Compare(how, left, right) if left == right => {
            let strict = matches!(how, Comparison::Less | Comparison::Greater);
            (strict || is_always_there(left)).then(|| how.holds_for(Ordering::Equal))
        }
        Test::In(Operand::Literal(item), list) => Some(list.contains(item)),
        Test::Text(
            how,
            Operand::Literal(Literal::Text(of)),
            Operand::Literal(Literal::Text(with)),
        ) => Some(how.holds_for(of, with)),
        Test::Text(_, of, with) => (of == with && is_always_there(of)).then_some(true),
        Test::Flag(_) | Test::Compare(..) | Test::In(..) | Test::Detail(..) | Test::Has(_) => None,
    }
}

/// Whether it is a value of its type wherever it is known.
fn is_always_there(operand: &Operand) -> bool {
    match operand {
        Operand::Literal(_) => true,
        Operand::Field(field) => !matches!(
            field.shape,
            Shape::KindDetails(_) | Shape::Attributes(_) | Shape::Metadata(_)
        ),
        Operand::Size(of) => {
            matches!(**of, Operand::Attributes | Operand::KindDetails) || is_always_there(of)
        }
        Operand::Attribute(_)
        | Operand::Metadata(..)
        | Operand::Attributes
        | Operand::KindDetails => false,
    }
}
