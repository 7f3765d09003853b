//! What comes of a track.

use std::sync::Arc;

use quell_policy::{Decision, Facts, PolicyRef};
use uuid::Uuid;

use crate::action::{Acted, ActionError};
use crate::audit::{AuditRow, Outcome};
use crate::ledger::{ActionKey, Completion, Unfinished};
use crate::livekit::event::Event;
use crate::livekit::facts::facts_from_event;

/// What came of a track, and what was known when it did.
#[derive(Debug)]
pub struct Handled {
    /// What was known.
    pub facts: Facts,
    /// What was decided last; none where nothing was.
    pub decision: Option<Decision>,
    /// What came of it.
    pub result: TrackResult,
    /// What is to be written of the action for a job, with the job's end.
    pub(crate) action: Option<(Unfinished, Completion)>,
    /// The row of an action that was not begun.
    pub(crate) row: Option<AuditRow>,
    /// The action that was begun, and what came of it.
    pub(crate) begun: Option<(ActionKey, Outcome)>,
}

/// What came of a track.
#[derive(Debug)]
pub enum TrackResult {
    /// A policy muted it.
    Muted(Arc<PolicyRef>),
    /// No policy wants it muted.
    Nothing,
    /// A policy wants it muted whose owner may not act in the room.
    Refused(String),
    /// The room of that name is another one now.
    Stale,
    /// LiveKit says that it has no such track.
    Gone,
    /// LiveKit does not show the track: not yet, or not any more. To be asked for again.
    NotShown,
    /// Another action on the same source is under way. To be tried again soon.
    Busy,
    /// The job is another replica's by now.
    Lost,
    /// A person decided meanwhile.
    Superseded,
    /// It cannot be decided with these facts, however often it is tried: why.
    Undecided(String),
    /// Not now: why. To be tried again.
    Retry(String),
}

impl Handled {
    /// The id of the action that was begun, in the audit.
    pub(crate) fn action_id(&self) -> Option<Uuid> {
        self.begun.as_ref().map(|(action, _)| action.action_id)
    }

    /// What is known of an event alone, on which nobody worked to the end.
    #[must_use]
    pub fn untried(event: &Event, why: &str) -> Self {
        Self {
            facts: facts_from_event(event),
            decision: None,
            result: TrackResult::Retry(why.to_owned()),
            action: None,
            row: None,
            begun: None,
        }
    }

    /// Whether LiveKit was asked to act, and nobody knows whether it did.
    pub(crate) fn may_have_acted(&self) -> bool {
        self.begun
            .is_some_and(|(_, outcome)| outcome == Outcome::Unknown)
    }

    /// Whether a mute is what was decided: one that cannot be done is then a failure, and else nothing is
    /// decided yet.
    #[must_use]
    pub fn is_mute_decided(&self) -> bool {
        let decision = self.decision.as_ref();
        decision.is_some_and(|decision| decision.enforced.mute().is_some())
    }
}

/// What failed again, or may have, has its row under the action that failed first.
pub(super) fn begun(unfinished: &Unfinished, completion: &Completion) -> (ActionKey, Outcome) {
    let is_open = matches!(completion.outcome, Outcome::Failed | Outcome::Unknown);
    let key = if is_open {
        unfinished.intent()
    } else {
        unfinished.action()
    };
    (key, completion.outcome)
}

pub(super) fn handled(facts: Facts, decision: Option<Decision>, result: TrackResult) -> Handled {
    Handled {
        facts,
        decision,
        result,
        action: None,
        row: None,
        begun: None,
    }
}

pub(super) fn result_of(acted: &Acted, policy: &Arc<PolicyRef>) -> TrackResult {
    match &acted.result {
        Ok(state) if state.muted => TrackResult::Muted(Arc::clone(policy)),
        Err(ActionError::Muted) => TrackResult::Muted(Arc::clone(policy)),
        Ok(_) => TrackResult::Retry("LiveKit answered that the track is not muted".to_owned()),
        Err(ActionError::Denied(denied)) => TrackResult::Refused(denied.to_string()),
        Err(ActionError::Superseded) => TrackResult::Superseded,
        Err(ActionError::Gone) => TrackResult::Gone,
        Err(ActionError::Busy) => TrackResult::Busy,
        Err(ActionError::Lost) => TrackResult::Lost,
        Err(
            error @ (ActionError::RemoteUnmuteDisabled
            | ActionError::LiveKit(_)
            | ActionError::Database(_)),
        ) => TrackResult::Retry(error.to_string()),
    }
}
