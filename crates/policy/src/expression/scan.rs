//! An expression's text as a row of tokens between matching brackets, or the first error in it.
//!
//! This comes before the parser, so that what reaches it is short, shallow and without letters
//! that it does not know. The tokens are the parser's own: both always agree on where text ends.

use cel::parser::pratt_parser::{Lexer, TokenKind};

use super::diagnostic::{Span, SpannedDiagnostic};
use super::ir::TEXT_TESTS;
use crate::invisible::{is_invisible, named};
use crate::terminal::quoted;

/// An expression may have this many bytes.
pub(crate) const EXPRESSION_BYTES_MAX: usize = 1024;
/// So deep may its brackets be nested.
pub(super) const BRACKET_DEPTH_MAX: usize = 16;

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
    /// For an opening bracket: the place after the one that closes it.
    pub(super) closed_at: usize,
}

/// The tokens of an expression, without whitespace and comments.
#[derive(Debug)]
pub(super) struct Tokens(Vec<Token>);

impl Tokens {
    /// The token that starts at this byte, and those after it.
    pub(super) fn from(&self, start: usize) -> &[Token] {
        let index = self.0.partition_point(|token| token.span.start < start);
        self.0.get(index..).unwrap_or_default()
    }

    /// The last token that starts before this byte.
    pub(super) fn before(&self, start: usize) -> Option<&Token> {
        let index = self.0.partition_point(|token| token.span.start < start);
        self.0.get(index.checked_sub(1)?)
    }

    /// What the innermost brackets around this hold; this itself where there are none.
    pub(super) fn in_brackets(&self, span: Span) -> Span {
        let around = self
            .brackets()
            .filter(|brackets| brackets.start < span.start && span.end < brackets.end)
            .min_by_key(|brackets| brackets.end - brackets.start);
        around.map_or(span, |brackets| Span {
            start: brackets.start + 1,
            end: brackets.end - 1,
        })
    }

    /// The pairs of brackets, each as the span from one to the other.
    pub(super) fn brackets(&self) -> impl Iterator<Item = Span> {
        self.0
            .iter()
            .filter(|token| token.closed_at > 0)
            .map(|token| Span {
                start: token.span.start,
                end: token.closed_at,
            })
    }
}

