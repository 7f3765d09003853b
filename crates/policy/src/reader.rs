//! Reads the maps, lists, words and texts of any document, and collects their problems.

use std::collections::BTreeMap;

use super::facts::TrackType;
use super::invisible::{self, is_allowed_in_prose, is_invisible};
use super::keys::{self, SPACE_BEHIND_COLON};
use super::limits::{DOCUMENT_BYTES_MAX, LIST_ITEMS_MAX, PROSE_CHARS_MAX};
use super::node::{Node, NodeValue, Place};
use super::problem::{Problem, Problems, did_you_mean, one_of};
use super::terminal::{SHOWN_CHARS_MAX, quoted};

/// The most problems that are kept, to be put in the order of the document and cut to
/// `PROBLEMS_MAX`; further ones are only counted.
const PROBLEMS_KEPT_MAX: usize = 1_000;
/// A suggestion (`did you mean`) is looked for in at most this many problems.
const SUGGESTIONS_MAX: usize = 200;

const LINES: &str = "put it on one line; a list has `- ` before each item";
const END_OF_LINE: &str = "in YAML, write the text on the line of its key, or `|-` for `|`";

/// Reads one document and collects what is wrong with it.
pub(super) struct Reader<'a> {
    file: Option<&'a str>,
    pub(super) problems: Vec<Problem>,
    /// How many more there are. Where it is not 0, the document is refused.
    pub(super) problems_left_off: usize,
    pub(super) warnings: Vec<Problem>,
    /// Whether policies are also linted, and refused where they never act.
    pub(super) linting: bool,
}

pub(super) type Fields<'n> = BTreeMap<&'n str, &'n Node>;

impl<'a> Reader<'a> {
    pub(super) fn new(file: Option<&'a str>) -> Self {
        Self {
            file,
            problems: Vec::new(),
            problems_left_off: 0,
            warnings: Vec::new(),
            linting: true,
        }
    }

