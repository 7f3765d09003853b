//! Audit rows of decisions that lead to no action: dry runs, and tracks that are given up.

use quell_policy::{Decision, Facts, PolicyRef, TenantId, Verdict};

use super::{Handled, TrackResult};
use crate::action::Cause;
use crate::audit::{Action, Actor, AuditRow, Entry, Outcome, PolicyRevision};

impl Handled {
    /// The tenant of the track's room, where it is known and has one.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        tenant(&self.facts)
    }

    /// The row for what dry-run policies would have changed; none where they change nothing, or where what is
    /// enforced was not done.
    #[must_use]
    pub fn dry_run_row(&self, cause: &Cause) -> Option<AuditRow> {
        if !matches!(
            self.result,
            TrackResult::Muted(_) | TrackResult::Nothing | TrackResult::Superseded
        ) {
            return None;
        }
        let (action, policy) = dry_run_change(self.decision.as_ref()?)?;
        let muted = self.facts.track.muted.known();
        let entry = Entry {
            policy: Some(PolicyRevision::from(policy)),
            before: muted.map(|muted| serde_json::json!({ "muted": muted })),
            changed: muted.map(|muted| !muted),
            ..entry(&self.facts, cause, action)
        };
        Some(AuditRow {
            entry,
            outcome: Outcome::DryRun,
            error: None,
        })
    }

    /// The row of a live track of which a fact is unknown that the decision depends on.
    #[must_use]
    pub fn undecided_row(&self, cause: &Cause, why: &str) -> AuditRow {
        let entry = entry(&self.facts, cause, Action::Decide);
        AuditRow::new(entry, Outcome::Undecided, why.to_owned())
    }

    /// The row of a track that is given up after `attempts` tries.
    #[must_use]
    pub fn given_up_row(&self, cause: &Cause, attempts: u32, error: &str) -> AuditRow {
        let (action, outcome) = if self.is_mute_decided() {
            let outcome = if self.may_have_acted() {
                Outcome::Unknown
            } else {
                Outcome::Failed
            };
            (Action::Mute, outcome)
        } else {
            (Action::Decide, Outcome::Undecided)
        };
        let decision = self.decision.as_ref();
        let policy = decision.and_then(|decision| decision.enforced.mute());
        let entry = Entry {
            policy: policy.map(PolicyRevision::from),
            ..entry(&self.facts, cause, action)
        };
        AuditRow {
            entry,
            outcome,
            error: Some(format!("given up after {attempts} attempts: {error}")),
        }
    }
}

/// What dry-run policies would change, and which of them.
pub(crate) fn dry_run_change(decision: &Decision) -> Option<(Action, &PolicyRef)> {
    match (&decision.enforced, &decision.dry_run) {
        (Verdict::Nothing { .. }, Verdict::Mute { policy }) => Some((Action::Mute, policy)),
        (Verdict::Mute { .. }, Verdict::Nothing { exempted }) => {
            Some((Action::Exempt, &exempted.as_deref()?.by))
        }
        _ => None,
    }
}

fn tenant(facts: &Facts) -> Option<&TenantId> {
    facts.room.tenant.known().and_then(Option::as_ref)
}

fn entry(facts: &Facts, cause: &Cause, action: Action) -> Entry {
    Entry {
        tenant: tenant(facts).cloned(),
        room_name: Some(facts.room.name.clone()),
        room_sid: Some(facts.room.sid.clone()),
        identity: Some(facts.participant.identity.clone()),
        track_sid: Some(facts.track.sid.clone()),
        source: Some(facts.track.source.as_str().to_owned()),
        ..cause.entry(Actor::Quell, action)
    }
}
