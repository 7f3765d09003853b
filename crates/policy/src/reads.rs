//! Which facts something reads that a webhook does not hold, as a set of their names.

use super::facts::Facts;

type IsUnknown = fn(&Facts) -> bool;

/// The facts that may be unknown, as documents name them, and whether they are.
const FACTS: [(&str, IsUnknown); 14] = [
    ("room.tenant", |facts| facts.room.tenant.is_unknown()),
    ("room.metadata", |facts| facts.room.metadata.is_unknown()),
    ("room.num_participants", |facts| {
        facts.room.num_participants.is_unknown()
    }),
    ("room.num_publishers", |facts| {
        facts.room.num_publishers.is_unknown()
    }),
    ("room.created_at", |facts| {
        facts.room.created_at.is_unknown()
    }),
    ("room.active_recording", |facts| {
        facts.room.active_recording.is_unknown()
    }),
    ("participant.name", |facts| {
        facts.participant.name.is_unknown()
    }),
    ("participant.kind", |facts| {
        facts.participant.kind.is_unknown()
    }),
    ("participant.kind_details", |facts| {
        facts.participant.kind_details.is_unknown()
    }),
    ("participant.joined_at", |facts| {
        facts.participant.joined_at.is_unknown()
    }),
    ("participant.attributes", |facts| {
        facts.participant.attributes.is_unknown()
    }),
    ("participant.metadata", |facts| {
        facts.participant.metadata.is_unknown()
    }),
    ("participant.is_publisher", |facts| {
        facts.participant.is_publisher.is_unknown()
    }),
    ("participant.can_publish", |facts| {
        facts.participant.can_publish.is_unknown()
    }),
];

/// A set of facts that may be unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reads(u16);

impl Reads {
    /// The fact of this name; nothing where a webhook always holds it.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let place = FACTS.iter().position(|(known, _)| *known == name);
        Self(place.map_or(0, |place| 1 << place))
    }

    /// What could not be had of these facts.
    #[must_use]
    pub fn unknown_in(facts: &Facts) -> Self {
        let places = FACTS.iter().enumerate();
        let unknown = places.filter(|(_, (_, is_unknown))| is_unknown(facts));
        Self(unknown.fold(0, |set, (place, _)| set | 1 << place))
    }

    /// What either reads.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both read.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names, in the order of documents.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let places = FACTS.iter().enumerate();
        let read = places.filter(|(place, _)| self.0 & 1 << place != 0);
        read.map(|(_, (name, _))| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventFacts, Fact, ParticipantFacts, RoomFacts, Source, TrackFacts, TrackType};

    /// Each is told by its own fact: JSON that holds it alone knows it alone.
    #[test]
    fn every_fact_that_may_be_unknown_has_its_place() {
        let none = Facts {
            room: RoomFacts::default(),
            participant: ParticipantFacts::default(),
            track: TrackFacts {
                sid: String::new(),
                name: String::new(),
                source: Source::Unknown,
                type_: TrackType::Audio,
                mime_type: String::new(),
                muted: Fact::Unknown,
            },
            event: EventFacts::default(),
        };
        let all = Reads::unknown_in(&none);
        assert_eq!(all.names().len(), FACTS.len());
        for (name, _) in FACTS {
            let (of, key) = name.split_once('.').unwrap();
            let mut json = serde_json::to_value(&none).unwrap();
            json[of][key] = match key {
                "tenant" | "name" => "x".into(),
                "kind" => "SIP".into(),
                "kind_details" => serde_json::json!([]),
                "metadata" | "attributes" => serde_json::json!({}),
                "active_recording" | "is_publisher" | "can_publish" => true.into(),
                _ => 1.into(),
            };
            let facts: Facts = serde_json::from_value(json).unwrap();
            let unknown = Reads::unknown_in(&facts);
            assert_eq!(unknown.or(Reads::named(name)), all, "{name}");
            assert!(unknown.and(Reads::named(name)).is_empty(), "{name}");
        }
        assert!(Reads::named("room.name").is_empty());
    }
}
