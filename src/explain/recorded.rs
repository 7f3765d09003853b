//! What was recorded of an event, compared with the decision that is made now.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::compare::{CurrentPolicies, differences};
use super::error::ExplainError;
use super::event;
use super::track_question::RecordedEvent;
use crate::access::Viewer;
use crate::postgres::Pool;
use quell_policy::{Decision, Facts, Verdict};

/// A decision without its trace, since the candidates of an answer tell more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdicts {
    /// The time that it is made for.
    pub at: DateTime<Utc>,
    /// The number of the newest change of policies that it includes. None with files, before the
    /// first change, in decisions that do not name one, and for tenants, since the number would tell
    /// how often others change theirs.
    pub as_of: Option<i64>,
    /// What is done.
    pub enforced: Verdict,
    /// What would be done if dry-run policies were enforced as well.
    pub dry_run: Verdict,
}

impl Verdicts {
    /// What `viewer` may know of a decision.
    pub(crate) fn shown_to(viewer: &Viewer, mut decision: Decision) -> Self {
        hide_reasons(viewer, &mut decision);
        Self::new(&decision, viewer)
    }

    pub(super) fn new(decision: &Decision, viewer: &Viewer) -> Self {
        let is_told = |as_of: &i64| *as_of > 0 && *viewer == Viewer::Operator;
        Self {
            at: decision.at,
            as_of: decision.as_of.filter(is_told),
            enforced: decision.enforced.clone(),
            dry_run: decision.dry_run.clone(),
        }
    }
}

/// Removes the reasons of exemptions that `viewer` may not read. It comes before anything is derived
/// from the decision.
pub(super) fn hide_reasons(viewer: &Viewer, decision: &mut Decision) {
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

/// What is recorded of an event: the facts, and the decision on them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecordedDecision {
    /// The facts.
    pub facts: Facts,
    /// The decision; none where none was made.
    pub decision: Option<Verdicts>,
}

/// What is recorded of an event of a track in a room that `viewer` may see; none where it is not stored any more.
pub(crate) async fn recorded(
    pool: &Pool,
    event_id: &str,
    viewer: &Viewer,
) -> Result<Option<RecordedDecision>, ExplainError> {
    let Some(row) = event::stored(pool, event_id, viewer.tenant()).await? else {
        return Ok(None);
    };
    let track = row.into_track_question(None)?;
    let decision = track.event.and_then(|event| event.decision);
    Ok(Some(RecordedDecision {
        facts: track.facts,
        decision: decision.map(|decision| Verdicts::shown_to(viewer, decision)),
    }))
}

/// What was decided on an event when it came, and how it ended.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Recorded {
    /// The event's id.
    pub event_id: String,
    /// When it was created, by LiveKit's clock.
    pub created_at: DateTime<Utc>,
    /// When it was received, by Postgres's clock.
    pub received_at: DateTime<Utc>,
    /// How its job ended; none while it is open.
    pub settlement: Option<String>,
    /// When its job ended.
    pub settled_at: Option<DateTime<Utc>>,
    /// The decision; none where none was made.
    pub decision: Option<Verdicts>,
    /// Whether the decision made now is the same; none without a decision then.
    pub same_as_recorded: Option<bool>,
    /// The differences, one sentence each.
    pub differs: Vec<String>,
}

impl Recorded {
    /// `again` is the decision that is made now, by `current`.
    pub(super) fn new(
        event: RecordedEvent,
        again: &Decision,
        current: &CurrentPolicies,
        viewer: &Viewer,
    ) -> Self {
        let then = event.decision.as_ref();
        let differs = then.map(|then| differences(&event, then, again, current, viewer));
        Self {
            decision: then.map(|decision| Verdicts::new(decision, viewer)),
            event_id: event.id,
            created_at: event.created_at,
            received_at: event.received_at,
            settlement: event.settlement,
            settled_at: event.settled_at,
            same_as_recorded: differs.as_ref().map(Vec::is_empty),
            differs: differs.unwrap_or_default(),
        }
    }
}
