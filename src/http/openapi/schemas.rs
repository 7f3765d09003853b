//! The JSON Schemas of all types that are read and written.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

/// The schemas of all types that are sent and answered, by name.
pub(in crate::http) struct Schemas {
    /// Of what is read.
    asked: SchemaGenerator,
    /// Of what is written: what always has a value is required there.
    answered: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |path: &'static str| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = path.into();
                settings.meta_schema = None;
            })
        };
        Self {
            asked: settings(&ASKED[1..]).for_deserialize().into_generator(),
            answered: settings(&ANSWERED[1..]).for_serialize().into_generator(),
        }
    }

    /// The properties of a type that is read, and which of them are required.
    pub(super) fn properties<T: JsonSchema>(&mut self) -> (Map<String, Value>, Vec<Value>) {
        let schema = T::json_schema(&mut self.asked);
        let get = |name| schema.get(name).cloned();
        let Some(Value::Object(properties)) = get("properties") else {
            return (Map::new(), Vec::new());
        };
        let required = get("required").and_then(|names| names.as_array().cloned());
        (properties, required.unwrap_or_default())
    }

    /// A type that is read, by its name.
    pub(in crate::http) fn asked<T: JsonSchema>(&mut self) -> Value {
        self.asked.subschema_for::<T>().into()
    }

    /// The same, without its name, to be changed for the one place where it stands.
    pub(in crate::http) fn inline<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.asked).into()
    }

    pub(super) fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().into()
    }

    /// Names the types in `document`. One that is written otherwise than it is read, or has such a one in
    /// it, has `Output` behind its name where it is written.
    pub(super) fn name_in(mut self, document: &Value) -> Value {
        let mut types = self.asked.take_definitions(true);
        let answered = self.answered.take_definitions(true);
        let mut texts: BTreeMap<_, _> = answered
            .iter()
            .map(|(name, schema)| (name.clone(), schema.to_string()))
            .collect();
        let mut document = document.to_string();
        let mut named = BTreeMap::new();
        loop {
            let other = texts.iter().find(|(name, text)| {
                let has_other = text.contains("Output\"");
                let asked = types.get(*name).map(Value::to_string);
                !named.contains_key(*name)
                    && asked.is_some_and(|it| has_other || it != text.replace(ANSWERED, ASKED))
            });
            let Some(name) = other.map(|(name, _)| name.clone()) else {
                break;
            };
            let from = format!("{ANSWERED}/{name}\"");
            let to = format!("{ASKED}/{name}Output\"");
            for text in texts.values_mut().chain([&mut document]) {
                *text = text.replace(&from, &to);
            }
            named.insert(name.clone(), format!("{name}Output"));
        }
        let read = |text: &str| {
            serde_json::from_str::<Value>(&text.replace(ANSWERED, ASKED)).unwrap_or_default()
        };
        for (name, text) in &texts {
            types.insert(
                named.remove(name).unwrap_or_else(|| name.clone()),
                read(text),
            );
        }
        let mut document = read(&document);
        document["components"]["schemas"] = types.into();
        document
    }
}

/// Where the types are named that are read, and those that are written until both have their names.
const ASKED: &str = "#/components/schemas";
const ANSWERED: &str = "#/components/answered";
