//! Reads conditions: the lists of a `match` and an `unless`.

use std::collections::BTreeMap;

use crate::facts::{Kind, KindDetail, Source, TrackType};
use crate::glob::Glob;
use crate::keys::MATCH_KEYS;
use crate::limits::{ATTRIBUTE_CHARS_MAX, LIST_ITEMS_MAX};
use crate::node::{Node, NodeValue};
use crate::policy::Match;
use crate::reader::{Reader, join};
use crate::terminal::quoted;

/// The most characters that the globs of one `match` may have beyond a plain start and a `*` at the end:
/// thousands of policies may have to be matched while somebody speaks.
const WILD_STEPS_MAX: usize = 512;

impl Reader<'_> {
    pub(super) fn match_(&mut self, node: &Node, path: &str) -> Option<Match> {
        let known = self.problems.len();
        let fields = self.fields(node, path, MATCH_KEYS)?;
        let mut found = Match::default();
        for (key, node) in fields {
            let path = join(path, key);
            match key {
                "room" => found.room = self.list(node, &path, Self::glob),
                "identity" => found.identity = self.list(node, &path, Self::glob),
                "source" => {
                    found.source = self.list(node, &path, |reader, node, path| {
                        reader.word(node, path, "source", Source::WORDS, |word| {
                            Source::from(word)
                        })
                    });
                }
                "type" => {
                    found.type_ = self.list(node, &path, |reader, node, path| {
                        reader.word(node, path, "type", TrackType::WORDS, |word| {
                            TrackType::from(word)
                        })
                    });
                }
                "kind" => {
                    found.kind = self.list(node, &path, Self::kind);
                }
                "kind_details" => {
                    found.kind_details = self.list(node, &path, |reader, node, path| {
                        reader.word(node, path, "kind detail", KindDetail::WORDS, |word| {
                            KindDetail::from(word)
                        })
                    });
                }
                _ => found.attributes = self.attributes(node, &path),
            }
        }
        let globs = found.room.iter().chain(&found.identity);
        let wild_steps = globs
            .filter_map(|glob| Glob::new(glob).ok())
            .map(|glob| glob.wild_steps());
        if wild_steps.sum::<usize>() > WILD_STEPS_MAX {
            let message = format!(
                "the globs have more than {WILD_STEPS_MAX} characters after what is plain in them"
            );
            let hint = "name rooms and identities in full or with one `*` at the end, which are not \
                        counted, or split the policy";
            self.refuse(node.place, path, message, hint);
        }
        (self.problems.len() == known).then_some(found)
    }

    fn kind(&mut self, node: &Node, path: &str) -> Option<Kind> {
        if let NodeValue::Text(word) = &node.value
            && KindDetail::WORDS.contains(&word.as_str())
        {
            let message = format!("{} is a detail of a kind", quoted(word));
            let hint = format!("write `kind_details: {word}`");
            self.refuse(node.place, path, message, hint);
            return None;
        }
        self.word(node, path, "kind", Kind::WORDS, |word| Kind::from(word))
    }

    fn glob(&mut self, node: &Node, path: &str) -> Option<String> {
        let hint = "take it out; `?` stands for any character, `[ ]` for a space that is meant";
        let glob = self.visible_text(node, path, usize::MAX, hint)?;
        match Glob::new(&glob) {
            Ok(_) => Some(glob),
            Err(error) => {
                let message = format!("the glob {} does not compile: {error}", quoted(&glob));
                self.refuse(node.place, path, message, "");
                None
            }
        }
    }

    fn attributes(&mut self, node: &Node, path: &str) -> BTreeMap<String, Vec<String>> {
        let mut attributes = BTreeMap::new();
        let NodeValue::Map(entries) = &node.value else {
            let message = format!("expected a map, found {}", node.value);
            self.refuse(
                node.place,
                path,
                message,
                "such as `attributes: { role: host }`",
            );
            return attributes;
        };
        if entries.is_empty() || entries.len() > LIST_ITEMS_MAX {
            let message = format!(
                "expected 1 to {LIST_ITEMS_MAX} attributes, found {}",
                entries.len()
            );
            let hint = if entries.is_empty() {
                "take the key out to ask for none"
            } else {
                "take some out: participants seldom have so many"
            };
            self.refuse(node.place, path, message, hint);
            return attributes;
        }
        for (key, value) in entries {
            let hint = "take it out; in `when` it can be written by its number, such as `\\u00a0`";
            let Some(name) = self.visible_text(key, path, ATTRIBUTE_CHARS_MAX, hint) else {
                continue;
            };
            let path = join(path, &name);
            if self.left_out(key, value, &path) {
                continue;
            }
            let values = self.list(value, &path, |reader, node, path| {
                reader.visible_text(node, path, ATTRIBUTE_CHARS_MAX, hint)
            });
            if attributes.insert(name, values).is_some() {
                self.refuse(key.place, &path, "this key stands here twice", "keep one");
            }
        }
        attributes
    }
}
