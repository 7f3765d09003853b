//! What an expression reads of texts whole.

use super::Expression;
use super::ir::{Test, TextTest};
use super::operand::{Literal, Operand};
use crate::text::{TextFact, TextRead};

impl Expression {
    /// Calls `read` with all that it reads of texts, some of it more than once.
    pub(crate) fn text_reads(&self, read: &mut impl FnMut(TextRead)) {
        self.0.root.each_test(true, &mut |test, _| {
            for operand in test.operands() {
                if let Operand::Size(inner) = operand
                    && let Some(of) = inner.text_fact()
                {
                    read(TextRead::Size { of });
                }
            }
            if let Some((of, needle)) = needle(test) {
                let bytes = u16::try_from(needle.len()).unwrap_or(u16::MAX);
                read(TextRead::Needles { of, bytes });
            }
            if let Some(pair) = pair(test) {
                read(pair);
            }
        });
    }

    /// Calls `found` with every literal that it looks for by `contains`, and in which fact.
    pub(crate) fn needles<'e>(&'e self, found: &mut impl FnMut(TextFact, &'e str)) {
        self.0.root.each_test(true, &mut |test, _| {
            if let Some((of, needle)) = needle(test) {
                found(of, needle);
            }
        });
    }
}

/// The literal that a test looks for in a text; none for the empty one, which is in every text.
fn needle(test: &Test) -> Option<(TextFact, &str)> {
    match test {
        Test::Text(TextTest::Contains, of, Operand::Literal(Literal::Text(needle))) => {
            Some((of.text_fact()?, &**needle)).filter(|_| !needle.is_empty())
        }
        Test::Always(_)
        | Test::Flag(_)
        | Test::Compare(..)
        | Test::In(..)
        | Test::Detail(..)
        | Test::Text(..)
        | Test::Has(_) => None,
    }
}

/// A test of two texts that are no literals, where both may be long.
fn pair(test: &Test) -> Option<TextRead> {
    let (what, one, other) = match test {
        Test::Compare(how, one, other) => (format!("{how:?}"), one, other),
        Test::Text(how, one, other) => (format!("{how:?}"), one, other),
        Test::Always(_) | Test::Flag(_) | Test::In(..) | Test::Detail(..) | Test::Has(_) => {
            return None;
        }
    };
    let facts = (one.text_fact()?, other.text_fact()?);
    // Of what is looked for in a text, no more is read than that has.
    let is_in = matches!(test, Test::Text(TextTest::Contains, ..));
    let of = if is_in || facts.0.bytes_max() < facts.1.bytes_max() {
        facts.0
    } else {
        facts.1
    };
    (of != TextFact::Names).then(|| TextRead::Pair {
        of,
        test: format!("{what} {one} {other}").into(),
    })
}
