//! What a scalar means, and where its source shows a person something else: lines that are joined,
//! escapes that only YAML has, text that a comment cuts.

use serde_saphyr::granit_parser::{Marker, ScalarStyle, Span};

use super::{Collection, Open, Tree, byte, plain};
use crate::invisible::{is_invisible, named};
use crate::keys::SPACE_BEHIND_COLON;
use crate::node::{Node, NodeValue, Place};

/// What is read of a scalar, by where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Line,
    /// Text of any number of lines.
    Prose,
    /// Lines may break between its words, but not in its texts.
    Expression,
}

const IN_LINES: &str =
    "put it on one line; a list has `- ` before each item, or commas between them in `[ ]`";

impl<'t> Tree<'t, '_, '_> {
    /// The node that a scalar is.
    pub(super) fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span) -> Node {
        let known = self.reader.problems.len();
        let plain = style == ScalarStyle::Plain;
        let written = span.slice(self.text).unwrap_or_default();
        let value = if plain {
            self.plain(text, span)
        } else {
            self.marked(text, style, span);
            NodeValue::Text(text.to_owned())
        };
        if self.reader.problems.len() == known {
            self.joined(written, style, span);
            if plain {
                self.dash_alone(written, span);
            }
        }
        Node {
            value,
            place: Place::from(&span.start),
            plain,
            invisible: written.chars().find(|c| is_invisible(*c)),
            left_out: written.is_empty() && self.is_in_braces(),
        }
    }

    /// Whether the value of a key in `{ }` comes next.
    fn is_in_braces(&self) -> bool {
        self.open.last().is_some_and(|open| {
            matches!(
                open.what,
                Collection::Map {
                    key: Some(_),
                    in_braces: true,
                    ..
                }
            )
        })
    }

    fn holds(&self) -> Holds {
        fn key(open: &Open) -> Option<&str> {
            match &open.what {
                Collection::Map { key, .. } => key.as_ref()?.value.text(),
                Collection::List(_) => None,
            }
        }
        match self.open.as_slice() {
            [root, _, policy] if key(root) == Some("policies") => match key(policy) {
                Some("description" | "reason") => Holds::Prose,
                Some("when") => Holds::Expression,
                _ => Holds::Line,
            },
            _ => Holds::Line,
        }
    }

    /// Refuses text of several lines of which one is made where a person sees several: items whose
    /// dash is misplaced, a text that is closed on another line.
    fn joined(&mut self, written: &str, style: ScalarStyle, span: &Span) {
        let behind = self.text.get(byte(&span.end)..).unwrap_or_default();
        if style == ScalarStyle::Plain && behind.trim_start_matches([' ', '\t']).starts_with(':') {
            // No key can stand here, which the parser tells of.
            return;
        }
        let written = written.trim_end();
        let Some(first_break) = written.find('\n').filter(|_| style != ScalarStyle::Literal) else {
            return;
        };
        let (at, message, hint) = match self.holds() {
            Holds::Line => {
                let hint = if written.lines().all(is_entry) {
                    SPACE_BEHIND_COLON
                } else {
                    IN_LINES
                };
                let message = "this text goes on over several lines, of which YAML makes one";
                (first_break, message, hint)
            }
            Holds::Prose if style == ScalarStyle::Folded => return,
            Holds::Prose => {
                let starts =
                    |at: &usize| starts_with_bullet(written.get(at + 1..).unwrap_or_default());
                let breaks = written.match_indices('\n').map(|(at, _)| at);
                let Some(at) = breaks.into_iter().find(starts) else {
                    return;
                };
                let message = "YAML joins this line to the one before it";
                (at, message, "put text of several lines below `|`")
            }
            Holds::Expression => {
                let Some((at, message)) = cut_by_break(written, style) else {
                    return;
                };
                (at, message, "write that on one line")
            }
        };
        let below = written.get(at + 1..).unwrap_or_default();
        let indent = below.len() - below.trim_start_matches([' ', '\t']).len();
        let until = byte(&span.start) + at + 1 + indent;
        let place = place_after(&span.start, self.text, until);
        self.refuse(place, message, hint);
    }

    /// Refuses text below its key that looks like an item of a list.
    fn dash_alone(&mut self, written: &str, span: &Span) {
        let Some(Collection::Map { key: Some(key), .. }) = self.open.last().map(|open| &open.what)
        else {
            return;
        };
        let place = Place::from(&span.start);
        let bullet =
            written.starts_with(['-', '•', '*', '–', '—', '·']) || written.starts_with("+ ");
        if bullet && key.place.line != place.line {
            let message = "an item of a list starts with `- `, a dash and a space";
            self.refuse(place, message, "write that, or put the text in quotes");
        }
    }

    /// Refuses an escape that JSON does not have: it makes signs that are not seen, and is mostly a
    /// backslash that was meant.
    fn escaped(&mut self, written: &str, span: &Span) {
        let mut chars = written.char_indices();
        while let Some((at, c)) = chars.next() {
            if c != '\\' {
                continue;
            }
            let Some((_, escaped)) = chars.next() else {
                return;
            };
            if matches!(
                escaped,
                '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't' | 'u'
            ) {
                continue;
            }
            let message = if matches!(escaped, '\n' | '\r') {
                "a `\\` at the end of a line joins it to the next one".to_owned()
            } else {
                let shown = if escaped.is_control() || is_invisible(escaped) {
                    format!("`\\` before {}", named(escaped))
                } else {
                    format!("`\\{escaped}`")
                };
                format!("{shown} is no escape of JSON's")
            };
            let hint = "put the text in single quotes, in which a backslash is plain; in double ones \
                        write `\\\\`, or a sign by its number, such as `\\u00e9`";
            let place = place_after(&span.start, self.text, byte(&span.start) + at);
            self.refuse(place, message, hint);
            return;
        }
    }

    /// What a scalar without quotes means, which may be less than somebody has written.
    fn plain(&mut self, text: &str, span: &Span) -> NodeValue {
        let end = byte(&span.end);
        // Not only to the end of the line, which may be the whole document for each of its words.
        let rest = self.text.get(end..).unwrap_or_default();
        if span.slice(self.text).unwrap_or_default().is_empty() {
            if let Some(comment) = self.comment_instead(end, rest) {
                let hint = "put it in quotes, or write the value before it";
                let place = self.place_at(comment);
                self.refuse(place, "there is nothing before this comment", hint);
            }
            return NodeValue::Null;
        }
        let value = match plain::value(text) {
            Ok(value) => value,
            Err((message, hint)) => {
                self.refuse(Place::from(&span.start), message, hint);
                return NodeValue::Null;
            }
        };
        if let Some(blank) = before_hash(text) {
            let message = format!(
                "no comment starts at this `#`: before it is no space, but {}",
                named(blank)
            );
            self.refuse(Place::from(&span.start), message, "write a plain space");
        }
        let comment = rest.trim_start_matches([' ', '\t']);
        if plain::is_cut(text, comment) {
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
            } else if style == ScalarStyle::DoubleQuoted {
                self.escaped(written, span);
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
    pub(super) fn entry_in_comment(&mut self, next: &Span) {
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
        let hint = "a comment has a space after its `#`; put text with a `#` in quotes";
        self.refuse(self.place_at(byte), message, hint);
    }

    /// What is between the end of what came last and this byte.
    fn since_last(&self, end: usize) -> &'t str {
        self.text.get(byte(&self.last)..end).unwrap_or_default()
    }

    /// The place of a byte after what came last.
    fn place_at(&self, end: usize) -> Place {
        place_after(&self.last, self.text, end)
    }
}

