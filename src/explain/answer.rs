//! The answer: what is decided and why, as far as the viewer may know.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::compare::CurrentPolicies;
use super::question::PolicySource;
use super::recorded::{Recorded, Verdicts, hide_reasons};
use super::sources::Provenance;
use super::summary;
use super::track_question::TrackQuestion;
use crate::access::Viewer;
use quell_policy::{
    Clause, CompiledPolicy, Effect, Explained, Fact, Facts, Mode, PolicyKey, PolicyRef, PolicySet,
    Tri, Verdict, explain_to,
};

/// The answer to a question.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Reply {
    /// About one track: to facts, or to an event.
    One(Box<TrackAnswer>),
    /// About the tracks of a participant in a room.
    Live(LiveReply),
}

/// Answers about the tracks of a participant.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LiveReply {
    /// One answer for each track; at most 20.
    pub tracks: Vec<TrackAnswer>,
    /// How many more tracks there are.
    pub left_off: usize,
}

/// Why one track is muted or not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TrackAnswer {
    /// The time that it is decided for.
    pub at: DateTime<Utc>,
    /// The policies that decide.
    pub policies: PolicySource,
    /// The decision in a sentence.
    pub summary: String,
    /// What would be done if dry-run policies were enforced, in a sentence; none where it is the same.
    pub dry_run_summary: Option<String>,
    /// The decision.
    pub decision: Verdicts,
    /// The policy that decides: the mute, or the exemption that cancels it.
    pub winner: Option<Arc<PolicyRef>>,
    /// The enforced policies of the other effect that apply too.
    pub losers: Vec<Arc<PolicyRef>>,
    /// The policies that see the room: first those that apply, then those that may, then the rest.
    pub candidates: Vec<Explained>,
    /// How many more policies there are.
    pub left_off: usize,
    /// The known facts.
    pub facts: Facts,
    /// Where the facts are from, and which are missing.
    pub provenance: Provenance,
    /// What was recorded of the event; none where the question is not about one.
    pub recorded: Option<Recorded>,
    /// Warnings about the question.
    pub warnings: Vec<String>,
}

/// Explains one track to `viewer`.
pub(super) fn answer(
    policies: &PolicySet,
    source: PolicySource,
    track: TrackQuestion,
    viewer: &Viewer,
) -> TrackAnswer {
    let sees =
        |policy: &CompiledPolicy, applies| viewer.may_know_of(policy.owner(), policy.mode, applies);
    let explanation = explain_to(policies, &track.facts, track.at, sees);
    let mut candidates = explanation.candidates;
    let provenance = Provenance::new(track.sources, &candidates);
    let mut decision = explanation.decision;
    hide_reasons(viewer, &mut decision);
    let recorded = track.event.map(|mut event| {
        if let Some(recorded) = &mut event.decision {
            hide_reasons(viewer, recorded);
        }
        let current = CurrentPolicies {
            keys: existing(policies, &track.facts),
            source,
        };
        Recorded::new(event, &decision, &current, viewer)
    });
    let winner = winner(&decision.enforced);
    let losers = losers(&decision.enforced, &candidates);
    let (summary, dry_run_summary) = summary::of(&decision, &candidates, &provenance.missing);
    for candidate in &mut candidates {
        if !viewer.may_read(&candidate.policy.owner)
            && let Some(failed) = &mut candidate.failed
        {
            hide(failed);
        }
    }
    TrackAnswer {
        at: track.at,
        policies: source,
        summary,
        dry_run_summary,
        winner,
        losers,
        candidates,
        left_off: explanation.left_off,
        facts: track.facts,
        provenance,
        recorded,
        warnings: track.warnings,
        decision: Verdicts::new(&decision, viewer),
    }
}

/// All policies, also those that do not see the room.
fn existing(policies: &PolicySet, facts: &Facts) -> HashSet<PolicyKey> {
    let mut of_any_tenant = facts.clone();
    of_any_tenant.room.tenant = Fact::Unknown;
    policies
        .visible(&of_any_tenant)
        .map(|(policy, _)| policy.id.key())
        .collect()
}

/// Keeps only the kind of the clause: `match.attributes` of `match.attributes.vip`.
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
