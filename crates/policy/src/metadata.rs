//! Metadata of a room or a participant: the JSON that people's backends write, read leniently.
//!
//! `JSON.stringify` and `json.dumps` write half an emoji (`"\ud800"`), Python writes `NaN`, and other
//! readers take numbers and nesting without a bound. None of these may hide the keys beside it: a
//! room whose tenant is not found is a room in which none of the tenant's policies is applied.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::owner::TenantId;

/// What is nested deeper is left out. Metadata is stored inside facts and read back from there, by
/// a reader that goes to 127 levels: nothing in it may be what makes an event unreadable.
pub const METADATA_DEPTH_MAX: usize = 64;

/// The key of a room's metadata that names its tenant.
const TENANT_KEY: &str = "auth_id";

/// `serde_json` reads a map that begins with this key as the text behind it, and refuses the whole where
/// that is no JSON: stored facts could not be read back.
const RESERVED_KEY: &str = "$serde_json::private::RawValue";

/// Metadata as facts have it: `null` where the text is no JSON.
///
/// Half a surrogate pair is U+FFFD. `null` is what has no value here: a number out of a double's range
/// (`1e400`, `NaN`, `Infinity`), and lists and maps deeper than [`METADATA_DEPTH_MAX`]. Of a key that
/// stands twice the last counts, as most readers have it; a tenant that stands twice is none. One key
/// that nobody has by chance is left out.
#[must_use]
pub fn metadata_in(text: &str) -> Value {
    let read = read(text).or_else(|_| read(&mended(text)));
    read.unwrap_or(Value::Null)
}

/// The tenant that a room's metadata names: `auth_id` of a JSON object. What can be no tenant's id (a
/// number, a longer text) is none.
#[must_use]
pub fn tenant_in(metadata: &Value) -> Option<TenantId> {
    TenantId::new(metadata.get(TENANT_KEY)?.as_str()?).ok()
}

/// Whether lists and maps are nested in it deeper than `levels`.
#[must_use]
pub fn is_deeper(value: &Value, levels: usize) -> bool {
    let goes_on = |inner: &Value| {
        let left = levels.checked_sub(1);
        left.is_none_or(|left| is_deeper(inner, left))
    };
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(goes_on),
        Value::Object(fields) => levels == 0 || fields.values().any(goes_on),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn read(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Levels(METADATA_DEPTH_MAX).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Reads a value in which this many levels of lists and maps are kept.
#[derive(Clone, Copy)]
struct Levels(usize);

impl Levels {
    fn is_root(self) -> bool {
        self.0 == METADATA_DEPTH_MAX
    }
}

impl<'de> DeserializeSeed<'de> for Levels {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Levels {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let Some(left) = self.0.checked_sub(1).map(Levels) else {
            // Looked through without recursion, however deep it goes.
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(left)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let Some(left) = self.0.checked_sub(1).map(Levels) else {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut map = Map::new();
        let mut tenants = 0;
        while let Some(key) = fields.next_key::<String>()? {
            tenants += u32::from(self.is_root() && key == TENANT_KEY);
            map.insert(key, fields.next_value_seed(left)?);
        }
        map.remove(RESERVED_KEY);
        if tenants > 1 {
            // Which of them is meant is anybody's guess, and readers differ: the room is nobody's.
            map.remove(TENANT_KEY);
        }
        Ok(Value::Object(map))
    }
}

/// `text` with what strict readers refuse written as they take it: half surrogate pairs as U+FFFD,
/// numbers out of a double's range as `null`. Everything else stays, right or wrong.
fn mended(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '"' || is_of_word(c)) {
        let (before, from) = rest.split_at(start);
        mended.push_str(before);
        rest = if from.starts_with('"') {
            let (string, after) = from.split_at(string_len(from));
            push_string(&mut mended, string);
            after
        } else {
            let (word, after) = from.split_at(from.find(|c| !is_of_word(c)).unwrap_or(from.len()));
            mended.push_str(if has_no_value(word) { "null" } else { word });
            after
        };
    }
    mended.push_str(rest);
    mended
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')
}

fn has_no_value(word: &str) -> bool {
    // What has no exponent and fewer digits than the largest double need not be looked at.
    if word.len() < 300 && !word.contains(['e', 'E', 'N', 'I']) {
        return false;
    }
    let is_number = || serde_json::from_str::<IgnoredAny>(word).is_ok();
    let is_in_reach = || serde_json::from_str::<Value>(word).is_ok();
    matches!(word, "NaN" | "Infinity" | "-Infinity") || (is_number() && !is_in_reach())
}

/// The length of the string that `text` begins with, in bytes, its quotes included.
fn string_len(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

fn push_string(to: &mut String, mut string: &str) {
    while let Some(start) = string.find('\\') {
        let (before, escape) = string.split_at(start);
        to.push_str(before);
        let (length, is_half) = match unit(escape) {
            Some(0xD800..0xDC00) => {
                let second = escape.get(6..).and_then(unit);
                if matches!(second, Some(0xDC00..0xE000)) {
                    (12, false)
                } else {
                    (6, true)
                }
            }
            Some(0xDC00..0xE000) => (6, true),
            Some(_) => (6, false),
            // An escape of one character, which may be any.
            None => {
                let escaped = escape.chars().nth(1).map_or(0, char::len_utf8);
                (1 + escaped, false)
            }
        };
        let (escape, after) = escape.split_at(length);
        to.push_str(if is_half { "\\ufffd" } else { escape });
        string = after;
    }
    to.push_str(string);
}

/// The UTF-16 unit that an escape (`\ud83d`) at the start of `text` stands for.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests;
