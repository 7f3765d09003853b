//! Looks at a live room on somebody's behalf, after the check that a mute there has to pass.

use std::time::Duration;

use livekit_protocol::{ParticipantInfo, TrackInfo};
use tokio::time::Instant;

use super::permit::{Authority, Denied, reaches};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};

/// LiveKit's API shows a track some 10 to 100 ms after the room has it, which is when somebody can ask.
/// At these times after the first look, all that is not there is looked for again; and all that is not
/// for the authority too, so that it takes as long to be told of neither.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

/// Whom to look at.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The participant.
    pub identity: &'a str,
    /// A track that the participant must have.
    pub track: Option<&'a str>,
}

/// A room and one of its participants, as LiveKit shows them now, for somebody who may see them.
///
/// No way to build one but [`look`]: what has it was checked.
#[derive(Debug)]
pub struct Sight {
    room: LiveRoom,
    participant: ParticipantInfo,
    looked_at: Instant,
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
    /// The participant has no track of that SID.
    #[error("the participant has no such track")]
    NoTrack {
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

    /// When LiveKit was asked for what is seen here.
    #[must_use]
    pub fn looked_at(&self) -> Instant {
        self.looked_at
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
            Self::Denied { room, .. } | Self::NoParticipant { room } | Self::NoTrack { room } => {
                Some(room)
            }
            Self::LiveKit { room, .. } => room.as_deref(),
        }
    }
}

/// Asks LiveKit for a room and a participant of it, for up to 0.3 s where they are not there.
pub async fn look(
    livekit: &LiveKit,
    authority: Authority<'_>,
    target: &Target<'_>,
    deadline: Instant,
) -> Result<Sight, Unseen> {
    let begun = Instant::now();
    let mut missing = None;
    loop {
        let last = match look_once(livekit, authority, target, deadline).await {
            // It was not there a moment ago: that LiveKit fails since is no better answer.
            Err(failed @ Unseen::LiveKit { .. }) => return Err(missing.unwrap_or(failed)),
            Err(unseen) => unseen,
            seen @ Ok(_) => return seen,
        };
        // LiveKit says of nothing when it has become visible: there is only asking again.
        let mut again = LOOK_AGAIN.iter().map(|pause| begun + *pause);
        match again.find(|at| *at > Instant::now()) {
            Some(at) if at < deadline => tokio::time::sleep_until(at).await,
            _ => return Err(last),
        }
        missing = Some(last);
    }
}

/// One after the other: nothing is asked about people on behalf of somebody who may not know of them,
/// and LiveKit can take 3 s to say that nobody is in a room that is not there.
async fn look_once(
    livekit: &LiveKit,
    authority: Authority<'_>,
    target: &Target<'_>,
    deadline: Instant,
) -> Result<Sight, Unseen> {
    let looked_at = Instant::now();
    let room = livekit.room(target.room, deadline).await;
    let room = room.map_err(|error| Unseen::LiveKit { room: None, error })?;
    let room = Box::new(room.ok_or(Unseen::NoRoom)?);
    if let Err(denied) = reaches(authority, &room) {
        return Err(Unseen::Denied { room, denied });
    }
    let participant = livekit.participant(target.room, target.identity, deadline);
    let participant = match participant.await {
        Ok(Some(participant)) => participant,
        Ok(None) => return Err(Unseen::NoParticipant { room }),
        Err(error) => {
            let room = Some(room);
            return Err(Unseen::LiveKit { room, error });
        }
    };
    let sight = Sight {
        room: *room,
        participant,
        looked_at,
    };
    if target.track.is_some_and(|sid| sight.track(sid).is_none()) {
        let room = Box::new(sight.room);
        return Err(Unseen::NoTrack { room });
    }
    Ok(sight)
}
