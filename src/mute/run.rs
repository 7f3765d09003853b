//! THE path: authorize -> intent -> LiveKit -> outcome, for people and policies alike.

use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_protocol::TrackInfo;
use tokio::time::Instant;
use uuid::Uuid;

use super::lease::{self, Begin, Begun, End, Key};
use super::permit::{self, Authority, Denied};
use crate::audit::{self, Entry, Origin, Outcome, PolicyId, Verb};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom, MutedTrack};
use crate::metrics::{Metrics, Step};
use crate::postgres::Pool;

/// What is left after LiveKit's time is up, to write the outcome down.
const SETTLE_MARGIN: Duration = Duration::from_secs(5);
/// How long an action waits before it looks again whether the one before it is over.
const BUSY_WAIT: Duration = Duration::from_millis(10);
/// An outcome is tried to be written for about as long as the intent may stay open; then somebody
/// else closes it as `unknown`.
const OUTCOME_AGAIN: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What the mute path needs.
#[derive(Debug, Clone)]
pub struct Muter {
    /// LiveKit.
    pub livekit: LiveKit,
    /// The database.
    pub pool: Pool,
    /// Where the time goes.
    pub metrics: Metrics,
}

/// One mute or unmute that someone wants.
#[derive(Debug, Clone)]
pub struct Action<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// On whose word.
    pub authority: Authority<'a>,
    /// The room, as LiveKit lists it now.
    pub room: &'a LiveRoom,
    /// The participant.
    pub identity: &'a str,
    /// The track, as LiveKit knows it now.
    pub track: &'a TrackInfo,
    /// When LiveKit was asked for it.
    pub looked_at: Instant,
    /// What it shall be.
    pub muted: bool,
    /// When, by Postgres's clock, the event came in that this answers to; none for a person's own
    /// action. An action gives way to a person's newer one.
    pub as_of: Option<DateTime<Utc>>,
    /// The policy that wants it.
    pub policy: Option<PolicyId<'a>>,
    /// The event that it answers to.
    pub event_id: Option<&'a str>,
    /// The request that asked for it.
    pub request_id: Option<&'a str>,
    /// When the request or the event arrived here: where the audit's latency counts from.
    pub arrived: Instant,
    /// Until when LiveKit is waited for.
    pub deadline: Instant,
}

/// The track after the action, as LiveKit reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackState {
    /// Whether it is muted.
    pub muted: bool,
}

/// Why the track is not as it was wanted.
#[derive(Debug, thiserror::Error)]
pub enum MuteError {
    /// Not allowed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A person decided there meanwhile.
    #[error("a person decided on this track meanwhile")]
    Superseded,
    /// Another action on the same source took too long.
    #[error("another action on this track is still under way")]
    Busy,
    /// LiveKit knows no such track (any more).
    #[error("LiveKit has no such track any more")]
    Gone,
    /// LiveKit's settings forbid unmuting from the server.
    #[error(
        "LiveKit does not allow unmuting from the server: set room.enable_remote_unmute to true in its settings"
    )]
    RemoteUnmuteDisabled,
    /// LiveKit failed.
    #[error(transparent)]
    LiveKit(LiveKitError),
    /// The intent could not be written, so nothing was done.
    #[error("the action could not be recorded, so it was not done: {0}")]
    Database(#[from] sqlx::Error),
}

impl Muter {
    /// Carries out `action`, if its authority reaches the room and nothing newer stands against it.
    pub async fn run(&self, action: &Action<'_>) -> Result<TrackState, MuteError> {
        let entry = entry(action);
        let permit =
            match permit::authorize(action.authority, action.room, action.identity, action.track) {
                Ok(permit) => permit,
                Err(denied) => {
                    self.record(&entry, Outcome::Refused, &denied.to_string())
                        .await?;
                    return Err(denied.into());
                }
            };
        let begun = self.begin(action, &entry).await?;
        let call = Instant::now();
        let called = self
            .livekit
            .mute(permit, action.muted, action.deadline)
            .await;
        self.metrics.observe(Step::Call, call.elapsed());
        if action.origin == Origin::Webhook {
            self.metrics
                .observe(Step::WebhookToMute, action.arrived.elapsed());
        }
        let result = result_of(called, action.muted);
        let end = End {
            outcome: outcome_of(&result),
            error: None,
            muted: result.as_ref().ok().map(|state| state.muted),
            latency: action.arrived.elapsed(),
            may_stand: may_stand(&result),
        };
        let error = result.as_ref().err().map(ToString::to_string);
        let end = End {
            error: error.as_deref(),
            ..end
        };
        self.finish(&entry, &begun, &end).await;
        result
    }

