//! `when`: one line of CEL about a track, checked once when it is read and then asked of facts.
//!
//! ```text
//! text --scan--> tokens --parse (cel)--> tree --check (facts/catalog)--> Predicate --holds(facts)--> Tri
//! ```
//!
//! The language is the part of CEL that always ends, never fails and needs no memory: comparisons,
//! `&& || !`, `in [literals]`, `startsWith`, `endsWith`, `contains`, `has`, `size`. What CEL says
//! of it is so here (cel's own interpreter is the oracle of a test), but for what CEL calls an
//! error: a key that is absent, or of another type than it is compared with, is a known fact.

mod check;
mod diagnostic;
mod explain;
mod ir;
mod lint;
mod lookalike;
mod names;
mod operand;
mod parse;
mod participant_controlled;
mod scan;
#[cfg(test)]
mod tests;
mod text_reads;
mod types;
mod unsupported;
mod value;

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use diagnostic::ExpressionProblem;
pub(crate) use explain::SHOWN_CHARS_MAX;
pub use explain::{OperandValue, Reason};
pub(crate) use participant_controlled::Control;

use super::facts::Facts;
use super::reads::Reads;
use super::text::TextReader;
use super::tri::Tri;
use ir::Predicate;
use operand::Operand;

/// A condition in CEL, checked. Equal to another where its text is.
#[derive(Clone)]
pub struct Expression(Arc<CheckedExpression>);

struct CheckedExpression {
    text: Box<str>,
    root: Predicate,
}

impl Expression {
    /// Checks an expression. What surrounds it is no part of it.
    pub fn parse(text: &str) -> Result<Self, ExpressionProblem> {
        let text = text.trim();
        let root = parse::parse(text)
            .and_then(check::check)
            .map_err(|diagnostic| diagnostic.in_text(text))?;
        Ok(Self(Arc::new(CheckedExpression {
            text: text.into(),
            root,
        })))
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether it holds of these facts.
    #[must_use]
    pub fn holds(&self, facts: &Facts) -> Tri {
        self.holds_with(facts, &mut TextReader::default())
    }

    /// Whether it holds of these facts, whose texts are read by `texts`.
    pub(crate) fn holds_with(&self, facts: &Facts, texts: &mut TextReader<'_>) -> Tri {
        self.0.root.holds(facts, texts)
    }

    /// The facts that it reads, of those that a webhook does not hold.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        self.0.root.each_test(true, &mut |test, _| {
            for field in test.operands().filter_map(Operand::field) {
                reads = reads.or(Reads::named(field.name));
            }
        });
        reads
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.text()).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Expression {}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}
