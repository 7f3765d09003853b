//! YAML as people write policies in it: what stands there is what is read, or it is refused there.
//!
//! ```text
//! text --events (granit-parser)--> Tree --plain text means (plain)--> Node
//!            '-- no YAML --> its syntax error, in words for people (syntax_error)
//! ```
//!
//! YAML can say more than it shows: tags, anchors, aliases, merges and directives change or repeat
//! a value, and leave no trace in it (`! a` is `a`). Nobody needs them here; they are refused.

mod json;
mod plain;
mod scalar;
mod source;
mod syntax_error;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use serde_saphyr::granit_parser::{Event, Marker, Parser, Span, StructureStyle, options};

use super::limits::DOCUMENT_BYTES_MAX;
use super::node::{Node, NodeValue, Place};
use super::reader::{Reader, join};
use syntax_error::{IN_QUOTES, OR_WRITTEN_OUT};

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
        let of_json = || json::check(text).filter(|_| self.is_json_file());
        if let Some(error) = source::check(text).or_else(of_json) {
            self.refuse(error.place, "", error.message, error.hint);
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
                Err(error) => tree.broken(&syntax_error::in_words(error, text)),
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
    Map {
        entries: Vec<(Node, Node)>,
        /// Of the entry that has no value yet.
        key: Option<Node>,
        in_braces: bool,
    },
}

impl Tree<'_, '_, '_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others bring nothing: ends of documents, comments (which are not asked for)"
    )]
    fn take(&mut self, event: &Event<'_>, span: &Span) -> ControlFlow<()> {
        let place = Place::from(&span.start);
        if event.tag().is_some() {
            let at = span.tag_start.unwrap_or(span.start);
            self.refuse(Place::from(&at), syntax_error::sign('!'), IN_QUOTES);
        }
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let message = "a second document starts here";
                self.refuse(place, message, "put all into one");
                return ControlFlow::Break(());
            }
            Event::Scalar(text, style, ..) => {
                let node = self.scalar(text, *style, span);
                return self.add(node);
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(place, syntax_error::sign('*'), OR_WRITTEN_OUT);
                let value = NodeValue::Null;
                return self.add(Node {
                    value,
                    place,
                    plain: true,
                    invisible: None,
                    left_out: false,
                });
            }
            // The node that it stands before is in the tree already: the way to it is not known.
            Event::Anchor(..) => {
                let message = syntax_error::sign('&');
                self.reader.refuse(place, "", message, OR_WRITTEN_OUT);
            }
            Event::SequenceStart(..) => return self.enter(place, Collection::List(Vec::new())),
            Event::MappingStart(style, ..) => {
                let what = Collection::Map {
                    entries: Vec::new(),
                    key: None,
                    in_braces: *style == StructureStyle::Flow,
                };
                return self.enter(place, what);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { place, what }) = self.open.pop() {
                    let value = match what {
                        Collection::List(items) => NodeValue::List(items),
                        Collection::Map { entries, .. } => NodeValue::Map(entries),
                    };
                    return self.add(Node {
                        value,
                        place,
                        plain: false,
                        invisible: None,
                        left_out: false,
                    });
                }
            }
            Event::StreamEnd if self.root.is_none() => {
                self.root = Some(Node {
                    value: NodeValue::Null,
                    place,
                    plain: true,
                    invisible: None,
                    left_out: false,
                });
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn enter(&mut self, place: Place, what: Collection) -> ControlFlow<()> {
        if self.open.len() == DEPTH_MAX {
            return self.broken(&syntax_error::too_deep(place));
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
            Some(Collection::Map { entries, key, .. }) => {
                if let Some(key) = key.take() {
                    entries.push((key, node));
                } else {
                    let merges =
                        node.plain && matches!(&node.value, NodeValue::Text(k) if k == "<<");
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

    fn broken(&mut self, error: &syntax_error::SyntaxError) -> ControlFlow<()> {
        // After a sign of YAML's nothing on its line fits, and that is told already.
        let told = self.reader.problems.last();
        if told.is_none_or(|told| told.line != error.place.line) {
            self.refuse(error.place, error.message.as_str(), error.hint);
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
                Collection::Map { key, .. } => {
                    let key = key.as_ref().map(|key| &key.value);
                    if let Some(NodeValue::Text(key)) = key {
                        path = join(&path, key);
                    }
                }
            }
        }
        path
    }
}
