//! A document as a tree that knows where each of its nodes stands, from YAML (`yaml`) or from JSON.
//!
//! The tree keeps what serde's derived readers would stop at (unknown keys, wrong types, repeated
//! keys), so that `read` can report everything that is wrong at once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::terminal::quoted;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: NodeValue,
    pub(super) place: Place,
    /// Whether it is written in YAML without quotes.
    pub(super) plain: bool,
    /// In YAML, the first invisible character of its source; one that is escaped is visible.
    pub(super) invisible: Option<char>,
    /// In YAML, whether it is the missing value of a key within `{ }`: `{ role:host }` is one key,
    /// `role:host`, without a value.
    pub(super) left_out: bool,
}

/// Line and column from 1; none in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum NodeValue {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl NodeValue {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }
}

impl fmt::Display for NodeValue {
    /// What it is, for "found ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "the number {value}"),
            // In full, the largest have 300 digits.
            Self::Float(value) => write!(f, "the number {value:?}"),
            Self::Text(value) => write!(f, "the text {}", quoted(value)),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a map"),
        }
    }
}

impl Node {
    /// The node at the end of these keys, or as far as they lead.
    pub(super) fn find(&self, keys: &[&str]) -> &Self {
        let mut node = self;
        for sought in keys {
            let NodeValue::Map(entries) = &node.value else {
                break;
            };
            let next = entries
                .iter()
                .find(|(key, _)| matches!(&key.value, NodeValue::Text(key) if key == sought));
            match next {
                Some((_, value)) => node = value,
                None => break,
            }
        }
        node
    }
}

/// The tree of a JSON text, or what keeps it from being one.
pub(super) fn from_json(text: &[u8]) -> Result<Node, String> {
    encoding(text)?;
    let read = serde_json::from_slice::<Json>(text);
    read.map(|Json(node)| node).map_err(|error| {
        let message = error.to_string();
        message.replace("recursion limit exceeded", "it is nested too deep")
    })
}

/// What a parser of JSON has no words for: it is not even in UTF-8, or it is nothing.
fn encoding(text: &[u8]) -> Result<(), String> {
    match text {
        [] => return Err("there is nothing in it".to_owned()),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] | [0, _, ..] | [_, 0, ..] => {
            return Err("it is in UTF-16 or UTF-32; send it in UTF-8".to_owned());
        }
        [0xEF, 0xBB, 0xBF, ..] => {
            return Err("it begins with a byte order mark; send it without".to_owned());
        }
        _ => {}
    }
    std::str::from_utf8(text).map(|_| ()).map_err(|error| {
        format!(
            "it is not in UTF-8: the byte at {} is not",
            error.valid_up_to()
        )
    })
}

pub(super) fn from_value(value: &serde_json::Value) -> Result<Node, String> {
    let read = Json::deserialize(value);
    read.map(|Json(node)| node)
        .map_err(|error| error.to_string())
}

/// A node of JSON.
struct Json(Node);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Node {
            value: deserializer.deserialize_any(JsonVisitor)?,
            place: Place::default(),
            plain: false,
            invisible: None,
            left_out: false,
        }))
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = NodeValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_none<E>(self) -> Result<NodeValue, E> {
        Ok(NodeValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<NodeValue, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<NodeValue, E> {
        Ok(NodeValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<NodeValue, E> {
        Ok(NodeValue::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<NodeValue, E> {
        Ok(NodeValue::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<NodeValue, E> {
        Ok(NodeValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<NodeValue, E> {
        Ok(NodeValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NodeValue, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = seq.next_element()? {
            list.push(item);
        }
        Ok(NodeValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NodeValue, A::Error> {
        let mut entries = Vec::new();
        while let Some((Json(key), Json(value))) = map.next_entry()? {
            entries.push((key, value));
        }
        Ok(NodeValue::Map(entries))
    }
}