    /// Writes the intent, once the action before it on the same source is over.
    async fn begin(&self, action: &Action<'_>, entry: &Entry<'_>) -> Result<Begun, MuteError> {
        let key = Key {
            room_sid: &action.room.info.sid,
            identity: action.identity,
            source: action.track.source().as_str_name(),
            track_sid: &action.track.sid,
        };
        let begun = Instant::now();
        loop {
            let left = action.deadline.saturating_duration_since(Instant::now());
            let hold = left.saturating_add(SETTLE_MARGIN);
            let looked = action.looked_at.elapsed();
            let beginning = lease::begin(&self.pool, entry, &key, action.as_of, looked, hold);
            match beginning.await? {
                Begin::Begun(intent) => {
                    self.metrics.observe(Step::Intent, begun.elapsed());
                    return Ok(intent);
                }
                Begin::Superseded => {
                    self.record(
                        entry,
                        Outcome::Superseded,
                        &MuteError::Superseded.to_string(),
                    )
                    .await?;
                    return Err(MuteError::Superseded);
                }
                Begin::Busy if left > BUSY_WAIT => {
                    // The other action may be another replica's: there is nothing to be woken by.
                    tokio::time::sleep(BUSY_WAIT).await;
                }
                Begin::Busy => {
                    self.record(entry, Outcome::Failed, &MuteError::Busy.to_string())
                        .await?;
                    return Err(MuteError::Busy);
                }
            }
        }
    }

    async fn finish(&self, entry: &Entry<'_>, begun: &Begun, end: &End<'_>) {
        let started = Instant::now();
        let writing = async {
            let mut pauses = OUTCOME_AGAIN.iter();
            while let Err(error) = lease::finish(&self.pool, entry, begun, end).await {
                // LiveKit has answered: the caller gets that answer, and the log what is missing.
                tracing::error!(
                    action_id = %entry.action_id, %error,
                    "the outcome of an action could not be written",
                );
                let Some(pause) = pauses.next() else { break };
                tokio::time::sleep(*pause).await;
            }
        };
        // All tries together: later the intent is anybody's to close, and the caller is waiting.
        if tokio::time::timeout(SETTLE_MARGIN, writing).await.is_err() {
            tracing::error!(
                action_id = %entry.action_id,
                "the outcome of an action could not be written in time",
            );
        }
        self.metrics.observe(Step::Outcome, started.elapsed());
    }

    pub(super) async fn record(
        &self,
        entry: &Entry<'_>,
        outcome: Outcome,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        audit::record(&self.pool, entry, outcome, Some(error)).await
    }
}

fn entry<'a>(action: &Action<'a>) -> Entry<'a> {
    let actor = match action.authority {
        Authority::Caller { id } => id,
        Authority::PolicyOwner { .. } => None,
    };
    Entry {
        action_id: Uuid::now_v7(),
        actor,
        tenant: action.room.tenant.as_deref(),
        room_name: Some(&action.room.info.name),
        room_sid: Some(&action.room.info.sid),
        identity: Some(action.identity),
        track_sid: Some(&action.track.sid),
        source: Some(action.track.source().as_str_name()),
        policy: action.policy,
        event_id: action.event_id,
        request_id: action.request_id,
        before: Some(serde_json::json!({ "muted": action.track.muted })),
        ..Entry::new(action.origin, Verb::of_mute(action.muted))
    }
}

fn result_of(
    called: Result<MutedTrack, LiveKitError>,
    muted: bool,
) -> Result<TrackState, MuteError> {
    match called {
        Ok(MutedTrack::Is { muted }) => Ok(TrackState { muted }),
        Ok(MutedTrack::Gone) => Err(MuteError::Gone),
        Err(error) if !muted && error.is_remote_unmute_disabled() => {
            Err(MuteError::RemoteUnmuteDisabled)
        }
        Err(error) => Err(MuteError::LiveKit(error)),
    }
}

fn outcome_of(result: &Result<TrackState, MuteError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(MuteError::Gone) => Outcome::Gone,
        Err(MuteError::Denied(_)) => Outcome::Refused,
        Err(MuteError::Superseded) => Outcome::Superseded,
        Err(
            MuteError::Busy
            | MuteError::RemoteUnmuteDisabled
            | MuteError::LiveKit(_)
            | MuteError::Database(_),
        ) => Outcome::Failed,
    }
}

/// Whether what was asked for was done, or may have been although no answer came.
fn may_stand(result: &Result<TrackState, MuteError>) -> bool {
    match result {
        Ok(_) => true,
        Err(MuteError::LiveKit(error)) => error.may_have_happened(),
        Err(
            MuteError::Denied(_)
            | MuteError::Superseded
            | MuteError::Busy
            | MuteError::Gone
            | MuteError::RemoteUnmuteDisabled
            | MuteError::Database(_),
        ) => false,
    }
}
