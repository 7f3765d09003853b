//! Why an expression does not hold: the first part that fails, and what was found.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use super::Expression;
use super::ir::{Logic, Predicate};
use super::operand::Operand;
use crate::facts::{Fact, Facts};
use crate::terminal::cut;
use crate::text::TextReader;
use crate::tri::Tri;

/// A text that was found is shown to this length.
pub(crate) const SHOWN_CHARS_MAX: usize = 200;

/// The first part of an expression that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    /// The part, as it is written.
    pub part: String,
    /// False, or unknown.
    pub holds: Tri,
    /// What was found of that which it names, in its order. For an unknown part, what is unknown.
    pub operands: Vec<OperandValue>,
}

/// What was found of one thing that an expression names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperandValue {
    /// The name, such as `room.num_participants` or `size(participant.name)`.
    pub name: String,
    /// The value; null where the key is absent. None where it could not be had.
    #[serde(skip_serializing_if = "Fact::is_unknown")]
    pub value: Fact<Option<Json>>,
}

impl Expression {
    /// The first part of the chain of `&&` that does not hold, and what was found; none where all
    /// holds. A part that fails is told of before one that is unknown.
    #[must_use]
    pub fn explain(&self, facts: &Facts) -> Option<Reason> {
        self.explain_with(facts, &mut TextReader::default())
    }

    /// The same, with the facts' texts read by `texts`.
    pub(crate) fn explain_with(&self, facts: &Facts, texts: &mut TextReader<'_>) -> Option<Reason> {
        let root = &self.0.root;
        let parts = match &root.what {
            Logic::All(parts) => parts,
            Logic::Test(_) | Logic::Not(_) | Logic::Any(_) => std::slice::from_ref(root),
        };
        let answers: Vec<_> = parts.iter().map(|part| part.holds(facts, texts)).collect();
        let first = |expected| {
            let mut each = parts.iter().zip(&answers);
            each.find(|(_, answer)| **answer == expected)
                .map(|(part, _)| part)
        };
        let (part, holds) = match (first(Tri::False), first(Tri::Unknown)) {
            (Some(part), _) => (part, Tri::False),
            (None, Some(part)) => (part, Tri::Unknown),
            (None, None) => return None,
        };
        Some(Reason {
            part: part.span.text(self.text()).to_owned(),
            holds,
            operands: operand_values(part, holds, facts, texts),
        })
    }
}

fn operand_values(
    part: &Predicate,
    holds: Tri,
    facts: &Facts,
    texts: &mut TextReader<'_>,
) -> Vec<OperandValue> {
    let mut values: Vec<OperandValue> = Vec::new();
    part.each_test(true, &mut |test, _| {
        for operand in test.operands() {
            let name = operand.to_string();
            let literal = matches!(operand, Operand::Literal(_));
            if literal || values.iter().any(|known| known.name == name) {
                continue;
            }
            let mut value = operand.to_json(facts, texts);
            // Kind details are few, and words of LiveKit's.
            if *operand != Operand::KindDetails {
                value = shortened(value);
            }
            if holds == Tri::False || value.is_unknown() {
                values.push(OperandValue { name, value });
            }
        }
    });
    values
}

/// Metadata may be long: a list or a map is told of by its size.
fn shortened(value: Fact<Option<Json>>) -> Fact<Option<Json>> {
    let Fact::Known(Some(json)) = value else {
        return value;
    };
    let short = match json {
        Json::String(text) => Json::String(cut(&text, SHOWN_CHARS_MAX)),
        Json::Array(list) => Json::String(format!("(a list of {})", list.len())),
        Json::Object(map) => Json::String(format!("(a map of {})", map.len())),
        short @ (Json::Null | Json::Bool(_) | Json::Number(_)) => short,
    };
    Fact::Known(Some(short))
}

impl fmt::Display for OperandValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Fact::Known(Some(value)) => write!(f, "{} = {value}", self.name),
            Fact::Known(None) => write!(f, "{} is absent", self.name),
            Fact::Unknown => write!(f, "{} is unknown", self.name),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.part)?;
        for (index, operand) in self.operands.iter().enumerate() {
            f.write_str(if index == 0 { " with " } else { ", " })?;
            write!(f, "{operand}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    /// As an expression names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => write!(f, "{literal:?}"),
            Self::Field(field) => f.write_str(field.name),
            Self::Attributes => f.write_str("participant.attributes"),
            Self::KindDetails => f.write_str("participant.kind_details"),
            Self::Attribute(key) => {
                f.write_str("participant.attributes")?;
                named(key, f)
            }
            Self::Metadata(_, keys) => {
                f.write_str(self.field().map_or("", |field| field.name))?;
                keys.iter().try_for_each(|key| named(key, f))
            }
            Self::Size(inner) => write!(f, "size({inner})"),
        }
    }
}

/// A key after a dot where that can be written so, or in brackets.
fn named(key: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut chars = key.chars();
    let name = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name {
        write!(f, ".{key}")
    } else {
        write!(f, "[{key:?}]")
    }
}
