//! Places at which a test ends the process as a crash would, without a word to anybody: in debug builds alone.

use std::sync::OnceLock;

static ARMED: OnceLock<String> = OnceLock::new();

/// A place on the way from a webhook to a mute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailPoint {
    /// A webhook's signature was checked.
    Verify,
    /// Its event is about to be stored.
    Insert,
    /// It is committed.
    Commit,
    /// It is about to be answered.
    Ack,
    /// Its job is begun.
    Claim,
    /// The intent is committed.
    Intent,
    /// `LiveKit` has answered.
    Call,
    /// The outcome is committed.
    Outcome,
}

impl FailPoint {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Insert => "insert",
            Self::Commit => "commit",
            Self::Ack => "ack",
            Self::Claim => "claim",
            Self::Intent => "intent",
            Self::Call => "call",
            Self::Outcome => "outcome",
        }
    }
}

/// From now on, this place ends the process.
pub(crate) fn arm(name: &str) {
    if cfg!(debug_assertions) {
        ARMED.get_or_init(|| name.to_owned());
    }
}

/// Ends the process where this is the place.
pub(crate) fn reach(point: FailPoint) {
    if cfg!(debug_assertions) && ARMED.get().is_some_and(|armed| armed == point.as_str()) {
        std::process::abort();
    }
}
