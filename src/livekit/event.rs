//! Reads a webhook's body leniently, so that events of a newer LiveKit are read too.
//!
//! Bodies are `ProtoJSON` (<https://protobuf.dev/programming-guides/json/>), in any of the spellings that
//! its readers have to take: names in camelCase or as in the `.proto` file, 64-bit integers as text
//! or as numbers, enums by name or by number, zero values left out or `null`. Unknown fields and
//! unknown enum values pass. Only fields that an event cannot be handled without are required.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use livekit_protocol::{Room, TrackSource, TrackType};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

use super::room::LiveRoom;
use quell_policy::TenantId;
use quell_policy::metadata::{metadata_in, tenant_in};

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// LiveKit's id of the event: the same on every retry.
    pub id: String,
    /// What happened, such as `track_published`.
    pub name: String,
    /// When, by LiveKit's clock, in whole seconds.
    pub created_at: DateTime<Utc>,
    /// The room.
    pub room: EventRoom,
    /// The participant.
    pub participant: EventParticipant,
    /// The track; present in track events.
    pub track: EventTrack,
}

/// The room as an event tells of it; empty where the event has none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventRoom {
    /// The room's session id.
    pub sid: String,
    /// The room's name.
    pub name: String,
    /// The tenant in the room's metadata, which only room and participant events have, and track events of newer
    /// servers.
    pub tenant: Option<TenantId>,
    /// When it was made, in Unix seconds; 0 in events that have no more than its SID and name.
    pub created_at: i64,
    /// All of it, where a track's event has that, and it is small: newer servers send it
    /// (`room.enable_full_room_in_webhooks`).
    pub full: Option<Arc<LiveRoom>>,
}

/// The participant as an event tells of it; empty where the event has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct EventParticipant {
    /// The participant's session id.
    #[serde(deserialize_with = "text")]
    pub sid: String,
    /// The participant's identity.
    #[serde(deserialize_with = "text")]
    pub identity: String,
}

/// The track as an event tells of it; empty where the event has none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EventTrack {
    /// The track's id.
    #[serde(deserialize_with = "text")]
    pub sid: String,
    /// The track's name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// LiveKit's word for the source; `UNKNOWN` where the client named none.
    #[serde(deserialize_with = "source_word")]
    pub source: String,
    /// LiveKit's word for the type; `AUDIO` is the one that is left out on the wire.
    #[serde(rename = "type", deserialize_with = "type_word")]
    pub track_type: String,
    /// The codec.
    #[serde(alias = "mime_type", deserialize_with = "text")]
    pub mime_type: String,
}

impl Default for EventTrack {
    fn default() -> Self {
        Self {
            sid: String::new(),
            name: String::new(),
            source: "UNKNOWN".to_owned(),
            track_type: "AUDIO".to_owned(),
            mime_type: String::new(),
        }
    }
}

/// The event of a new room.
pub const ROOM_STARTED: &str = "room_started";
/// The event of a track's end.
pub const TRACK_UNPUBLISHED: &str = "track_unpublished";
/// The event of a participant who was there and is not any more.
pub const PARTICIPANT_LEFT: &str = "participant_left";
/// The event of a new track.
pub const TRACK_PUBLISHED: &str = "track_published";

/// Of a room with more metadata, an event keeps no more than the tenant: many jobs wait in memory.
const FULL_METADATA_BYTES_MAX: usize = 4 << 10;

/// What ends with an event.
enum Ended {
    Track,
    Participant,
    Room,
}

fn ended(name: &str) -> Option<Ended> {
    match name {
        TRACK_UNPUBLISHED => Some(Ended::Track),
        PARTICIPANT_LEFT | "participant_connection_aborted" => Some(Ended::Participant),
        "room_finished" => Some(Ended::Room),
        _ => None,
    }
}

/// Whether an event of this name tells that tracks are gone: one, a participant's, or a room's.
#[must_use]
pub fn ends_track(name: &str) -> bool {
    ended(name).is_some()
}

impl Event {
    /// Whether it tells that the track of `other` is gone. Sessions are told apart by their SIDs.
    #[must_use]
    pub fn ends(&self, other: &Self) -> bool {
        let is_same_participant = self.participant.sid == other.participant.sid;
        let is_it = match ended(&self.name) {
            Some(Ended::Track) => is_same_participant && self.track.sid == other.track.sid,
            Some(Ended::Participant) => is_same_participant,
            Some(Ended::Room) => true,
            None => false,
        };
        is_it && self.room.sid == other.room.sid
    }
}

