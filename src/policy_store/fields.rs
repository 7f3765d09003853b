//! Which fields two documents of a policy differ in, in words that fit on a line.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// Words, numbers and times are shown as they are, if they are no longer than this.
const SHOWN_CHARS_MAX: usize = 32;

/// A field that changed.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FieldChange {
    /// Its name, such as `mode` or `match.room`.
    pub field: String,
    /// What it was; none where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; none where it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        match (&self.before, &self.after) {
            (None, _) => write!(f, "{field} added"),
            (_, None) => write!(f, "{field} removed"),
            (Some(before), Some(after)) => match (plain(before), plain(after)) {
                (Some(before), Some(after)) => write!(f, "{field} {before} -> {after}"),
                _ => write!(f, "{field} changed"),
            },
        }
    }
}

/// A value that can stand in a sentence: what people write freely may be long, and may hold what a
/// terminal obeys.
fn plain(value: &Value) -> Option<String> {
    let text = match value {
        Value::Bool(_) | Value::Number(_) => return Some(value.to_string()),
        Value::String(text) => text,
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+:.".contains(c);
    let fits = !text.is_empty() && text.len() <= SHOWN_CHARS_MAX;
    (fits && text.chars().all(is_plain)).then(|| text.clone())
}

/// The fields in which two documents differ, by name; none where either is not there. Conditions
/// that stand in both are compared field by field.
#[must_use]
pub fn changed_fields(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    if let (Some(Value::Object(before)), Some(Value::Object(after))) = (before, after) {
        compare("", before, after, &mut changes);
    }
    changes
}

fn compare(
    path: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    changes: &mut Vec<FieldChange>,
) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let is_conditions = path.is_empty() && ["match", "unless"].contains(&name.as_str());
        if let (true, Some(Value::Object(old)), Some(Value::Object(new))) =
            (is_conditions, old, new)
        {
            compare(&format!("{name}."), old, new, changes);
            continue;
        }
        changes.push(FieldChange {
            field: format!("{path}{name}"),
            before: old.cloned(),
            after: new.cloned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_changed_is_said_in_a_few_words() {
        let document = json!({
            "name": "p", "effect": "mute", "mode": "enforce", "priority": 100, "overridable": false,
            "match": {"room": ["a"], "attributes": {"role": ["host"]}},
        });
        for (pointer, value, says) in [
            ("/priority", json!(100), ""),
            ("/priority", json!(7), "priority 100 -> 7"),
            ("/mode", json!("dry_run"), "mode enforce -> dry_run"),
            ("/overridable", json!(true), "overridable false -> true"),
            ("/match/room", json!(["a", "b"]), "match.room changed"),
            (
                "/match/attributes/role/0",
                json!("x"),
                "match.attributes changed",
            ),
            (
                "/match",
                json!({"source": ["CAMERA"]}),
                "match.attributes removed, match.room removed, match.source added",
            ),
        ] {
            let mut after = document.clone();
            *after.pointer_mut(pointer).unwrap() = value;
            let words = changed_fields(Some(&document), Some(&after));
            let words: Vec<_> = words.iter().map(ToString::to_string).collect();
            assert_eq!(words.join(", "), says, "{pointer}");
        }
    }

    #[test]
    fn text_that_people_write_is_not_shown() {
        for text in ["two words", "\u{1b}[2J", "", &"x".repeat(33)] {
            let (before, after) = (json!({"reason": "r"}), json!({"reason": text}));
            let words = changed_fields(Some(&before), Some(&after));
            assert_eq!(words[0].to_string(), "reason changed", "{text:?}");
            let words = changed_fields(Some(&json!({})), Some(&after));
            assert_eq!(words[0].to_string(), "reason added");
            let words = changed_fields(Some(&after), Some(&json!({})));
            assert_eq!(words[0].to_string(), "reason removed");
        }
    }

    #[test]
    fn a_first_or_last_revision_changes_no_field() {
        let document = json!({"name": "p"});
        assert_eq!(changed_fields(None, Some(&document)), []);
        assert_eq!(changed_fields(Some(&document), None), []);
    }
}
