//! Where each fact comes from, and which ones were asked of LiveKit.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use quell_policy::{Facts, Part};

use super::answer::Candidate;

/// Who tells a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Every webhook.
    Always,
    /// `ListRooms`.
    Room,
    /// `GetParticipant`.
    Participant,
}

/// Every fact: its way, and who tells it.
pub(super) const FACTS: &[(&str, Told)] = &[
    ("room.name", Told::Always),
    ("room.sid", Told::Always),
    ("room.tenant", Told::Room),
    ("room.metadata", Told::Room),
    ("room.num_participants", Told::Room),
    ("room.num_publishers", Told::Room),
    ("room.created_at", Told::Room),
    ("room.active_recording", Told::Room),
    ("participant.identity", Told::Always),
    ("participant.sid", Told::Always),
    ("participant.name", Told::Participant),
    ("participant.kind", Told::Participant),
    ("participant.kind_details", Told::Participant),
    ("participant.joined_at", Told::Participant),
    ("participant.attributes", Told::Participant),
    ("participant.metadata", Told::Participant),
    ("participant.is_publisher", Told::Participant),
    ("participant.can_publish", Told::Participant),
    ("track.sid", Told::Always),
    ("track.name", Told::Always),
    ("track.source", Told::Always),
    ("track.type", Told::Always),
    ("track.mime_type", Told::Always),
    ("track.muted", Told::Participant),
    ("event.type", Told::Always),
    ("event.created_at", Told::Always),
];

/// Where a fact comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Source {
    /// It stands in the question.
    #[serde(rename = "request")]
    Request,
    /// It is the caller's own id.
    #[serde(rename = "caller")]
    Caller,
    /// Nobody said it: it is what a webhook would most likely say.
    #[serde(rename = "assumed")]
    Assumed,
    /// The webhook event itself.
    #[serde(rename = "event")]
    Event,
    /// LiveKit, asked for the room.
    ListRooms,
    /// LiveKit, asked for the participant.
    GetParticipant,
    /// Nowhere.
    #[serde(rename = "unknown")]
    Unknown,
}

/// The source of every fact.
pub(super) type Sources = BTreeMap<&'static str, Source>;

/// Which facts were asked of LiveKit, and which would have to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The calls of LiveKit that answered.
    pub calls: Vec<&'static str>,
    /// The source of every fact.
    pub sources: BTreeMap<&'static str, Source>,
    /// The unknown facts that clauses hang on, of policies that may apply.
    pub wanted: Vec<&'static str>,
}

impl Asked {
    pub(super) fn new(sources: Sources, candidates: &[Candidate]) -> Self {
        let calls = [
            ("ListRooms", Source::ListRooms),
            ("GetParticipant", Source::GetParticipant),
        ];
        let calls = calls
            .into_iter()
            .filter(|(_, source)| sources.values().any(|used| used == source))
            .map(|(method, _)| method)
            .collect();
        let wanted = FACTS
            .iter()
            .map(|(path, _)| *path)
            .filter(|path| sources.get(path) == Some(&Source::Unknown))
            .filter(|path| candidates.iter().any(|candidate| hangs_on(candidate, path)))
            .collect();
        Self {
            calls,
            sources,
            wanted,
        }
    }
}

/// Whether what is unknown at `path` keeps it open whether the policy applies.
fn hangs_on(candidate: &Candidate, path: &str) -> bool {
    let failed = candidate.failed.as_ref();
    candidate.part == Part::Depends && failed.is_some_and(|failed| failed.unknown.contains(path))
}

/// Whether the fact at `path` is there, in the JSON of facts.
pub(super) fn is_known(facts: &Value, path: &str) -> bool {
    let pointer = format!("/{}", path.replace('.', "/"));
    facts.pointer(&pointer).is_some()
}

/// The sources of facts that were recorded with an event.
pub(super) fn of_event(facts: &Facts) -> Sources {
    let json = serde_json::to_value(facts).unwrap_or_default();
    let has_participant = !facts.participant.kind.is_unknown();
    let has_track = !facts.track.muted.is_unknown();
    let source = |path: &str, told: Told| match (told, path) {
        // LiveKit's present word on these beats the event's.
        (Told::Always, "participant.sid") if has_participant => Source::GetParticipant,
        (Told::Always, "track.source" | "track.type" | "track.mime_type") if has_track => {
            Source::GetParticipant
        }
        (Told::Always, _) => Source::Event,
        _ if !is_known(&json, path) => Source::Unknown,
        (Told::Room, _) => Source::ListRooms,
        (Told::Participant, _) => Source::GetParticipant,
    };
    all(source)
}

/// The sources of facts of a live track.
pub(super) fn of_live() -> Sources {
    all(|path, told| match (told, path) {
        (Told::Always, "room.name" | "participant.identity") => Source::Request,
        (Told::Always, "event.type" | "event.created_at") => Source::Assumed,
        (Told::Room, _) | (Told::Always, "room.sid") => Source::ListRooms,
        (Told::Participant | Told::Always, _) => Source::GetParticipant,
    })
}

/// A source for every fact.
pub(super) fn all(source: impl Fn(&str, Told) -> Source) -> Sources {
    let facts = FACTS.iter();
    facts
        .map(|(path, told)| (*path, source(path, *told)))
        .collect()
}
