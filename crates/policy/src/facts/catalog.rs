//! The catalog of facts: one row a fact, from which everything that names facts is derived.
//!
//! ```text
//!            +-> reads: which facts were unknown        (backtests)
//! FIELDS ----+-> the fields of expressions              (`when`)
//!            +-> given: facts as people give them (tests of policies, explanations), their schema
//!            '-> where each fact of an answer is from   (explanations)
//! ```
//!
//! A new fact is a field of [`Facts`] and a row here; a test holds the one to the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{Fact, Facts, Kind, KindDetail, Source, TrackType};
use crate::owner::TenantId;

/// The maps that [`Facts`] are made of.
pub const SECTIONS: &[&str] = &["room", "participant", "track", "event"];
/// A text among the facts has at most this many characters: LiveKit takes names and identities of 256.
pub const TEXT_CHARS_MAX: usize = 1_024;

/// A fact: its place, its type, and where it comes from.
#[derive(Debug)]
pub struct Field {
    /// Its path, in JSON and in expressions: `room.num_participants`.
    pub name: &'static str,
    /// Its type, and how it is read out of [`Facts`].
    pub(crate) shape: FactType,
    /// Which message of LiveKit's holds it.
    pub provider: Provider,
    /// What it is where an event's fact is not given: the default of LiveKit's wire format.
    default: &'static str,
    /// Whether LiveKit's later answer takes the place of what the event says.
    pub is_refreshed: bool,
    /// Who decides what it is.
    pub(crate) set_by: SetBy,
    /// Whether an expression can name it.
    pub(crate) is_in_expressions: bool,
}

/// The type of a fact, and how it is read out of [`Facts`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum FactType {
    /// Text of at most [`TEXT_CHARS_MAX`] characters.
    Text(fn(&Facts) -> Fact<&str>),
    /// One of LiveKit's words, or the word of a newer LiveKit.
    Word {
        /// What such a word is called in messages.
        what: &'static str,
        words: &'static [&'static str],
        read: fn(&Facts) -> Fact<&str>,
    },
    /// Any number of kind details.
    KindDetails(fn(&Facts) -> &Fact<Vec<KindDetail>>),
    /// A number from 0.
    Count(fn(&Facts) -> Fact<u32>),
    /// Unix seconds.
    Time(fn(&Facts) -> Fact<i64>),
    /// True or false.
    Flag(fn(&Facts) -> Fact<bool>),
    /// The tenant's name, or null for none.
    Tenant(fn(&Facts) -> &Fact<Option<TenantId>>),
    /// Texts by name.
    Attributes(fn(&Facts) -> &Fact<BTreeMap<String, String>>),
    /// Any JSON of at most `METADATA_DEPTH_MAX` levels.
    Metadata(fn(&Facts) -> &Fact<Json>),
}

/// Which message of LiveKit's holds a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Every webhook event: the fact is never unknown.
    Event,
    /// The answer of `ListRooms`.
    ListRooms,
    /// The answer of `GetParticipant`.
    GetParticipant,
}

/// Who decides what a fact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetBy {
    /// The participant itself, which may say anything; what it is called in messages.
    Participant(&'static str),
    /// The participant's token, which tells it from others.
    Token,
    /// LiveKit, a backend, or whoever makes the room.
    Server,
}

/// Every fact, in the order of [`Facts`].
pub static FIELDS: &[Field] = &[
    event("room.name", FactType::Text(|it| text(&it.room.name))),
    event("room.sid", FactType::Text(|it| text(&it.room.sid))),
    // Policies name tenants by their owner.
    room("room.tenant", FactType::Tenant(|it| &it.room.tenant)).not_in_expressions(),
    room("room.metadata", FactType::Metadata(|it| &it.room.metadata)),
    room(
        "room.num_participants",
        FactType::Count(|it| it.room.num_participants),
    ),
    room(
        "room.num_publishers",
        FactType::Count(|it| it.room.num_publishers),
    ),
    room("room.created_at", FactType::Time(|it| it.room.created_at)),
    room(
        "room.active_recording",
        FactType::Flag(|it| it.room.active_recording),
    ),
    event(
        "participant.identity",
        FactType::Text(|it| text(&it.participant.identity)),
    )
    .set_by(SetBy::Token),
    event(
        "participant.sid",
        FactType::Text(|it| text(&it.participant.sid)),
    )
    .refreshed(),
    participant(
        "participant.name",
        FactType::Text(|it| it.participant.name.as_ref().map(String::as_str)),
    )
    .set_by(SetBy::Participant("the name that they give")),
    participant(
        "participant.kind",
        FactType::Word {
            what: "kind",
            words: Kind::WORDS,
            read: |it| it.participant.kind.as_ref().map(Kind::as_str),
        },
    )
    .set_by(SetBy::Token),
    participant(
        "participant.kind_details",
        FactType::KindDetails(|it| &it.participant.kind_details),
    )
    .set_by(SetBy::Token),
    participant(
        "participant.joined_at",
        FactType::Time(|it| it.participant.joined_at),
    ),
    participant(
        "participant.attributes",
        FactType::Attributes(|it| &it.participant.attributes),
    )
    .set_by(SetBy::Participant("the attributes that they set")),
    participant(
        "participant.metadata",
        FactType::Metadata(|it| &it.participant.metadata),
    )
    .set_by(SetBy::Participant("the metadata that they set")),
    participant(
        "participant.is_publisher",
        FactType::Flag(|it| it.participant.is_publisher),
    ),
    participant(
        "participant.can_publish",
        FactType::Flag(|it| it.participant.can_publish),
    ),
    participant(
        "participant.can_update_metadata",
        FactType::Flag(|it| it.participant.can_update_metadata),
    ),
    event("track.sid", FactType::Text(|it| text(&it.track.sid))),
    event("track.name", FactType::Text(|it| text(&it.track.name)))
        .set_by(SetBy::Participant("the track's name that they give")),
    event(
        "track.source",
        FactType::Word {
            what: "source",
            words: Source::WORDS,
            read: |it| text(it.track.source.as_str()),
        },
    )
    .default("UNKNOWN")
    .refreshed()
    .set_by(SetBy::Participant("the source that they publish with")),
    event(
        "track.type",
        FactType::Word {
            what: "type",
            words: TrackType::WORDS,
            read: |it| text(it.track.type_.as_str()),
        },
    )
    .default("AUDIO")
    .refreshed(),
    event(
        "track.mime_type",
        FactType::Text(|it| text(&it.track.mime_type)),
    )
    .refreshed(),
    // A track that is muted already is left alone whatever policies say.
    participant("track.muted", FactType::Flag(|it| it.track.muted)).not_in_expressions(),
    event("event.type", FactType::Text(|it| text(&it.event.type_))).default("track_published"),
    event(
        "event.created_at",
        FactType::Time(|it| Fact::Known(it.event.created_at)),
    ),
];