/// Why a signed body is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// It is not text.
    #[error("the body is not JSON: {0}")]
    Utf8(#[from] std::str::Utf8Error),
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but not of an event's shape.
    #[error("the body is no LiveKit webhook event: {0}")]
    Shape(#[from] serde_path_to_error::Error<serde_json::Error>),
    /// It is JSON without a field that every event has.
    #[error("the body is no LiveKit webhook event: `{0}` is missing")]
    Missing(&'static str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(default, deserialize_with = "text")]
    id: String,
    #[serde(default, deserialize_with = "text")]
    event: String,
    #[serde(default, alias = "created_at", deserialize_with = "integer")]
    created_at: i64,
    #[serde(borrow)]
    room: Option<WireRoom<'a>>,
    participant: Option<EventParticipant>,
    track: Option<EventTrack>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WireRoom<'a> {
    #[serde(deserialize_with = "text")]
    sid: String,
    #[serde(deserialize_with = "text")]
    name: String,
    #[serde(deserialize_with = "text")]
    metadata: String,
    /// Always there where all of the room is: other events have its SID and its name.
    #[serde(alias = "creation_time", deserialize_with = "integer")]
    creation_time: i64,
    #[serde(alias = "num_participants", deserialize_with = "integer")]
    num_participants: i64,
    #[serde(alias = "num_publishers", deserialize_with = "integer")]
    num_publishers: i64,
    #[serde(alias = "active_recording", deserialize_with = "flag")]
    active_recording: bool,
    #[serde(borrow, alias = "turn_password")]
    turn_password: Option<&'a RawValue>,
}

impl WireRoom<'_> {
    /// `is_track`: the event is of a new track, for which all of the room is kept where that is small.
    fn read(self, is_track: bool) -> EventRoom {
        let metadata = metadata_in(&self.metadata);
        let tenant = tenant_in(&metadata);
        let is_full =
            is_track && self.creation_time > 0 && self.metadata.len() <= FULL_METADATA_BYTES_MAX;
        let number = |number: i64| u32::try_from(number).unwrap_or_default();
        EventRoom {
            full: is_full.then(|| {
                Arc::new(LiveRoom {
                    info: Room {
                        sid: self.sid.clone(),
                        name: self.name.clone(),
                        metadata: self.metadata,
                        creation_time: self.creation_time,
                        num_participants: number(self.num_participants),
                        num_publishers: number(self.num_publishers),
                        active_recording: self.active_recording,
                        ..Room::default()
                    },
                    tenant: tenant.clone(),
                    metadata,
                })
            }),
            sid: self.sid,
            name: self.name,
            tenant,
            created_at: self.creation_time,
        }
    }
}

/// An event and the JSON text of it that may be stored.
#[derive(Debug)]
pub struct Read {
    /// The event.
    pub event: Event,
    /// The body as it came, but for the value of `turnPassword`, which gives access to a TURN relay: that is empty.
    pub body: String,
}

/// Reads a webhook's body.
pub fn read(body: &[u8]) -> Result<Read, EventError> {
    let body = std::str::from_utf8(body)?;
    let wire = wire(body)?;
    if wire.id.is_empty() {
        return Err(EventError::Missing("id"));
    }
    if wire.event.is_empty() {
        return Err(EventError::Missing("event"));
    }
    let created_at = DateTime::from_timestamp(wire.created_at, 0)
        .filter(|_| wire.created_at > 0)
        .ok_or(EventError::Missing("createdAt"))?;
    let room = wire.room.unwrap_or_default();
    let participant = wire.participant.unwrap_or_default();
    let track = wire.track.unwrap_or_default();
    let is_track = wire.event == TRACK_PUBLISHED;
    if is_track {
        for (field, value) in [
            ("room.sid", &room.sid),
            ("room.name", &room.name),
            ("participant.identity", &participant.identity),
            ("track.sid", &track.sid),
        ] {
            if value.is_empty() {
                return Err(EventError::Missing(field));
            }
        }
    }
    let body = match room.turn_password {
        Some(password) => with_empty(body, password.get()),
        None => body.to_owned(),
    };
    Ok(Read {
        body,
        event: Event {
            id: wire.id,
            name: wire.event,
            created_at,
            room: room.read(is_track),
            participant,
            track,
        },
    })
}

/// Reads a body in one pass. Only an error takes another, which says where it is.
fn wire(body: &str) -> Result<Wire<'_>, EventError> {
    serde_json::from_str(body).or_else(|_| {
        let body: &RawValue = serde_json::from_str(body)?;
        let mut reader = serde_json::Deserializer::from_str(body.get());
        Ok(serde_path_to_error::deserialize(&mut reader)?)
    })
}

/// `text` with an empty text in the place of `value`, which is a part of it.
fn with_empty(text: &str, value: &str) -> String {
    let begin = value.as_ptr().addr() - text.as_ptr().addr();
    let (before, rest) = text.split_at(begin);
    let (_, after) = rest.split_at(value.len());
    [before, r#""""#, after].concat()
}

/// Text; `null` is the same as not there.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A truth value; `null` is false.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A whole number, or text of one: `17`, `"17"`, `1.7e1`.
fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let number = match &value {
        Value::Null => return Ok(0),
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Number(number) => Some(number.clone()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let whole = number.as_ref().and_then(whole);
    whole.ok_or_else(|| serde::de::Error::custom(format!("{value} is not a whole number")))
}

fn whole(number: &Number) -> Option<i64> {
    let float = || number.as_f64().filter(|float| float.fract() == 0.0);
    // No cast: that would turn a number beyond all integers into the largest one.
    number
        .as_i64()
        .or_else(|| float()?.to_string().parse().ok())
}

/// An enum value's name; LiveKit sends a number where it has no name for it, which is looked up here.
fn word<'de, D: Deserializer<'de>>(
    deserializer: D,
    name_of: fn(i32) -> Option<&'static str>,
) -> Result<String, D::Error> {
    let zero = || name_of(0).unwrap_or_default().to_owned();
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(zero()),
        Value::String(word) => Ok(word),
        Value::Number(number) => Ok(whole(&number)
            .and_then(|n| name_of(i32::try_from(n).ok()?))
            .map_or_else(|| number.to_string(), str::to_owned)),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(serde::de::Error::custom("not the name of an enum value"))
        }
    }
}

fn source_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, |n| {
        TrackSource::try_from(n).ok().map(|s| s.as_str_name())
    })
}

fn type_word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, |n| {
        TrackType::try_from(n).ok().map(|t| t.as_str_name())
    })
}

#[cfg(test)]
mod tests;
