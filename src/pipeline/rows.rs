//! Audit rows of decisions that lead to no action: exemptions, dry runs, and tracks that are given up.

use quell_policy::{Decision, Exempted, Facts, PolicyRef, TenantId, Verdict};
use serde_json::json;

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
            before: muted.map(|muted| json!({ "muted": muted })),
            changed: muted.map(|muted| !muted),
            ..entry(&self.facts, cause, action)
        };
        Some(AuditRow {
            entry,
            outcome: Outcome::DryRun,
            error: None,
        })
    }

    /// The row of a track that an exemption left alone, and another policy was to mute; none where it was muted anyway.
    #[must_use]
    pub fn exempted_row(&self, cause: &Cause) -> Option<AuditRow> {
        let muted = self.facts.track.muted.known().copied();
        if !matches!(self.result, TrackResult::Nothing) || muted == Some(true) {
            return None;
        }
        let exempted = exempted(self.decision.as_ref()?)?;
        let mute = &exempted.mute;
        let entry = Entry {
            policy: Some(PolicyRevision::from(&*exempted.by)),
            before: muted.map(|muted| json!({ "muted": muted })),
            after: Some(json!({ "exempted_from": {
                "owner": mute.owner.as_str(), "name": mute.name, "revision": mute.revision,
            }})),
            ..entry(&self.facts, cause, Action::Exempt)
        };
        Some(AuditRow {
            entry,
            outcome: Outcome::Done,
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

/// The exemption that is in force, and the mute that it cancelled.
fn exempted(decision: &Decision) -> Option<&Exempted> {
    match &decision.enforced {
        Verdict::Nothing { exempted } => exempted.as_deref(),
        Verdict::Mute { .. } | Verdict::Indeterminate => None,
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