    /// Whether the document is a file of JSON, by its name.
    pub(super) fn is_json_file(&self) -> bool {
        let ending = self.file.and_then(|file| file.rsplit_once('.'));
        ending.is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("json"))
    }

    /// A reader of stored policies, which were linted when they were stored. Linting takes longer than
    /// reading, and its result may change with the time zone database.
    pub(super) fn of_stored() -> Self {
        Self {
            linting: false,
            ..Self::new(None)
        }
    }

    pub(super) fn problem(
        &self,
        place: Place,
        path: &str,
        message: String,
        hint: String,
    ) -> Problem {
        Problem {
            file: self.file.map(str::to_owned),
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            message,
            hint: (!hint.is_empty()).then_some(hint),
        }
    }

    pub(super) fn refuse(
        &mut self,
        place: Place,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if self.is_full() {
            self.problems_left_off += 1;
            return;
        }
        let problem = self.problem(place, path, message.into(), hint.into());
        self.problems.push(problem);
    }

    /// Whether further problems are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() == PROBLEMS_KEPT_MAX
    }

    /// The word that was probably meant. To look for it takes longer than to read.
    pub(super) fn suggestion<'w>(&self, word: &str, words: &[&'w str]) -> Option<&'w str> {
        if self.problems.len() < SUGGESTIONS_MAX {
            did_you_mean(word, words)
        } else {
            None
        }
    }

    /// All that is wrong.
    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.problems, self.problems_left_off)
    }

    pub(super) fn malformed(&mut self, json: &str) {
        let message = format!("this is not JSON that can be read: {json}");
        self.refuse(Place::default(), "", message, "");
    }

    pub(super) fn too_long(&mut self) {
        self.refuse(
            Place::default(),
            "",
            format!("this has more than {DOCUMENT_BYTES_MAX} bytes"),
            "split it",
        );
    }

    /// The items of a list; a single value is a list of one.
    pub(super) fn list<T>(
        &mut self,
        node: &Node,
        path: &str,
        mut item: impl FnMut(&mut Self, &Node, &str) -> Option<T>,
    ) -> Vec<T> {
        let NodeValue::List(nodes) = &node.value else {
            return item(self, node, path).into_iter().collect();
        };
        if nodes.is_empty() || nodes.len() > LIST_ITEMS_MAX {
            let message = format!(
                "expected 1 to {LIST_ITEMS_MAX} values, found {}",
                nodes.len()
            );
            let hint = if nodes.is_empty() {
                "take the key out to allow any value"
            } else {
                "split it into several policies, or name several values by one glob"
            };
            self.refuse(node.place, path, message, hint);
            return Vec::new();
        }
        let mut items = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            items.extend(item(self, node, &format!("{path}[{index}]")));
        }
        items
    }

    pub(super) fn word<T>(
        &mut self,
        node: &Node,
        path: &str,
        what: &str,
        words: &[&str],
        from: impl Fn(&str) -> T,
    ) -> Option<T> {
        let NodeValue::Text(word) = &node.value else {
            let message = format!("the {what} is a word, found {}", node.value);
            self.refuse(node.place, path, message, one_of(words));
            return None;
        };
        if words.contains(&word.as_str()) {
            return Some(from(word));
        }
        if words == TrackType::WORDS
            && let Some((message, hint)) = TrackType::never(word)
        {
            self.refuse(node.place, path, message, hint);
            return None;
        }
        let hint = match self.suggestion(word, words) {
            Some(near) => format!("did you mean {near}?"),
            None => one_of(words),
        };
        self.refuse(
            node.place,
            path,
            format!("there is no {what} {}", quoted(word)),
            hint,
        );
        None
    }

    /// Text of one line.
    pub(super) fn text(&mut self, node: &Node, path: &str, chars_max: usize) -> Option<String> {
        self.any_text(node, path, chars_max, char::is_control)
    }

    /// Text of one line without invisible characters: names that look alike are equal.
    pub(super) fn visible_text(
        &mut self,
        node: &Node,
        path: &str,
        chars_max: usize,
        hint: &str,
    ) -> Option<String> {
        let text = self.text(node, path, chars_max)?;
        if let Some(what) = invisible::in_line(&text) {
            let message = format!("{} {what}", quoted(&text));
            self.refuse(node.place, path, message, hint);
            return None;
        }
        Some(text)
    }

    /// Text of any number of lines, without the white space around it.
    pub(super) fn prose(&mut self, node: &Node, path: &str) -> Option<String> {
        let forbidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        let text = self.any_text(node, path, PROSE_CHARS_MAX, forbidden)?;
        let text = text.trim();
        let forbidden = |c: &char| is_invisible(*c) && !is_allowed_in_prose(*c);
        if let Some(c) = text.chars().find(forbidden) {
            let message = format!("a sign in this text is not seen: {}", invisible::named(c));
            self.refuse(node.place, path, message, "take it out");
            return None;
        }
        if text.is_empty() {
            self.refuse(
                node.place,
                path,
                "this is blank",
                "say something or take it out",
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// Text without characters that are `forbidden`.
    pub(super) fn any_text(
        &mut self,
        node: &Node,
        path: &str,
        chars_max: usize,
        forbidden: impl Fn(char) -> bool,
    ) -> Option<String> {
        let NodeValue::Text(text) = &node.value else {
            let hint = match node.value {
                NodeValue::Bool(_) | NodeValue::Integer(_) | NodeValue::Float(_) => {
                    "put it in quotes"
                }
                NodeValue::List(_) | NodeValue::Map(_) => "put it in quotes if it is text",
                NodeValue::Null | NodeValue::Text(_) => "",
            };
            self.refuse(
                node.place,
                path,
                format!("expected text, found {}", node.value),
                hint,
            );
            return None;
        };
        if text.contains(&forbidden) {
            let (what, hint) = if text.contains(|c| c != '\n' && forbidden(c)) {
                ("has a control character in it", "take it out")
            } else if text.trim_end().contains('\n') {
                ("has several lines, and may have only one", LINES)
            } else {
                ("ends with a line break, and may have none", END_OF_LINE)
            };
            let message = format!("{} {what}", quoted(text));
            self.refuse(node.place, path, message, hint);
            return None;
        }
        if text.chars().count() > chars_max {
            let message = format!("{} is longer than {chars_max} characters", quoted(text));
            self.refuse(node.place, path, message, "shorten it");
            return None;
        }
        Some(text.clone())
    }

    pub(super) fn required<'n>(
        &mut self,
        policy: &Node,
        node: Option<&'n Node>,
        path: &str,
        key: &str,
        hint: &str,
    ) -> Option<&'n Node> {
        if node.is_none() {
            let message = format!("the key `{key}` is missing");
            self.refuse(policy.place, path, message, hint);
        }
        node
    }

    /// The fields of a map; none where it is no map. Keys that are not `known` are refused.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let NodeValue::Map(entries) = &node.value else {
            let message = format!("expected a map, found {}", node.value);
            let glued = node.plain && node.value.text().is_some_and(|text| text.contains(':'));
            let hint = if glued {
                SPACE_BEHIND_COLON.to_owned()
            } else {
                format!("with the keys {}", known.join(", "))
            };
            self.refuse(node.place, path, message, hint);
            return None;
        };
        let mut fields = Fields::new();
        for (key_node, value) in entries {
            let NodeValue::Text(key) = &key_node.value else {
                let message = format!("expected a key, found {}", key_node.value);
                self.refuse(key_node.place, path, message, one_of(known));
                continue;
            };
            let key = key.as_str();
            if known.contains(&key) {
                if fields.insert(key, value).is_some() {
                    let path = join(path, key);
                    self.refuse(
                        key_node.place,
                        &path,
                        "this key stands here twice",
                        "keep one",
                    );
                }
            } else {
                let hint = keys::hint(key, known, path, || self.suggestion(key, known));
                let message = format!("there is no key {}", quoted(key));
                self.refuse(key_node.place, path, message, hint);
            }
        }
        Some(fields)
    }

    /// Refuses a key without a value in `{ }`.
    pub(super) fn left_out(&mut self, key: &Node, value: &Node, path: &str) -> bool {
        if value.left_out {
            let glued = key.value.text().is_some_and(|key| key.contains(':'));
            let hint = if glued {
                SPACE_BEHIND_COLON
            } else {
                "write one behind a `:` and a space; `null` is none"
            };
            self.refuse(key.place, path, "this key has no value", hint);
        }
        value.left_out
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    // In brackets it is cut where it is long.
    if key.len() > SHOWN_CHARS_MAX || !key.chars().all(plain) {
        format!("{path}[{}]", quoted(key))
    } else if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
