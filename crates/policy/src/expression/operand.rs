//! What a condition compares: literals, fields, keys of metadata, and sizes of these.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::{Number, Value};
use crate::facts::catalog::{FactType, Field};
use crate::facts::{Fact, Facts, KindDetail};
use crate::text::{TextFact, TextReader};
use crate::tri::Tri;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Literal(Literal),
    /// A field that is one value.
    Field(&'static Field),
    /// One of the participant's attributes.
    Attribute(Box<str>),
    /// What the keys lead to in metadata.
    Metadata(&'static Field, Box<[Box<str>]>),
    /// How long it is, or how many are in it.
    Size(Box<Operand>),
    /// All attributes, of which only their number is asked.
    Attributes,
    /// The participant's kind details.
    KindDetails,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
}

impl Literal {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(text),
            Self::Number(number) => Value::Number(*number),
            Self::Bool(flag) => Value::Bool(*flag),
        }
    }
}

fn known<'f, T>(fact: Fact<T>, value: impl FnOnce(T) -> Value<'f>) -> Value<'f> {
    match fact {
        Fact::Known(it) => value(it),
        Fact::Unknown => Value::Unknown,
    }
}

/// What a path leads to.
enum Resolved<'f> {
    Json(&'f Json),
    Text(&'f str),
    Absent,
    Unknown,
}

impl Operand {
    pub(super) fn value<'f>(&'f self, facts: &'f Facts, texts: &mut TextReader<'_>) -> Value<'f> {
        match self {
            Self::Literal(literal) => literal.value(),
            Self::Field(field) => match field.shape {
                FactType::Text(read) | FactType::Word { read, .. } => {
                    known(read(facts), Value::Text)
                }
                FactType::Flag(read) => known(read(facts), Value::Bool),
                FactType::Count(read) => known(read(facts), Value::int),
                FactType::Time(read) => known(read(facts), Value::int),
                FactType::KindDetails(_)
                | FactType::Tenant(_)
                | FactType::Attributes(_)
                | FactType::Metadata(_) => Value::Nothing,
            },
            Self::Attribute(_) | Self::Metadata(..) => match self.find(facts) {
                Resolved::Text(text) => Value::Text(text),
                Resolved::Json(json) => Value::of_json(json),
                Resolved::Absent => Value::Nothing,
                Resolved::Unknown => Value::Unknown,
            },
            Self::Size(inner) => inner.size(facts, texts),
            Self::Attributes | Self::KindDetails => Value::Nothing,
        }
    }

    /// How long its text is, in code points, or how many are in its list or map.
    fn size<'f>(&'f self, facts: &'f Facts, texts: &mut TextReader<'_>) -> Value<'f> {
        let participant = &facts.participant;
        let counted = |count: Option<usize>| count.map_or(Value::Unknown, Value::count);
        if *self == Self::Attributes {
            return counted(participant.attributes.known().map(BTreeMap::len));
        }
        if *self == Self::KindDetails {
            return counted(participant.kind_details.known().map(Vec::len));
        }
        if let Resolved::Json(json) = self.find(facts) {
            match json {
                Json::Array(list) => return Value::count(list.len()),
                Json::Object(map) => return Value::count(map.len()),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            }
        }
        match self.value(facts, texts) {
            Value::Text(text) => counted(texts.chars(text)),
            Value::Unknown => Value::Unknown,
            Value::Number(_) | Value::Bool(_) | Value::Nothing => Value::Nothing,
        }
    }

    /// Whether it is text, if anything.
    pub(super) fn is_text(&self) -> bool {
        let of_text =
            |field: &Field| matches!(field.shape, FactType::Text(_) | FactType::Word { .. });
        matches!(self, Self::Field(field) if of_text(field)) || matches!(self, Self::Attribute(_))
    }

    /// Whether it is a number, if anything.
    pub(super) fn is_number(&self) -> bool {
        let of_number =
            |field: &Field| matches!(field.shape, FactType::Count(_) | FactType::Time(_));
        matches!(self, Self::Field(field) if of_number(field)) || matches!(self, Self::Size(_))
    }

    /// Whether it is true or false, if anything.
    pub(super) fn is_flag(&self) -> bool {
        matches!(self, Self::Field(field) if matches!(field.shape, FactType::Flag(_)))
    }

    fn find<'f>(&self, facts: &'f Facts) -> Resolved<'f> {
        match self {
            Self::Attribute(key) => match facts.participant.attribute(key) {
                Fact::Known(Some(text)) => Resolved::Text(text),
                Fact::Known(None) => Resolved::Absent,
                Fact::Unknown => Resolved::Unknown,
            },
            Self::Metadata(field, keys) => {
                let FactType::Metadata(read) = field.shape else {
                    return Resolved::Absent;
                };
                let Fact::Known(root) = read(facts) else {
                    return Resolved::Unknown;
                };
                let end = keys
                    .iter()
                    .try_fold(root, |json, key| json.as_object()?.get(&**key));
                end.map_or(Resolved::Absent, Resolved::Json)
            }
            Self::Literal(_)
            | Self::Field(_)
            | Self::Size(_)
            | Self::Attributes
            | Self::KindDetails => Resolved::Absent,
        }
    }

    /// Whether the key is there, also where it holds null.
    pub(super) fn is_there(&self, facts: &Facts) -> Tri {
        match self.find(facts) {
            Resolved::Json(_) | Resolved::Text(_) => Tri::True,
            Resolved::Absent => Tri::False,
            Resolved::Unknown => Tri::Unknown,
        }
    }

    /// What is shown of it to people: JSON where there is any, and the length of a list or map.
    pub(super) fn to_json(&self, facts: &Facts, texts: &mut TextReader<'_>) -> Fact<Option<Json>> {
        if let Resolved::Json(json) = self.find(facts) {
            return Fact::Known(Some(json.clone()));
        }
        if *self == Self::KindDetails {
            return match &facts.participant.kind_details {
                Fact::Known(details) => {
                    let words = details.iter().map(KindDetail::as_str);
                    Fact::Known(Some(words.collect()))
                }
                Fact::Unknown => Fact::Unknown,
            };
        }
        match self.value(facts, texts) {
            Value::Text(text) => Fact::Known(Some(Json::from(text))),
            Value::Bool(flag) => Fact::Known(Some(Json::from(flag))),
            Value::Number(number) => Fact::Known(Some(number.to_json())),
            Value::Nothing => Fact::Known(None),
            Value::Unknown => Fact::Unknown,
        }
    }

    /// Its value, where it is a literal.
    pub(super) fn literal(&self) -> Option<Value<'_>> {
        match self {
            Self::Literal(literal) => Some(literal.value()),
            Self::Field(_)
            | Self::Attribute(_)
            | Self::Metadata(..)
            | Self::Size(_)
            | Self::Attributes
            | Self::KindDetails => None,
        }
    }

    /// The fact whose texts it can be; none where it is never a long text.
    pub(super) fn text_fact(&self) -> Option<TextFact> {
        match self {
            Self::Attribute(_) => Some(TextFact::Attributes),
            Self::Metadata(field, _) => Some(TextFact::of_field(field.name)),
            Self::Field(field) if matches!(field.shape, FactType::Text(_)) => {
                Some(TextFact::of_field(field.name))
            }
            Self::Field(_)
            | Self::Literal(_)
            | Self::Size(_)
            | Self::Attributes
            | Self::KindDetails => None,
        }
    }

    /// The field that it is, or is a part of; none for a literal.
    pub(super) fn field(&self) -> Option<&'static Field> {
        let name = match self {
            Self::Literal(_) => return None,
            Self::Field(field) | Self::Metadata(field, _) => return Some(field),
            Self::Size(inner) => return inner.field(),
            Self::KindDetails => "participant.kind_details",
            Self::Attribute(_) | Self::Attributes => "participant.attributes",
        };
        Field::named(name)
    }
}
