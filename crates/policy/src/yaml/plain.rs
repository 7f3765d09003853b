//! What text without quotes means: what it means in JSON, else the text itself.

use crate::node::NodeValue;
use crate::terminal::quoted;

const AS_IN_JSON: &str = "put it in quotes, or write it as in JSON, such as 10, true or null";

/// The value of a plain scalar, or why it is refused and what to do: YAML's versions read it as
/// another value than the text that stands there.
pub(super) fn value(text: &str) -> Result<NodeValue, (String, &'static str)> {
    match text {
        "null" | "~" => return Ok(NodeValue::Null),
        "true" => return Ok(NodeValue::Bool(true)),
        "false" => return Ok(NodeValue::Bool(false)),
        _ => {}
    }
    if is_json_number(text) {
        if text.contains(['.', 'e', 'E']) {
            if let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) {
                return Ok(NodeValue::Float(number));
            }
        } else if let Ok(number) = text.parse() {
            return Ok(NodeValue::Integer(number));
        }
        return Err((
            format!("{} is too large a number", quoted(text)),
            AS_IN_JSON,
        ));
    }
    if is_word_in_capitals(text) || is_number(text) {
        let message = format!("{} may be read as another value", quoted(text));
        return Err((message, AS_IN_JSON));
    }
    Ok(NodeValue::Text(text.to_owned()))
}

/// Whether YAML 1.1 reads this text, which is text in YAML 1.2, as true, false or a number. It
/// matters where a value may be of any type.
pub(crate) fn reads_otherwise(text: &str) -> bool {
    const WORDS: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];
    let unsigned = text.trim_start_matches(['-', '+']);
    let of = |c: char| c.is_ascii_digit() || matches!(c, '_' | ':' | '.');
    let digits = unsigned.starts_with(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(of)
        && unsigned.contains(['_', ':']);
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
        || digits
        || unsigned.starts_with("0b")
        || unsigned.starts_with("0x")
}

/// `True`, `NULL` and the like.
fn is_word_in_capitals(text: &str) -> bool {
    ["true", "false", "null"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// A number as JSON writes it.
fn is_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = unsigned.split(['.', 'e', 'E']).next().unwrap_or_default();
    let leads = whole == "0" || !whole.starts_with('0');
    leads && is_decimal(unsigned) && !unsigned.starts_with('.') && !has_bare_point(unsigned)
}

/// A number as YAML 1.2 writes it: with a plus, with zeros before it, in other bases, not finite.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let based = |prefix: &str, base: u32| {
        let digits = text.strip_prefix(prefix);
        digits.is_some_and(|digits| {
            !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base))
        })
    };
    let is = |words: [&str; 3]| words.contains(&unsigned);
    is_decimal(unsigned)
        || based("0o", 8)
        || based("0x", 16)
        || is([".inf", ".Inf", ".INF"])
        || is([".nan", ".NaN", ".NAN"])
}

/// Digits with a point and an exponent, each of them optional.
fn is_decimal(unsigned: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent_fits && digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty())
}

/// `1.` and `1.e5`.
fn has_bare_point(unsigned: &str) -> bool {
    let after = unsigned.split_once('.').map(|(_, after)| after);
    after.is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_digit()))
}

/// Whether a comment after a plain text has taken a part of it: nothing is between its `#` and a
/// word (`lobby #2`), or the `#` is within quotes (`room.name == "a # b"`).
pub(super) fn is_cut(text: &str, comment: &str) -> bool {
    let Some(said) = comment.strip_prefix('#') else {
        return false;
    };
    let said = said.split(['\n', '\r']).next().unwrap_or_default();
    let bare = said.starts_with(|c: char| !c.is_whitespace() && c != '#');
    bare || open_quote(text).is_some_and(|quote| said.contains(quote))
}

/// The quote that is open at the end. An apostrophe opens none.
fn open_quote(text: &str) -> Option<char> {
    let mut open = None;
    let mut before = ' ';
    for c in text.chars() {
        if open == Some(c) {
            open = None;
        } else if open.is_none() && matches!(c, '"' | '\'') && !before.is_alphanumeric() {
            open = Some(c);
        }
        before = c;
    }
    open
}

/// Whether a line is one of a map in a block, such as `  - name: x`.
pub(super) fn starts_with_key(line: &str) -> bool {
    let item = line.trim_start();
    let key = item.strip_prefix("- ").unwrap_or(item);
    let named = |key: &str| {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
        !key.is_empty() && key.chars().all(plain)
    };
    let ends = key.split_once(':');
    ends.is_some_and(|(key, after)| {
        named(key.trim_end()) && (after.is_empty() || after.starts_with([' ', '\t']))
    })
}
