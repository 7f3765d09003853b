//! Facts as people give them, in tests of policies and in questions: read strictly, by the catalog.
//!
//! They are read into the JSON form that [`Facts`] are stored in, where an unknown fact is an absent
//! key: two of them are one merge.

use chrono::DateTime;
use serde_json::{Map, Value as Json};

use super::facts::catalog::{FactType, Field, SECTIONS, TEXT_CHARS_MAX};
use super::facts::{Facts, KindDetail};
use super::limits::LIST_ITEMS_MAX;
use super::metadata::{METADATA_DEPTH_MAX, is_deeper, tenant_in};
use super::node::{Node, NodeValue, from_value};
use super::problem::one_of;
use super::problem::{Problem, Problems};
use super::reader::{Reader, join};
use super::terminal::quoted;

/// How facts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// By people, in a file of tests. Times may be written with their offset, and one word for a list of
    /// one; null takes an attribute out that the defaults have. A word that no policy can name is
    /// refused: it is a slip.
    Test,
    /// As facts are stored and answered. Texts and attributes may be any that LiveKit has; a word that no
    /// policy can name may be a newer LiveKit's, and is warned of.
    Stored,
}

/// Facts that were given in their stored form.
#[derive(Debug)]
pub struct Given {
    /// What was given, and what was assumed where it was not.
    pub facts: Facts,
    /// The fields that were given, also by another: the tenant by the room's metadata.
    pub fields: Vec<&'static Field>,
    /// Warnings about them.
    pub warnings: Vec<Problem>,
}

/// Reads facts in their stored form. What is left out is as `assumed`, but for `required` fields, or
/// unknown. All that is wrong is reported.
pub fn read(given: &Json, assumed: Json, required: &[&str]) -> Result<Given, Problems> {
    let mut reader = Reader::new(None);
    let root = "facts";
    let node = match from_value(given) {
        Ok(node) => node,
        Err(error) => {
            reader.malformed(&error);
            return Err(reader.into_problems());
        }
    };
    let own = reader.facts(&node, root, Form::Stored);
    for name in required {
        if matches!(node.value, NodeValue::Map(_)) && given.pointer(&pointer(name)).is_none() {
            reader.refuse(node.place, &format!("{root}.{name}"), "this is missing", "");
        }
    }
    if !reader.problems.is_empty() {
        return Err(reader.into_problems());
    }
    let mut fields: Vec<_> = super::facts::catalog::FIELDS
        .iter()
        .filter(|field| own.pointer(&pointer(field.name)).is_some())
        .collect();
    let mut all = assumed;
    merge(&mut all, own);
    let added = add_tenant(&mut all).map_err(|message| (format!("{root}.room.tenant"), message));
    let facts = added.and_then(|added| {
        fields.extend(added.then(|| Field::named("room.tenant")).flatten());
        // The rows of the catalog are the fields of `Facts`: a test holds them to it.
        serde_json::from_value(all)
            .map_err(|error| (root.to_owned(), format!("these are no facts: {error}")))
    });
    match facts {
        Ok(facts) => Ok(Given {
            facts,
            fields,
            warnings: reader.warnings,
        }),
        Err((path, message)) => {
            reader.refuse(node.place, &path, message, "");
            Err(reader.into_problems())
        }
    }
}

fn pointer(name: &str) -> String {
    format!("/{}", name.replace('.', "/"))
}

