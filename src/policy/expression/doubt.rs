//! Parts of an expression that are true, or false, whatever the facts are.
//!
//! Everything that is compared is in one of a few states (`states`), and each test has one answer
//! in each of them. The product of all states shows every answer that facts can have, and some
//! that they cannot: what is compared with another field, or tested as text, answers both ways.
//! Hence no false alarm, and silence where a contradiction is subtle or there are too many states.

mod states;

use super::fault::{Fault, Span};
use super::lowered::{Node, What};
use super::{Expression, ExpressionProblem};
use states::Slots;

/// So many combinations of states are looked at for one expression.
const COMBINATIONS_MAX: usize = 4_096;

impl Expression {
    /// The parts that are always true or never: the whole, or the largest below it.
    #[must_use]
    pub fn doubts(&self) -> Vec<ExpressionProblem> {
        let root = &self.0.root;
        let in_words = |(span, always): (Span, bool)| {
            let (message, hint) = match (span == root.span, always) {
                (true, true) => ("this is always true", "leave `when` out, or mend it"),
                (true, false) => ("this is never true, so the policy does nothing", "mend it"),
                (false, true) => ("this part is always true", "leave it out, or mend it"),
                (false, false) => ("this part is never true", "leave it out, or mend it"),
            };
            Fault::new(span, message, hint).in_text(self.text())
        };
        Constants::of(root)
            .into_iter()
            .flatten()
            .map(in_words)
            .collect()
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
    fn new(node: &Node, slots: &Slots<'_>) -> Self {
        let all = |parts: &[Node]| parts.iter().map(|part| Self::new(part, slots)).collect();
        let what = match &node.what {
            What::Not(inner) => Modelled::Not(Box::new(Self::new(inner, slots))),
            What::All(parts) => Modelled::All(all(parts)),
            What::Any(parts) => Modelled::Any(all(parts)),
            What::Test(test) => match slots.answers(test) {
                Some((slot, answers)) => Modelled::Test(slot, answers),
                None => Modelled::Always(states::of_literals(test)),
            },
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
        Self {
            what,
            span: node.span,
            slots,
        }
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

struct Constants<'s> {
    slots: &'s Slots<'s>,
    budget: usize,
    found: Vec<(Span, bool)>,
}

impl Constants<'_> {
    /// The constant parts of a condition; none where it has too many states.
    fn of(root: &Node) -> Option<Vec<(Span, bool)>> {
        let slots = Slots::of(root)?;
        let mut constants = Constants {
            slots: &slots,
            budget: COMBINATIONS_MAX,
            found: Vec::new(),
        };
        constants.look(&Model::new(root, &slots));
        Some(constants.found)
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
        let counts: Vec<_> = model
            .slots
            .iter()
            .map(|slot| self.slots.states(*slot))
            .collect();
        let combinations = counts.iter().try_fold(1_usize, |all, count| {
            all.checked_mul(*count).filter(|all| *all <= self.budget)
        })?;
        self.budget -= combinations;
        let mut states = vec![0; self.slots.len()];
        let first = model.holds(&states);
        for combination in 1..combinations {
            let mut rest = combination;
            for (slot, count) in model.slots.iter().zip(&counts) {
                if let Some(state) = states.get_mut(*slot) {
                    *state = rest % count;
                }
                rest /= count;
            }
            if model.holds(&states) != first {
                return None;
            }
        }
        Some(first)
    }
}

#[cfg(test)]
impl Expression {
    /// The parts of which a warning says that they are always or never so, and are not.
    pub(super) fn refuted(&self, facts: &crate::policy::Facts) -> Vec<String> {
        let root = &self.0.root;
        let constants = Constants::of(root).unwrap_or_default();
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
