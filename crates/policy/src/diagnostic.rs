//! What is wrong with a text, or with a key of a policy, before the document adds where it stands.

use std::fmt;

/// A text that cannot be used; the document adds where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Diagnostic {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.hint)
    }
}

impl std::error::Error for Diagnostic {}

/// What is allowed in a policy and probably not meant.
#[derive(Debug)]
pub(super) struct Lint {
    /// The keys on the way to it.
    pub(super) keys: &'static [&'static str],
    pub(super) diagnostic: Diagnostic,
}

impl Lint {
    pub(super) fn new(
        keys: &'static [&'static str],
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            keys,
            diagnostic: Diagnostic::new(message, hint),
        }
    }
}
