//! JSON values out of a document's tree, and JSON texts read strictly: a key stands once in its map.
//!
//! Of two values of one key serde takes the last, without a word: whoever reads the text from the top
//! sees another document than the one that is answered.

use serde_json::{Map, Number, Value as Json};

use super::node::{Node, NodeValue, Place, from_json};
use super::reader::{Reader, join};
use super::terminal::quoted;
use super::yaml::reads_otherwise;

const TWICE: &str = "this key stands here twice";

/// Why a text is not read as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is none.
    #[error("is not JSON: {0}")]
    Syntax(String),
    /// A key stands twice in one map; the path to it.
    #[error("has a key twice: {0}")]
    RepeatedKey(String),
}

/// Reads a JSON text in which every key stands once in its map.
pub fn read(text: &[u8]) -> Result<Json, JsonError> {
    let root = from_json(text).map_err(JsonError::Syntax)?;
    let mut reader = Reader::new(None);
    let value = reader.json(&root, "");
    let problem = reader.problems.into_iter().next();
    match (value, problem) {
        (Some(value), None) => Ok(value),
        (_, Some(problem)) if problem.message == TWICE => Err(JsonError::RepeatedKey(problem.path)),
        (_, problem) => {
            let problem = problem.map(|problem| problem.to_string());
            Err(JsonError::Syntax(problem.unwrap_or_default()))
        }
    }
}

/// A path that is put into words only where it is shown: there may be a hundred thousand values at
/// the end of a long one.
#[derive(Clone, Copy)]
enum At<'p> {
    Root(&'p str),
    Key(&'p At<'p>, &'p str),
    Item(&'p At<'p>, usize),
}

impl At<'_> {
    fn path(self) -> String {
        match self {
            Self::Root(path) => path.to_owned(),
            Self::Key(parent, key) => join(&parent.path(), key),
            Self::Item(parent, index) => format!("{}[{index}]", parent.path()),
        }
    }
}

impl Reader<'_> {
    /// Any JSON, as it would stand in metadata; none where a part of it is refused.
    pub(super) fn json(&mut self, node: &Node, path: &str) -> Option<Json> {
        self.json_at(node, At::Root(path))
    }

    fn json_at(&mut self, node: &Node, at: At<'_>) -> Option<Json> {
        match &node.value {
            NodeValue::Null => Some(Json::Null),
            NodeValue::Bool(value) => Some((*value).into()),
            NodeValue::Text(text) if node.plain && reads_otherwise(text) => {
                let message = format!("{} may be text, or a number, true or false", quoted(text));
                let hint = "put it in quotes, or write the value as in JSON: true, 10";
                self.refuse_at(node.place, at, &message, hint);
                None
            }
            NodeValue::Text(text) => Some(text.clone().into()),
            NodeValue::Integer(number) => self.number(Number::from_i128(*number), node, at),
            NodeValue::Float(number) => self.number(Number::from_f64(*number), node, at),
            NodeValue::List(items) => {
                let items = items.iter().enumerate();
                let items: Vec<_> = items
                    .map(|(index, item)| self.json_at(item, At::Item(&at, index)))
                    .collect();
                items.into_iter().collect()
            }
            NodeValue::Map(entries) => {
                let mut fields = Map::new();
                for (key, value) in entries {
                    let NodeValue::Text(name) = &key.value else {
                        let message = format!("expected a key, found {}", key.value);
                        self.refuse_at(key.place, at, &message, "put it in quotes");
                        continue;
                    };
                    let at = At::Key(&at, name);
                    if let Some(value) = self.json_at(value, at)
                        && fields.insert(name.clone(), value).is_some()
                    {
                        self.refuse_at(key.place, at, TWICE, "keep one");
                    }
                }
                Some(fields.into())
            }
        }
    }

    fn number(&mut self, number: Option<Number>, node: &Node, at: At<'_>) -> Option<Json> {
        if number.is_none() {
            let message = format!("JSON cannot hold {}", node.value);
            self.refuse_at(node.place, at, &message, "");
        }
        number.map(Json::from)
    }

    fn refuse_at(&mut self, place: Place, at: At<'_>, message: &str, hint: &str) {
        let path = if self.is_full() {
            String::new()
        } else {
            at.path()
        };
        self.refuse(place, &path, message, hint);
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
            let expect: Json = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()), Ok(expect), "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_wherever_it_is() {
        for (text, says) in [
            (r#"{"a": 1, "a": 1}"#, "has a key twice: a"),
            (
                r#"[{"a": {"b": 1, "c": 2, "b": 3}}]"#,
                "has a key twice: [0].a.b",
            ),
            (r#"{"a": 1, "\u0061": 2}"#, "has a key twice: a"),
            ("{", "is not JSON: EOF while parsing"),
            ("", "is not JSON: there is nothing in it"),
            ("{} {}", "is not JSON: trailing characters"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(says), "{text}: {error}");
        }
        let long = "k".repeat(100_000);
        let error = read(format!("{{\"{long}\": 1, \"{long}\": 2}}").as_bytes());
        assert!(error.unwrap_err().to_string().len() < 150);
    }

    /// The bound of a request's body: what stands at the end of a long path is as quick to read.
    #[test]
    fn a_long_path_to_many_values_is_put_into_words_once() {
        let levels = 120;
        let key = format!("{{\"{}\":", "k".repeat(1_000));
        let many = vec!["1"; 60_000].join(",");
        let text = format!("{}[{many}]{}", key.repeat(levels), "}".repeat(levels));
        assert!(read(text.as_bytes()).is_ok());
        let many = vec!["\"a\":1"; 20_000].join(",");
        let text = format!("{}{{{many}}}{}", key.repeat(levels), "}".repeat(levels));
        let error = read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.len() < 20_000, "{} bytes", error.len());
    }
}
