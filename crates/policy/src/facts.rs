//! Facts: what is known of one track, its participant, its room and the event that told of it.
//!
//! They are stored as JSON with each event and read back by explanations and backtests, so the
//! form is stable: LiveKit's words for enums, integer Unix seconds for times, and an absent key
//! for a fact that could not be had (which is not the same as a value that is not there: `null`).

pub mod catalog;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::owner::TenantId;

/// A fact that may not be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fact<T> {
    /// It is this.
    Known(T),
    /// It could not be had; absent in JSON.
    #[default]
    Unknown,
}

impl<T> Fact<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown => None,
        }
    }

    /// Whether it could not be had.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// The same, borrowed.
    pub fn as_ref(&self) -> Fact<&T> {
        match self {
            Self::Known(value) => Fact::Known(value),
            Self::Unknown => Fact::Unknown,
        }
    }

    /// What comes of the value, where it is known.
    pub fn map<U>(self, of: impl FnOnce(T) -> U) -> Fact<U> {
        match self {
            Self::Known(value) => Fact::Known(of(value)),
            Self::Unknown => Fact::Unknown,
        }
    }
}

impl<T> From<T> for Fact<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

// Only reached for a known fact: the fields below leave an unknown one out.
impl<T: Serialize> Serialize for Fact<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.known().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Fact<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::Known)
    }
}

impl<T: JsonSchema> JsonSchema for Fact<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The bit of a word that we do not know; no policy can ask for it.
const OTHER_BIT: u8 = 1 << 7;

/// Declares an enum of LiveKit's words, each with its place in a set of them, that also keeps a
/// word it does not know.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal $place:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
            /// A word of a newer LiveKit, kept as it came. No policy can name it.
            Other(String),
        }

        impl $name {
            /// Every word that a policy can name.
            pub const WORDS: &[&str] = &[$($word),+];

            /// The bit that stands for it in a set of words.
            #[must_use]
            pub fn bit(&self) -> u8 {
                match self {
                    $(Self::$variant => 1 << $place,)+
                    Self::Other(_) => OTHER_BIT,
                }
            }

            /// The word, as LiveKit writes it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)+
                    _ => Self::Other(word.to_owned()),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            /// What a policy can name.
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "enum": Self::WORDS})
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|word| Self::from(word.as_str()))
            }
        }
    };
}

words! {
    /// What a track is a track of, as the client that publishes it says.
    Source {
        /// Not said; absent on the wire.
        Unknown = "UNKNOWN" 0,
        /// A camera.
        Camera = "CAMERA" 1,
        /// A microphone.
        Microphone = "MICROPHONE" 2,
        /// A shared screen.
        ScreenShare = "SCREEN_SHARE" 3,
        /// The sound of a shared screen.
        ScreenShareAudio = "SCREEN_SHARE_AUDIO" 4,
    }
}

words! {
    /// What a track carries.
    TrackType {
        /// Sound; absent on the wire.
        Audio = "AUDIO" 0,
        /// Pictures.
        Video = "VIDEO" 1,
    }
}

impl TrackType {
    /// Why no policy names LiveKit's third type, which as a fact is a word like any other.
    pub(super) fn never(word: &str) -> Option<(&'static str, &'static str)> {
        word.eq_ignore_ascii_case("DATA").then_some((
            "no track is ever of the type DATA: LiveKit tells of none that carries data",
            "write AUDIO or VIDEO; only a token without `canPublishData` stops what is sent as data",
        ))
    }
}

words! {
    /// What a participant is, as its token says.
    Kind {
        /// A person with a client; absent on the wire.
        Standard = "STANDARD" 0,
        /// A stream from outside.
        Ingress = "INGRESS" 1,
        /// A recorder.
        Egress = "EGRESS" 2,
        /// A phone caller.
        Sip = "SIP" 3,
        /// A program, such as a voice agent.
        Agent = "AGENT" 4,
        /// A connector to another system.
        Connector = "CONNECTOR" 5,
        /// A bridge to another system.
        Bridge = "BRIDGE" 6,
    }
}

words! {
    /// What more a participant is than its kind, as its token says.
    KindDetail {
        /// An agent in LiveKit's cloud.
        CloudAgent = "CLOUD_AGENT" 0,
        /// Taken over from another room.
        Forwarded = "FORWARDED" 1,
        /// A caller by `WhatsApp`, through a connector.
        ConnectorWhatsapp = "CONNECTOR_WHATSAPP" 2,
        /// A caller by Twilio, through a connector.
        ConnectorTwilio = "CONNECTOR_TWILIO" 3,
        /// A camera or the like that speaks RTSP, through a bridge.
        BridgeRtsp = "BRIDGE_RTSP" 4,
        /// Of a simulation.
        Simulation = "SIMULATION" 5,
    }
}

