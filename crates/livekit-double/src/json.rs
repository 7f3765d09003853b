//! JSON as LiveKit's Twirp server writes it: names as in the `.proto` files, every field there.
//!
//! livekit-protocol writes camelCase and leaves zero values out, as webhooks do; this fills them in.

use livekit_protocol as proto;
use serde::Serialize;
use serde_json::{Map, Value};

/// What a field holds when it holds nothing, and how to go on into it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Number,
    /// 64 bits: a string in JSON.
    Long,
    /// The name of the value 0.
    Enum(&'static str),
    Map,
    /// Of numbers, strings or enums.
    List,
    Message(Fields),
    Messages(Fields),
}

type Fields = &'static [(&'static str, Kind)];

/// A message that the double answers with.
pub(super) trait Answer: prost::Message + Serialize {
    /// Its fields, by their names in the `.proto` file.
    #[expect(private_interfaces, reason = "only read here")]
    const FIELDS: Fields;
}

macro_rules! answers {
    ($($message:ident = $fields:expr;)*) => {
        $(impl Answer for proto::$message {
            #[expect(private_interfaces, reason = "only read here")]
            const FIELDS: Fields = $fields;
        })*
    };
}

answers! {
    Room = ROOM;
    ParticipantInfo = PARTICIPANT;
    TrackInfo = TRACK;
    ListRoomsResponse = &[("rooms", Kind::Messages(ROOM))];
    ListParticipantsResponse = &[("participants", Kind::Messages(PARTICIPANT))];
    MuteRoomTrackResponse = &[("track", Kind::Message(TRACK))];
    SendDataResponse = &[];
}

const ROOM: Fields = &[
    ("sid", Kind::Text),
    ("name", Kind::Text),
    ("empty_timeout", Kind::Number),
    ("departure_timeout", Kind::Number),
    ("max_participants", Kind::Number),
    ("creation_time", Kind::Long),
    ("creation_time_ms", Kind::Long),
    ("turn_password", Kind::Text),
    ("enabled_codecs", Kind::Messages(CODEC)),
    ("metadata", Kind::Text),
    ("num_participants", Kind::Number),
    ("num_publishers", Kind::Number),
    ("active_recording", Kind::Flag),
    ("version", Kind::Message(VERSION)),
];
const CODEC: Fields = &[("mime", Kind::Text), ("fmtp_line", Kind::Text)];
const VERSION: Fields = &[("unix_micro", Kind::Long), ("ticks", Kind::Number)];
const PARTICIPANT: Fields = &[
    ("sid", Kind::Text),
    ("identity", Kind::Text),
    ("state", Kind::Enum("JOINING")),
    ("tracks", Kind::Messages(TRACK)),
    ("metadata", Kind::Text),
    ("joined_at", Kind::Long),
    ("joined_at_ms", Kind::Long),
    ("name", Kind::Text),
    ("version", Kind::Number),
    ("permission", Kind::Message(PERMISSION)),
    ("region", Kind::Text),
    ("is_publisher", Kind::Flag),
    ("kind", Kind::Enum("STANDARD")),
    ("attributes", Kind::Map),
    ("disconnect_reason", Kind::Enum("UNKNOWN_REASON")),
    ("kind_details", Kind::List),
    ("data_tracks", Kind::List),
    ("client_protocol", Kind::Number),
    ("capabilities", Kind::List),
];
const PERMISSION: Fields = &[
    ("can_subscribe", Kind::Flag),
    ("can_publish", Kind::Flag),
    ("can_publish_data", Kind::Flag),
    ("can_publish_sources", Kind::List),
    ("hidden", Kind::Flag),
    ("recorder", Kind::Flag),
    ("can_update_metadata", Kind::Flag),
    ("agent", Kind::Flag),
    ("can_subscribe_metrics", Kind::Flag),
    ("can_manage_agent_session", Kind::Flag),
];
const TRACK: Fields = &[
    ("sid", Kind::Text),
    ("type", Kind::Enum("AUDIO")),
    ("name", Kind::Text),
    ("muted", Kind::Flag),
    ("width", Kind::Number),
    ("height", Kind::Number),
    ("simulcast", Kind::Flag),
    ("disable_dtx", Kind::Flag),
    ("source", Kind::Enum("UNKNOWN")),
    ("layers", Kind::Messages(LAYER)),
    ("mime_type", Kind::Text),
    ("mid", Kind::Text),
    ("codecs", Kind::Messages(TRACK_CODEC)),
    ("stereo", Kind::Flag),
    ("disable_red", Kind::Flag),
    ("encryption", Kind::Enum("NONE")),
    ("stream", Kind::Text),
    ("version", Kind::Message(VERSION)),
    ("audio_features", Kind::List),
    ("backup_codec_policy", Kind::Enum("PREFER_REGRESSION")),
    ("packet_trailer_features", Kind::List),
];
const LAYER: Fields = &[
    ("quality", Kind::Enum("LOW")),
    ("width", Kind::Number),
    ("height", Kind::Number),
    ("bitrate", Kind::Number),
    ("ssrc", Kind::Number),
    ("spatial_layer", Kind::Number),
    ("rid", Kind::Text),
    ("repair_ssrc", Kind::Number),
];
const TRACK_CODEC: Fields = &[
    ("mime_type", Kind::Text),
    ("mid", Kind::Text),
    ("cid", Kind::Text),
    ("layers", Kind::Messages(LAYER)),
    ("video_layer_mode", Kind::Enum("MODE_UNUSED")),
    ("sdp_cid", Kind::Text),
];

/// `message` as the Twirp server writes it.
pub(super) fn answer<M: Answer>(message: &M) -> Result<Value, serde_json::Error> {
    Ok(fill(serde_json::to_value(message)?, M::FIELDS))
}

fn fill(message: Value, fields: Fields) -> Value {
    let Value::Object(mut message) = message else {
        return Value::Null;
    };
    let filled = fields.iter().map(|(name, kind)| {
        let value = message.remove(&camel_case(name));
        ((*name).to_owned(), fill_field(value, *kind))
    });
    Value::Object(filled.collect())
}

fn fill_field(value: Option<Value>, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Message(fields), Some(value)) => fill(value, fields),
        (Kind::Messages(fields), Some(Value::Array(values))) => values
            .into_iter()
            .map(|value| fill(value, fields))
            .collect(),
        (_, Some(value)) => value,
        (Kind::Text, None) => Value::from(""),
        (Kind::Flag, None) => Value::from(false),
        (Kind::Number, None) => Value::from(0),
        (Kind::Long, None) => Value::from("0"),
        (Kind::Enum(zero), None) => Value::from(zero),
        (Kind::Map, None) => Value::Object(Map::new()),
        (Kind::List | Kind::Messages(_), None) => Value::Array(Vec::new()),
        (Kind::Message(_), None) => Value::Null,
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_values_are_written() {
        let room = answer(&proto::Room::default()).unwrap();
        let expected = serde_json::json!({
            "sid": "", "name": "", "empty_timeout": 0, "departure_timeout": 0,
            "max_participants": 0, "creation_time": "0", "creation_time_ms": "0",
            "turn_password": "", "enabled_codecs": [], "metadata": "", "num_participants": 0,
            "num_publishers": 0, "active_recording": false, "version": null,
        });
        assert_eq!(room, expected);
    }
}
