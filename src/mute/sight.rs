//! Looks at a live room on somebody's behalf, after the check that a mute there has to pass.

use livekit_protocol::ParticipantInfo;
use tokio::time::Instant;

use super::permit::{Authority, reaches};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};

/// A room and one of its participants, as LiveKit shows them now, for somebody who may see them.
///
/// No way to build one but [`look`]: what has it was checked.
#[derive(Debug)]
pub struct Sight {
    room: LiveRoom,
    participant: ParticipantInfo,
}

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// Room or participant are not there, or not for this authority to see: never told apart.
    #[error("no such room, participant or track")]
    NotFound,
    /// LiveKit failed.
    #[error(transparent)]
    LiveKit(#[from] LiveKitError),
}

impl Sight {
    /// The room.
    #[must_use]
    pub fn room(&self) -> &LiveRoom {
        &self.room
    }

    /// The participant, with its tracks.
    #[must_use]
    pub fn participant(&self) -> &ParticipantInfo {
        &self.participant
    }
}

/// Asks LiveKit for a room and, at the same time, a participant of it.
///
/// Whatever LiveKit says of the participant, its failure included, is for nobody to know whom the
/// room is not open to.
pub async fn look(
    livekit: &LiveKit,
    authority: Authority<'_>,
    room: &str,
    identity: &str,
    deadline: Instant,
) -> Result<Sight, Unseen> {
    let (room, participant) = tokio::join!(
        livekit.room(room, deadline),
        livekit.participant(room, identity, deadline),
    );
    let room = room?.ok_or(Unseen::NotFound)?;
    reaches(authority, &room).map_err(|_| Unseen::NotFound)?;
    let participant = participant?.ok_or(Unseen::NotFound)?;
    Ok(Sight { room, participant })
}
