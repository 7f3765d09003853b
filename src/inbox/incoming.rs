//! An event that came in, and what is answered to it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bytes::{NoRoom, Reservation};
use super::memory::JobReservation;
use crate::livekit::event::Event;
use crate::traces::Parent;

/// LiveKit waits for the answer, and the room's other events wait behind it.
pub(super) const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// An event that waits to be committed.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) event: Event,
    pub(super) body: String,
    pub(super) _reservation: Reservation,
    pub(super) arrived: Instant,
    pub(super) traced: Parent,
    /// Memory for its job, where there was some: the job is then ours as it is stored, which saves
    /// a commit on the way to the mute.
    pub(super) job: Option<JobReservation>,
    pub(super) answer: oneshot::Sender<Result<Accepted, AcceptError>>,
}

/// What came of accepting an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is committed.
    Stored,
    /// It was committed before.
    Duplicate,
}

/// Why an event is not committed; LiveKit shall send it again.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Too many are waiting.
    #[error("too many events are waiting to be stored")]
    Full,
    /// It took too long.
    #[error("the event could not be stored within {} s", COMMIT_TIMEOUT.as_secs())]
    Timeout,
    /// The database refused it, or failed.
    #[error("the event could not be stored: {0}")]
    Database(&'static str),
    /// quell is being stopped.
    #[error("quell is stopping")]
    Stopping,
}

impl From<NoRoom> for AcceptError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::Full
    }
}
