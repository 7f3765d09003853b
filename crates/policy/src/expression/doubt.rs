//! Parts of an expression that are true, or false, whatever the facts are.
//!
//! Everything that is compared is in one of a few states (`states`), and each test has one answer
//! in each of them. The product of all states shows every answer that facts can have, and some
//! that they cannot: what is compared with another field, or tested as text, answers both ways.
//! Hence no false alarm, and silence where a contradiction is subtle or there are too many states.
//! Parts that share nothing that is compared are looked at apart: all of them hold together
//! unless one of them never does.

mod states;
mod texts;

use super::fault::{Fault, Span};
use super::lowered::{Node, Operand, What};
use super::{Expression, ExpressionProblem};
use states::Slots;

/// So many combinations of states are looked at for one expression.
const COMBINATIONS_MAX: usize = 4_096;

/// Fields, each with the words that it is one of; any, where there are none.
pub(crate) type Limits<'l> = &'l [(&'static str, Vec<&'l str>)];

impl Expression {
    /// The parts that are always true or never: the whole, or the largest below it.
    #[must_use]
    pub fn doubts(&self) -> Vec<ExpressionProblem> {
        self.doubts_within(&[])
    }

    /// The same; also what is always true or never where these fields are one of these words.
    pub(crate) fn doubts_within(&self, limits: Limits<'_>) -> Vec<ExpressionProblem> {
        let root = &self.0.root;
        let anywhere = Constants::of(root, &[]);
        let within = if self.asks_of(limits) {
            Constants::of(root, limits)
        } else {
            Vec::new()
        };
        let fault = |(span, always): (Span, bool), where_: &str| {
            let part = if span == root.span { "" } else { " part" };
            let (says, hint) = match (span == root.span, always) {
                (true, true) => ("always true", "leave `when` out, or mend it"),
                (true, false) => ("never true", "mend it"),
                (false, true) => ("always true", "leave it out, or mend it"),
                (false, false) => ("never true", "leave it out, or mend it"),
            };
            let idle = span == root.span && !always;
            let so = if idle {
                ", so the policy does nothing"
            } else {
                ""
            };
            Fault::new(span, format!("this{part} is {says}{where_}{so}"), hint).in_text(self.text())
        };
        let more = within.iter().filter(|found| !anywhere.contains(found));
        let anywhere = anywhere.iter().map(|found| fault(*found, ""));
        anywhere
            .chain(more.map(|found| fault(*found, " of what `match` is about")))
            .collect()
    }

    /// Whether it names a field that is limited.
    fn asks_of(&self, limits: Limits<'_>) -> bool {
        let mut asks = false;
        self.0.root.each_test(true, &mut |test, _| {
            let mut fields = test.operands().filter_map(Operand::field);
            asks |= fields.any(|field| {
                let limited =
                    |(name, words): &(&str, Vec<_>)| *name == field.name && !words.is_empty();
                limits.iter().any(limited)
            });
        });
        asks
    }
}

/// A condition over states.
struct Model {
    what: Modelled,
    span: Span,
    /// The slots that it depends on.
    slots: Vec<usize>,
}

enum Modelled {
    Always(bool),
    /// The answer in each of a slot's states.
    Test(usize, Vec<bool>),
    Not(Box<Model>),
    All(Vec<Model>),
    Any(Vec<Model>),
}

impl Model {
    /// None where a test has no slot.
    fn new(node: &Node, slots: &Slots<'_>) -> Option<Self> {
        let all = |parts: &[Node]| -> Option<Vec<_>> {
            parts.iter().map(|part| Self::new(part, slots)).collect()
        };
        let what = match &node.what {
            What::Not(inner) => Modelled::Not(Box::new(Self::new(inner, slots)?)),
            What::All(parts) => Modelled::All(all(parts)?),
            What::Any(parts) => Modelled::Any(all(parts)?),
            What::Test(test) => {
                if let Some(flag) = states::settled(test) {
                    Modelled::Always(flag)
                } else {
                    let (slot, answers) = slots.answers(test)?;
                    Modelled::Test(slot, answers)
                }
            }
        };
        let mut slots = match &what {
            Modelled::Always(_) => Vec::new(),
            Modelled::Test(slot, _) => vec![*slot],
            Modelled::Not(inner) => inner.slots.clone(),
            Modelled::All(parts) | Modelled::Any(parts) => {
                parts.iter().flat_map(|part| part.slots.clone()).collect()
            }
        };
        slots.sort_unstable();
        slots.dedup();
        Some(Self {
            what,
            span: node.span,
            slots,
        })
    }

    /// Whether it holds where each slot is in the state of this number.
    fn holds(&self, states: &[usize]) -> bool {
        match &self.what {
            Modelled::Always(flag) => *flag,
            Modelled::Test(slot, answers) => states
                .get(*slot)
                .and_then(|state| answers.get(*state))
                .is_some_and(|answer| *answer),
            Modelled::Not(inner) => !inner.holds(states),
            Modelled::All(parts) => parts.iter().all(|part| part.holds(states)),
            Modelled::Any(parts) => parts.iter().any(|part| part.holds(states)),
        }
    }
}

/// Parts of a condition that share slots, directly or by others of them.
struct Group<'m> {
    slots: Vec<usize>,
    parts: Vec<&'m Model>,
}

