//! The answer: what is decided and why, as far as whoever asks may know.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::compare::There;
use super::sources::Provenance;
use super::{Case, Which, compare, words};
use crate::access::Viewer;
use quell_policy::{
    Clause, CompiledPolicy, Decision, Effect, Explained, Fact, Facts, Mode, PolicyKey, PolicyRef,
    PolicySet, Tri, Verdict, explain_to,
};

/// What is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To facts, or to an event.
    One(Box<Answer>),
    /// To a participant in a room.
    Live(Live),
}

/// The tracks of a participant.
#[derive(Debug, Clone, Serialize)]
pub struct Live {
    /// One answer a track.
    pub tracks: Vec<Answer>,
    /// How many more there are.
    pub left_off: usize,
}

/// Why one track is muted or not.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The time that it is decided for.
    pub at: DateTime<Utc>,
    /// By which policies.
    pub policies: Which,
    /// What is decided, in a sentence.
    pub in_words: String,
    /// What would be with the dry-run policies, where that is something else.
    pub dry_run_in_words: Option<String>,
    /// What is decided.
    pub decision: Decided,
    /// The policy that has its way: the mute, or the exemption that cancels it.
    pub winner: Option<Arc<PolicyRef>>,
    /// Those that apply and want the opposite.
    pub losers: Vec<Arc<PolicyRef>>,
    /// The policies that see the room: those that apply, those that may, the rest.
    pub candidates: Vec<Explained>,
    /// How many more there are.
    pub left_off: usize,
    /// What is known.
    pub facts: Facts,
    /// Where that is from, and which facts are missing.
    pub provenance: Provenance,
    /// What was decided on the event when it came; none where no event is asked about.
    pub recorded: Option<Recorded>,
    /// What is doubtful about the question.
    pub warnings: Vec<String>,
}

/// A decision without its trace, which the candidates tell better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The time it is made for.
    pub at: DateTime<Utc>,
    /// The number of the newest change of policies that it knows of; none with files, before the
    /// first change, in decisions that do not say so, and for a tenant, whom the number would tell of
    /// others' changes.
    pub as_of: Option<i64>,
    /// What is done.
    pub enforced: Verdict,
    /// What would be done if dry-run policies were enforced as well.
    pub dry_run: Verdict,
}

impl Decided {
    pub(super) fn new(decision: &Decision, viewer: &Viewer) -> Self {
        // How many changes others make is not for a tenant to know.
        let is_told = |as_of: &i64| *as_of > 0 && *viewer == Viewer::Operator;
        Self {
            at: decision.at,
            as_of: decision.as_of.filter(is_told),
            enforced: decision.enforced.clone(),
            dry_run: decision.dry_run.clone(),
        }
    }
}

/// What was decided on an event when it came, and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Recorded {
    /// The event's id.
    pub event_id: String,
    /// When it was, by LiveKit's clock.
    pub created_at: DateTime<Utc>,
    /// When it came in, by Postgres's clock.
    pub received_at: DateTime<Utc>,
    /// How it ended; none where it has not ended yet.
    pub settlement: Option<String>,
    /// When that was.
    pub settled_at: Option<DateTime<Utc>>,
    /// What was decided; none where nothing was.
    pub decision: Option<Decided>,
    /// Whether the same is decided here; none where nothing was decided then.
    pub same_as_recorded: Option<bool>,
    /// What is different.
    pub differs: Vec<String>,
}

/// Takes out of a decision why others' exemptions exempt, before anything is said of it: whoever
/// may not read a policy may not read its reason.
fn hide_reasons(viewer: &Viewer, decision: &mut Decision) {
    for verdict in [&mut decision.enforced, &mut decision.dry_run] {
        if let Verdict::Nothing {
            exempted: Some(exempted),
        } = verdict
            && !viewer.may_read(&exempted.by.owner)
        {
            exempted.reason = None;
        }
    }
}

/// Explains one track to `viewer`.
pub(super) fn answer(
    policies: &PolicySet,
    which: Which,
    mut case: Case,
    viewer: &Viewer,
) -> Answer {
    let sees =
        |policy: &CompiledPolicy, applies| viewer.may_know_of(policy.owner(), policy.mode, applies);
    let explanation = explain_to(policies, &case.facts, case.at, sees);
    let mut candidates = explanation.candidates;
    let there = There {
        now: case
            .event
            .as_ref()
            .map(|_| there_now(policies, &case.facts)),
        which,
    };
    let provenance = Provenance::new(case.sources, &candidates);
    let mut decision = explanation.decision;
    hide_reasons(viewer, &mut decision);
    let recorded = case
        .event
        .as_mut()
        .and_then(|event| event.decision.as_mut());
    if let Some(recorded) = recorded {
        hide_reasons(viewer, recorded);
    }
    let winner = winner(&decision.enforced);
    let losers = losers(&decision.enforced, &candidates);
    let (in_words, dry_run_in_words) = words::of(&decision, &candidates, &provenance.missing);
    for candidate in &mut candidates {
        if !viewer.may_read(&candidate.policy.owner)
            && let Some(failed) = &mut candidate.failed
        {
            hide(failed);
        }
    }
    Answer {
        at: case.at,
        policies: which,
        in_words,
        dry_run_in_words,
        winner,
        losers,
        candidates,
        left_off: explanation.left_off,
        facts: case.facts,
        provenance,
        recorded: case
            .event
            .map(|event| compare::recorded(event, &decision, &there, viewer)),
        warnings: case.warnings,
        decision: Decided::new(&decision, viewer),
    }
}

/// Every policy that there is, also those that do not see the room.
fn there_now(policies: &PolicySet, facts: &Facts) -> HashSet<PolicyKey> {
    let mut of_anybody = facts.clone();
    of_anybody.room.tenant = Fact::Unknown;
    policies
        .visible(&of_anybody)
        .map(|(policy, _)| policy.id.key())
        .collect()
}

/// Leaves the kind of clause and no more: `match.attributes` of `match.attributes.vip`.
fn hide(failed: &mut Clause) {
    (failed.expected, failed.actual) = (None, None);
    let parts: Vec<_> = failed.clause.split('.').take(2).collect();
    failed.clause = parts.join(".");
}

fn winner(enforced: &Verdict) -> Option<Arc<PolicyRef>> {
    match enforced {
        Verdict::Mute { policy } => Some(Arc::clone(policy)),
        Verdict::Nothing { exempted } => exempted.as_ref().map(|exempted| Arc::clone(&exempted.by)),
        Verdict::Indeterminate => None,
    }
}

fn losers(enforced: &Verdict, candidates: &[Explained]) -> Vec<Arc<PolicyRef>> {
    let lost = match enforced {
        Verdict::Mute { .. } => Effect::Exempt,
        Verdict::Nothing { .. } => Effect::Mute,
        Verdict::Indeterminate => return Vec::new(),
    };
    candidates
        .iter()
        .filter(|candidate| {
            candidate.effect == lost
                && candidate.mode == Mode::Enforce
                && candidate.applies == Tri::True
        })
        .map(|candidate| Arc::clone(&candidate.policy))
        .collect()
}
