//! A document as a tree that knows where each of its nodes stands, from YAML or from JSON.
//!
//! The tree keeps what serde's derived readers would stop at (unknown keys, wrong types, repeated
//! keys), so that `read` can report everything that is wrong at once.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{Error, Location, Spanned};

/// So deep may a document be nested; a policy needs 5.
const DEPTH_MAX: usize = 16;
/// A document of 10,000 policies has some 100,000 nodes.
const NODES_MAX: usize = 300_000;
/// So many anchors, aliases and merges may stand in a document ...
const ALIASES_MAX: usize = 1_000;
/// ... and so many nodes may come of them: no bomb of aliases goes off ...
const REPLAYED_MAX: usize = 50_000;
/// ... nor one of long texts. Of its own a document has at most `DOCUMENT_BYTES_MAX`.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// What a parser says is cut here: it may quote the whole document.
const MALFORMED_CHARS_MAX: usize = 300;

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// Line and column from 1; none in JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl fmt::Display for Value {
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

/// Text in quotes with escapes, cut where it is long: what came from outside goes into messages.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("{text:?}");
    }
    let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{shown:?}...")
}

impl Node {
    /// The node at the end of these keys, or as far as they lead.
    pub(super) fn find(&self, keys: &[&str]) -> &Self {
        let mut node = self;
        for wanted in keys {
            let Value::Map(entries) = &node.value else {
                break;
            };
            let next = entries
                .iter()
                .find(|(key, _)| matches!(&key.value, Value::Text(key) if key == wanted));
            match next {
                Some((_, value)) => node = value,
                None => break,
            }
        }
        node
    }
}

/// What keeps a text from being a tree at all.
#[derive(Debug)]
pub(super) struct Malformed {
    pub(super) place: Place,
    pub(super) message: String,
}

pub(super) fn from_yaml(text: &str) -> Result<Node, Malformed> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            // One is allowed; a second is told of in words rather than as a budget.
            max_documents: 2,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_anchors: ALIASES_MAX,
            max_aliases: ALIASES_MAX,
            max_merge_keys: ALIASES_MAX,
            max_total_scalar_bytes: TEXT_BYTES_MAX,
            // Many policies may share one anchor: what comes of that is limited below.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: REPLAYED_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::Merge,
        // `mode: off` is the word, and not `false` as in YAML 1.1.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Yaml>(text, options)
        .map(|Yaml(node)| node)
        .map_err(|error| Malformed {
            place: error
                .location()
                .as_ref()
                .map(Place::from)
                .unwrap_or_default(),
            message: in_words(&error),
        })
}

/// The parser's message, where it is meant for people; ours where it speaks to programmers.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate has dozens of others, whose own words are told"
)]
fn in_words(error: &Error) -> String {
    match error {
        Error::AliasError { error, .. } => in_words(error),
        Error::MultipleDocuments { .. } => {
            "there is a second document in it; put all into one".to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an anchor has an alias to itself inside".to_owned()
        }
        Error::Budget { breach, .. } => too_much(breach),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            format!("its aliases multiply to more than {REPLAYED_MAX} values")
        }
        Error::AliasReplayStackDepthExceeded { .. } => too_deep(),
        Error::NonFiniteFloat { value, .. } => {
            format!("{} is no number, or too large a one", quoted(value))
        }
        Error::BinaryNotUtf8 { .. } | Error::InvalidBinaryBase64 { .. } => {
            "this `!!binary` is no text; write the text itself".to_owned()
        }
        other => {
            // It ends in places, which are told already.
            let message = other.to_string();
            let message = message.split(" at line ").next().unwrap_or_default();
            if message == "recursion limit exceeded" {
                return too_deep();
            }
            message.chars().take(MALFORMED_CHARS_MAX).collect()
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate has dozens of others, whose own words are told"
)]
fn too_much(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => {
            format!("it has more than {NODES_MAX} values")
        }
        BudgetBreach::ScalarBytes { .. } => {
            format!("its aliases multiply to more than {TEXT_BYTES_MAX} bytes of text")
        }
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::MergeKeys { .. } => {
            format!("it has more than {ALIASES_MAX} anchors, aliases or merges")
        }
        _ => "it is too large, or its aliases multiply".to_owned(),
    }
}

fn too_deep() -> String {
    format!("lists and maps are nested deeper than {DEPTH_MAX}")
}

pub(super) fn from_json(text: &[u8]) -> Result<Node, Malformed> {
    encoding(text)
        .and_then(|()| {
            let read = serde_json::from_slice::<Json>(text);
            read.map_err(|error| {
                let message = error.to_string();
                message.replace("recursion limit exceeded", "it is nested too deep")
            })
        })
        .map(|Json(node)| node)
        .map_err(|message| Malformed {
            place: Place::default(),
            message,
        })
}

/// What a parser of JSON has no words for: it is not even in UTF-8, or it is nothing.
pub(crate) fn encoding(text: &[u8]) -> Result<(), String> {
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

pub(super) fn from_value(value: &serde_json::Value) -> Result<Node, Malformed> {
    Json::deserialize(value)
        .map(|Json(node)| node)
        .map_err(|error| Malformed {
            place: Place::default(),
            message: error.to_string(),
        })
}

impl From<&Location> for Place {
    fn from(location: &Location) -> Self {
        let known = |number: u64| (number > 0).then_some(number);
        Self {
            line: known(location.line()),
            column: known(location.column()),
        }
    }
}

/// A node of YAML: it has a place.
struct Yaml(Node);

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Untyped<Self>>::deserialize(deserializer)?;
        Ok(Self(Node {
            value: spanned.value.value,
            place: Place::from(&spanned.referenced),
        }))
    }
}

impl From<Yaml> for Node {
    fn from(Yaml(node): Yaml) -> Self {
        node
    }
}

/// A node of JSON.
struct Json(Node);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let untyped = Untyped::<Self>::deserialize(deserializer)?;
        Ok(Self(Node {
            value: untyped.value,
            place: Place::default(),
        }))
    }
}

impl From<Json> for Node {
    fn from(Json(node): Json) -> Self {
        node
    }
}

/// A value whose inner nodes are read as `N`s.
struct Untyped<N> {
    value: Value,
    inner: PhantomData<N>,
}

impl<'de, N: Deserialize<'de> + Into<Node>> Deserialize<'de> for Untyped<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self {
            value: deserializer.deserialize_any(UntypedVisitor::<N>(PhantomData))?,
            inner: PhantomData,
        })
    }
}

struct UntypedVisitor<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de> + Into<Node>> Visitor<'de> for UntypedVisitor<N> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = seq.next_element::<N>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<N, N>()? {
            entries.push((key.into(), value.into()));
        }
        Ok(Value::Map(entries))
    }
}
