//! Facts as tests write them: the defaults below, a case's own above, the rest unknown.
//!
//! They are read into the JSON form that [`Facts`] is stored in, where an unknown fact is an
//! absent key: two of them are one merge.

use chrono::DateTime;
use serde_json::{Map, Number, Value as Json, json};

use crate::facts::{Facts, Kind, KindDetail, Source, TrackType};
use crate::keys::SECTIONS;
use crate::limits::LIST_ITEMS_MAX;
use crate::metadata::tenant_in;
use crate::node::{Node, Value};
use crate::owner::TenantId;
use crate::reader::{Reader, join};
use crate::terminal::quoted;
use crate::yaml::reads_otherwise;

/// The defaults stand in each test of a file: so many bytes may come of that.
const REPEATED_BYTES_MAX: usize = 64 << 20;
/// What a value takes besides its text.
const VALUE_BYTES: usize = 64;
/// A text among the facts may have this many characters.
pub(super) const TEXT_CHARS_MAX: usize = 1_000;

/// What a fact is written as.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// What the word is called, and the words.
    Word(&'static str, &'static [&'static str]),
    /// The same, any number of them.
    Words(&'static str, &'static [&'static str]),
    Count,
    /// Unix seconds, or a time with its offset.
    Time,
    Flag,
    /// The tenant's name, or null for none.
    Tenant,
    /// Texts by name; null takes one out that the defaults have.
    Attributes,
    Json,
}

/// A fact that a test can give.
#[derive(Debug)]
pub(super) struct Row {
    /// Its section and its key there.
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    /// Every webhook holds it: it has a default, and is never unknown.
    pub(super) always: bool,
}

impl Row {
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

const fn known(section: &'static str, key: &'static str, shape: Shape) -> Row {
    Row {
        section,
        key,
        shape,
        always: true,
    }
}

const fn asked(section: &'static str, key: &'static str, shape: Shape) -> Row {
    Row {
        section,
        key,
        shape,
        always: false,
    }
}

pub(super) const ROWS: &[Row] = &[
    known("room", "name", Shape::Text),
    known("room", "sid", Shape::Text),
    asked("room", "tenant", Shape::Tenant),
    asked("room", "metadata", Shape::Json),
    asked("room", "num_participants", Shape::Count),
    asked("room", "num_publishers", Shape::Count),
    asked("room", "created_at", Shape::Time),
    asked("room", "active_recording", Shape::Flag),
    known("participant", "identity", Shape::Text),
    known("participant", "sid", Shape::Text),
    asked("participant", "name", Shape::Text),
    asked("participant", "kind", Shape::Word("kind", Kind::WORDS)),
    asked(
        "participant",
        "kind_details",
        Shape::Words("kind detail", KindDetail::WORDS),
    ),
    asked("participant", "joined_at", Shape::Time),
    asked("participant", "attributes", Shape::Attributes),
    asked("participant", "metadata", Shape::Json),
    asked("participant", "is_publisher", Shape::Flag),
    asked("participant", "can_publish", Shape::Flag),
    known("track", "sid", Shape::Text),
    known("track", "name", Shape::Text),
    known("track", "source", Shape::Word("source", Source::WORDS)),
    known("track", "type", Shape::Word("type", TrackType::WORDS)),
    known("track", "mime_type", Shape::Text),
    asked("track", "muted", Shape::Flag),
    known("event", "type", Shape::Text),
    known("event", "created_at", Shape::Time),
];

/// What a webhook always holds, where a test does not say. As on the wire, a source that is not
/// said is `UNKNOWN` and a type that is not said is `AUDIO`.
pub(super) fn base() -> Json {
    json!({
        "room": {"name": "room", "sid": "RM_test"},
        "participant": {"identity": "participant", "sid": "PA_test"},
        "track": {"sid": "TR_test", "name": "", "source": "UNKNOWN", "type": "AUDIO", "mime_type": ""},
        "event": {"type": "track_published"},
    })
}

/// The facts of a case: what a webhook always holds, the defaults and the case's own, without what
/// the case wants unknown. The message where they do not go together.
pub(super) fn merged(
    defaults: &Json,
    own: Json,
    unknown: &[&Row],
    at_unix_secs: i64,
) -> Result<Facts, String> {
    let mut all = base();
    put(&mut all, "event", "created_at", at_unix_secs.into());
    merge(&mut all, defaults.clone());
    merge(&mut all, own);
    add_tenant(&mut all)?;
    for row in unknown {
        if let Some(section) = all.get_mut(row.section).and_then(Json::as_object_mut) {
            section.remove(row.key);
        }
    }
    if let Some(attributes) = all
        .pointer_mut("/participant/attributes")
        .and_then(Json::as_object_mut)
    {
        attributes.retain(|_, value| !value.is_null());
    }
    // The rows above are the fields of `Facts`: a test holds them to it.
    serde_json::from_value(all).map_err(|error| format!("these are no facts: {error}"))
}

/// A room's tenant is what its metadata says, as in a real room; a test may give either.
fn add_tenant(all: &mut Json) -> Result<(), String> {
    let Some(metadata) = all.pointer("/room/metadata") else {
        return Ok(());
    };
    let said = tenant_in(metadata).map_or(Json::Null, |tenant| tenant.as_str().into());
    match all.pointer("/room/tenant") {
        Some(tenant) if *tenant != said => Err(format!(
            "room.tenant is {tenant}, and room.metadata makes it {said}: take one of them out"
        )),
        Some(_) => Ok(()),
        None => {
            put(all, "room", "tenant", said);
            Ok(())
        }
    }
}

/// Whether these defaults, in each of so many tests, are more than can be kept.
pub(super) fn are_too_much(defaults: &Json, tests: usize) -> bool {
    bytes(defaults).saturating_mul(tests) > REPEATED_BYTES_MAX
}

/// About so much memory holds a value.
fn bytes(value: &Json) -> usize {
    VALUE_BYTES
        + match value {
            Json::Null | Json::Bool(_) | Json::Number(_) => 0,
            Json::String(text) => text.len(),
            Json::Array(items) => items.iter().map(bytes).sum(),
            Json::Object(fields) => fields
                .iter()
                .map(|(key, value)| VALUE_BYTES + key.len() + bytes(value))
                .sum(),
        }
}

fn put(all: &mut Json, section: &str, key: &str, value: Json) {
    if let Some(section) = all.get_mut(section).and_then(Json::as_object_mut) {
        section.insert(key.to_owned(), value);
    }
}

fn merge(below: &mut Json, above: Json) {
    match (below, above) {
        (Json::Object(below), Json::Object(above)) => {
            for (key, value) in above {
                match below.get_mut(&key) {
                    Some(under) => merge(under, value),
                    None => {
                        below.insert(key, value);
                    }
                }
            }
        }
        (below, above) => *below = above,
    }
}

impl Reader<'_> {
    /// What is given of the facts, in the form in which they are stored.
    pub(super) fn facts(&mut self, node: &Node, path: &str) -> Json {
        let mut all = Map::new();
        for (section, node) in self.fields(node, path, SECTIONS).unwrap_or_default() {
            let path = join(path, section);
            let rows: Vec<_> = ROWS.iter().filter(|row| row.section == section).collect();
            let keys: Vec<_> = rows.iter().map(|row| row.key).collect();
            let mut given = Map::new();
            for (key, node) in self.fields(node, &path, &keys).unwrap_or_default() {
                let row = rows.iter().find(|row| row.key == key);
                let value = row.and_then(|row| self.fact(row.shape, node, &join(&path, key)));
                if let Some(value) = value {
                    given.insert(key.to_owned(), value);
                }
            }
            all.insert(section.to_owned(), given.into());
        }
        all.into()
    }

    fn fact(&mut self, shape: Shape, node: &Node, path: &str) -> Option<Json> {
        match shape {
            Shape::Text => self.text(node, path, TEXT_CHARS_MAX).map(Json::from),
            Shape::Word(what, words) => self
                .word(node, path, what, words, str::to_owned)
                .map(Json::from),
            Shape::Words(what, words) => self.words(node, path, what, words),
            Shape::Count => self.count(node, path),
            Shape::Time => self.moment(node, path),
            Shape::Flag => self.flag(node, path).map(Json::from),
            Shape::Tenant => self.tenant(node, path),
            Shape::Attributes => self.attribute_facts(node, path),
            Shape::Json => self.json(node, path),
        }
    }

    /// Words in a list, which may have none.
    fn words(&mut self, node: &Node, path: &str, what: &str, known: &[&str]) -> Option<Json> {
        let is_empty = matches!(&node.value, Value::List(items) if items.is_empty());
        let problems = self.problems.len();
        let found = if is_empty {
            Vec::new()
        } else {
            self.list(node, path, |reader, node, path| {
                reader.word(node, path, what, known, str::to_owned)
            })
        };
        (self.problems.len() == problems).then(|| found.into())
    }

    fn count(&mut self, node: &Node, path: &str) -> Option<Json> {
        if let Value::Integer(number) = node.value
            && let Ok(count) = u32::try_from(number)
        {
            return Some(count.into());
        }
        let message = format!("a whole number from 0 is wanted here, found {}", node.value);
        self.refuse(node.place, path, message, "");
        None
    }

    fn moment(&mut self, node: &Node, path: &str) -> Option<Json> {
        if let Value::Integer(number) = node.value
            && let Ok(seconds) = i64::try_from(number)
        {
            return Some(seconds.into());
        }
        if let Value::Text(text) = &node.value
            && let Ok(time) = DateTime::parse_from_rfc3339(text)
        {
            return Some(time.timestamp().into());
        }
        let message = format!("{} is no time", node.value);
        let hint = "Unix seconds, or such as 2026-03-02T22:30:00+01:00";
        self.refuse(node.place, path, message, hint);
        None
    }

    fn tenant(&mut self, node: &Node, path: &str) -> Option<Json> {
        if matches!(node.value, Value::Null) {
            return Some(Json::Null);
        }
        let tenant = self.text(node, path, TEXT_CHARS_MAX)?;
        if let Err(why) = TenantId::new(&tenant) {
            let hint = "write null for a room of no tenant";
            self.refuse(node.place, path, format!("the tenant {why}"), hint);
            return None;
        }
        Some(tenant.into())
    }

    fn attribute_facts(&mut self, node: &Node, path: &str) -> Option<Json> {
        let Value::Map(entries) = &node.value else {
            let message = format!("a map is wanted here, found {}", node.value);
            self.refuse(
                node.place,
                path,
                message,
                "such as `attributes: { role: host }`; `{}` is none",
            );
            return None;
        };
        if entries.len() > LIST_ITEMS_MAX {
            let message = format!("more than {LIST_ITEMS_MAX} attributes");
            self.refuse(
                node.place,
                path,
                message,
                "leave out what no policy asks for",
            );
            return None;
        }
        let mut attributes = Map::new();
        for (key, value) in entries {
            let Some(name) = self.text(key, path, TEXT_CHARS_MAX) else {
                continue;
            };
            let path = join(path, &name);
            let value = if matches!(value.value, Value::Null) {
                Some(Json::Null)
            } else {
                self.text(value, &path, TEXT_CHARS_MAX).map(Json::from)
            };
            if let Some(value) = value
                && attributes.insert(name, value).is_some()
            {
                self.refuse(key.place, &path, "this key stands here twice", "keep one");
            }
        }
        Some(attributes.into())
    }

    /// Any JSON, as it would stand in metadata.
    fn json(&mut self, node: &Node, path: &str) -> Option<Json> {
        match &node.value {
            Value::Null => Some(Json::Null),
            Value::Bool(value) => Some((*value).into()),
            Value::Text(text) if node.plain && reads_otherwise(text) => {
                let message = format!("{} may be text, or a number, true or false", quoted(text));
                let hint = "put it in quotes, or write the value as in JSON: true, 10";
                self.refuse(node.place, path, message, hint);
                None
            }
            Value::Text(text) => Some(text.clone().into()),
            Value::Integer(number) => self.number(Number::from_i128(*number), node, path),
            Value::Float(number) => self.number(Number::from_f64(*number), node, path),
            Value::List(items) => {
                let items = items.iter().enumerate();
                let items: Vec<_> = items
                    .map(|(index, item)| self.json(item, &format!("{path}[{index}]")))
                    .collect();
                items.into_iter().collect()
            }
            Value::Map(entries) => {
                let mut fields = Map::new();
                for (key, value) in entries {
                    let Value::Text(name) = &key.value else {
                        let message = format!("a key is wanted here, found {}", key.value);
                        self.refuse(key.place, path, message, "put it in quotes");
                        continue;
                    };
                    let path = join(path, name);
                    if let Some(value) = self.json(value, &path)
                        && fields.insert(name.clone(), value).is_some()
                    {
                        self.refuse(key.place, &path, "this key stands here twice", "keep one");
                    }
                }
                Some(fields.into())
            }
        }
    }

    fn number(&mut self, number: Option<Number>, node: &Node, path: &str) -> Option<Json> {
        if number.is_none() {
            let message = format!("JSON cannot hold {}", node.value);
            self.refuse(node.place, path, message, "");
        }
        number.map(Json::from)
    }
}
