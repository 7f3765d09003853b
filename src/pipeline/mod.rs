//! One way for every track that is seen, whoever saw it: facts -> decide -> act -> result.
//!
//! ```text
//! Seen (room, participant, track), as of a time + Cause (origin, correlation)
//!     -> facts -> decide -> action::run -> Handled (facts, decision, result)
//! ```
//!
//! The inbox's worker maps the result to a settlement. Explanations make the same facts
//! (`livekit::facts`) and stop before the act.

mod fetch;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo};
use quell_clock::Clock;
use quell_policy::{Decision, Facts, PolicyRef, PolicySet, Verdict, decide};
use tokio::time::Instant;

use crate::access::{Authority, Verb};
use crate::action::{ActionError, ActionRequest, ActionRunner, Cause};
use crate::livekit::LiveRoom;
use crate::livekit::event::Event;
use crate::livekit::facts::{facts_from_event, facts_from_live};
use crate::metrics::{Metrics, Step};
use crate::policy_store::Policies;
use fetch::{Fetched, fetch};
pub use rows::AuditRow;

/// What the pipeline works with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The action path; none where LiveKit is not configured.
    pub runner: Option<ActionRunner>,
    /// The policies in force.
    pub policies: Policies,
    /// What time it is, for the policies.
    pub clock: Clock,
    /// Where the time goes.
    pub metrics: Metrics,
    /// How long one track may wait for LiveKit.
    pub livekit_timeout: Duration,
}

/// A track that was seen.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A webhook told of it: LiveKit is asked for what it is now.
    Told(&'a Event),
    /// LiveKit shows it.
    Live(Box<LiveTrack>),
}

/// A track as LiveKit shows it now.
#[derive(Debug)]
pub struct LiveTrack {
    /// The room.
    pub room: LiveRoom,
    /// The participant that publishes it.
    pub participant: ParticipantInfo,
    /// The track.
    pub track: TrackInfo,
    /// When LiveKit was asked for it.
    pub fetched_at: Instant,
}

/// What came of a track, and what was known when it did.
#[derive(Debug)]
pub struct Handled {
    /// What was known.
    pub facts: Facts,
    /// What was decided last; none where nothing was.
    pub decision: Option<Decision>,
    /// What came of it.
    pub result: TrackResult,
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
    /// LiveKit does not show the track (any more).
    Gone,
    /// A person decided meanwhile.
    Superseded,
    /// Not now: why. To be tried again.
    Retry(String),
}

impl Handled {
    /// What is known of an event alone, on which nobody worked to the end.
    #[must_use]
    pub fn untried(event: &Event, why: &str) -> Self {
        Self {
            facts: facts_from_event(event),
            decision: None,
            result: TrackResult::Retry(why.to_owned()),
        }
    }

    /// Whether a mute is what was decided: one that cannot be done is then a failure, and else nothing is
    /// decided yet.
    #[must_use]
    pub fn is_mute_decided(&self) -> bool {
        let decision = self.decision.as_ref();
        decision.is_some_and(|decision| decision.enforced.mute().is_some())
    }
}

impl Pipeline {
    /// Decides on a track by what is in force, and does what is decided. It is known of since `as_of`, by
    /// Postgres's clock: a person's newer unmute stands.
    pub async fn run(&self, seen: Seen<'_>, as_of: DateTime<Utc>, cause: &Cause) -> Handled {
        match seen {
            Seen::Told(event) => self.run_told(event, as_of, cause).await,
            Seen::Live(live) => {
                let facts = facts_from_live(&live.room, &live.participant, &live.track, as_of);
                let deadline = Instant::now() + self.livekit_timeout;
                self.run_live(&live, facts, as_of, cause, deadline).await
            }
        }
    }

