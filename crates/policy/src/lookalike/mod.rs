//! What a text looks like that is compared as it is: a glob, or a regular expression.

pub(super) mod regex;

use std::fmt;

/// What somebody probably takes a text for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookalike {
    Glob,
    Regex,
}

impl fmt::Display for Lookalike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Glob => "a glob",
            Self::Regex => "a regular expression",
        })
    }
}

impl Lookalike {
    pub(super) fn of(text: &str) -> Option<Self> {
        // JSON has signs of its own.
        if text.contains('"') {
            None
        } else if regex::is_regex(text) {
            Some(Self::Regex)
        } else if has_star(text) || has_class(text) || has_alternatives(text) {
            Some(Self::Glob)
        } else if regex::is_like(text) {
            Some(Self::Regex)
        } else {
            None
        }
    }
}

/// A `*` at an end, or within a word: not that of a phone's codes (`*31#`), of rating (`***`) or of
/// markup (`**x**`).
fn has_star(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    let letters = text.contains(char::is_alphabetic) && !text.contains("**");
    let within = text.match_indices('*').any(|(at, _)| {
        let (before, after) = text.split_at(at);
        let joins = |c: Option<char>| c.is_none_or(|c| !c.is_whitespace());
        joins(before.chars().next_back()) && joins(after.chars().nth(1))
    });
    letters && within
}

/// `[a-z]` or `h[ao]st`, and not `[guest]`.
fn has_class(text: &str) -> bool {
    let Some((before, rest)) = text.split_once('[') else {
        return false;
    };
    let Some((inside, after)) = rest.split_once(']') else {
        return false;
    };
    let class: Vec<char> = inside.trim_start_matches(['!', '^']).chars().collect();
    let ranges = class.chunks(3).all(|range| matches!(range, [_, '-', _]));
    let in_word =
        before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric);
    !class.is_empty() && (ranges || in_word)
}

/// `{a,b}`.
fn has_alternatives(text: &str) -> bool {
    let inside = text
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(inside, _)| {
        let parts = || inside.split(',');
        parts().count() > 1 && parts().all(|part| !part.is_empty()) && !inside.contains([' ', ':'])
    })
}