/// Reads the tokens.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of token")]
pub(super) fn scan(text: &str) -> Result<Tokens, SpannedDiagnostic> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(SpannedDiagnostic::whole(
            format!("the expression has more than {EXPRESSION_BYTES_MAX} bytes"),
            "split the policy in two, or list names in `match`",
        ));
    }
    if text.trim().is_empty() {
        return Err(SpannedDiagnostic::whole(
            "the expression is blank",
            "write a condition, such as `room.num_participants > 10`",
        ));
    }
    let unwritten = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if let Some((start, c)) = text.char_indices().find(|(_, c)| unwritten(*c)) {
        let span = Span::of_char(start, c);
        return Err(SpannedDiagnostic::new(
            span,
            "there is a control character here",
            "take it out",
        ));
    }
    if let Some((start, c)) = text.char_indices().find(|(_, c)| is_invisible(*c)) {
        let message = format!("here is a sign that is not seen: {}", named(c));
        let hint = match u32::from(c) {
            code @ 0..=0xffff => format!("take it out, or write `\\u{code:04x}` in a text"),
            code => format!("take it out, or write `\\U{code:08x}` in a text"),
        };
        return Err(SpannedDiagnostic::new(
            Span::of_char(start, c),
            message,
            hint,
        ));
    }
    let mut lexer = Lexer::new(text);
    let mut tokens: Vec<Token> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    loop {
        let token = lexer.lex();
        let span = Span {
            start: token.start,
            end: token.end,
        };
        if token.kind == TokenKind::TokEnd {
            break;
        }
        if matches!(token.kind, TokenKind::TokWhitespace | TokenKind::TokComment) {
            continue;
        }
        if let Some(error) = unreadable(text, token.kind, span) {
            return Err(error);
        }
        // The parser drops a pair of minus signs, whatever follows.
        if let Some(before) = tokens.last()
            && token.kind == TokenKind::TokMinus
            && before.kind == TokenKind::TokMinus
        {
            return Err(SpannedDiagnostic::new(
                before.span.to(span),
                "nothing is calculated here",
                "write the result",
            ));
        }
        if let Some(error) = tokens
            .last()
            .and_then(|before| unfit(before, token.kind, span))
        {
            return Err(error);
        }
        if token.kind == TokenKind::TokString
            && let Some(error) = blank_at_end(text, &tokens, span)
        {
            return Err(error);
        }
        let index = tokens.len();
        tokens.push(Token {
            kind: token.kind,
            span,
            closed_at: 0,
        });
        if closer(token.kind).is_some() {
            if open.len() == BRACKET_DEPTH_MAX {
                return Err(SpannedDiagnostic::new(
                    span,
                    format!("brackets are nested deeper than {BRACKET_DEPTH_MAX}"),
                    "take out those that are not needed",
                ));
            }
            open.push(index);
        } else if BRACKETS.iter().any(|(_, close)| *close == token.kind) {
            let opener = open.pop().and_then(|index| tokens.get_mut(index));
            match opener {
                Some(opener) if closer(opener.kind) == Some(token.kind) => {
                    opener.closed_at = span.end;
                }
                Some(opener) => {
                    return Err(SpannedDiagnostic::new(
                        opener.span.to(span),
                        "these brackets do not belong together",
                        "close each with its own kind",
                    ));
                }
                None => {
                    return Err(SpannedDiagnostic::new(
                        span,
                        "there is no bracket to close here",
                        "take it out, or open one before it",
                    ));
                }
            }
        }
    }
    if let Some(opener) = open.pop().and_then(|index| tokens.get(index)) {
        return Err(SpannedDiagnostic::new(
            opener.span,
            "this bracket is never closed",
            "close it",
        ));
    }
    Ok(Tokens(tokens))
}

const BRACKETS: [(TokenKind, TokenKind); 3] = [
    (TokenKind::TokLeftParen, TokenKind::TokRightParen),
    (TokenKind::TokLeftBracket, TokenKind::TokRightBracket),
    (TokenKind::TokLeftBrace, TokenKind::TokRightBrace),
];

/// What closes it, where it is an opening bracket.
fn closer(kind: TokenKind) -> Option<TokenKind> {
    let pair = BRACKETS.iter().find(|(open, _)| *open == kind);
    pair.map(|(_, close)| *close)
}

/// What is wrong with a token right after another.
fn unfit(before: &Token, kind: TokenKind, span: Span) -> Option<SpannedDiagnostic> {
    if before.span.end != span.start {
        return None;
    }
    let (message, hint) = match (before.kind, kind) {
        (TokenKind::TokLess, TokenKind::TokGreater) => ("`<>` compares nothing", "write `!=`"),
        (TokenKind::TokGreater, TokenKind::TokLess) => ("`><` compares nothing", "write `!=`"),
        (TokenKind::TokDot, TokenKind::TokDot) => {
            ("there are two dots here", "write one between two names")
        }
        (TokenKind::TokInt, TokenKind::TokDot) => {
            ("this is no number", "write one such as 10 or 2.5")
        }
        _ => return None,
    };
    Some(SpannedDiagnostic::new(before.span.to(span), message, hint))
}

/// Refuses a text that is compared as a whole and starts or ends with a blank, which nobody sees. A
/// part of a text may.
fn blank_at_end(text: &str, before: &[Token], span: Span) -> Option<SpannedDiagnostic> {
    if let [.., test, bracket] = before
        && bracket.kind == TokenKind::TokLeftParen
        && TEXT_TESTS
            .iter()
            .any(|(name, _)| *name == test.span.text(text))
    {
        return None;
    }
    let written = span.text(text).trim_start_matches(['r', 'R']);
    let quotes = if written.starts_with("\"\"\"") || written.starts_with("'''") {
        3
    } else {
        1
    };
    let held = written
        .get(quotes..written.len().saturating_sub(quotes))
        .unwrap_or_default();
    let what = match (
        held.starts_with(char::is_whitespace),
        held.ends_with(char::is_whitespace),
    ) {
        (false, false) => return None,
        (true, _) => "this text starts with a blank",
        (false, true) => "this text ends with a blank",
    };
    Some(SpannedDiagnostic::new(
        span,
        what,
        "take it out, or write `\\u0020` for one that is meant",
    ))
}

