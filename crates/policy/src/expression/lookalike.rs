//! Text in an expression that is compared as it is, and looks as if it stood for other text.

use super::diagnostic::SpannedDiagnostic;
use super::ir::{Comparison, Logic, Predicate, Test, TextTest};
use super::operand::{Literal, Operand};
use super::{Expression, ExpressionProblem};
use crate::lookalike::Lookalike;
use crate::terminal::quoted;

const BY_PARTS: &str = "use startsWith, endsWith or contains, or a glob in `match`";

impl Expression {
    /// The comparisons with a text that looks like a glob or a regular expression.
    pub(crate) fn lookalikes(&self) -> Vec<ExpressionProblem> {
        let mut found = Vec::new();
        find(&self.0.root, false, &mut found);
        let found = found.into_iter();
        found
            .map(|diagnostic| diagnostic.in_text(self.text()))
            .collect()
    }

    /// How an attribute is named.
    pub(crate) fn naming_attribute(name: &str) -> String {
        Operand::Attribute(name.into()).to_string()
    }
}

fn find(node: &Predicate, among_others: bool, found: &mut Vec<SpannedDiagnostic>) {
    match &node.what {
        Logic::Not(inner) => find(inner, false, found),
        Logic::All(parts) => parts.iter().for_each(|part| find(part, true, found)),
        Logic::Any(parts) => parts.iter().for_each(|part| find(part, false, found)),
        Logic::Test(test) => {
            found.extend(
                lookalike(test, among_others)
                    .map(|(message, hint)| SpannedDiagnostic::new(node.span, message, hint)),
            );
        }
    }
}

/// What a text that a test compares with looks like, and what was meant.
fn lookalike(asked: &Test, among_others: bool) -> Option<(String, String)> {
    let (compared, field, texts) = match asked {
        Test::Compare(how @ (Comparison::Equal | Comparison::NotEqual), left, right) => {
            let ((Operand::Literal(text), field) | (field, Operand::Literal(text))) = (left, right)
            else {
                return None;
            };
            let compared = if *how == Comparison::Equal {
                "`==` compares"
            } else {
                "`!=` compares"
            };
            (compared, field, std::slice::from_ref(text))
        }
        Test::Text(how, field, Operand::Literal(text)) => (
            match how {
                TextTest::StartsWith => "startsWith compares",
                TextTest::EndsWith => "endsWith compares",
                TextTest::Contains => "contains compares",
            },
            field,
            std::slice::from_ref(text),
        ),
        Test::In(field, list) => ("`in` compares", field, &**list),
        // A detail is one of LiveKit's words.
        Test::Compare(..)
        | Test::Text(..)
        | Test::Detail(..)
        | Test::Always(_)
        | Test::Flag(_)
        | Test::Has(_) => {
            return None;
        }
    };
    // A part of a text may be a star.
    let is_part = matches!(asked, Test::Text(..));
    let mut written = texts
        .iter()
        .filter_map(text)
        .filter(|text| !(is_part && *text == "*"));
    let (written, look) = written.find_map(|written| Some((written, Lookalike::of(written)?)))?;
    let message = format!(
        "{compared} text as it is, and {} looks like {look}",
        quoted(written)
    );
    let meant = match asked {
        Test::Compare(how, ..) => {
            let turned = *how == Comparison::NotEqual;
            star(field, written).map(|meant| if turned { format!("!{meant}") } else { meant })
        }
        Test::Text(how, ..) => part(*how, field, written),
        Test::In(..) | Test::Detail(..) | Test::Always(_) | Test::Flag(_) | Test::Has(_) => {
            among(field, texts, among_others)
        }
    };
    let hint = meant
        .filter(|_| look == Lookalike::Glob)
        .map_or_else(|| BY_PARTS.to_owned(), |meant| format!("write `{meant}`"));
    Some((message, hint))
}

fn text(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(written) => Some(written),
        Literal::Number(_) | Literal::Bool(_) => None,
    }
}

/// Whether a text starts with a `*`, what is in it, and whether it ends with one; none where more of
/// it stands for something.
fn stars(written: &str) -> Option<(bool, &str, bool)> {
    let plain = written.trim_matches('*');
    let known = !plain.is_empty()
        && Lookalike::of(plain).is_none()
        && !plain.contains(['*', '?', '[', '{']);
    known.then_some((written.starts_with('*'), plain, written.ends_with('*')))
}

/// The test that a text with stars at its ends was meant to be.
fn star(field: &Operand, written: &str) -> Option<String> {
    if written == "*" && matches!(field, Operand::Attribute(_) | Operand::Metadata(..)) {
        return Some(format!("has({field})"));
    }
    let how = match stars(written)? {
        (true, _, true) => "contains",
        (true, _, false) => "endsWith",
        (false, _, true) => "startsWith",
        (false, _, false) => return None,
    };
    Some(format!("{field}.{how}({:?})", written.trim_matches('*')))
}

/// The same of a text that is a part of the field's already.
fn part(how: TextTest, field: &Operand, written: &str) -> Option<String> {
    let (before, plain, after) = stars(written)?;
    let asked = match (how, before, after) {
        (TextTest::Contains, ..) | (_, true, true) => "contains",
        (TextTest::StartsWith, true, false) | (TextTest::EndsWith, true, _) => "endsWith",
        (TextTest::StartsWith, false, _) => "startsWith",
        (TextTest::EndsWith, false, true) => {
            return Some(format!(
                "{field}.startsWith({plain:?})` or `{field}.contains({plain:?})"
            ));
        }
        (TextTest::EndsWith, false, false) => return None,
    };
    Some(format!("{field}.{asked}({plain:?})"))
}

/// A list of which some were meant to be tests of their own.
fn among(field: &Operand, list: &[Literal], among_others: bool) -> Option<String> {
    let mut exact = Vec::new();
    let mut tests = Vec::new();
    for literal in list {
        match text(literal) {
            Some(written) if Lookalike::of(written).is_some() => tests.push(star(field, written)?),
            Some(written) => exact.push(format!("{written:?}")),
            None => return None,
        }
    }
    if !exact.is_empty() {
        tests.insert(0, format!("{field} in [{}]", exact.join(", ")));
    }
    let meant = tests.join(" || ");
    Some(if among_others && tests.len() > 1 {
        format!("({meant})")
    } else {
        meant
    })
}
