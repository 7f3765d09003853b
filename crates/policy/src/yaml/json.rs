//! What keeps a `*.json` file from being JSON: YAML is more lenient, and its advice is not for JSON.

use serde::de::IgnoredAny;

use super::syntax_error::SyntaxError;
use crate::node::Place;

/// What is wrong, in words for JSON; none where it is JSON, or where YAML's reader tells it as well.
pub(super) fn check(text: &str) -> Option<SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return None;
    }
    let error = serde_json::from_str::<IgnoredAny>(text).err()?;
    let told = error.to_string();
    if told.starts_with("recursion limit") {
        return None;
    }
    let lines = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1));
    let at = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let closes_list = rest.starts_with(['}', ']']) && before.trim_end().ends_with(',');
    let (message, hint) =
        if rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#') {
            (
                "this is a comment, and JSON has none".to_owned(),
                "take it out, or write the file as YAML",
            )
        } else if told.starts_with("trailing comma") || closes_list {
            (
                "a comma stands behind the last entry".to_owned(),
                "take it out",
            )
        } else if rest.starts_with('\'') {
            ("JSON puts text in double quotes".to_owned(), "write `\"`")
        } else {
            let told = told.split(" at line ").next().unwrap_or_default();
            let hint = match told {
                "expected value" | "expected ident" | "key must be a string" => {
                    "put text and keys in double quotes"
                }
                "invalid escape" => "write `\\\\` for a backslash",
                _ => "",
            };
            (format!("this is not JSON that can be read: {told}"), hint)
        };
    let line = before.rsplit('\n').next().unwrap_or_default();
    Some(SyntaxError {
        place: Place {
            line: u64::try_from(error.line()).ok(),
            column: u64::try_from(line.chars().count() + 1).ok(),
        },
        message,
        hint,
    })
}
