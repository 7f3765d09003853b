//! Why a question has no answer.

use tokio::task::JoinError;

use crate::action::LookupError;
use crate::livekit::{LiveKitError, NOT_CONFIGURED};
use crate::postgres::failed_query;
use quell_policy::Unreadable;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The question, or the facts in it, are wrong; the text says where.
    #[error("{0}")]
    Invalid(String),
    /// The facts are of a room that is not the caller's.
    #[error("{0}")]
    OtherTenant(String),
    /// There is no such event, or it is not the caller's.
    #[error("there is no event of this id, or it is older than events are kept")]
    NoEvent,
    /// The event, of this type, does not publish a track.
    #[error("this event is a {0}: policies decide on track_published alone")]
    NotDecidedOn(String),
    /// This version cannot read what was recorded of the event.
    #[error("what is recorded of this event cannot be read by this version: {0}")]
    Recorded(String),
    /// This version cannot read a policy that was in force then.
    #[error(
        "the decision cannot be repeated, because a policy of then cannot be read by this version; ask by the policies of now"
    )]
    NotRepeatable(#[source] Unreadable),
    /// The room, participant or track is not there, or is not the caller's to see: the caller cannot
    /// tell which.
    #[error("no such room, participant or track")]
    NotFound,
    /// There is no `LiveKit` to ask.
    #[error("{NOT_CONFIGURED}")]
    NotConfigured,
    /// `LiveKit` failed.
    #[error(transparent)]
    LiveKit(LiveKitError),
    /// The database failed.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// A thread panicked, or its task was cancelled.
    #[error("the explanation was broken off: {0}")]
    Broken(#[from] JoinError),
}

impl From<LookupError> for ExplainError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NoRoom
            | LookupError::Denied { .. }
            | LookupError::NoParticipant { .. }
            | LookupError::NoTrack { .. } => Self::NotFound,
            LookupError::LiveKit { error, .. } => Self::LiveKit(error),
        }
    }
}
