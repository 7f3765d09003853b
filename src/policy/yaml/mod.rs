//! YAML as people write policies in it: what stands there is what is read, or it is refused there.
//!
//! ```text
//! text --events (granit-parser)--> Tree --plain text means (plain)--> Node
//!            '-- no YAML --> its fault, in words for people (fault)
//! ```
//!
//! YAML can say more than it shows: tags, anchors, aliases, merges and directives change or repeat
//! a value, and leave no trace in it (`! a` is `a`). Nobody needs them here; they are refused.

mod fault;
mod plain;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use serde_saphyr::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, options};

use super::document::DOCUMENT_BYTES_MAX;
use super::node::{Node, Place, Value};
use super::reader::{Reader, join};
use fault::{IN_QUOTES, OR_WRITTEN_OUT};

pub(super) use plain::reads_otherwise;

/// So deep may a document be nested; a policy needs 5.
const DEPTH_MAX: usize = 16;
/// A document of 10,000 policies has some 100,000 nodes.
const NODES_MAX: usize = 300_000;

impl From<&Marker> for Place {
    fn from(marker: &Marker) -> Self {
        let number = |from_one: usize| u64::try_from(from_one).ok();
        Self {
            line: number(marker.line().max(1)),
            column: number(marker.col().saturating_add(1)),
        }
    }
}

impl Reader<'_> {
    /// The tree of a YAML text; none where it is refused.
    pub(super) fn tree(&mut self, text: &str) -> Option<Node> {
        if text.len() > DOCUMENT_BYTES_MAX {
            self.too_long();
            return None;
        }
        let options = options! {
            disallow_directives: true,
            emit_anchor_events: true,
            emit_comments: false,
            emit_unresolved_aliases: true,
            flow_nesting_limit: DEPTH_MAX,
            block_nesting_limit: DEPTH_MAX,
        };
        let known = self.problems.len();
        let mut tree = Tree {
            text,
            reader: self,
            open: Vec::new(),
            root: None,
            nodes: 0,
            last: Marker::default(),
        };
        for next in Parser::new_from_str_with_options(text, options) {
            let goes_on = match &next {
                Ok((event, span)) => {
                    tree.entry_in_comment(span);
                    let goes_on = tree.take(event, span);
                    tree.last = span.end;
                    goes_on
                }
                Err(error) => tree.broken(&fault::in_words(error, text)),
            };
            if goes_on.is_break() {
                break;
            }
        }
        let root = tree.root;
        root.filter(|_| self.problems.len() == known)
    }
}

/// A tree while it grows.
struct Tree<'t, 'r, 'f> {
    text: &'t str,
    reader: &'r mut Reader<'f>,
    /// The lists and maps around the place where it grows.
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    /// Where what came last ends.
    last: Marker,
}

fn byte(marker: &Marker) -> usize {
    marker.byte_offset().unwrap_or_default()
}

struct Open {
    place: Place,
    what: Collection,
}

enum Collection {
    List(Vec<Node>),
    /// Its entries, and the key of the one that has no value yet.
    Map(Vec<(Node, Node)>, Option<Node>),
}

