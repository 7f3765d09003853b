//! The audit log: what was wanted, by whom, on what, and what came of it.

mod recover;
mod write;

pub use recover::close_overdue;
pub use write::{Entry, PolicyId, record};

/// Who wants an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A caller of the mute endpoint.
    Manual,
    /// A policy, on a webhook's word.
    Webhook,
    /// A caller of `/v1`.
    Rest,
    /// The command line.
    Cli,
}

impl Origin {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Webhook => "webhook",
            Self::Rest => "rest",
            Self::Cli => "cli",
        }
    }
}

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Silence a track.
    Mute,
    /// Let a track be heard.
    Unmute,
    /// Leave a track alone that another policy mutes (dry-run policies only).
    Exempt,
    /// Find out what the policies want for a track.
    Decide,
    /// Store a new policy.
    PolicyCreate,
    /// Store a new revision of a policy.
    PolicyUpdate,
    /// Remove a policy.
    PolicyDelete,
}

impl Verb {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Unmute => "unmute",
            Self::Exempt => "exempt",
            Self::Decide => "decide",
            Self::PolicyCreate => "policy.create",
            Self::PolicyUpdate => "policy.update",
            Self::PolicyDelete => "policy.delete",
        }
    }

    /// Mute or unmute.
    #[must_use]
    pub const fn of_mute(muted: bool) -> Self {
        if muted { Self::Mute } else { Self::Unmute }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// LiveKit (or the database) did it.
    Done,
    /// Not allowed, or nothing there to act on.
    Refused,
    /// Tried, and LiveKit did not do it.
    Failed,
    /// A person decided on the same source meanwhile.
    Superseded,
    /// The track was gone.
    Gone,
    /// The facts could not be had in time.
    Undecided,
    /// A dry-run policy would have done it.
    DryRun,
    /// Nobody wrote down what came of it.
    Unknown,
}

impl Outcome {
    /// The word in the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Gone => "gone",
            Self::Undecided => "undecided",
            Self::DryRun => "dry_run",
            Self::Unknown => "unknown",
        }
    }
}