/// The place of a byte behind a marker.
fn place_after(from: &Marker, text: &str, end: usize) -> Place {
    let passed = text.get(byte(from)..end).unwrap_or_default();
    let breaks = passed.matches('\n').count();
    let chars = passed
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    let column = if breaks == 0 {
        from.col().saturating_add(chars)
    } else {
        chars
    };
    let line = from.line().max(1).saturating_add(breaks);
    Place::from(&Marker::new(end, line, column))
}

/// Whether a line is `key:value`, in which the space is missing.
fn is_entry(line: &str) -> bool {
    let named = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
    line.trim()
        .split_once(':')
        .is_some_and(|(key, value)| named(key) && !value.is_empty())
}

/// The sign before the first `#` in a text that looks like a space there, and is none.
fn before_hash(text: &str) -> Option<char> {
    let before = text.split_once('#')?.0.chars().next_back()?;
    (before.is_whitespace() || is_invisible(before)).then_some(before)
}

/// Whether a line looks like an item of a list.
fn starts_with_bullet(line: &str) -> bool {
    let line = line.trim_start();
    ["- ", "* ", "+ ", "• "]
        .iter()
        .any(|bullet| line.starts_with(bullet))
}

/// The first break of a line within a text of an expression, or behind a comment in it, and what is
/// wrong with that.
fn cut_by_break(written: &str, style: ScalarStyle) -> Option<(usize, &'static str)> {
    #[derive(PartialEq)]
    enum In {
        Nothing,
        Text { quote: char, raw: bool },
        Comment,
    }
    let mut state = In::Nothing;
    let mut before = ' ';
    // What stands around the expression is no part of it.
    let around = usize::from(matches!(
        style,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
    ));
    let mut chars = written.char_indices().skip(around).peekable();
    let mut is_escaped = false;
    while let Some((at, mut c)) = chars.next() {
        match (style, c) {
            (ScalarStyle::SingleQuoted, '\'') => {
                chars.next_if(|(_, next)| *next == '\'');
            }
            (ScalarStyle::DoubleQuoted, '\\') => {
                c = chars.next().map_or('\\', |(_, escaped)| escaped);
                if !matches!(c, '"' | '\\' | '/') {
                    c = ' ';
                }
            }
            _ => {}
        }
        if c == '\n' {
            match state {
                In::Text { .. } => {
                    return Some((
                        at,
                        "the line breaks within a text, and YAML makes a space of that",
                    ));
                }
                In::Comment => {
                    return Some((
                        at,
                        "YAML joins this line to the one before it, which ends in a comment",
                    ));
                }
                In::Nothing => {}
            }
        }
        state = match state {
            In::Nothing if matches!(c, '"' | '\'') => In::Text {
                quote: c,
                raw: matches!(before, 'r' | 'R'),
            },
            In::Nothing if c == '/' && before == '/' => In::Comment,
            In::Text { quote, .. } if c == quote && !is_escaped => In::Nothing,
            same @ (In::Nothing | In::Text { .. } | In::Comment) => same,
        };
        is_escaped = c == '\\' && !is_escaped && matches!(state, In::Text { raw: false, .. });
        before = c;
    }
    None
}
