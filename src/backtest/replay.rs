//! Decides a stored event again, by the policies that are live and by those of the draft.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::draft::Sides;
use super::events::Published;
use super::missing::missing;
use crate::access::Viewer;
use quell_policy::{Decision, Fact, Facts, Reads, TenantId, decide};

/// What came of an event.
#[derive(Debug)]
pub(super) enum Replayed {
    /// Its job is not over, or was given up before anything was known.
    NoFacts,
    /// What was recorded is not what this version reads.
    Unreadable,
    /// It was decided again.
    Decided(Box<Decided>),
}

/// An event, decided twice.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) at: DateTime<Utc>,
    pub(super) facts: Box<Facts>,
    pub(super) live: Decision,
    pub(super) draft: Decision,
    /// What was not recorded and one of the two hangs on; empty also where others' policies do.
    pub(super) missing: Reads,
    /// The event alone had decided: `LiveKit` was not asked for anything.
    pub(super) by_event_alone: bool,
}

/// What is read of a recorded decision.
#[derive(Deserialize)]
struct Recorded {
    at: DateTime<Utc>,
}

/// What was recorded with an event, read.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing was recorded.
    Nothing,
    /// Not in a way that this version reads.
    Unreadable,
    /// The facts, and the time that they were decided at.
    Facts(Box<Facts>, DateTime<Utc>),
}

impl Known {
    pub(super) fn of(event: &Published) -> Self {
        let Some(facts) = &event.facts else {
            return Self::Nothing;
        };
        let recorded = event
            .decision
            .as_deref()
            .map(serde_json::from_str::<Recorded>)
            .transpose();
        match (serde_json::from_str(facts), recorded) {
            // Without a decision (LiveKit did not answer), the time it would have been made for.
            (Ok(facts), Ok(recorded)) => {
                Self::Facts(facts, recorded.map_or(event.received_at, |it| it.at))
            }
            _ => Self::Unreadable,
        }
    }
}

/// Decides `event` again, which is of `tenant`'s room where there is one. What others'
/// policies ask for is told as `viewer` may know it.
pub(super) fn replay(
    event: &Published,
    known: Known,
    sides: &Sides,
    tenant: Option<&TenantId>,
    viewer: &Viewer,
) -> Replayed {
    let (mut facts, at) = match known {
        Known::Nothing => return Replayed::NoFacts,
        Known::Unreadable => return Replayed::Unreadable,
        Known::Facts(facts, at) => (facts, at),
    };
    let by_event_alone = event.settlement.as_deref() == Some("nothing")
        && facts.room.tenant.is_unknown()
        && facts.participant.kind.is_unknown();
    // The track is theirs, so the room is, also where nobody had to ask LiveKit whose it is.
    if let (Some(tenant), Fact::Unknown) = (tenant, &facts.room.tenant) {
        facts.room.tenant = Fact::Known(Some(tenant.clone()));
    }
    let live = decide(&sides.live.set, &facts, at);
    let draft = decide(&sides.draft.set, &facts, at);
    let missing = missing(&sides.live, &live, &facts, viewer).or(missing(
        &sides.draft,
        &draft,
        &facts,
        viewer,
    ));
    Replayed::Decided(Box::new(Decided {
        at,
        facts,
        live,
        draft,
        missing,
        by_event_alone,
    }))
}
