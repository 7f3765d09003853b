//! Text and JSON as Postgres can store them: it has no NUL, and an entry of an index is short.

use serde::Serialize;
use serde_json::Value;

/// The longest text that is stored whole: three of them fit into an entry of an index (2704 bytes),
/// and LiveKit's own names have 256 bytes at most unless it is set otherwise.
const TEXT_BYTES_MAX: usize = 800;

/// Text that Postgres can store and index: without NUL, which it does not have, and cut where it
/// is longer than an index takes. Participants and tenants choose such texts, and a row that
/// cannot be written would be a way out of being muted.
#[must_use]
pub(crate) fn to_pg_text(text: &str) -> String {
    let mut text = to_pg_key(text);
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Text that Postgres can store, whole: for keys, which stay apart only where nothing is cut.
#[must_use]
pub(crate) fn to_pg_key(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// JSON that Postgres can store and take apart again, in which an escaped NUL is an error wherever
/// it stands.
#[must_use]
pub(crate) fn to_pg_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(to_pg_key(&text)),
        Value::Array(values) => values.into_iter().map(to_pg_json).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (to_pg_key(&name), to_pg_json(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// `value` as JSON that Postgres can store. As text: a `Value` is sent as `jsonb`, which refuses the escaped NUL of
/// a name.
#[must_use]
pub(crate) fn json_text<T: Serialize>(value: &T) -> String {
    // Only maps with keys that are no strings fail, and there are none.
    to_pg_json(serde_json::to_value(value).unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TEXT_BYTES_MAX, to_pg_json, to_pg_text};

    #[test]
    fn no_nul_is_left_in_json() {
        let value = json!({"a\0": ["b\0", {"c": "d\0"}, 1, null, true]});
        let expect = json!({"a\u{fffd}": ["b\u{fffd}", {"c": "d\u{fffd}"}, 1, null, true]});
        assert_eq!(to_pg_json(value), expect);
    }

    #[test]
    fn a_nul_becomes_the_replacement_character() {
        assert_eq!(to_pg_text("a\0b"), "a\u{fffd}b");
        assert_eq!(to_pg_text("ab"), "ab");
    }

    #[test]
    fn what_is_too_long_for_an_index_is_cut_between_characters_and_says_so() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(to_pg_text(&longest), longest);
        assert_eq!(to_pg_text(&format!("{longest}y")), format!("{longest}…"));
        let wide = format!("{}🔇", "x".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(
            to_pg_text(&wide),
            format!("{}…", "x".repeat(TEXT_BYTES_MAX - 1))
        );
    }
}