/// All that a decision is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// The room.
    pub room: RoomFacts,
    /// Who publishes.
    pub participant: ParticipantFacts,
    /// What is published.
    pub track: TrackFacts,
    /// What told of it.
    pub event: EventFacts,
}

/// The room that the track is in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomFacts {
    /// Its name, exactly as LiveKit has it.
    pub name: String,
    /// Its SID: a name can come back as another room.
    pub sid: String,
    /// Its metadata's `auth_id`; known to be none where the metadata has none or a blank one.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub tenant: Fact<Option<TenantId>>,
    /// Its metadata, read as JSON; `null` where it is none.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub metadata: Fact<Value>,
    /// How many take part; LiveKit's count lags by up to 5 s.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub num_participants: Fact<u32>,
    /// How many of them publish.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub num_publishers: Fact<u32>,
    /// When it was made, in Unix seconds.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub created_at: Fact<i64>,
    /// Whether it is being recorded.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub active_recording: Fact<bool>,
}

/// The participant that publishes the track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParticipantFacts {
    /// Its identity, from its token.
    pub identity: String,
    /// Its SID: an identity can come back as another session.
    pub sid: String,
    /// Its display name.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub name: Fact<String>,
    /// What it is, from its token.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub kind: Fact<Kind>,
    /// What more it is, from its token; mostly nothing.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub kind_details: Fact<Vec<KindDetail>>,
    /// When it joined, in Unix seconds.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub joined_at: Fact<i64>,
    /// Its attributes; all of them or unknown.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub attributes: Fact<BTreeMap<String, String>>,
    /// Its metadata, read as JSON; `null` where it is none.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub metadata: Fact<Value>,
    /// Whether it publishes anything.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub is_publisher: Fact<bool>,
    /// Whether its permissions let it publish.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub can_publish: Fact<bool>,
    /// Whether its permissions let it write its own name, attributes and metadata.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub can_update_metadata: Fact<bool>,
}

impl ParticipantFacts {
    /// The value of one attribute. That there is none of this name is a known fact: `Known(None)`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Fact<Option<&str>> {
        let attributes = self.attributes.as_ref();
        attributes.map(|attributes| attributes.get(name).map(String::as_str))
    }
}

/// The track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrackFacts {
    /// Its SID.
    pub sid: String,
    /// Its name; empty where the client gave none.
    #[serde(default)]
    pub name: String,
    /// What it is a track of, as the client says.
    pub source: Source,
    /// What it carries.
    #[serde(rename = "type")]
    pub type_: TrackType,
    /// Its codec, such as `audio/opus`; empty where LiveKit did not say.
    #[serde(default)]
    pub mime_type: String,
    /// Whether it is muted already.
    #[serde(default, skip_serializing_if = "Fact::is_unknown")]
    pub muted: Fact<bool>,
}

/// What told of the track.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventFacts {
    /// The webhook's event, such as `track_published`, or the name of what else found the track.
    #[serde(rename = "type")]
    pub type_: String,
    /// When that was, in Unix seconds.
    pub created_at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_livekits_and_unknown_ones_are_kept() {
        for word in Source::WORDS {
            assert!(!matches!(Source::from(*word), Source::Other(_)), "{word}");
            assert_eq!(Source::from(*word).to_string(), *word);
        }
        for word in TrackType::WORDS {
            assert_eq!(TrackType::from(*word).to_string(), *word);
        }
        for word in Kind::WORDS {
            assert!(!matches!(Kind::from(*word), Kind::Other(_)), "{word}");
        }
        for word in KindDetail::WORDS {
            assert_eq!(KindDetail::from(*word).to_string(), *word);
        }
        assert_eq!(
            Kind::from("HOLOGRAM"),
            Kind::Other("HOLOGRAM".to_owned()),
            "a newer LiveKit must not blind us"
        );
        assert_eq!(Source::from("microphone").as_str(), "microphone");
        assert!(matches!(Source::from("microphone"), Source::Other(_)));
    }

    #[test]
    fn an_unknown_fact_is_absent_and_a_missing_tenant_is_null() {
        let mut room = RoomFacts {
            name: "r".to_owned(),
            sid: "RM_1".to_owned(),
            ..RoomFacts::default()
        };
        let json = |room: &RoomFacts| serde_json::to_string(room).unwrap();
        assert_eq!(json(&room), r#"{"name":"r","sid":"RM_1"}"#);
        room.tenant = Fact::Known(None);
        assert_eq!(json(&room), r#"{"name":"r","sid":"RM_1","tenant":null}"#);
        let back: RoomFacts = serde_json::from_str(&json(&room)).unwrap();
        assert_eq!(back, room);
    }
}