impl<'t> Tree<'t, '_, '_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others bring nothing: ends of documents, comments (which are not asked for)"
    )]
    fn take(&mut self, event: &Event<'_>, span: &Span) -> ControlFlow<()> {
        let place = Place::from(&span.start);
        if event.tag().is_some() {
            let at = span.tag_start.unwrap_or(span.start);
            self.refuse(Place::from(&at), fault::sign('!'), IN_QUOTES);
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let message = "a second document starts here";
                self.refuse(place, message, "put all into one");
                return ControlFlow::Break(());
            }
            Event::Scalar(text, style, ..) => {
                let plain = *style == ScalarStyle::Plain;
                let value = if plain {
                    self.plain(text, span)
                } else {
                    self.marked(text, *style, span);
                    Value::Text(text.clone().into_owned())
                };
                return self.add(Node {
                    value,
                    place,
                    plain,
                });
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(place, fault::sign('*'), OR_WRITTEN_OUT);
                let value = Value::Null;
                return self.add(Node {
                    value,
                    place,
                    plain: true,
                });
            }
            // The node that it stands before is in the tree already: the way to it is not known.
            Event::Anchor(..) => self
                .reader
                .refuse(place, "", fault::sign('&'), OR_WRITTEN_OUT),
            Event::SequenceStart(..) => return self.enter(place, Collection::List(Vec::new())),
            Event::MappingStart(..) => {
                return self.enter(place, Collection::Map(Vec::new(), None));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { place, what }) = self.open.pop() {
                    let value = match what {
                        Collection::List(items) => Value::List(items),
                        Collection::Map(entries, _) => Value::Map(entries),
                    };
                    return self.add(Node {
                        value,
                        place,
                        plain: false,
                    });
                }
            }
            Event::StreamEnd if self.root.is_none() => {
                self.root = Some(Node {
                    value: Value::Null,
                    place,
                    plain: true,
                });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn enter(&mut self, place: Place, what: Collection) -> ControlFlow<()> {
        if self.open.len() == DEPTH_MAX {
            return self.broken(&fault::too_deep(place));
        }
        self.open.push(Open { place, what });
        ControlFlow::Continue(())
    }

    fn add(&mut self, node: Node) -> ControlFlow<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            self.refuse(
                node.place,
                format!("there are more than {NODES_MAX} values"),
                "split it",
            );
            return ControlFlow::Break(());
        }
        match self.open.last_mut().map(|open| &mut open.what) {
            None => self.root = Some(node),
            Some(Collection::List(items)) => items.push(node),
            Some(Collection::Map(entries, key)) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                } else {
                    let merges = node.plain && matches!(&node.value, Value::Text(k) if k == "<<");
                    let place = node.place;
                    *key = Some(node);
                    if merges {
                        let message = "`<<` takes over the keys of another map, which is not seen";
                        self.refuse(place, message, "write out the keys that are meant");
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// What a scalar without quotes means, which may be less than somebody has written.
    fn plain(&mut self, text: &str, span: &Span) -> Value {
        let end = byte(&span.end);
        // Not only to the end of the line, which may be the whole document for each of its words.
        let rest = self.text.get(end..).unwrap_or_default();
        if span.slice(self.text).unwrap_or_default().is_empty() {
            if let Some(comment) = self.comment_instead(end, rest) {
                let hint = "put it in quotes, or write the value before it";
                let place = self.place_at(comment);
                self.refuse(place, "there is nothing before this comment", hint);
            }
            return Value::Null;
        }
        let value = match plain::value(text) {
            Ok(value) => value,
            Err((message, hint)) => {
                self.refuse(Place::from(&span.start), message, hint);
                return Value::Null;
            }
        };
        let comment = rest.trim_start_matches([' ', '\t']);
        if matches!(value, Value::Text(_)) && plain::is_cut(text, comment) {
            self.cut_at(self.text.len().saturating_sub(comment.len()));
        }
        value
    }

    /// Refuses a block of text that has none, as `|` may be what was meant, and a quote that takes
    /// the next key into its text.
    fn marked(&mut self, text: &str, style: ScalarStyle, span: &Span) {
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            let written = span.slice(self.text).unwrap_or_default();
            if written.lines().skip(1).any(plain::starts_with_key) {
                let hint = "close it on its line, or write text of several lines below `|`";
                let message = "this quote is closed behind a line that starts with a key";
                self.refuse(Place::from(&span.start), message, hint);
            }
        } else if text.trim().is_empty() {
            let gap = self.since_last(byte(&span.end));
            let sign = gap.find(['|', '>']).unwrap_or_default();
            let place = self.place_at(byte(&self.last).saturating_add(sign));
            let hint = "put it in quotes, or write the text below it, indented";
            self.refuse(place, "there is no text below this", hint);
        }
    }

    /// A comment that stands where a value is not.
    fn comment_instead(&self, end: usize, rest: &str) -> Option<usize> {
        // The value of a key ends right after that, before the colon; ...
        let after = rest.trim_start_matches([':', ' ', '\t']);
        if after.starts_with('#') {
            return self.text.len().checked_sub(after.len());
        }
        // ... an item of a list does so after the comment.
        let line = self.since_last(end).rsplit(['\n', '\r']).next()?;
        let (_, item) = line.split_once("- ")?;
        let comment = item.trim_start();
        comment.starts_with('#').then_some(())?;
        end.checked_sub(comment.len())
    }

    /// Refuses `[a, #b` and `{ #a: b`, where a comment takes an entry.
    fn entry_in_comment(&mut self, next: &Span) {
        let line = self
            .since_last(byte(&next.start))
            .split(['\n', '\r'])
            .next();
        let line = line.unwrap_or_default();
        let comment = line.trim_start_matches([' ', '\t', ',']);
        let before = self.text.get(..byte(&self.last)).unwrap_or_default();
        let follows = line.contains(',') || before.ends_with(['[', '{']);
        if follows && plain::is_cut("", comment) {
            self.cut_at(byte(&self.last) + line.len().saturating_sub(comment.len()));
        }
    }

    fn cut_at(&mut self, byte: usize) {
        let message = "a `#` after a space starts a comment, which cuts this";
        let hint = "put the text in quotes; a comment has a space after its `#`";
        self.refuse(self.place_at(byte), message, hint);
    }

    /// What is between the end of what came last and this byte.
    fn since_last(&self, end: usize) -> &'t str {
        self.text.get(byte(&self.last)..end).unwrap_or_default()
    }

    /// The place of a byte after what came last.
    fn place_at(&self, end: usize) -> Place {
        let passed = self
            .since_last(end)
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        let breaks = passed.matches('\n').count();
        let chars = passed
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        let column = if breaks == 0 {
            self.last.col().saturating_add(chars)
        } else {
            chars
        };
        let line = self.last.line().max(1).saturating_add(breaks);
        Place::from(&Marker::new(end, line, column))
    }

    fn broken(&mut self, fault: &fault::Fault) -> ControlFlow<()> {
        // After a sign of YAML's nothing on its line fits, and that is told already.
        let told = self.reader.problems.last();
        if told.is_none_or(|told| told.line != fault.place.line) {
            self.refuse(fault.place, fault.message.as_str(), fault.hint);
        }
        ControlFlow::Break(())
    }

    fn refuse(&mut self, place: Place, message: impl Into<String>, hint: &str) {
        let path = self.path();
        self.reader.refuse(place, &path, message, hint);
    }

    /// The way to where the tree grows.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            match &open.what {
                Collection::List(items) => path = format!("{path}[{}]", items.len()),
                Collection::Map(_, key) => {
                    let key = key.as_ref().map(|key| &key.value);
                    if let Some(Value::Text(key)) = key {
                        path = join(&path, key);
                    }
                }
            }
        }
        path
    }
}
