//! A moderator's mute: looks the track up as it is now, then takes the one path.

use std::time::Duration;

use tokio::time::Instant;

use super::permit::Authority;
use super::run::{Action, MuteError, Muter, TrackState};
use super::sight::{Target, Unseen, look};
use crate::audit::{self, Entry, Origin, Outcome, Verb};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};
use crate::postgres::Pool;

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

/// Mutes or unmutes the track that `asked` names, within `budget`.
pub async fn mute_by_hand(
    muter: &Muter,
    asked: &ManualMute<'_>,
    budget: Duration,
) -> Result<TrackState, ManualMuteError> {
    let arrived = Instant::now();
    let deadline = arrived + budget;
    let target = Target {
        room: asked.room_name,
        identity: asked.identity,
        track: Some(asked.track_sid),
    };
    let sight = match look(&muter.livekit, asked.authority(), &target, deadline).await {
        Ok(sight) => sight,
        Err(Unseen::LiveKit { room, error }) => {
            return Err(failed(muter, asked, room.as_deref(), error).await);
        }
        Err(unseen) => return Err(refused(muter, asked, &unseen).await),
    };
    let Some(track) = sight.track(asked.track_sid) else {
        // What was looked for is there.
        return Err(ManualMuteError::NotFound);
    };
    let action = Action {
        origin: Origin::Manual,
        authority: asked.authority(),
        room: sight.room(),
        identity: asked.identity,
        track,
        looked_at: sight.looked_at(),
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
    pool: &Pool,
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

async fn refused(muter: &Muter, asked: &ManualMute<'_>, unseen: &Unseen) -> ManualMuteError {
    let (entry, error) = (entry(asked, unseen.room()), unseen.to_string());
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
