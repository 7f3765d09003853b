//! A question's JSON: what serde reads, but for a key that stands twice in one map.
//!
//! Of two values of one key serde takes the last, without a word: the answer would be to another
//! question than the one that somebody sees when they read it from the top.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use quell_policy::node::encoding;
use quell_policy::terminal::{cut, quoted};

/// What a parser says is cut here: it may quote all that it was given.
pub(crate) const SAID_CHARS_MAX: usize = 300;

/// Reads `text`, which is `what`: "the body".
pub(crate) fn read(what: &str, text: &[u8]) -> Result<Value, String> {
    encoding(text).map_err(|error| format!("{what} is not JSON: {error}"))?;
    let read = serde_json::from_slice::<Once>(text);
    read.map(|Once(value)| value).map_err(|error| {
        if error.is_data() {
            return format!("{what} has a key twice: {error}");
        }
        let said = error.to_string();
        let said = said.replace("recursion limit exceeded", "it is nested too deep");
        format!("{what} is not JSON: {}", cut(&said, SAID_CHARS_MAX))
    })
}

/// A value in whose maps every key stands once.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Once(item)) = seq.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some((key, Once(value))) = map.next_entry::<String, Once>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(quoted(&key)));
            }
            fields.insert(key, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_as_serde_reads_it() {
        for text in [
            "null",
            " true ",
            "[]",
            r#"{"b": [1, -2, 0.1, 1e300, 18446744073709551615, 123456789012345678901], "a": {"": "\u0000\ud83d\ude00"}}"#,
            r#"{"a": {"x": 1}, "b": {"x": 1}, "A": [{"x": 1}, {"x": 1}]}"#,
        ] {
            let expect: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read("it", text.as_bytes()), Ok(expect), "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_is() {
        for (text, says) in [
            (
                r#"{"a": 1, "a": 1}"#,
                r#"it has a key twice: "a" at line 1"#,
            ),
            (
                r#"[{"a": {"b": 1, "c": 2, "b": 3}}]"#,
                r#"it has a key twice: "b" at line 1"#,
            ),
            (
                r#"{"a": 1, "\u0061": 2}"#,
                r#"it has a key twice: "a" at line 1"#,
            ),
            ("{", "it is not JSON: EOF while parsing"),
            ("", "it is not JSON: there is nothing in it"),
            ("{} {}", "it is not JSON: trailing characters"),
        ] {
            let error = read("it", text.as_bytes()).unwrap_err();
            assert!(error.starts_with(says), "{text}: {error}");
        }
        let long = "k".repeat(100_000);
        let error = read("it", format!("{{\"{long}\": 1, \"{long}\": 2}}").as_bytes());
        assert!(error.unwrap_err().len() < 150);
    }
}
