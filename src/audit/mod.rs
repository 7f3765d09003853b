//! The audit log: what was requested, by whom, on what, and what came of it.
//!
//! An action that reaches `LiveKit` is written by the ledger (`crate::ledger`).

mod entry;
pub mod export;
pub mod history;
mod recover;
mod still_muted;
pub mod tail;

pub(crate) use entry::stored;
pub use entry::{AuditRow, Entry, HttpRequest, PolicyRevision, record};
pub use recover::close_overdue;
pub(crate) use still_muted::still_muted;
pub use still_muted::{StillMuted, StillMutedTrack};

use quell_policy::TenantId;

use crate::access::{Authority, Verb};

/// Who acted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A caller, by its id; none is a caller without one.
    Caller(Option<TenantId>),
    /// Whoever ran the command line: `cli:` and the name of the system's user.
    CommandLine(String),
    /// quell itself, on a policy's word.
    Quell,
}

impl Actor {
    /// Who acts on this authority.
    #[must_use]
    pub fn of(authority: &Authority) -> Self {
        match authority {
            Authority::Caller { id } => Self::Caller(id.clone()),
            Authority::CommandLine(user) => Self::CommandLine(user.clone()),
            Authority::Policy { .. } => Self::Quell,
        }
    }

    /// The word in the audit log; none is null.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Caller(id) => id.as_ref().map(TenantId::as_str),
            Self::CommandLine(user) => Some(user),
            Self::Quell => None,
        }
    }
}

/// Where an action comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A caller of the mute endpoint.
    Manual,
    /// A policy, on a webhook's word.
    Webhook,
    /// A policy, on what a sweep saw.
    Sweep,
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
            Self::Sweep => "sweep",
            Self::Rest => "rest",
            Self::Cli => "cli",
        }
    }
}

/// What is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
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

impl Action {
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
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Mute => Self::Mute,
            Verb::Unmute => Self::Unmute,
        }
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
    /// LiveKit may have done it: it gave no answer, or nobody wrote it down.
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
