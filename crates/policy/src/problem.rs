//! What is wrong with a policy: where, what, and what to do about it.

use std::fmt;

use serde::Serialize;

/// One thing that is wrong (or, as a warning, probably not meant) in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file; none for JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line, from 1; none where the document has no lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column, from 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// The way to it, such as `policies[2].match.source[0]`; empty for the whole document.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        if self.file.is_some() || self.line.is_some() {
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            // What to do stands right of the carets under the error.
            Some(hint) if self.message.ends_with('^') => write!(f, " {hint}"),
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a document, one a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The first of them, in the order of the document.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub left_off: usize,
}

/// The most problems that are reported; the rest is only counted.
pub const PROBLEMS_MAX: usize = 100;

impl Problems {
    /// The first of these; `left_off` more are not among them.
    pub(super) fn new(mut problems: Vec<Problem>, left_off: usize) -> Self {
        let left_off = left_off + problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        Self { problems, left_off }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{problem}")?;
        }
        if self.left_off > 0 {
            write!(f, "\nand {} more", self.left_off)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The word that was probably meant.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| {
        text.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    let word = plain(word);
    if word.is_empty() {
        return None;
    }
    let length = word.chars().count();
    let near = known
        .iter()
        .filter_map(|candidate| {
            let candidate_plain = plain(candidate);
            let candidate_length = candidate_plain.chars().count();
            let allowed = candidate_length.div_ceil(3);
            // Words of such different lengths are no typo. Comparing takes the one length times
            // the other, in time and in memory.
            if candidate_length.abs_diff(length) > allowed {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&word, &candidate_plain);
            (distance <= allowed).then_some((distance, *candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    near.or_else(|| {
        // A shortened word: `mic`, `rec`.
        let mut longer = known
            .iter()
            .copied()
            .filter(|candidate| word.len() >= 3 && plain(candidate).starts_with(&word));
        match (longer.next(), longer.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    })
}

/// What to write where one of these words is expected.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("write {only}"),
        _ => format!("one of {}", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_probably_meant() {
        let sources = ["MICROPHONE", "CAMERA", "SCREEN_SHARE", "SCREEN_SHARE_AUDIO"];
        for (word, expected) in [
            ("microphone", Some("MICROPHONE")),
            ("MICROFONE", Some("MICROPHONE")),
            ("mic", Some("MICROPHONE")),
            ("screenshare", Some("SCREEN_SHARE")),
            ("screen-share-audio", Some("SCREEN_SHARE_AUDIO")),
            ("camrea", Some("CAMERA")),
            ("scr", None),
            ("telephone", None),
            ("x", None),
            ("", None),
            ("ƒ∂", None),
        ] {
            assert_eq!(did_you_mean(word, &sources), expected, "{word:?}");
        }
    }
}
