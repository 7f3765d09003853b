//! The parts that the JSON Schemas of policy files and of their tests are made of.
//!
//! A schema never refuses what the reader takes. It takes some of what the reader refuses: globs
//! that do not compile, a name that stands twice.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value as Json, json};

use super::keys::WINDOW_KEYS;
use super::limits::{
    ATTRIBUTE_CHARS_MAX, CRON_CHARS_MAX, LIST_ITEMS_MAX, NAME_CHARS_MAX, PROSE_CHARS_MAX,
};
use super::owner::TENANT_ID_CHARS_MAX;

/// Text of one line: no control characters.
const LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// Text of one line that is not blank.
const LINE_NOT_BLANK: &str = r"^[^\u0000-\u001F\u007F-\u009F]*[^\s\u0000-\u001F\u007F-\u009F][^\u0000-\u001F\u007F-\u009F]*$";

/// An instant, as it is read: RFC 3339, whose `T` may be a space.
const INSTANT: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?([Zz]|[-+\u2212][0-9]{2}:[0-9]{2})$";

/// Draft 7, which every editor knows, and all in one piece.
pub(super) fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.into_generator()
}

/// What hangs on more than one field of a policy.
pub(super) fn rules() -> Json {
    json!([
        {
            "if": {"properties": {"effect": {"const": "exempt"}}, "required": ["effect"]},
            "then": {"required": ["reason"]},
        },
        {
            "if": {"properties": {"overridable": {"const": true}}, "required": ["overridable"]},
            "then": {"properties": {"effect": {"const": "mute"}, "owner": false}},
        },
    ])
}

/// Implements `JsonSchema` for a type that stands in for one way of writing a value.
macro_rules! written {
    ($(#[$meta:meta])* $name:ident => $schema:expr) => {
        $(#[$meta])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

written!(
    /// Text of any number of lines that is not blank.
    Prose => json_schema!({
        "type": "string",
        "maxLength": PROSE_CHARS_MAX,
        "pattern": r"^[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*\S[^\u0000-\u0008\u000B-\u001F\u007F-\u009F]*$",
    })
);

written!(
    /// A policy's name.
    PolicyName => json_schema!({
        "type": "string",
        "maxLength": NAME_CHARS_MAX,
        "pattern": "^[A-Za-z0-9._-]+$",
    })
);

written!(
    /// A tenant.
    Tenant => not_blank(TENANT_ID_CHARS_MAX)
);

written!(
    /// An expression, in CEL.
    Condition => json_schema!({"type": "string", "pattern": r"\S"})
);

written!(
    /// An instant with its offset.
    Instant => instant()
);

written!(
    /// How long something lasts.
    Duration => duration()
);

written!(
    /// A window in time.
    Window => {
        let mut duration = duration();
        let description = "How long it stays open: `90m`, `8h`, `1h30m`, `2d`; to 7 days.";
        duration.insert("description".to_owned(), description.into());
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "required": WINDOW_KEYS,
            "properties": {
                "cron": {
                    "description": "When it opens: minute, hour, day of the month, month, weekday.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": CRON_CHARS_MAX,
                },
                "duration": duration,
                "timezone": {
                    "description": "Whose clocks it goes by, such as `Europe/Berlin` or `UTC`.",
                    "type": "string",
                    "minLength": 1,
                },
            },
        })
    }
);

written!(
    /// Names of attributes, each with the values that are allowed.
    AttributeConditions => json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": LIST_ITEMS_MAX,
        "propertyNames": line(0, ATTRIBUTE_CHARS_MAX),
        "additionalProperties": one_or_many(&line(0, ATTRIBUTE_CHARS_MAX)),
    })
);

/// Text of one line.
pub(super) struct Line<const CHARS_MIN: usize, const CHARS_MAX: usize>;

impl<const CHARS_MIN: usize, const CHARS_MAX: usize> JsonSchema for Line<CHARS_MIN, CHARS_MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Line_{CHARS_MIN}_{CHARS_MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        line(CHARS_MIN, CHARS_MAX)
    }
}

pub(super) fn line(chars_min: usize, chars_max: usize) -> Schema {
    let mut schema = json_schema!({"type": "string", "maxLength": chars_max, "pattern": LINE});
    if chars_min > 0 {
        schema.insert("minLength".to_owned(), chars_min.into());
    }
    schema
}

fn duration() -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 2,
        "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?$",
        // Some of it is not zero.
        "allOf": [{"pattern": "[1-9]"}],
    })
}

/// An instant with its offset.
pub(super) fn instant() -> Schema {
    json_schema!({"type": "string", "pattern": INSTANT})
}

pub(super) fn not_blank(chars_max: usize) -> Schema {
    json_schema!({"type": "string", "maxLength": chars_max, "pattern": LINE_NOT_BLANK})
}

/// One value, or a list of them.
pub(super) struct OneOrMany<T>(PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        one_or_many(&generator.subschema_for::<T>())
    }
}

pub(super) fn one_or_many(item: &Schema) -> Schema {
    json_schema!({
        "anyOf": [
            item,
            {"type": "array", "items": item, "minItems": 1, "maxItems": LIST_ITEMS_MAX},
        ],
    })
}