/// Puts what is `above` over what is `below`, key by key.
pub(crate) fn merge(below: &mut Json, above: Json) {
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

/// Puts a fact where its section is.
pub(crate) fn put(all: &mut Json, section: &str, key: &str, value: Json) {
    if let Some(section) = all.get_mut(section).and_then(Json::as_object_mut) {
        section.insert(key.to_owned(), value);
    }
}

/// A room's tenant is what its metadata says, as in a real room; either may be given. Whether it was
/// taken from there; the message where they do not agree.
pub(crate) fn add_tenant(all: &mut Json) -> Result<bool, String> {
    let Some(metadata) = all.pointer("/room/metadata") else {
        return Ok(false);
    };
    let said = tenant_in(metadata).map_or(Json::Null, |tenant| tenant.as_str().into());
    match all.pointer("/room/tenant") {
        Some(tenant) if *tenant != said => {
            let shown = |it: &Json| it.as_str().map_or_else(|| it.to_string(), quoted);
            Err(format!(
                "room.tenant is {}, and `auth_id` in room.metadata makes it {}: take one of them out",
                shown(tenant),
                shown(&said)
            ))
        }
        Some(_) => Ok(false),
        None => {
            put(all, "room", "tenant", said);
            Ok(true)
        }
    }
}

impl Reader<'_> {
    /// What is given of the facts, in the form in which they are stored.
    pub(crate) fn facts(&mut self, node: &Node, path: &str, form: Form) -> Json {
        let mut all = Map::new();
        for (section, node) in self.fields(node, path, SECTIONS).unwrap_or_default() {
            let path = join(path, section);
            let rows: Vec<_> = Field::of_section(section).collect();
            let keys: Vec<_> = rows.iter().map(|(key, _)| *key).collect();
            let mut given = Map::new();
            for (key, node) in self.fields(node, &path, &keys).unwrap_or_default() {
                let row = rows.iter().find(|(of, _)| *of == key);
                let value =
                    row.and_then(|(_, row)| self.fact(row.shape, node, &join(&path, key), form));
                if let Some(value) = value {
                    given.insert(key.to_owned(), value);
                }
            }
            all.insert(section.to_owned(), given.into());
        }
        all.into()
    }

    fn fact(&mut self, shape: FactType, node: &Node, path: &str, form: Form) -> Option<Json> {
        let takes_null = matches!(shape, FactType::Tenant(_) | FactType::Metadata(_));
        if matches!(node.value, NodeValue::Null) && !takes_null {
            let hint = "leave a fact out that is not known";
            self.refuse(node.place, path, "expected a value, found nothing", hint);
            return None;
        }
        match shape {
            FactType::Text(_) => self.fact_text(node, path, form).map(Json::from),
            FactType::Word { what, words, .. } => self.fact_word(node, path, what, words, form),
            FactType::KindDetails(_) => self.kind_details(node, path, form),
            FactType::Count(_) => self.count(node, path),
            FactType::Time(_) => self.moment(node, path, form),
            FactType::Flag(_) => self.flag(node, path).map(Json::from),
            FactType::Tenant(_) => self.tenant(node, path, form),
            FactType::Attributes(_) => self.attribute_facts(node, path, form),
            FactType::Metadata(_) => self.metadata(node, path, form),
        }
    }

    fn fact_text(&mut self, node: &Node, path: &str, form: Form) -> Option<String> {
        match form {
            Form::Test => self.text(node, path, TEXT_CHARS_MAX),
            Form::Stored => self.any_text(node, path, TEXT_CHARS_MAX, |_| false),
        }
    }

    fn fact_word(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        words: &[&str],
        form: Form,
    ) -> Option<Json> {
        if form == Form::Test || node.value.text().is_none() {
            let word = self.word(node, path, what, words, str::to_owned);
            return word.map(Json::from);
        }
        let word = self.fact_text(node, path, form)?;
        if !words.contains(&word.as_str()) {
            let hint = match self.suggestion(&word, words) {
                Some(near) => format!("did you mean {near}?"),
                None => one_of(words),
            };
            let message = format!("{} is a word that no policy can name", quoted(&word));
            self.warn(node, path, message, hint);
        }
        Some(word.into())
    }

    /// Words in a list, which may have none.
    fn kind_details(&mut self, node: &Node, path: &str, form: Form) -> Option<Json> {
        let items = match &node.value {
            NodeValue::List(items) => items.as_slice(),
            NodeValue::Text(_) if form == Form::Test => std::slice::from_ref(node),
            other @ (NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Text(_)
            | NodeValue::Map(_)) => {
                let message = format!("expected a list of words, found {other}");
                self.refuse(node.place, path, message, "such as [SIP]; [] is none");
                return None;
            }
        };
        if items.len() > LIST_ITEMS_MAX {
            let message = format!(
                "expected at most {LIST_ITEMS_MAX} words, found {}",
                items.len()
            );
            self.refuse(node.place, path, message, "");
            return None;
        }
        let is_list = matches!(node.value, NodeValue::List(_));
        let words: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let path = if is_list {
                    format!("{path}[{index}]")
                } else {
                    path.to_owned()
                };
                self.fact_word(item, &path, "kind detail", KindDetail::WORDS, form)
            })
            .collect();
        words.into_iter().collect()
    }

    fn count(&mut self, node: &Node, path: &str) -> Option<Json> {
        if let NodeValue::Integer(number) = node.value
            && let Ok(count) = u32::try_from(number)
        {
            return Some(count.into());
        }
        let message = format!("expected a whole number from 0, found {}", node.value);
        self.refuse(node.place, path, message, "");
        None
    }

    fn moment(&mut self, node: &Node, path: &str, form: Form) -> Option<Json> {
        if let NodeValue::Integer(number) = node.value
            && let Ok(seconds) = i64::try_from(number)
        {
            return Some(seconds.into());
        }
        if let (NodeValue::Text(text), Form::Test) = (&node.value, form)
            && let Ok(time) = DateTime::parse_from_rfc3339(text)
        {
            return Some(time.timestamp().into());
        }
        let message = format!("{} is no time", node.value);
        let hint = match form {
            Form::Test => "Unix seconds, or such as 2026-03-02T22:30:00+01:00",
            Form::Stored => "write it in Unix seconds, such as 1772487000",
        };
        self.refuse(node.place, path, message, hint);
        None
    }

    fn tenant(&mut self, node: &Node, path: &str, form: Form) -> Option<Json> {
        if matches!(node.value, NodeValue::Null) {
            return Some(Json::Null);
        }
        let tenant = self.fact_text(node, path, form)?;
        if tenant.trim().is_empty() {
            let hint = "write null for a room of no tenant";
            self.refuse(node.place, path, "the tenant is blank", hint);
            return None;
        }
        Some(tenant.into())
    }

    fn attribute_facts(&mut self, node: &Node, path: &str, form: Form) -> Option<Json> {
        let NodeValue::Map(entries) = &node.value else {
            let message = format!("expected a map, found {}", node.value);
            let hint = "such as `attributes: { role: host }`; `{}` is none";
            self.refuse(node.place, path, message, hint);
            return None;
        };
        let (count_max, chars_max) = match form {
            Form::Test => (LIST_ITEMS_MAX, TEXT_CHARS_MAX),
            // LiveKit bounds them, and the question that they stand in is bounded.
            Form::Stored => (usize::MAX, usize::MAX),
        };
        if entries.len() > count_max {
            let message = format!("more than {count_max} attributes");
            let hint = "leave out what no policy asks for";
            self.refuse(node.place, path, message, hint);
            return None;
        }
        let any = |reader: &mut Self, node: &Node, path: &str| match form {
            Form::Test => reader.text(node, path, chars_max),
            Form::Stored => reader.any_text(node, path, chars_max, |_| false),
        };
        let mut attributes = Map::new();
        for (key, value) in entries {
            let Some(name) = any(self, key, path) else {
                continue;
            };
            let path = join(path, &name);
            let value = if matches!(value.value, NodeValue::Null) && form == Form::Test {
                Some(Json::Null)
            } else {
                any(self, value, &path).map(Json::from)
            };
            if let Some(value) = value
                && attributes.insert(name, value).is_some()
            {
                self.refuse(key.place, &path, "this key stands here twice", "keep one");
            }
        }
        Some(attributes.into())
    }

    /// Metadata as facts have it: read, and not as the text that LiveKit hands over.
    fn metadata(&mut self, node: &Node, path: &str, form: Form) -> Option<Json> {
        let metadata = self.json(node, path)?;
        if is_deeper(&metadata, METADATA_DEPTH_MAX) {
            let message = format!("at most {METADATA_DEPTH_MAX} levels are kept of metadata");
            let hint = "write null in place of what is deeper";
            self.refuse(node.place, path, message, hint);
            return None;
        }
        if let Some(text) = metadata.as_str() {
            if serde_json::from_str::<Json>(text).is_ok_and(|read| read.is_object()) {
                let hint = "write it as a map, without the quotes around it";
                self.refuse(node.place, path, "this is text", hint);
                return None;
            }
            // LiveKit may have such metadata.
            if form == Form::Stored {
                let message = "this is text, in which no key is found".to_owned();
                self.warn(node, path, message, "write it as a map".to_owned());
            }
        }
        Some(metadata)
    }

    fn warn(&mut self, node: &Node, path: &str, message: String, hint: String) {
        let warning = self.problem(node.place, path, message, hint);
        self.warnings.push(warning);
    }
}
