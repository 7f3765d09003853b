//! Who changes policies, what they expect to be there, and what comes of it.

use super::read::PolicyRecord;
use crate::audit::{Actor, HttpRequest, Origin};
use crate::postgres::failed_query;
use quell_policy::PolicyKey;
use quell_policy::limits::POLICIES_MAX;

/// The JSON of one owner's policies has at most this many bytes, all together.
pub(super) const OWNER_BYTES_MAX: i64 = 16 << 20;

/// Who changes something.
#[derive(Debug, Clone)]
pub struct Author<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// Who.
    pub actor: Actor,
    /// The request that asked for it.
    pub request: Option<&'a HttpRequest>,
}

impl Author<'_> {
    /// What the audit's `actor` and a revision's `author` say.
    pub(super) fn id(&self) -> &str {
        self.actor.as_str().unwrap_or_default()
    }
}

/// What keeps a policy: `apply --prune` removes only what `apply` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedBy {
    /// Files, through `quell policy apply`.
    Apply,
    /// Requests to `/v1/policies`.
    Rest,
}

impl ManagedBy {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rest => "rest",
        }
    }
}

/// What must be true for a change to be made (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedRevision {
    /// Whatever is there.
    Anything,
    /// A policy of any revision.
    Exists,
    /// A policy of this revision.
    Revision(i32),
    /// No policy.
    Absent,
}

impl ExpectedRevision {
    pub(super) fn check(self, before: Option<&PolicyRecord>) -> Result<(), ChangeError> {
        match (self, before) {
            (Self::Anything, _) | (Self::Exists, Some(_)) | (Self::Absent, None) => Ok(()),
            (Self::Exists | Self::Revision(_), None) => Err(ChangeError::Missing),
            (Self::Absent, Some(before)) => Err(ChangeError::Exists(before.revision)),
            (Self::Revision(revision), Some(before)) if before.revision == revision => Ok(()),
            (Self::Revision(_), Some(before)) => Err(ChangeError::Stale(before.revision)),
        }
    }
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// A new policy.
    Created,
    /// A new revision.
    Updated,
    /// The same as before: no new revision.
    Unchanged,
    /// Removed.
    Deleted,
}

impl ChangeOutcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// A policy after its change.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What it came to.
    pub outcome: ChangeOutcome,
    /// The policy; after a deletion, what it was.
    pub policy: PolicyRecord,
}

impl Changed {
    pub(super) const fn unchanged(policy: PolicyRecord) -> Self {
        Self {
            outcome: ChangeOutcome::Unchanged,
            policy,
        }
    }
}

/// One line of what `apply` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The policy.
    pub key: PolicyKey,
    /// Its revision.
    pub revision: i32,
    /// What was done.
    pub outcome: ChangeOutcome,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is a policy where none was expected.
    #[error("there is a policy of this name already, at revision {0}")]
    Exists(i32),
    /// There is no policy where one was expected.
    #[error("there is no policy of this name")]
    Missing,
    /// It is another revision than expected.
    #[error("the policy is at revision {0}: read it again and repeat the change")]
    Stale(i32),
    /// Some policy was changed since a plan was made.
    #[error("policies were changed since the plan was made, so nothing is applied: make it again")]
    PlanStale,
    /// The owner has as many policies as one may have.
    #[error(
        "this owner has {POLICIES_MAX} policies, which is the limit: remove one first, or say the same with fewer (a list takes several values)"
    )]
    TooMany,
    /// The owner's policies are as long as they may be.
    #[error(
        "the policies of this owner have more than {} MiB together, which is the limit: remove one first, or shorten them",
        OWNER_BYTES_MAX >> 20
    )]
    TooMuch,
    /// The policies of all owners are as long as they may be.
    #[error(
        "the policies of all owners together have more than {} MiB, which is the limit here (QUELL_POLICIES_BYTES_MAX): remove some first, or ask whoever runs this quell",
        .0 >> 20
    )]
    TooMuchInAll(i64),
    /// The owner's policies would read too much of texts.
    #[error("{0}")]
    TooMuchTextWork(String),
    /// The database.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
}
