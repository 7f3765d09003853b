//! The JSON Schema of files of tests: the table of facts, with the words of [`Facts`]'s own docs.

use serde_json::{Map, Value as Json, json};

use super::CASES_MAX;
use super::read::{NAME_CHARS_MAX, REFERENCE_CHARS_MAX};
use crate::facts::catalog::{FIELDS, FactType, Field, SECTIONS, TEXT_CHARS_MAX};
use crate::facts::{Facts, KindDetail};
use crate::limits::LIST_ITEMS_MAX;
use crate::schema::{generator, instant, line, not_blank, one_or_many};

/// The JSON Schema of files of tests, for editors.
#[must_use]
pub fn json_schema() -> Json {
    let described = generator().into_root_schema_for::<Facts>().to_value();
    let facts = facts(&described);
    let unknowable = FIELDS.iter().filter(|field| field.may_be_unknown());
    let unknowable: Vec<_> = unknowable.map(|field| field.name).collect();
    let unknowable = json!({"type": "string", "enum": unknowable});
    json!({
        "$schema": described.get("$schema"),
        "title": "Tests of policies",
        "type": "object",
        "additionalProperties": false,
        "required": ["tests"],
        "properties": {
            "policies": describe(
                "The policy files that are loaded together for these tests, relative to this one. \
                 Without it: the file of the same name beside it.",
                one_or_many(&line(0, REFERENCE_CHARS_MAX)).to_value(),
            ),
            "defaults": describe("Facts of every test that does not give them itself.", facts.clone()),
            "tests": {
                "description": "The tests.",
                "type": "array",
                "maxItems": CASES_MAX,
                "items": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["name", "expect"],
                    "properties": {
                        "name": describe(
                            "What it shows; unique in this file.",
                            line(0, NAME_CHARS_MAX).to_value(),
                        ),
                        "facts": describe(
                            "What is known of the track. What neither this nor `defaults` gives \
                             is unknown.",
                            facts,
                        ),
                        "unknown": describe(
                            "Facts that are unknown here, whatever `defaults` says.",
                            one_or_many(&unknowable.try_into().unwrap_or_default()).to_value(),
                        ),
                        "at": describe(
                            "The time, with its offset; without it 2026-01-05T12:00:00Z, a Monday.",
                            instant().to_value(),
                        ),
                        "expect": describe("What is done.", outcome()),
                        "dry_run": describe(
                            "What would be done if dry-run policies were enforced as \
                             well; not looked at without it.",
                            outcome(),
                        ),
                    },
                },
            },
        },
    })
}

fn outcome() -> Json {
    let policy = |key: &str, description: &str| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": [key],
            "properties": {key: describe(description, line(0, REFERENCE_CHARS_MAX).to_value())},
        })
    };
    json!({"anyOf": [
        describe("Nothing happens, and nothing had to be exempted.", json!({"const": "nothing"})),
        describe("Unknown facts would decide.", json!({"const": "indeterminate"})),
        policy("mute", "The policy that mutes: NAME, or TENANT/NAME where owners share a name."),
        policy("exempted_by", "The exemption that cancels a mute: NAME, or TENANT/NAME."),
    ]})
}

fn facts(described: &Json) -> Json {
    let sections = SECTIONS.iter().map(|section| {
        let described = described.pointer(&format!("/properties/{section}"));
        let properties = Field::of_section(section).map(|(key, field)| {
            let fact = described.and_then(|it| it.pointer(&format!("/properties/{key}")));
            let schema = describe(description(fact), schema(field.shape));
            (key.to_owned(), schema)
        });
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties.collect::<Map<_, _>>(),
        });
        (
            (*section).to_owned(),
            describe(description(described), schema),
        )
    });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": sections.collect::<Map<_, _>>(),
    })
}

fn description(of: Option<&Json>) -> &str {
    of.and_then(|schema| schema.get("description"))
        .and_then(Json::as_str)
        .unwrap_or_default()
}

fn describe(description: &str, mut schema: Json) -> Json {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("description".to_owned(), description.into());
    }
    schema
}

fn schema(shape: FactType) -> Json {
    let text = || line(0, TEXT_CHARS_MAX).to_value();
    match shape {
        FactType::Text(_) => text(),
        FactType::Word { words, .. } => json!({"type": "string", "enum": words}),
        FactType::KindDetails(_) => {
            let word = json!({"type": "string", "enum": KindDetail::WORDS});
            let list = json!({"type": "array", "maxItems": LIST_ITEMS_MAX, "items": word});
            json!({"anyOf": [word, list]})
        }
        FactType::Count(_) => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        FactType::Time(_) => json!({"anyOf": [
            {"type": "integer"},
            instant().to_value(),
        ]}),
        FactType::Flag(_) => json!({"type": "boolean"}),
        FactType::Tenant(_) => json!({
            "anyOf": [not_blank(TEXT_CHARS_MAX).to_value(), {"type": "null"}],
        }),
        FactType::Attributes(_) => json!({
            "type": "object",
            "maxProperties": LIST_ITEMS_MAX,
            "propertyNames": text(),
            "additionalProperties": {"anyOf": [text(), {"type": "null"}]},
        }),
        FactType::Metadata(_) => json!({}),
    }
}