/// What is wrong with a token by itself.
fn unreadable(text: &str, kind: TokenKind, span: Span) -> Option<SpannedDiagnostic> {
    let written = span.text(text);
    if kind == TokenKind::TokEqual {
        return Some(equal_sign(text, span));
    }
    // CEL takes text of several lines in three quotes only; the parser takes it in any.
    let in_three = written.contains("\"\"\"") || written.contains("'''");
    if kind == TokenKind::TokString && written.contains(['\n', '\r']) && !in_three {
        let message = "text ends on the line on which it starts";
        let hint = "close the quote, or write `\\n`";
        return Some(SpannedDiagnostic::new(span, message, hint));
    }
    (kind == TokenKind::TokError).then(|| {
        let first = text.get(span.start..).and_then(|rest| rest.chars().next());
        unknown_letter(span, first.unwrap_or(' '))
    })
}

/// An `=` that is no part of `==`, `!=`, `<=` and `>=`: what it was probably to be one of.
fn equal_sign(text: &str, span: Span) -> SpannedDiagnostic {
    const SLIPS: [(&str, &str, &str); 6] = [
        ("", "=>", "write `>=`"),
        ("", "=<", "write `<=`"),
        ("", "=!", "write `!=`"),
        (
            "",
            "=~",
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        ("==", "=", "write `==`"),
        ("!=", "=", "write `!=`"),
    ];
    let (before, rest) = text.split_at_checked(span.start).unwrap_or_default();
    for (start, end, hint) in SLIPS {
        if before.ends_with(start) && rest.starts_with(end) {
            let span = Span {
                start: span.start - start.len(),
                end: span.start + end.len(),
            };
            let message = format!("`{start}{end}` compares nothing");
            return SpannedDiagnostic::new(span, message, hint);
        }
    }
    SpannedDiagnostic::new(span, "a single `=` compares nothing", "write `==`")
}

fn unknown_letter(span: Span, first: char) -> SpannedDiagnostic {
    match first {
        '&' => SpannedDiagnostic::new(span, "a single `&` joins nothing", "write `&&`"),
        '|' => SpannedDiagnostic::new(span, "a single `|` joins nothing", "write `||`"),
        '"' | '\'' | '`' | 'b' | 'B' | 'r' | 'R' => {
            SpannedDiagnostic::new(span, "this quote is never closed", "close it")
        }
        '0'..='9' | '.' => SpannedDiagnostic::new(
            span,
            "this is no number",
            "write one such as 10 or 2.5; text stands in quotes",
        ),
        '≠' | '≤' | '≥' => SpannedDiagnostic::new(
            Span::of_char(span.start, first),
            "this is no sign of a program",
            match first {
                '≠' => "write `!=`",
                '≤' => "write `<=`",
                _ => "write `>=`",
            },
        ),
        '~' => SpannedDiagnostic::new(
            Span::of_char(span.start, first),
            "regular expressions are not understood here",
            "use startsWith, endsWith or contains, or a glob in `match`",
        ),
        '“' | '”' | '„' | '‘' | '’' => SpannedDiagnostic::new(
            Span::of_char(span.start, first),
            "these quotes are not those of a program",
            "write plain ones: \"text\"",
        ),
        '#' => SpannedDiagnostic::new(
            Span::of_char(span.start, first),
            "`#` starts no comment within an expression",
            "take the comment out, or put it above the key",
        ),
        other => SpannedDiagnostic::new(
            Span::of_char(span.start, other),
            format!("{} is no part of an expression", quoted(&other.to_string())),
            "put text in quotes",
        ),
    }
}
