//! One way for every track that is seen, whoever saw it: facts -> decide -> act -> result.
//!
//! ```text
//! Seen (room, participant, track), as of a time + Cause (origin, correlation)
//!     -> facts -> decide -> action::act -> Handled (facts, decision, result)
//! ```
//!
//! The inbox's worker maps the result to a settlement. Explanations make the same facts
//! (`livekit::facts`) and stop before the act.

mod decide;
mod handled;
mod look;
mod recorded;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo};
use quell_clock::Clock;
use quell_policy::{Decision, Facts, Verdict, decide_inline};
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::access::{Authority, Verb};
use crate::action::{ActionRequest, ActionRunner, Cause};
use crate::audit::{Origin, PolicyRevision};
use crate::ledger::{ActionKey, JobLease};
use crate::livekit::event::Event;
use crate::livekit::facts::{facts_from_event, facts_from_live};
use crate::livekit::{LiveRoom, NOT_CONFIGURED, Rooms};
use crate::metrics::{Metrics, Step};
use crate::policy_store::Policies;
use crate::traces;
pub(crate) use decide::decide_in_turn;
use decide::{beyond_text_limit, is_beyond_text_limit, log_text_limit};
pub use handled::{Handled, TrackResult};
use handled::{begun, handled, result_of};
pub use look::Look;
pub(crate) use look::RoomLook;
use look::{Shown, full_room, look, look_at_room};
pub(crate) use recorded::{RecordedFacts, facts_text};
pub(crate) use rows::dry_run_change;

/// What the pipeline works with; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The action path; none where LiveKit is not configured.
    pub runner: Option<ActionRunner>,
    /// Where rooms are asked for; none where LiveKit is not configured.
    pub rooms: Option<Rooms>,
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
    /// A webhook told of it, for which there is a job; and what LiveKit says of it now.
    Told {
        /// What the webhook told.
        event: &'a Event,
        /// What LiveKit says.
        look: &'a Look,
        /// The job.
        job: &'a JobLease,
    },
    /// LiveKit shows it; no webhook is answered to.
    Live {
        /// The track.
        live: &'a LiveTrack,
        /// When it was published, as far as that is known.
        published_at: DateTime<Utc>,
        /// Mutes of it that failed, and are written.
        failed: &'a [FailedMute],
    },
}

/// A track as LiveKit shows it now.
#[derive(Debug)]
pub struct LiveTrack {
    /// The room.
    pub room: Arc<LiveRoom>,
    /// The participant that publishes it.
    pub participant: Arc<ParticipantInfo>,
    /// The track.
    pub track: TrackInfo,
    /// When LiveKit was asked for it.
    pub fetched_at: Instant,
}

/// A policy's mute of a track that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedMute {
    /// The policy.
    pub policy: PolicyRevision,
    /// The action.
    pub action: ActionKey,
}