impl<'m> Group<'m> {
    fn all_of(parts: &'m [Model]) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for part in parts {
            let mut joined = Self {
                slots: part.slots.clone(),
                parts: vec![part],
            };
            let shares = |group: &Self| group.slots.iter().any(|slot| part.slots.contains(slot));
            let (together, apart) = groups.into_iter().partition::<Vec<_>, _>(shares);
            for mut group in together {
                joined.slots.append(&mut group.slots);
                joined.parts.append(&mut group.parts);
            }
            joined.slots.sort_unstable();
            joined.slots.dedup();
            groups = apart;
            groups.push(joined);
        }
        groups
    }

    /// Those of its parts that depend on one slot alone, for each slot.
    fn by_slot(&self) -> impl Iterator<Item = Self> {
        self.slots.iter().map(|slot| Self {
            slots: vec![*slot],
            parts: self
                .parts
                .iter()
                .copied()
                .filter(|part| part.slots == [*slot])
                .collect(),
        })
    }
}

struct Constants<'s> {
    slots: &'s Slots<'s>,
    budget: usize,
    found: Vec<(Span, bool)>,
}

impl Constants<'_> {
    /// The constant parts of a condition.
    fn of(root: &Node, limits: Limits<'_>) -> Vec<(Span, bool)> {
        let slots = Slots::of(root, limits);
        let mut constants = Constants {
            slots: &slots,
            budget: COMBINATIONS_MAX,
            found: Vec::new(),
        };
        if let Some(model) = Model::new(root, &slots) {
            constants.look(&model);
        }
        constants.found
    }

    fn look(&mut self, model: &Model) {
        if let Some(always) = self.constant(model) {
            self.found.push((model.span, always));
            return;
        }
        match &model.what {
            Modelled::Not(inner) => self.look(inner),
            Modelled::All(parts) | Modelled::Any(parts) => {
                for part in parts {
                    self.look(part);
                }
            }
            Modelled::Always(_) | Modelled::Test(..) => {}
        }
    }

    /// Its answer, where that is the same in all combinations of states; none where they differ
    /// or are too many to look at.
    fn constant(&mut self, model: &Model) -> Option<bool> {
        match &model.what {
            Modelled::Always(flag) => Some(*flag),
            Modelled::Test(_, answers) => {
                let first = answers.first()?;
                answers
                    .iter()
                    .all(|answer| answer == first)
                    .then_some(*first)
            }
            Modelled::Not(inner) => self.constant(inner).map(|answer| !answer),
            Modelled::All(parts) => self.joined(parts, false),
            Modelled::Any(parts) => self.joined(parts, true),
        }
    }

    /// The answer of parts of which each decides the whole by `decisive`.
    fn joined(&mut self, parts: &[Model], decisive: bool) -> Option<bool> {
        let mut answer = Some(!decisive);
        for group in Group::all_of(parts) {
            let of_group = match group.parts.as_slice() {
                [only] => self.constant(only),
                _ => self.together(&group, decisive),
            };
            if of_group == Some(decisive) {
                return of_group;
            }
            answer = answer.and(of_group);
        }
        answer
    }

    /// The answer of a group, found by all combinations of its states.
    fn together(&mut self, group: &Group<'_>, decisive: bool) -> Option<bool> {
        let counts: Vec<_> = group
            .slots
            .iter()
            .map(|slot| self.slots.states(*slot))
            .collect();
        let combinations = counts.iter().try_fold(1_usize, |all, count| {
            all.checked_mul(*count).filter(|all| *all <= self.budget)
        });
        let Some(combinations) = combinations else {
            // Some of its parts may decide it by themselves.
            let mut fewer = group.by_slot().filter(|fewer| fewer.parts.len() > 1);
            let alone = group.slots.len() > 1
                && fewer.any(|fewer| self.together(&fewer, decisive) == Some(decisive));
            return alone.then_some(decisive);
        };
        let mut states = vec![0; self.slots.len()];
        let mut first = None;
        for combination in 0..combinations {
            self.budget = self.budget.saturating_sub(1);
            let mut rest = combination;
            for (slot, count) in group.slots.iter().zip(&counts) {
                if let Some(state) = states.get_mut(*slot) {
                    *state = rest % count;
                }
                rest /= count;
            }
            let decided = |part: &&Model| part.holds(&states) == decisive;
            let answer = group.parts.iter().any(decided) == decisive;
            if *first.get_or_insert(answer) != answer {
                return None;
            }
        }
        first
    }
}

#[cfg(test)]
impl Expression {
    /// The parts of which a warning says that they are always or never so, and are not.
    pub(super) fn refuted(&self, facts: &crate::Facts, limits: Limits<'_>) -> Vec<String> {
        let root = &self.0.root;
        let constants = Constants::of(root, limits);
        let mut wrong = Vec::new();
        let mut nodes = vec![root];
        while let Some(node) = nodes.pop() {
            match &node.what {
                What::Not(inner) => nodes.push(inner),
                What::All(parts) | What::Any(parts) => nodes.extend(parts),
                What::Test(_) => {}
            }
            let said = constants.iter().find(|(span, _)| *span == node.span);
            if said.is_some_and(|(_, always)| node.holds(facts) != (*always).into()) {
                wrong.push(node.span.text(self.text()).to_owned());
            }
        }
        wrong
    }
}