    async fn run_told(&self, event: &Event, as_of: DateTime<Utc>, cause: &Cause) -> Handled {
        let mut facts = facts_from_event(event);
        let mut decision = None;
        let policies = self.policies.snapshot();
        if !policies.any_tenant_live() {
            // Operators' policies alone may be decided by the event itself.
            let decided = self.decide(&policies, &facts);
            let nothing = is_nothing(&decided);
            decision = Some(decided);
            if nothing {
                return handled(facts, decision, TrackResult::Nothing);
            }
        }
        let Some(runner) = &self.runner else {
            return handled(facts, decision, not_configured());
        };
        let deadline = Instant::now() + self.livekit_timeout;
        let begun = Instant::now();
        let fetched = fetch(&runner.livekit, event, &mut facts, deadline).await;
        self.metrics.observe(Step::Facts, begun.elapsed());
        match fetched {
            Fetched::Live(live) => self.run_live(&live, facts, as_of, cause, deadline).await,
            Fetched::Stale => handled(facts, decision, TrackResult::Stale),
            Fetched::Gone => handled(facts, decision, TrackResult::Gone),
            Fetched::Partly(error) => {
                let decided = self.decide(&self.policies.snapshot(), &facts);
                let nothing = matches!(decided.enforced, Verdict::Nothing { .. })
                    && !decided.dry_run.is_indeterminate();
                let result = if nothing {
                    TrackResult::Nothing
                } else {
                    TrackResult::Retry(error.to_string())
                };
                handled(facts, Some(decided), result)
            }
        }
    }

    async fn run_live(
        &self,
        live: &LiveTrack,
        facts: Facts,
        as_of: DateTime<Utc>,
        cause: &Cause,
        deadline: Instant,
    ) -> Handled {
        // By what is in force now: LiveKit may have been asked for longer than a change takes.
        let decision = self.decide(&self.policies.snapshot(), &facts);
        let result = match &decision.enforced {
            Verdict::Mute { policy } => match &self.runner {
                Some(runner) => mute(runner, live, policy, as_of, cause, deadline).await,
                None => not_configured(),
            },
            Verdict::Indeterminate => {
                TrackResult::Retry("a fact that the decision depends on is unknown".to_owned())
            }
            Verdict::Nothing { .. } => TrackResult::Nothing,
        };
        handled(facts, Some(decision), result)
    }

    fn decide(&self, policies: &PolicySet, facts: &Facts) -> Decision {
        let begun = Instant::now();
        let decision = decide(policies, facts, self.clock.now());
        self.metrics.observe(Step::Decide, begun.elapsed());
        decision
    }
}

fn handled(facts: Facts, decision: Option<Decision>, result: TrackResult) -> Handled {
    Handled {
        facts,
        decision,
        result,
    }
}

fn not_configured() -> TrackResult {
    let why = "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET";
    TrackResult::Retry(why.to_owned())
}

/// Whether neither the policies in force nor the dry-run policies want anything.
fn is_nothing(decision: &Decision) -> bool {
    matches!(decision.enforced, Verdict::Nothing { .. })
        && matches!(decision.dry_run, Verdict::Nothing { .. })
}

async fn mute(
    runner: &ActionRunner,
    live: &LiveTrack,
    policy: &Arc<PolicyRef>,
    as_of: DateTime<Utc>,
    cause: &Cause,
    deadline: Instant,
) -> TrackResult {
    let request = ActionRequest {
        verb: Verb::Mute,
        authority: Authority::Policy {
            owner: policy.owner.clone(),
            as_of,
        },
        cause,
        room: &live.room,
        identity: &live.participant.identity,
        track: &live.track,
        fetched_at: live.fetched_at,
        policy: Some((&**policy).into()),
        deadline,
    };
    match runner.run(&request).await {
        Ok(state) if state.muted => TrackResult::Muted(Arc::clone(policy)),
        Ok(_) => TrackResult::Retry("LiveKit answered that the track is not muted".to_owned()),
        Err(ActionError::Denied(denied)) => TrackResult::Refused(denied.to_string()),
        Err(ActionError::Superseded) => TrackResult::Superseded,
        Err(ActionError::Gone) => TrackResult::Gone,
        Err(
            error @ (ActionError::Busy
            | ActionError::RemoteUnmuteDisabled
            | ActionError::LiveKit(_)
            | ActionError::Database(_)),
        ) => TrackResult::Retry(error.to_string()),
    }
}