/// Whether a webhook told of a track.
enum Told<'a> {
    /// For which there is this job.
    Yes(&'a JobLease),
    /// These mutes of it failed before.
    No(&'a [FailedMute]),
}

impl Pipeline {
    /// What comes of an event without a look at LiveKit: where it does not matter what LiveKit would say, or
    /// where nobody can be asked.
    #[must_use]
    pub fn by_event_alone(&self, event: &Event) -> Option<Handled> {
        let facts = facts_from_event(event);
        let policies = self.policies.snapshot();
        let mut decision = None;
        if !policies.any_tenant_live() {
            // Operators' policies alone may be decided by the event itself.
            let begun = Instant::now();
            let decide = || decide_inline(&policies, &facts, self.clock.now());
            decision = traces::decide(Origin::Webhook).in_scope(decide);
            self.metrics.observe(Step::Decide, begun.elapsed());
            if decision.as_ref().is_some_and(is_nothing) {
                return Some(handled(facts, decision, TrackResult::Nothing));
            }
        }
        let is_configured = self.runner.is_some();
        (!is_configured).then(|| handled(facts, decision, not_configured()))
    }

    /// Asks LiveKit for the room and the participant of an event; none where it is not configured.
    pub async fn look(&self, event: &Event) -> Option<Look> {
        let (runner, rooms) = (self.runner.as_ref()?, self.rooms.as_ref()?);
        let begun = Instant::now();
        let deadline = begun + self.livekit_timeout;
        let told = full_room(event, self.clock.now());
        let look = look(&runner.livekit, rooms, event, told, deadline)
            .instrument(traces::facts())
            .await;
        self.metrics.observe(Step::Facts, begun.elapsed());
        Some(look)
    }

    /// Asks LiveKit for a room and everybody in it; none where it is not configured.
    pub(crate) async fn look_at_room(&self, name: &str) -> Option<RoomLook> {
        let (runner, rooms) = (self.runner.as_ref()?, self.rooms.as_ref()?);
        let begun = Instant::now();
        let deadline = begun + self.livekit_timeout;
        let look = look_at_room(&runner.livekit, rooms, name, deadline)
            .instrument(traces::facts())
            .await;
        self.metrics.observe(Step::Facts, begun.elapsed());
        Some(look)
    }

    /// Decides on a track by what is in force, and does what is decided. It is known of since `as_of`, by
    /// Postgres's clock: a person's newer unmute stands.
    pub async fn run(&self, seen: Seen<'_>, as_of: DateTime<Utc>, cause: &Cause) -> Handled {
        match seen {
            Seen::Told { event, look, job } => self.run_told(event, look, job, as_of, cause).await,
            Seen::Live {
                live,
                published_at,
                failed,
            } => {
                let facts =
                    facts_from_live(&live.room, &live.participant, &live.track, published_at);
                let mut handled = self
                    .run_live(live, facts, as_of, cause, Told::No(failed))
                    .await;
                if let (Some(end), Some(runner)) = (handled.action.take(), &self.runner) {
                    runner.finish(end).await;
                }
                handled
            }
        }
    }

    async fn run_told(
        &self,
        event: &Event,
        look: &Look,
        job: &JobLease,
        as_of: DateTime<Utc>,
        cause: &Cause,
    ) -> Handled {
        let mut facts = facts_from_event(event);
        let shown = look.show(event, &mut facts);
        if let Shown::Live(live) = &shown {
            return self
                .run_live(live, facts, as_of, cause, Told::Yes(job))
                .await;
        }
        if let Shown::Stale = shown {
            return handled(facts, None, TrackResult::Stale);
        }
        // What is not known may not matter.
        let (facts, decided) = self.decide(facts, cause).await;
        match shown {
            Shown::Partly(_) | Shown::Nothing if is_beyond_text_limit(&decided) => {
                handled(facts, Some(decided), beyond_text_limit())
            }
            Shown::Partly(_) if is_nothing_enforced(&decided) => {
                handled(facts, Some(decided), TrackResult::Nothing)
            }
            Shown::Partly(error) => {
                handled(facts, Some(decided), TrackResult::Retry(error.to_string()))
            }
            Shown::Nothing if is_nothing(&decided) => {
                handled(facts, Some(decided), TrackResult::Nothing)
            }
            Shown::Live(_) | Shown::Stale | Shown::Nothing => {
                handled(facts, None, TrackResult::NotShown)
            }
        }
    }

    async fn run_live(
        &self,
        live: &LiveTrack,
        facts: Facts,
        as_of: DateTime<Utc>,
        cause: &Cause,
        told: Told<'_>,
    ) -> Handled {
        // By what is in force now: LiveKit may have been asked for longer than a change takes.
        let (facts, decision) = self.decide(facts, cause).await;
        let (mut action, mut row) = (None, None);
        let result = match (&decision.enforced, &self.runner) {
            (Verdict::Mute { policy }, Some(runner)) => {
                let revision = PolicyRevision::from(&**policy);
                let (job, failed) = match told {
                    Told::Yes(job) => (Some(job), None),
                    Told::No(failed) => {
                        let mut failed = failed.iter();
                        (None, failed.find(|failed| failed.policy == revision))
                    }
                };
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
                    policy: Some(revision),
                    deadline: Instant::now() + self.livekit_timeout,
                    job,
                    repeats: failed.map(|failed| failed.action),
                };
                let acted = runner.act(&request).await;
                let result = result_of(&acted, policy);
                (action, row) = (acted.end, acted.row);
                result
            }
            (Verdict::Mute { .. }, None) => not_configured(),
            (Verdict::Indeterminate, _) if is_beyond_text_limit(&decision) => beyond_text_limit(),
            (Verdict::Indeterminate, _) => {
                TrackResult::Retry("a fact that the decision depends on is unknown".to_owned())
            }
            (Verdict::Nothing { .. }, _) => TrackResult::Nothing,
        };
        Handled {
            begun: action
                .as_ref()
                .map(|(it, completion)| begun(it, completion)),
            action,
            row,
            ..handled(facts, Some(decision), result)
        }
    }

    async fn decide(&self, facts: Facts, cause: &Cause) -> (Facts, Decision) {
        let begun = Instant::now();
        let current = || (self.policies.snapshot(), self.clock.now());
        let (facts, decision) = decide_in_turn(current, facts)
            .instrument(traces::decide(cause.origin))
            .await;
        self.metrics.observe(Step::Decide, begun.elapsed());
        if decision.text_limit_exceeded {
            self.metrics.text_limit_exceeded();
            log_text_limit(&facts, cause);
        }
        (facts, decision)
    }
}

fn not_configured() -> TrackResult {
    TrackResult::Retry(NOT_CONFIGURED.to_owned())
}

/// Whether the policies in force want nothing, and it is known what dry-run policies want.
fn is_nothing_enforced(decision: &Decision) -> bool {
    matches!(decision.enforced, Verdict::Nothing { .. }) && !decision.dry_run.is_indeterminate()
}

/// Whether neither the policies in force nor the dry-run policies want anything.
fn is_nothing(decision: &Decision) -> bool {
    matches!(decision.enforced, Verdict::Nothing { .. })
        && matches!(decision.dry_run, Verdict::Nothing { .. })
}
