//! THE path: authorize -> intent -> LiveKit -> outcome, for people and policies alike.

use livekit_protocol::TrackInfo;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access::{Authority, Denied, Target, Verb, authorize};
use crate::audit::{
    self, Action, Actor, AuditRow, Entry, HttpRequest, Origin, Outcome, PolicyRevision,
};
use crate::fail_point::{self, FailPoint};
use crate::ledger::{
    ActionKey, Begun, Completion, End, Intent, JobLease, Ledger, Proposal, SETTLE_MARGIN,
    Unfinished, WriteError,
};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom, MutedTrack};
use crate::metrics::{Metrics, Step};
use crate::postgres::Pool;
use crate::traces;

/// What the action path needs; cheap to clone.
#[derive(Debug, Clone)]
pub struct ActionRunner {
    /// LiveKit.
    pub livekit: LiveKit,
    /// The database.
    pub pool: Pool,
    /// What writes intents and outcomes.
    pub ledger: Ledger,
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
    /// What a sweep saw of a track and decided on it, which is stored under this id.
    Sweep(String),
    /// A request that somebody sent.
    Request(HttpRequest),
}

impl Correlation {
    /// The id of the event or of a sweep's decision, and the request: one of them, as in the audit.
    #[must_use]
    pub fn parts(&self) -> (Option<&str>, Option<&HttpRequest>) {
        match self {
            Self::Event(id) | Self::Sweep(id) => (Some(id), None),
            Self::Request(request) => (None, Some(request)),
        }
    }
}

