//! Fetches a live room on somebody's behalf, after the check that a mute there has to pass.

use std::time::Duration;

use livekit_protocol::{ParticipantInfo, TrackInfo, TrackSource};
use tokio::time::Instant;

use crate::access::{Authority, Denied, reaches};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};

/// LiveKit's API shows a track some 10 to 100 ms after the participants of the room see it. What is not there
/// is fetched again at these times after the first try. So is what the authority does not reach, so
/// that both answers take as long.
const RETRIES_AFTER: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The room's name.
    pub room: &'a str,
    /// The participant.
    pub identity: &'a str,
    /// A track that the participant must have.
    pub track: Option<TrackQuery<'a>>,
}

/// Which tracks of a participant are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackQuery<'a> {
    /// The track of this SID.
    Sid(&'a str),
    /// All of this source.
    Source(TrackSource),
}

impl TrackQuery<'_> {
    fn selects(self, track: &TrackInfo) -> bool {
        match self {
            Self::Sid(sid) => track.sid == sid,
            Self::Source(source) => track.source() == source,
        }
    }
}

/// A room and one of its participants, as LiveKit shows them now, for somebody who may see them.
///
/// Only [`fetch`] makes one, after the check.
#[derive(Debug)]
pub struct AuthorizedView {
    room: LiveRoom,
    participant: ParticipantInfo,
    fetched_at: Instant,
}

/// Why there is no view. The reason is for the audit: the answer is the same for all of them but `LiveKit`.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
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
    /// The participant has no track of that SID or source.
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

impl AuthorizedView {
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

    /// When LiveKit was asked for it.
    #[must_use]
    pub fn fetched_at(&self) -> Instant {
        self.fetched_at
    }

    /// The participant's tracks that `query` selects; without one, all of them.
    pub fn tracks(&self, query: Option<TrackQuery<'_>>) -> impl Iterator<Item = &TrackInfo> {
        let tracks = self.participant.tracks.iter();
        tracks.filter(move |track| query.is_none_or(|query| query.selects(track)))
    }
}

impl LookupError {
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
pub async fn fetch(
    livekit: &LiveKit,
    authority: &Authority,
    query: &Query<'_>,
    deadline: Instant,
) -> Result<AuthorizedView, LookupError> {
    let begun = Instant::now();
    let mut missing = None;
    loop {
        let last = match fetch_once(livekit, authority, query, deadline).await {
            // It was not there a moment ago, which says more than LiveKit's failure since.
            Err(failed @ LookupError::LiveKit { .. }) => return Err(missing.unwrap_or(failed)),
            Err(missing) => missing,
            found @ Ok(_) => return found,
        };
        // LiveKit does not tell when something becomes visible, so it is asked again.
        let mut again = RETRIES_AFTER.iter().map(|pause| begun + *pause);
        match again.find(|at| *at > Instant::now()) {
            Some(at) if at < deadline => tokio::time::sleep_until(at).await,
            _ => return Err(last),
        }
        missing = Some(last);
    }
}

/// Asks for the room first, and for the participant only where the authority reaches the room. (LiveKit can
/// also take 3 s to say that nobody is in a room that is not there.)
async fn fetch_once(
    livekit: &LiveKit,
    authority: &Authority,
    query: &Query<'_>,
    deadline: Instant,
) -> Result<AuthorizedView, LookupError> {
    let fetched_at = Instant::now();
    let room = livekit.room(query.room, deadline).await;
    let room = room.map_err(|error| LookupError::LiveKit { room: None, error })?;
    let room = Box::new(room.ok_or(LookupError::NoRoom)?);
    if let Err(denied) = reaches(authority, room.tenant.as_ref()) {
        return Err(LookupError::Denied { room, denied });
    }
    let participant = livekit.participant(query.room, query.identity, deadline);
    let participant = match participant.await {
        Ok(Some(participant)) => participant,
        Ok(None) => return Err(LookupError::NoParticipant { room }),
        Err(error) => {
            let room = Some(room);
            return Err(LookupError::LiveKit { room, error });
        }
    };
    let view = AuthorizedView {
        room: *room,
        participant,
        fetched_at,
    };
    if query.track.is_some() && view.tracks(query.track).next().is_none() {
        let room = Box::new(view.room);
        return Err(LookupError::NoTrack { room });
    }
    Ok(view)
}
