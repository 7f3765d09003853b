//! The fields that an expression can name, in one table: their types, where they come from, and
//! who says what they are.

use super::value::Value;
use crate::facts::{Fact, Facts, Kind, Source, TrackType};

/// What of the facts a field is, and how an expression may use it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    /// Text.
    Text(fn(&Facts) -> Value<'_>),
    /// A whole number within these bounds.
    Number {
        read: fn(&Facts) -> Value<'_>,
        min: i64,
        max: i64,
    },
    /// True or false.
    Flag(fn(&Facts) -> Value<'_>),
    /// One of LiveKit's words, or the word of a newer LiveKit.
    Word {
        read: fn(&Facts) -> Value<'_>,
        words: &'static [&'static str],
    },
    /// A list of LiveKit's words, and of those of a newer LiveKit.
    KindDetails,
    /// Names and texts.
    Attributes,
    /// JSON of any depth.
    Metadata(Whose),
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Room,
    Participant,
}

/// A field.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name: `room.num_participants`.
    pub(super) name: &'static str,
    pub(super) of: Of,
    /// What it is, where the participant itself says it and may say anything.
    pub(super) participant_controlled: Option<&'static str>,
    /// Whether it says who the participant is, by its token.
    pub(super) from_token: bool,
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

const fn field(name: &'static str, of: Of) -> Field {
    Field {
        name,
        of,
        participant_controlled: None,
        from_token: false,
    }
}

impl Field {
    const fn participant_controlled(self, what: &'static str) -> Self {
        Self {
            participant_controlled: Some(what),
            ..self
        }
    }

    const fn set_by_token(self) -> Self {
        Self {
            from_token: true,
            ..self
        }
    }
}

const fn count(read: fn(&Facts) -> Value<'_>) -> Of {
    Of::Number {
        read,
        min: 0,
        // Of `u32`, which is not converted in a constant.
        max: 4_294_967_295,
    }
}

const fn time(read: fn(&Facts) -> Value<'_>) -> Of {
    Of::Number {
        read,
        min: i64::MIN,
        max: i64::MAX,
    }
}

/// Every field, in the order in which it is told of.
pub(super) static FIELDS: &[Field] = &[
    field("room.name", Of::Text(|facts| Value::Text(&facts.room.name))),
    field("room.sid", Of::Text(|facts| Value::Text(&facts.room.sid))),
    field(
        "room.num_participants",
        count(|facts| known(&facts.room.num_participants, |n| Value::int(*n))),
    ),
    field(
        "room.num_publishers",
        count(|facts| known(&facts.room.num_publishers, |n| Value::int(*n))),
    ),
    field(
        "room.created_at",
        time(|facts| known(&facts.room.created_at, |n| Value::int(*n))),
    ),
    field(
        "room.active_recording",
        Of::Flag(|facts| known(&facts.room.active_recording, |flag| Value::Bool(*flag))),
    ),
    field("room.metadata", Of::Metadata(Whose::Room)),
    field(
        "participant.identity",
        Of::Text(|facts| Value::Text(&facts.participant.identity)),
    )
    .set_by_token(),
    field(
        "participant.sid",
        Of::Text(|facts| Value::Text(&facts.participant.sid)),
    ),
    field(
        "participant.name",
        Of::Text(|facts| known(&facts.participant.name, |name| Value::Text(name))),
    )
    .participant_controlled("the name that they give"),
    field(
        "participant.kind",
        Of::Word {
            read: |facts| known(&facts.participant.kind, |kind| Value::Text(kind.as_str())),
            words: Kind::WORDS,
        },
    )
    .set_by_token(),
    field("participant.kind_details", Of::KindDetails).set_by_token(),
    field(
        "participant.joined_at",
        time(|facts| known(&facts.participant.joined_at, |n| Value::int(*n))),
    ),
    field("participant.attributes", Of::Attributes)
        .participant_controlled("the attributes that they set"),
    field("participant.metadata", Of::Metadata(Whose::Participant))
        .participant_controlled("the metadata that they set"),
    field(
        "participant.is_publisher",
        Of::Flag(|facts| known(&facts.participant.is_publisher, |flag| Value::Bool(*flag))),
    ),
    field(
        "participant.can_publish",
        Of::Flag(|facts| known(&facts.participant.can_publish, |flag| Value::Bool(*flag))),
    ),
    field("track.sid", Of::Text(|facts| Value::Text(&facts.track.sid))),
    field(
        "track.name",
        Of::Text(|facts| Value::Text(&facts.track.name)),
    )
    .participant_controlled("the track's name that they give"),
    field(
        "track.source",
        Of::Word {
            read: |facts| Value::Text(facts.track.source.as_str()),
            words: Source::WORDS,
        },
    )
    .participant_controlled("the source that they publish with"),
    field(
        "track.type",
        Of::Word {
            read: |facts| Value::Text(facts.track.type_.as_str()),
            words: TrackType::WORDS,
        },
    ),
    field(
        "track.mime_type",
        Of::Text(|facts| Value::Text(&facts.track.mime_type)),
    ),
    field(
        "event.type",
        Of::Text(|facts| Value::Text(&facts.event.type_)),
    ),
    field(
        "event.created_at",
        time(|facts| Value::int(facts.event.created_at)),
    ),
];

fn known<'f, T>(fact: &'f Fact<T>, value: impl FnOnce(&'f T) -> Value<'f>) -> Value<'f> {
    match fact {
        Fact::Known(it) => value(it),
        Fact::Unknown => Value::Unknown,
    }
}

/// The field of this name.
pub(super) fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// The things that have fields.
pub(super) const THINGS: &[&str] = &["room", "participant", "track", "event"];

/// The names of a thing's fields, without the thing's.
pub(super) fn fields_of(thing: &str) -> Vec<&'static str> {
    FIELDS
        .iter()
        .filter_map(|field| field.name.strip_prefix(thing)?.strip_prefix('.'))
        .collect()
}
