//! Where each fact comes from, which LiveKit calls answered, and which missing facts would decide.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use quell_policy::facts::catalog::{FIELDS, Field, Provider};
use quell_policy::{Explained, Facts, PolicyOutcome};

/// Where a fact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum FactSource {
    /// The question gives it.
    #[serde(rename = "request")]
    Request,
    /// It is the caller's own tenant id.
    #[serde(rename = "caller")]
    Caller,
    /// Not given: the default of LiveKit's wire format.
    #[serde(rename = "assumed")]
    Assumed,
    /// The webhook event itself.
    #[serde(rename = "event")]
    Event,
    /// LiveKit's answer about the room.
    ListRooms,
    /// LiveKit's answer about the participant.
    GetParticipant,
    /// LiveKit's answer about everybody in the room.
    ListParticipants,
    /// It is unknown.
    #[serde(rename = "unknown")]
    Unknown,
}

/// The source of every fact, by its name.
pub(super) type Sources = BTreeMap<&'static str, FactSource>;

/// Where the facts of an answer come from, and which are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Provenance {
    /// The calls of LiveKit that answered.
    pub calls: Vec<&'static str>,
    /// The source of every fact.
    pub sources: BTreeMap<&'static str, FactSource>,
    /// The unknown facts that decide whether a policy applies.
    pub missing: Vec<&'static str>,
}

impl Provenance {
    pub(super) fn new(sources: Sources, candidates: &[Explained]) -> Self {
        let calls = [
            ("ListRooms", FactSource::ListRooms),
            ("GetParticipant", FactSource::GetParticipant),
            ("ListParticipants", FactSource::ListParticipants),
        ];
        let calls = calls
            .into_iter()
            .filter(|(_, source)| sources.values().any(|used| used == source))
            .map(|(method, _)| method)
            .collect();
        let missing = FIELDS
            .iter()
            .map(|field| field.name)
            .filter(|name| sources.get(name) == Some(&FactSource::Unknown))
            .filter(|name| candidates.iter().any(|one| depends_on(one, name)))
            .collect();
        Self {
            calls,
            sources,
            missing,
        }
    }
}

/// Whether the policy may apply, depending on this unknown fact.
fn depends_on(candidate: &Explained, name: &str) -> bool {
    let failed = candidate.failed.as_ref();
    candidate.outcome == PolicyOutcome::Depends
        && failed.is_some_and(|failed| failed.unknown.contains(name))
}

/// The sources of facts that were recorded with an event.
pub(super) fn of_event(facts: &Facts) -> Sources {
    let is_answered = |field: &Field| match field.section_and_key().0 {
        "participant" => !facts.participant.kind.is_unknown(),
        _ => !facts.track.muted.is_unknown(),
    };
    all(|field| match field.provider {
        Provider::Event if field.is_refreshed && is_answered(field) => FactSource::GetParticipant,
        Provider::Event => FactSource::Event,
        _ if field.is_unknown(facts) => FactSource::Unknown,
        Provider::ListRooms => FactSource::ListRooms,
        Provider::GetParticipant => FactSource::GetParticipant,
    })
}

/// The sources of facts of a track that a sweep saw.
pub(super) fn of_sweep() -> Sources {
    all(|field| match field.section_and_key().0 {
        "room" => FactSource::ListRooms,
        "event" => FactSource::Assumed,
        _ => FactSource::ListParticipants,
    })
}

/// The sources of facts of a live track.
pub(super) fn of_live() -> Sources {
    all(|field| match field.section_and_key() {
        ("room", "name") | ("participant", "identity") => FactSource::Request,
        ("room", _) => FactSource::ListRooms,
        ("event", _) => FactSource::Assumed,
        _ => FactSource::GetParticipant,
    })
}

/// The sources of facts in a question that gives these fields.
pub(super) fn of_given(given: &[&Field]) -> Sources {
    all(|field| {
        if given.contains(&field) {
            FactSource::Request
        } else if field.may_be_unknown() {
            FactSource::Unknown
        } else {
            FactSource::Assumed
        }
    })
}

fn all(source: impl Fn(&Field) -> FactSource) -> Sources {
    let fields = FIELDS.iter();
    fields.map(|field| (field.name, source(field))).collect()
}
