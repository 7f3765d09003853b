//! THE path: authorize -> intent -> LiveKit -> outcome, for people and policies alike.

use std::time::Duration;

use livekit_protocol::TrackInfo;
use tokio::time::Instant;

use crate::access::{Authority, Denied, Target, Verb, authorize};
use crate::audit::{
    self, Action, Actor, Begun, Completion, Entry, Intent, Origin, Outcome, PolicyRevision,
    Proposal, SETTLE_MARGIN,
};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom, MutedTrack};
use crate::metrics::{Metrics, Step};
use crate::postgres::Pool;

/// The pause before an action that was `Busy` is begun again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What the action path needs; cheap to clone.
#[derive(Debug, Clone)]
pub struct ActionRunner {
    /// LiveKit.
    pub livekit: LiveKit,
    /// The database.
    pub pool: Pool,
    /// Where the time goes.
    pub metrics: Metrics,
}

/// Why an action, or a decision, is made.
#[derive(Debug, Clone)]
pub struct Cause {
    /// Where it comes from.
    pub origin: Origin,
    /// What it answers to.
    pub correlation: Correlation,
    /// When the request or the event arrived here: where the audit's latency counts from.
    pub arrived: Instant,
}

/// What an action answers to.
#[derive(Debug, Clone)]
pub enum Correlation {
    /// The webhook event of this id.
    Event(String),
    /// The HTTP request of this id.
    Request(String),
}

impl Cause {
    /// An entry of the audit log that says what is requested for this cause, and nothing else yet.
    #[must_use]
    pub fn entry(&self, actor: Actor, action: Action) -> Entry {
        let (event_id, request_id) = match self.correlation.clone() {
            Correlation::Event(id) => (Some(id), None),
            Correlation::Request(id) => (None, Some(id)),
        };
        Entry {
            event_id,
            request_id,
            ..Entry::new(self.origin, actor, action)
        }
    }
}

/// One action that someone wants on a track.
#[derive(Debug, Clone)]
pub struct ActionRequest<'a> {
    /// What is to be done.
    pub verb: Verb,
    /// On whose authority.
    pub authority: Authority,
    /// Why.
    pub cause: &'a Cause,
    /// The room, as LiveKit lists it now.
    pub room: &'a LiveRoom,
    /// The participant.
    pub identity: &'a str,
    /// The track, as LiveKit shows it now.
    pub track: &'a TrackInfo,
    /// When LiveKit was asked for it.
    pub fetched_at: Instant,
    /// The policy that wants it.
    pub policy: Option<PolicyRevision>,
    /// Until when LiveKit is waited for.
    pub deadline: Instant,
}

/// The track after the action, as LiveKit reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackState {
    /// Whether it is muted.
    pub muted: bool,
}

/// Why the track is not as it was requested.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
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

impl ActionRunner {
    /// Carries out `request`, if its authority reaches the room and no newer unmute of a person stands
    /// against it.
    pub async fn run(&self, request: &ActionRequest<'_>) -> Result<TrackState, ActionError> {
        let entry = entry(request);
        let target = Target {
            room_name: &request.room.info.name,
            room_sid: &request.room.info.sid,
            tenant: request.room.tenant.as_ref(),
            identity: request.identity,
            track_sid: &request.track.sid,
            source: request.track.source().as_str_name(),
        };
        let permit = match authorize(request.verb, &request.authority, &target) {
            Ok(permit) => permit,
            Err(denied) => {
                self.record(&entry, Outcome::Refused, &denied.to_string())
                    .await?;
                return Err(denied.into());
            }
        };
        let proposal = Proposal {
            permit,
            entry,
            fetched_at: request.fetched_at,
        };
        let intent = self.begin(proposal, request.deadline).await?;
        let called_at = Instant::now();
        let (unfinished, called) = self.livekit.execute(intent, request.deadline).await;
        self.metrics.observe(Step::Call, called_at.elapsed());
        let latency = request.cause.arrived.elapsed();
        if request.cause.origin == Origin::Webhook {
            self.metrics.observe(Step::WebhookToMute, latency);
        }
        let result = result_of(called, request.verb);
        let end = Completion {
            outcome: outcome_of(&result),
            error: result.as_ref().err().map(ToString::to_string),
            muted: result.as_ref().ok().map(|state| state.muted),
            latency,
            may_stand: may_stand(&result),
        };
        let finished_at = Instant::now();
        audit::finish(&self.pool, unfinished, end).await;
        self.metrics.observe(Step::Outcome, finished_at.elapsed());
        result
    }

