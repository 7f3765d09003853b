//! Decides a stored event again, by the live policies and by the draft's.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::events::Published;
use super::missing::missing;
use crate::access::Viewer;
use crate::draft::ComparedSets;
use quell_policy::{Decision, Fact, Facts, Reads, TenantId, decide};

/// The result of replaying an event.
#[derive(Debug)]
pub(super) enum Replayed {
    /// No facts were recorded: its job is open, or was given up before.
    NoFacts,
    /// This version cannot read what was recorded.
    Unreadable,
    /// It was decided again.
    Decided(Box<ReplayedTrack>),
}

/// A track with its two decisions.
#[derive(Debug)]
pub(super) struct ReplayedTrack {
    pub(super) at: DateTime<Utc>,
    pub(super) facts: Box<Facts>,
    pub(super) live: Decision,
    pub(super) draft: Decision,
    /// What was not recorded and a decision depends on; empty also where only policies that the
    /// viewer may not read depend on it.
    pub(super) missing: Reads,
    /// The event alone had decided: `LiveKit` was not asked.
    pub(super) by_event_alone: bool,
}

/// The part of a recorded decision that is read.
#[derive(Deserialize)]
struct RecordedDecision {
    at: DateTime<Utc>,
}

/// The facts that were recorded with an event.
#[derive(Debug)]
pub(super) enum RecordedFacts {
    /// Nothing was recorded.
    Missing,
    /// This version cannot read them.
    Unreadable,
    /// The facts, and the time of the decision.
    Read(Box<Facts>, DateTime<Utc>),
}

impl RecordedFacts {
    pub(super) fn of(event: &Published) -> Self {
        let Some(facts) = &event.facts else {
            return Self::Missing;
        };
        let recorded = event
            .decision
            .as_deref()
            .map(serde_json::from_str::<RecordedDecision>)
            .transpose();
        match (serde_json::from_str(facts), recorded) {
            // Without a decision (LiveKit did not answer), the time that it would have been for.
            (Ok(facts), Ok(recorded)) => {
                Self::Read(facts, recorded.map_or(event.received_at, |it| it.at))
            }
            _ => Self::Unreadable,
        }
    }
}

/// Decides `event` again. Where `tenant` is given, the event is of one of its rooms. `missing` holds
/// only what `viewer` may know.
pub(super) fn replay(
    event: &Published,
    recorded: RecordedFacts,
    sets: &ComparedSets,
    tenant: Option<&TenantId>,
    viewer: &Viewer,
) -> Replayed {
    let (mut facts, at) = match recorded {
        RecordedFacts::Missing => return Replayed::NoFacts,
        RecordedFacts::Unreadable => return Replayed::Unreadable,
        RecordedFacts::Read(facts, at) => (facts, at),
    };
    let by_event_alone = event.settlement.as_deref() == Some("nothing")
        && facts.room.tenant.is_unknown()
        && facts.participant.kind.is_unknown();
    // The event is the tenant's, so the room is, even where LiveKit was not asked for its tenant.
    if let (Some(tenant), Fact::Unknown) = (tenant, &facts.room.tenant) {
        facts.room.tenant = Fact::Known(Some(tenant.clone()));
    }
    let live = decide(&sets.live.set, &facts, at);
    let draft = decide(&sets.draft.set, &facts, at);
    let missing =
        missing(&sets.live, &live, &facts, viewer).or(missing(&sets.draft, &draft, &facts, viewer));
    Replayed::Decided(Box::new(ReplayedTrack {
        at,
        facts,
        live,
        draft,
        missing,
        by_event_alone,
    }))
}
