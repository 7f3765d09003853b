//! A moderator's mute: fetches the track as it is now, then takes the one path.

use std::time::Duration;

use tokio::time::Instant;

use super::refusals::Refusals;
use super::run::{ActionError, ActionRequest, ActionRunner, Cause, Correlation, TrackState};
use super::view::{LookupError, Query, TrackQuery, fetch};
use crate::access::{Authority, Verb};
use crate::audit::{Actor, AuditRow, Entry, HttpRequest, Origin, Outcome};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};
use quell_policy::TenantId;

/// What a moderator's client asks for.
#[derive(Debug, Clone, Copy)]
pub struct ManualMute<'a> {
    /// The caller's id.
    pub caller_id: Option<&'a TenantId>,
    /// The room's name, exactly as given.
    pub room_name: &'a str,
    /// The participant.
    pub identity: &'a str,
    /// The track, or the tracks.
    pub track: TrackQuery<'a>,
    /// What it shall be.
    pub muted: bool,
    /// The HTTP request.
    pub request: &'a HttpRequest,
}

impl ManualMute<'_> {
    fn authority(&self) -> Authority {
        Authority::Caller {
            id: self.caller_id.cloned(),
        }
    }

    fn verb(&self) -> Verb {
        Verb::of_mute(self.muted)
    }

    fn cause(&self, arrived: Instant) -> Cause {
        Cause {
            origin: Origin::Manual,
            correlation: Correlation::Request(self.request.clone()),
            arrived,
        }
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
    Action(ActionError),
}

/// The most tracks of one request. More would take longer than anybody waits, and a hostile publisher decides how many
/// there are.
const TRACKS_MAX: usize = 32;

/// What came of a request.
#[derive(Debug)]
pub struct MutedByHand {
    /// At least one.
    pub done: Vec<TrackDone>,
    /// How many more tracks there are, which were not tried.
    pub left_off: usize,
}

/// A track that was muted or unmuted, and what it is now.
#[derive(Debug)]
pub struct TrackDone {
    /// Its SID.
    pub sid: String,
    /// As LiveKit reports it.
    pub state: TrackState,
}

/// Mutes or unmutes the tracks that `asked` selects, within `budget`; of more than [`TRACKS_MAX`], first those that are
/// not so yet. Where one fails, the others are tried all the same, and the first failure is what is returned.
pub async fn mute_by_hand(
    runner: &ActionRunner,
    refusals: &Refusals,
    asked: &ManualMute<'_>,
    budget: Duration,
) -> Result<MutedByHand, ManualMuteError> {
    let arrived = Instant::now();
    let deadline = arrived + budget;
    let authority = asked.authority();
    let query = Query {
        room: asked.room_name,
        identity: asked.identity,
        track: Some(asked.track),
    };
    let view = match fetch(&runner.livekit, &authority, &query, deadline).await {
        Ok(view) => view,
        Err(LookupError::LiveKit { room, error }) => {
            return Err(failed(refusals, asked, room.as_deref(), error).await);
        }
        Err(missing) => return Err(refused(refusals, asked, &missing).await),
    };
    let (mut done, mut failure) = (Vec::new(), None);
    let cause = asked.cause(arrived);
    let mut tracks: Vec<_> = view.tracks(query.track).collect();
    tracks.sort_by_key(|track| track.muted == asked.muted);
    let left_off = tracks.len().saturating_sub(TRACKS_MAX);
    for track in tracks.into_iter().take(TRACKS_MAX) {
        let request = ActionRequest {
            verb: asked.verb(),
            authority: authority.clone(),
            cause: &cause,
            room: view.room(),
            identity: asked.identity,
            track,
            fetched_at: view.fetched_at(),
            policy: None,
            deadline,
            job: None,
            repeats: None,
        };
        match runner.run(&request).await {
            Ok(state) => done.push(TrackDone {
                sid: track.sid.clone(),
                state,
            }),
            Err(ActionError::Denied(_) | ActionError::Gone) => {}
            Err(
                error @ (ActionError::Superseded
                | ActionError::Busy
                | ActionError::Lost
                | ActionError::Muted
                | ActionError::RemoteUnmuteDisabled
                | ActionError::LiveKit(_)
                | ActionError::Database(_)),
            ) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) => Err(ManualMuteError::Action(error)),
        None if done.is_empty() => Err(ManualMuteError::NotFound),
        None => Ok(MutedByHand { done, left_off }),
    }
}

fn entry(asked: &ManualMute<'_>, room: Option<&LiveRoom>) -> Entry {
    let actor = Actor::of(&asked.authority());
    let cause = asked.cause(Instant::now());
    let (track_sid, source) = match asked.track {
        TrackQuery::Sid(sid) => (Some(sid.to_owned()), None),
        TrackQuery::Source(source) => (None, Some(source.as_str_name().to_owned())),
    };
    Entry {
        tenant: room.and_then(|room| room.tenant.clone()),
        room_name: Some(asked.room_name.to_owned()),
        room_sid: room.map(|room| room.info.sid.clone()),
        identity: Some(asked.identity.to_owned()),
        track_sid,
        source,
        ..cause.entry(actor, asked.verb().into())
    }
}

/// Writes the row of a request that was not tried. LiveKit is asked, within `budget`, for the room's
/// tenant, whose row it is.
pub async fn record_untried(
    refusals: &Refusals,
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
    let row = AuditRow::new(entry(asked, room.as_ref()), outcome, why.to_owned());
    refusals.record(&row).await
}

async fn refused(
    refusals: &Refusals,
    asked: &ManualMute<'_>,
    missing: &LookupError,
) -> ManualMuteError {
    let entry = entry(asked, missing.room());
    let row = AuditRow::new(entry, Outcome::Refused, missing.to_string());
    match refusals.record(&row).await {
        Ok(()) => ManualMuteError::NotFound,
        Err(error) => ManualMuteError::Action(ActionError::Database(error.into())),
    }
}

async fn failed(
    refusals: &Refusals,
    asked: &ManualMute<'_>,
    room: Option<&LiveRoom>,
    error: LiveKitError,
) -> ManualMuteError {
    let row = AuditRow::new(entry(asked, room), Outcome::Failed, error.to_string());
    ManualMuteError::Action(match refusals.record(&row).await {
        Ok(()) => ActionError::LiveKit(error),
        Err(error) => ActionError::Database(error.into()),
    })
}
