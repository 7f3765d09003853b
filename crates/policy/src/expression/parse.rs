//! Text becomes cel's tree and the spans of its nodes, within bounds.
//!
//! cel has two parsers. This is the one without generated tables: it is seven times as fast, keeps
//! no cache that hostile text could fill, and both build the same trees (a test compares them).

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};
use cel::parser::pratt_parser::TokenKind;
use cel::parser::{ParseError, PrattParser};

use super::diagnostic::{Span, SpannedDiagnostic};
use super::scan::{BRACKET_DEPTH_MAX, Tokens, scan};
use crate::terminal::quoted;

/// An expression may have this many nodes: `room.name == "x"` has four.
pub(super) const NODES_MAX: usize = 64;

/// A tree and where its nodes stand.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) tree: IdedExpr,
    pub(super) spans: Spans,
}

pub(super) fn parse(text: &str) -> Result<Parsed, SpannedDiagnostic> {
    let tokens = scan(text)?;
    let tree = parser()
        .parse(text)
        .map_err(|errors| unparsable(text, &tokens, &errors.errors))?;
    if count(&tree) > NODES_MAX {
        return Err(SpannedDiagnostic::whole(
            format!("the expression has more than {NODES_MAX} names, values and operators"),
            "split the policy in two, or list names in `match`",
        ));
    }
    let spans = Spans::new(text, tokens);
    Ok(Parsed { tree, spans })
}

fn parser() -> PrattParser {
    let depth = u16::try_from(BRACKET_DEPTH_MAX).unwrap_or(u16::MAX);
    PrattParser::new().max_recursion_depth(depth)
}

fn count(tree: &IdedExpr) -> usize {
    let mut nodes = 0;
    each(tree, &mut |_| nodes += 1);
    nodes
}

