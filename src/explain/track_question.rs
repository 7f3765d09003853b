//! One track to explain, with what is known of it.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::sources::Sources;
use quell_policy::{Decision, Facts, PolicyKey};

/// A track to explain.
#[derive(Debug)]
pub(super) struct TrackQuestion {
    pub(super) facts: Facts,
    pub(super) sources: Sources,
    /// The time to decide for.
    pub(super) at: DateTime<Utc>,
    /// Its event, where the question is about one.
    pub(super) event: Option<RecordedEvent>,
    /// Warnings about the question.
    pub(super) warnings: Vec<String>,
}

/// A stored event, and what was decided on it then.
#[derive(Debug)]
pub(super) struct RecordedEvent {
    pub(super) id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) settlement: Option<String>,
    pub(super) settled_at: Option<DateTime<Utc>>,
    pub(super) decision: Option<Decision>,
    /// The snapshot of policies that the decision was made by, where it names one.
    pub(super) snapshot: Option<i64>,
    /// The policies that existed then; loaded only where others decide now.
    pub(super) policies_then: Option<HashSet<PolicyKey>>,
}

impl RecordedEvent {
    /// When it was decided on; without a decision, when it was received.
    pub(super) fn decided_at(&self) -> DateTime<Utc> {
        let decision = self.decision.as_ref();
        decision.map_or(self.received_at, |decision| decision.at)
    }
}