    /// Writes the intent, once the action before it on the same source is over.
    async fn begin(&self, proposal: Proposal, deadline: Instant) -> Result<Intent, ActionError> {
        let started = Instant::now();
        let mut proposal = proposal;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let hold = left.saturating_add(SETTLE_MARGIN);
            let (refused, outcome, error) = match audit::begin(&self.pool, proposal, hold).await? {
                Begun::Intent(intent) => {
                    self.metrics.observe(Step::Intent, started.elapsed());
                    return Ok(intent);
                }
                Begun::Busy(again) if left > BUSY_PAUSE => {
                    proposal = again;
                    // The other action may be another replica's, so nothing tells when it ends.
                    tokio::time::sleep(BUSY_PAUSE).await;
                    continue;
                }
                Begun::Busy(refused) => (refused, Outcome::Failed, ActionError::Busy),
                Begun::Superseded(refused) => {
                    (refused, Outcome::Superseded, ActionError::Superseded)
                }
            };
            self.record(&refused.entry, outcome, &error.to_string())
                .await?;
            return Err(error);
        }
    }

    pub(super) async fn record(
        &self,
        entry: &Entry,
        outcome: Outcome,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        audit::record(&self.pool, entry, outcome, Some(error)).await
    }
}

fn entry(request: &ActionRequest<'_>) -> Entry {
    let actor = Actor::of(&request.authority);
    Entry {
        tenant: request.room.tenant.clone(),
        room_name: Some(request.room.info.name.clone()),
        room_sid: Some(request.room.info.sid.clone()),
        identity: Some(request.identity.to_owned()),
        track_sid: Some(request.track.sid.clone()),
        source: Some(request.track.source().as_str_name().to_owned()),
        policy: request.policy.clone(),
        before: Some(serde_json::json!({ "muted": request.track.muted })),
        ..request.cause.entry(actor, request.verb.into())
    }
}

fn result_of(
    called: Result<MutedTrack, LiveKitError>,
    verb: Verb,
) -> Result<TrackState, ActionError> {
    match called {
        Ok(MutedTrack::Is { muted }) => Ok(TrackState { muted }),
        Ok(MutedTrack::Gone) => Err(ActionError::Gone),
        Err(error) if verb == Verb::Unmute && error.is_remote_unmute_disabled() => {
            Err(ActionError::RemoteUnmuteDisabled)
        }
        Err(error) => Err(ActionError::LiveKit(error)),
    }
}

fn outcome_of(result: &Result<TrackState, ActionError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Done,
        Err(ActionError::Gone) => Outcome::Gone,
        Err(ActionError::Denied(_)) => Outcome::Refused,
        Err(ActionError::Superseded) => Outcome::Superseded,
        Err(
            ActionError::Busy
            | ActionError::RemoteUnmuteDisabled
            | ActionError::LiveKit(_)
            | ActionError::Database(_),
        ) => Outcome::Failed,
    }
}

/// Whether what was asked for was done, or may have been although no answer came.
fn may_stand(result: &Result<TrackState, ActionError>) -> bool {
    match result {
        Ok(_) => true,
        Err(ActionError::LiveKit(error)) => error.may_have_happened(),
        Err(
            ActionError::Denied(_)
            | ActionError::Superseded
            | ActionError::Busy
            | ActionError::Gone
            | ActionError::RemoteUnmuteDisabled
            | ActionError::Database(_),
        ) => false,
    }
}
