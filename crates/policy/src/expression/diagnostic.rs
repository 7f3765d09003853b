//! What is wrong with an expression, with a caret under it.

use std::fmt;

use crate::invisible::is_invisible;

/// A piece of an expression, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn of_char(start: usize, c: char) -> Self {
        Self {
            start,
            end: start + c.len_utf8(),
        }
    }

    /// From the start of this to the end of that.
    pub(super) fn to(self, that: Self) -> Self {
        Self {
            start: self.start,
            end: that.end,
        }
    }

    pub(super) fn text(self, of: &str) -> &str {
        of.get(self.start..self.end).unwrap_or_default()
    }
}

/// A diagnostic of one part of an expression.
#[derive(Debug)]
pub(super) struct SpannedDiagnostic {
    /// Where; none where it is about the whole, which is then not shown.
    span: Option<Span>,
    message: String,
    hint: String,
}

impl SpannedDiagnostic {
    pub(super) fn new(span: Span, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            span: Some(span),
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn whole(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            span: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn in_text(self, text: &str) -> ExpressionProblem {
        ExpressionProblem {
            place: self.span.map(|span| Shown::new(text, span)),
            message: self.message,
            hint: (!self.hint.is_empty()).then_some(self.hint),
        }
    }
}

/// What is wrong (or, as a warning, probably not meant) in an expression, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExpressionProblem {
    /// Where; none where it is about the whole expression.
    place: Option<Shown>,
    /// What is wrong.
    message: String,
    /// What to do.
    hint: Option<String>,
}

impl ExpressionProblem {
    /// The line within the expression, from 1; none where it is about the whole expression.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.line)
    }

    /// The column within that line, from 1, in characters.
    #[must_use]
    pub fn column(&self) -> Option<usize> {
        self.place.as_ref().map(|place| place.column)
    }

    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// What is wrong and, below it, the line of the expression with carets under the part that is wrong.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.place {
            Some(place) => format!(
                "{} (line {}, column {})\n{place}",
                self.message, place.line, place.column
            ),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for ExpressionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match (&self.hint, &self.place) {
            (Some(hint), Some(_)) => write!(f, " {hint}"),
            (Some(hint), None) => write!(f, "; {hint}"),
            (None, _) => Ok(()),
        }
    }
}

/// A line of an expression and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    line: usize,
    column: usize,
    text: String,
    indent: usize,
    carets: usize,
}

impl Shown {
    /// At most this many characters of a long line are shown before that part ...
    const BEFORE_CHARS_MAX: usize = 60;
    /// ... and at most this many in all.
    const CHARS_MAX: usize = 100;
    const LEFT_OUT: &str = "...";

    fn new(text: &str, span: Span) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.get(line_start..).unwrap_or_default();
        let line = line.lines().next().unwrap_or_default();
        let column = chars(before.get(line_start..).unwrap_or_default());
        // What goes on in the next line is not shown; the end of the text has a caret as well.
        let within = text.get(span.start..span.end).unwrap_or_default();
        let carets = chars(within.lines().next().unwrap_or_default()).max(1);
        // A tab is as wide as the terminal likes, above the carets as a caret.
        let plain = |c: char| match c {
            _ if c.is_control() => ' ',
            _ if is_invisible(c) => char::REPLACEMENT_CHARACTER,
            _ => c,
        };
        let left_out = column.saturating_sub(Self::BEFORE_CHARS_MAX);
        let mut shown = String::new();
        if left_out > 0 {
            shown += Self::LEFT_OUT;
        }
        let indent = chars(&shown) + column - left_out;
        shown.extend(line.chars().skip(left_out).take(Self::CHARS_MAX).map(plain));
        if chars(line) > left_out + Self::CHARS_MAX {
            shown += Self::LEFT_OUT;
        }
        Self {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            carets: carets.min(chars(&shown).saturating_sub(indent).max(1)),
            text: shown,
            indent,
        }
    }
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    {}", self.text)?;
        write!(
            f,
            "    {}{}",
            " ".repeat(self.indent),
            "^".repeat(self.carets)
        )
    }
}