/// Calls `visit` for a node and every node below it.
fn each(node: &IdedExpr, visit: &mut impl FnMut(u64)) {
    visit(node.id);
    match &node.expr {
        Expr::Call(call) => {
            for part in call.target.as_deref().into_iter().chain(&call.args) {
                each(part, visit);
            }
        }
        Expr::Select(select) => each(&select.operand, visit),
        Expr::List(list) => {
            for element in &list.elements {
                each(element, visit);
            }
        }
        Expr::Map(map) => {
            for entry in &map.entries {
                each_of_entry(&entry.expr, visit);
            }
        }
        Expr::Struct(fields) => {
            for entry in &fields.entries {
                each_of_entry(&entry.expr, visit);
            }
        }
        Expr::Comprehension(loop_) => {
            for part in [
                &loop_.iter_range,
                &loop_.accu_init,
                &loop_.loop_cond,
                &loop_.loop_step,
                &loop_.result,
            ] {
                each(part, visit);
            }
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

fn each_of_entry(entry: &EntryExpr, visit: &mut impl FnMut(u64)) {
    match entry {
        EntryExpr::StructField(field) => each(&field.value, visit),
        EntryExpr::MapEntry(entry) => {
            each(&entry.key, visit);
            each(&entry.value, visit);
        }
    }
}

/// Where the nodes of a tree stand.
#[derive(Debug)]
pub(super) struct Spans {
    tokens: Tokens,
    /// The first byte of the token that each node was made at: an operator, a bracket, a name.
    starts: BTreeMap<u64, usize>,
}

impl Spans {
    /// The parser gives its offsets away with an error only, and numbers nodes as they come: so it
    /// reads the text once more, with a bracket too many after it.
    fn new(text: &str, tokens: Tokens) -> Self {
        let with_error = format!("{text}\n)");
        let errors = parser().parse(&with_error).err();
        let info = errors
            .iter()
            .flat_map(|errors| &errors.errors)
            .find_map(|error| error.source_info.as_deref());
        let mut starts = BTreeMap::new();
        if let Some(info) = info {
            // Every byte makes two nodes at the most.
            let ids = 1..=u64::try_from(with_error.len() * 2).unwrap_or(u64::MAX);
            starts.extend(ids.filter_map(|id| {
                let (start, _) = info.offset_for(id)?;
                Some((id, usize::try_from(start).ok()?))
            }));
        }
        Self { tokens, starts }
    }

    /// The whole of a node: all nodes below it, its closing brackets, and the brackets around any
    /// part of it.
    pub(super) fn of(&self, node: &IdedExpr) -> Span {
        let mut whole: Option<Span> = None;
        each(node, &mut |id| {
            let Some(part) = self.starts.get(&id).and_then(|start| self.at(*start)) else {
                return;
            };
            whole = Some(whole.map_or(part, |whole| Span {
                start: whole.start.min(part.start),
                end: whole.end.max(part.end),
            }));
        });
        self.balanced(whole.unwrap_or_default())
    }

    /// The token there, with what belongs to it: a name's arguments, a bracket's content, the
    /// field after a dot, the number after a minus.
    fn at(&self, start: usize) -> Option<Span> {
        let (token, rest) = self.tokens.from(start).split_first()?;
        let mut end = token.closed_at.max(token.span.end);
        let mut rest = rest.iter();
        let number = |kind| matches!(kind, TokenKind::TokInt | TokenKind::TokFloat);
        let mut name = token.kind == TokenKind::TokIdent;
        if let Some(next) = rest.as_slice().first()
            && (token.kind == TokenKind::TokDot
                || token.kind == TokenKind::TokMinus && number(next.kind))
        {
            end = next.span.end;
            name = token.kind == TokenKind::TokDot;
            rest.next();
        }
        if name
            && let Some(next) = rest.next()
            && next.kind == TokenKind::TokLeftParen
        {
            end = next.closed_at;
        }
        Some(Span {
            start: token.span.start,
            end,
        })
    }

    fn balanced(&self, span: Span) -> Span {
        let cuts = |inner: &Span| {
            let starts = span.start <= inner.start && inner.start < span.end;
            let ends = span.start < inner.end && inner.end <= span.end;
            starts != ends
        };
        self.tokens
            .brackets()
            .filter(cuts)
            .fold(span, |span, brackets| Span {
                start: span.start.min(brackets.start),
                end: span.end.max(brackets.end),
            })
    }
}

/// The parser's first complaint, in words for people.
fn unparsable(text: &str, tokens: &Tokens, errors: &[ParseError]) -> SpannedDiagnostic {
    // Complaints without a place (such as "too many errors") come first; they help nobody.
    let Some(error) = errors.iter().find(|error| error.pos.0 > 0) else {
        return SpannedDiagnostic::whole("this is no expression that can be read", "");
    };
    let end = Span {
        start: text.trim_end().len(),
        end: text.trim_end().len(),
    };
    let token = offset_of(text, error.pos).and_then(|start| tokens.from(start).first());
    let Some(token) = token else {
        return SpannedDiagnostic::new(
            end,
            "the expression is not complete",
            "write what is missing here",
        );
    };
    // A word for `!` reads as a name; what is unexpected is the name after it.
    let before = tokens
        .before(token.span.start)
        .filter(|before| matches!(before.span.text(text), "not" | "NOT"));
    let span = before.unwrap_or(token).span;
    let written = span.text(text);
    let message = error.msg.as_str();
    if message.contains("has() macro") {
        return SpannedDiagnostic::new(
            tokens.in_brackets(span),
            "has() takes a field with a dot before its last name",
            "such as `has(room.metadata.theme)`; where the name needs brackets, ask `size(...) > 0`",
        );
    }
    if message.contains("literal") {
        return SpannedDiagnostic::new(
            span,
            format!("the number {} is too large", quoted(written)),
            "whole numbers have 64 bits",
        );
    }
    if message.contains("unescape") || message.contains("code point") {
        return SpannedDiagnostic::new(
            span,
            "there is an escape in this text that means nothing",
            "write `\\\\` for a backslash, or put an r before the quote",
        );
    }
    let hint = match written {
        "and" | "AND" => "write `&&`",
        "or" | "OR" => "write `||`",
        "not" | "NOT" => {
            "write `!` before what must not hold, such as `!(room.name in [\"a\"])`, or `!=`"
        }
        "is" | "IS" | "eq" | "equals" => "write `==`, or `!=` where it must not be so",
        "startsWith" | "endsWith" | "contains" | "startswith" | "endswith" | "starts_with"
        | "ends_with" | "includes" | "like" | "LIKE" | "matches" => {
            "write it after a dot, such as `room.name.startsWith(\"a\")`; there are endsWith and contains too"
        }
        "?" => "a condition that depends on another is `a && b || !a && c`",
        _ if token.kind == TokenKind::TokIdent => "join conditions with `&&` or `||`",
        _ => "",
    };
    SpannedDiagnostic::new(span, format!("unexpected {}", quoted(written)), hint)
}

/// The byte at a line and a column, which are counted from 1, the column in bytes.
fn offset_of(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let lines_before = text.split_inclusive('\n').take(line);
    Some(lines_before.map(str::len).sum::<usize>() + column)
}