const fn text(text: &str) -> Fact<&str> {
    Fact::Known(text)
}

const fn event(name: &'static str, shape: FactType) -> Field {
    Field {
        name,
        shape,
        provider: Provider::Event,
        default: "",
        is_refreshed: false,
        set_by: SetBy::Server,
        is_in_expressions: true,
    }
}

const fn room(name: &'static str, shape: FactType) -> Field {
    Field {
        provider: Provider::ListRooms,
        ..event(name, shape)
    }
}

const fn participant(name: &'static str, shape: FactType) -> Field {
    Field {
        provider: Provider::GetParticipant,
        ..event(name, shape)
    }
}

/// The facts of an event in which nothing is said, but for its type and time.
#[must_use]
pub fn event_defaults(created_at: i64) -> Json {
    let mut all: Map<_, _> = SECTIONS
        .iter()
        .map(|section| ((*section).to_owned(), Json::Object(Map::new())))
        .collect();
    for field in FIELDS.iter().filter(|field| !field.may_be_unknown()) {
        let (section, key) = field.section_and_key();
        let value = match field.shape {
            FactType::Time(_) => created_at.into(),
            FactType::Text(_)
            | FactType::Word { .. }
            | FactType::KindDetails(_)
            | FactType::Count(_)
            | FactType::Flag(_)
            | FactType::Tenant(_)
            | FactType::Attributes(_)
            | FactType::Metadata(_) => field.default.into(),
        };
        if let Some(section) = all.get_mut(section).and_then(Json::as_object_mut) {
            section.insert(key.to_owned(), value);
        }
    }
    all.into()
}

impl Field {
    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn refreshed(self) -> Self {
        Self {
            is_refreshed: true,
            ..self
        }
    }

    const fn set_by(self, set_by: SetBy) -> Self {
        Self { set_by, ..self }
    }

    const fn not_in_expressions(self) -> Self {
        Self {
            is_in_expressions: false,
            ..self
        }
    }

    /// The field of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// The fields of one section, each with its key there.
    pub fn of_section(section: &str) -> impl Iterator<Item = (&'static str, &'static Self)> {
        FIELDS.iter().filter_map(move |field| {
            let (of, key) = field.section_and_key();
            (of == section).then_some((key, field))
        })
    }

    /// Its section, and its key there: `room`, `num_participants`.
    #[must_use]
    pub fn section_and_key(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }

    /// Whether it can be unknown: a webhook event does not hold it.
    #[must_use]
    pub fn may_be_unknown(&self) -> bool {
        self.provider != Provider::Event
    }

    /// Whether it is unknown of this track.
    #[must_use]
    pub fn is_unknown(&self, facts: &Facts) -> bool {
        match self.shape {
            FactType::Text(read) | FactType::Word { read, .. } => read(facts).is_unknown(),
            FactType::KindDetails(read) => read(facts).is_unknown(),
            FactType::Count(read) => read(facts).is_unknown(),
            FactType::Time(read) => read(facts).is_unknown(),
            FactType::Flag(read) => read(facts).is_unknown(),
            FactType::Tenant(read) => read(facts).is_unknown(),
            FactType::Attributes(read) => read(facts).is_unknown(),
            FactType::Metadata(read) => read(facts).is_unknown(),
        }
    }

    /// What it is called, where the participant itself says it and may say anything.
    pub(crate) fn participant_controlled(&self) -> Option<&'static str> {
        match self.set_by {
            SetBy::Participant(what) => Some(what),
            SetBy::Token | SetBy::Server => None,
        }
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests;
