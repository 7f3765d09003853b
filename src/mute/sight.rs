//! Looks at a live room on somebody's behalf, after the check that a mute there has to pass.

use livekit_protocol::{ParticipantInfo, TrackInfo};
use tokio::time::Instant;

use super::permit::{Authority, Denied, reaches};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};

/// A room and one of its participants, as LiveKit shows them now, for somebody who may see them.
///
/// No way to build one but [`look`]: what has it was checked.
#[derive(Debug)]
pub struct Sight {
    room: LiveRoom,
    participant: ParticipantInfo,
}

/// Why there is nothing to be seen. For the audit: whoever asks is told of a LiveKit that failed, and
/// all else is never told apart.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    /// LiveKit lists no such room.
    #[error("no such room")]
    NoRoom,
    /// The room is not for this authority to see.
    #[error("{denied}")]
    Denied {
        /// The room.
        room: Box<LiveRoom>,
        /// Why not.
        denied: Denied,
    },
    /// Nobody of that identity is in the room.
    #[error("no such participant in the room")]
    NoParticipant {
        /// The room.
        room: Box<LiveRoom>,
    },
    /// LiveKit failed.
    #[error("{error}")]
    LiveKit {
        /// The room, where it was had.
        room: Option<Box<LiveRoom>>,
        /// How it failed.
        error: LiveKitError,
    },
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

    /// The participant's track of this SID.
    #[must_use]
    pub fn track(&self, sid: &str) -> Option<&TrackInfo> {
        self.participant
            .tracks
            .iter()
            .find(|track| track.sid == sid)
    }
}

impl Unseen {
    /// The room, where LiveKit lists it: whose row the refusal is.
    #[must_use]
    pub fn room(&self) -> Option<&LiveRoom> {
        match self {
            Self::NoRoom => None,
            Self::Denied { room, .. } | Self::NoParticipant { room } => Some(room),
            Self::LiveKit { room, .. } => room.as_deref(),
        }
    }
}

/// Asks LiveKit for a room, and, where that is there and open to `authority`, for a participant of it.
///
/// One after the other: nothing is asked about people on behalf of somebody who may not know of them,
/// and LiveKit can take 3 s to say that nobody is in a room that is not there.
pub async fn look(
    livekit: &LiveKit,
    authority: Authority<'_>,
    room: &str,
    identity: &str,
    deadline: Instant,
) -> Result<Sight, Unseen> {
    let listed = livekit.room(room, deadline).await;
    let listed = listed.map_err(|error| Unseen::LiveKit { room: None, error })?;
    let listed = Box::new(listed.ok_or(Unseen::NoRoom)?);
    if let Err(denied) = reaches(authority, &listed) {
        return Err(Unseen::Denied {
            room: listed,
            denied,
        });
    }
    match livekit.participant(room, identity, deadline).await {
        Ok(Some(participant)) => Ok(Sight {
            room: *listed,
            participant,
        }),
        Ok(None) => Err(Unseen::NoParticipant { room: listed }),
        Err(error) => Err(Unseen::LiveKit {
            room: Some(listed),
            error,
        }),
    }
}
