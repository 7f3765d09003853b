//! A moderator's mute: looks the track up as it is now, then takes the one path.

use std::time::Duration;

use livekit_protocol::{ParticipantInfo, TrackInfo};
use sqlx::PgPool;
use tokio::time::Instant;

use super::permit::Authority;
use super::run::{Action, MuteError, Muter, TrackState};
use crate::audit::{self, Entry, Origin, Outcome, Verb};
use crate::livekit::{LiveKitError, LiveRoom};

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

enum Missing {
    Room,
    Participant,
    Track,
}

/// Mutes or unmutes the track that `asked` names, within `budget`.
pub async fn mute_by_hand(
    muter: &Muter,
    asked: &ManualMute<'_>,
    budget: Duration,
) -> Result<TrackState, ManualMuteError> {
    let arrived = Instant::now();
    let deadline = arrived + budget;
    // LiveKit takes 3 s to say that somebody is gone when asked to mute, and 4 ms when asked to
    // look: so look first, at both at once.
    let (room, participant) = tokio::join!(
        muter.livekit.room(asked.room_name, deadline),
        muter
            .livekit
            .participant(asked.room_name, asked.identity, deadline),
    );
    let (room, participant) = match (room, participant) {
        (Ok(room), Ok(participant)) => (room, participant),
        (Err(error), _) => return Err(failed(muter, asked, None, error).await),
        (Ok(room), Err(error)) => return Err(failed(muter, asked, room.as_ref(), error).await),
    };
    let (room, track) = match find(room.as_ref(), participant.as_ref(), asked.track_sid) {
        Ok(found) => found,
        Err(missing) => {
            return Err(refused(muter, asked, room.as_ref(), &missing).await);
        }
    };
    let action = Action {
        origin: Origin::Manual,
        authority: Authority::Caller {
            id: asked.caller_id,
        },
        room,
        identity: asked.identity,
        track,
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

fn find<'a>(
    room: Option<&'a LiveRoom>,
    participant: Option<&'a ParticipantInfo>,
    track_sid: &str,
) -> Result<(&'a LiveRoom, &'a TrackInfo), Missing> {
    let room = room.ok_or(Missing::Room)?;
    let participant = participant.ok_or(Missing::Participant)?;
    let track = participant
        .tracks
        .iter()
        .find(|track| track.sid == track_sid)
        .ok_or(Missing::Track)?;
    Ok((room, track))
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

/// Writes down that `asked` was not even tried.
pub async fn record_untried(
    pool: &PgPool,
    asked: &ManualMute<'_>,
    outcome: Outcome,
    why: &str,
) -> Result<(), sqlx::Error> {
    audit::record(pool, &entry(asked, None), outcome, Some(why)).await
}

async fn refused(
    muter: &Muter,
    asked: &ManualMute<'_>,
    room: Option<&LiveRoom>,
    missing: &Missing,
) -> ManualMuteError {
    let error = match missing {
        Missing::Room => "no such room",
        Missing::Participant => "no such participant in the room",
        Missing::Track => "the participant has no such track",
    };
    match muter
        .record(&entry(asked, room), Outcome::Refused, error)
        .await
    {
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
