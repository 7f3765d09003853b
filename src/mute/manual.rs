//! A moderator's mute: looks the track up as it is now, then takes the one path.

use std::time::Duration;

use livekit_protocol::TrackInfo;
use sqlx::PgPool;
use tokio::time::Instant;

use super::permit::Authority;
use super::run::{Action, MuteError, Muter, TrackState};
use super::sight::{Sight, Unseen, look};
use crate::audit::{self, Entry, Origin, Outcome, Verb};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};

/// LiveKit's API shows a track some 10 to 100 ms after the room has it, which is when a moderator's
/// client can ask. At these times after the first look, all that is not there is looked for again;
/// and all that is not the caller's too, so that it takes as long to be told of neither.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
];

/// What a moderator's client asks for.
#[derive(Debug, Clone, Copy)]
pub struct ManualMute<'a> {
    /// The caller's id.
    pub caller_id: Option<&'a str>,
    /// The room's name, exactly as given.
    pub room_name: &'a str,
    /// The participant.
    pub identity: &'a str,
    /// The track.
    pub track_sid: &'a str,
    /// What it shall be.
    pub muted: bool,
    /// The HTTP request.
    pub request_id: &'a str,
}

impl<'a> ManualMute<'a> {
    fn authority(&self) -> Authority<'a> {
        Authority::Caller { id: self.caller_id }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum ManualMuteError {
    /// Room, participant or track are not there, or not the caller's to act on: never told apart.
    #[error("no such room, participant or track")]
    NotFound,
    /// LiveKit failed, or the action could not be recorded.
    #[error(transparent)]
    Mute(MuteError),
}

/// A track, and where it was found.
struct Found {
    sight: Sight,
    track: TrackInfo,
    looked_at: Instant,
}

/// Why no track was found.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error(transparent)]
    Unseen(#[from] Unseen),
    #[error("the participant has no such track")]
    NoTrack(Box<Sight>),
}

impl NotFound {
    fn room(&self) -> Option<&LiveRoom> {
        match self {
            Self::Unseen(unseen) => unseen.room(),
            Self::NoTrack(sight) => Some(sight.room()),
        }
    }
}

/// Mutes or unmutes the track that `asked` names, within `budget`.
pub async fn mute_by_hand(
    muter: &Muter,
    asked: &ManualMute<'_>,
    budget: Duration,
) -> Result<TrackState, ManualMuteError> {
    let arrived = Instant::now();
    let deadline = arrived + budget;
    let found = match find(&muter.livekit, asked, deadline).await {
        Ok(found) => found,
        Err(NotFound::Unseen(Unseen::LiveKit { room, error })) => {
            return Err(failed(muter, asked, room.as_deref(), error).await);
        }
        Err(missing) => return Err(refused(muter, asked, &missing).await),
    };
    let action = Action {
        origin: Origin::Manual,
        authority: asked.authority(),
        room: found.sight.room(),
        identity: asked.identity,
        track: &found.track,
        looked_at: found.looked_at,
        muted: asked.muted,
        as_of: None,
        policy: None,
        event_id: None,
        request_id: Some(asked.request_id),
        arrived,
        deadline,
    };
    muter.run(&action).await.map_err(|error| match error {
        MuteError::Denied(_) | MuteError::Gone => ManualMuteError::NotFound,
        MuteError::Superseded
        | MuteError::Busy
        | MuteError::RemoteUnmuteDisabled
        | MuteError::LiveKit(_)
        | MuteError::Database(_) => ManualMuteError::Mute(error),
    })
}

async fn find(
    livekit: &LiveKit,
    asked: &ManualMute<'_>,
    deadline: Instant,
) -> Result<Found, NotFound> {
    let begun = Instant::now();
    let mut missing = None;
    loop {
        let looked_at = Instant::now();
        let authority = asked.authority();
        let last = match look(
            livekit,
            authority,
            asked.room_name,
            asked.identity,
            deadline,
        )
        .await
        {
            Ok(sight) => match sight.track(asked.track_sid).cloned() {
                Some(track) => {
                    return Ok(Found {
                        sight,
                        track,
                        looked_at,
                    });
                }
                None => NotFound::NoTrack(Box::new(sight)),
            },
            // It was not there a moment ago: that LiveKit fails since is no better answer.
            Err(failed @ Unseen::LiveKit { .. }) => return Err(missing.unwrap_or(failed.into())),
            Err(unseen) => unseen.into(),
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

fn entry<'a>(asked: &ManualMute<'a>, room: Option<&'a LiveRoom>) -> Entry<'a> {
    Entry {
        actor: asked.caller_id,
        tenant: room.and_then(|room| room.tenant.as_deref()),
        room_name: Some(asked.room_name),
        room_sid: room.map(|room| room.info.sid.as_str()),
        identity: Some(asked.identity),
        track_sid: Some(asked.track_sid),
        request_id: Some(asked.request_id),
        ..Entry::new(Origin::Manual, Verb::of_mute(asked.muted))
    }
}

/// Writes down that `asked` was not even tried. LiveKit is asked, within `budget`, whose the room is:
/// the row is that tenant's.
pub async fn record_untried(
    pool: &PgPool,
    livekit: Option<&LiveKit>,
    asked: &ManualMute<'_>,
    outcome: Outcome,
    why: &str,
    budget: Duration,
) -> Result<(), sqlx::Error> {
    let room = match livekit {
        // A LiveKit that fails changes nothing about the refusal.
        Some(livekit) => livekit
            .room(asked.room_name, Instant::now() + budget)
            .await
            .ok()
            .flatten(),
        None => None,
    };
    audit::record(pool, &entry(asked, room.as_ref()), outcome, Some(why)).await
}

async fn refused(muter: &Muter, asked: &ManualMute<'_>, missing: &NotFound) -> ManualMuteError {
    let (entry, error) = (entry(asked, missing.room()), missing.to_string());
    match muter.record(&entry, Outcome::Refused, &error).await {
        Ok(()) => ManualMuteError::NotFound,
        Err(error) => ManualMuteError::Mute(error.into()),
    }
}

async fn failed(
    muter: &Muter,
    asked: &ManualMute<'_>,
    room: Option<&LiveRoom>,
    error: LiveKitError,
) -> ManualMuteError {
    let recorded = muter
        .record(&entry(asked, room), Outcome::Failed, &error.to_string())
        .await;
    ManualMuteError::Mute(match recorded {
        Ok(()) => MuteError::LiveKit(error),
        Err(error) => error.into(),
    })
}