impl Cause {
    /// An entry of the audit log that says what is requested for this cause, and nothing else yet.
    #[must_use]
    pub fn entry(&self, actor: Actor, action: Action) -> Entry {
        let (event_id, request) = self.correlation.parts();
        Entry {
            event_id: event_id.map(str::to_owned),
            request: request.cloned(),
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
    /// The job that it is for.
    pub job: Option<&'a JobLease>,
    /// The same action, where it failed before and that is written.
    pub repeats: Option<ActionKey>,
}

/// What came of an action, and what is to be written of it.
#[derive(Debug)]
pub(crate) struct Acted {
    pub(crate) result: Result<TrackState, ActionError>,
    /// None where nothing was begun.
    pub(crate) end: Option<(Unfinished, Completion)>,
    /// The row of what was not begun.
    pub(crate) row: Option<AuditRow>,
}

/// Why nothing was begun, and the row for it.
struct NotBegun {
    error: ActionError,
    row: Option<AuditRow>,
}

impl NotBegun {
    fn new(error: ActionError, entry: Entry, outcome: Outcome) -> Self {
        let row = AuditRow::new(entry, outcome, error.to_string());
        Self {
            error,
            row: Some(row),
        }
    }
}

impl From<ActionError> for NotBegun {
    fn from(error: ActionError) -> Self {
        Self { error, row: None }
    }
}

impl From<WriteError> for NotBegun {
    fn from(error: WriteError) -> Self {
        ActionError::from(error).into()
    }
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
    /// Another replica has the job by now, or it is over.
    #[error("the job is another replica's by now")]
    Lost,
    /// Another has muted the track since LiveKit was asked for it: there is nothing left to do.
    #[error("the track was muted meanwhile")]
    Muted,
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
    Database(#[from] WriteError),
}

impl ActionRunner {
    /// Carries out `request`, if its authority reaches the room and no newer unmute of a person stands
    /// against it. It returns when the outcome is written.
    pub async fn run(&self, request: &ActionRequest<'_>) -> Result<TrackState, ActionError> {
        let acted = self.act(request).await;
        if let Some(end) = acted.end {
            self.finish(end).await;
        }
        if let Some(row) = acted.row {
            self.record(&row).await?;
        }
        acted.result
    }

    /// The same, but for the outcome and the row of what was not begun, which are the caller's to write.
    pub(crate) async fn act(&self, request: &ActionRequest<'_>) -> Acted {
        let intent = match self.begin(request).instrument(traces::intent()).await {
            Ok(intent) => intent,
            Err(NotBegun { error, row }) => {
                return Acted {
                    result: Err(error),
                    end: None,
                    row,
                };
            }
        };
        fail_point::reach(FailPoint::Intent);
        let called_at = Instant::now();
        let (unfinished, called) = self.livekit.execute(intent, request.deadline).await;
        fail_point::reach(FailPoint::Call);
        self.metrics.observe(Step::Call, called_at.elapsed());
        let latency = request.cause.arrived.elapsed();
        if request.cause.origin == Origin::Webhook {
            self.metrics.observe(Step::WebhookToMute, latency);
        }
        let result = result_of(called, request.verb);
        let outcome = outcome_of(&result);
        let completion = Completion {
            outcome,
            error: result.as_ref().err().map(ToString::to_string),
            muted: result.as_ref().ok().map(|state| state.muted),
            latency,
            may_stand: matches!(outcome, Outcome::Done | Outcome::Unknown),
        };
        Acted {
            result,
            end: Some((unfinished, completion)),
            row: None,
        }
    }

    /// Writes an outcome. Where that takes longer than [`SETTLE_MARGIN`], the caller gets LiveKit's answer, and
    /// the log what is missing: the intent is closed as `unknown` then.
    pub(crate) async fn finish(&self, end: (Unfinished, Completion)) {
        let begun = Instant::now();
        let action_id = end.0.intent().action_id;
        let end = End {
            action: Some(end),
            job: None,
        };
        let ending = self
            .ledger
            .end(end)
            .instrument(traces::outcome(Some(action_id)));
        match tokio::time::timeout(SETTLE_MARGIN, ending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, %action_id, "the outcome of an action could not be written");
            }
            Err(_) => {
                tracing::error!(%action_id, "the outcome of an action could not be written in time");
            }
        }
        self.metrics.observe(Step::Outcome, begun.elapsed());
    }

    /// Authorizes the action and writes its intent, once the action before it on the same source is over.
    async fn begin(&self, request: &ActionRequest<'_>) -> Result<Intent, NotBegun> {
        let started = Instant::now();
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
            Err(denied) => return Err(NotBegun::new(denied.into(), entry, Outcome::Refused)),
        };
        let proposal = Proposal {
            permit,
            entry,
            fetched_at: request.fetched_at,
            job: request.job.cloned(),
            repeats: request.repeats,
        };
        match self.ledger.begin(proposal, request.deadline).await? {
            Begun::Intent(intent) => {
                self.metrics.observe(Step::Intent, started.elapsed());
                Ok(intent)
            }
            // It is tried again, and what comes of that is a row.
            Begun::Busy(_) if request.policy.is_some() => Err(ActionError::Busy.into()),
            Begun::Lost(_) => Err(ActionError::Lost.into()),
            Begun::Muted(_) => Err(ActionError::Muted.into()),
            Begun::Busy(proposal) => Err(NotBegun::new(
                ActionError::Busy,
                proposal.entry,
                Outcome::Failed,
            )),
            Begun::Superseded(proposal) => Err(NotBegun::new(
                ActionError::Superseded,
                proposal.entry,
                Outcome::Superseded,
            )),
        }
    }

    async fn record(&self, row: &AuditRow) -> Result<(), WriteError> {
        let error = row.error.as_deref();
        Ok(audit::record(&self.pool, &row.entry, row.outcome, error).await?)
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
        Err(ActionError::LiveKit(error)) if error.may_have_happened() => Outcome::Unknown,
        Err(
            ActionError::Busy
            | ActionError::Lost
            | ActionError::Muted
            | ActionError::RemoteUnmuteDisabled
            | ActionError::LiveKit(_)
            | ActionError::Database(_),
        ) => Outcome::Failed,
    }
}
