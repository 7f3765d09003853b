//! New rooms, participants and tracks with everything that the real server puts into them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use livekit_protocol as proto;
use proto::{TrackSource, TrackType, client_info, participant_info, video_layer};

/// The letters of LiveKit's ids: none that look like another.
const ID_LETTERS: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const CODECS: [&str; 10] = [
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "video/rtx",
];

/// Who joins, and as what.
#[derive(Debug, Clone)]
pub struct Join {
    /// The participant's identity.
    pub identity: String,
    /// The display name.
    pub name: String,
    /// What kind of participant it is.
    pub kind: participant_info::Kind,
    /// What more it is.
    pub kind_details: Vec<participant_info::KindDetail>,
    /// Its attributes.
    pub attributes: HashMap<String, String>,
    /// Its metadata.
    pub metadata: String,
    /// Others do not see it.
    pub hidden: bool,
    /// What it may do; `hidden` above is put into it. By default: subscribe, publish, send data.
    pub permission: proto::ParticipantPermission,
    /// Opens the signalling connection only: listed as `JOINING`, no webhook on joining, and
    /// `participant_connection_aborted` at the end.
    pub signalling_only: bool,
}

impl Join {
    /// An ordinary participant who may do everything.
    #[must_use]
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            name: String::new(),
            kind: participant_info::Kind::Standard,
            kind_details: Vec::new(),
            attributes: HashMap::new(),
            metadata: String::new(),
            hidden: false,
            permission: proto::ParticipantPermission {
                can_subscribe: true,
                can_publish: true,
                can_publish_data: true,
                ..Default::default()
            },
            signalling_only: false,
        }
    }

    /// The same, of another kind.
    #[must_use]
    pub fn kind(self, kind: participant_info::Kind) -> Self {
        Self { kind, ..self }
    }

    /// The same, with one more detail of its kind.
    #[must_use]
    pub fn kind_detail(mut self, detail: participant_info::KindDetail) -> Self {
        self.kind_details.push(detail);
        self
    }

    /// The same, with one more attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.insert(key.into(), value.into());
        self
    }
}

/// What is published.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The track's name.
    pub name: String,
    /// Where it comes from, as the client says.
    pub source: TrackSource,
    /// Audio or video.
    pub track_type: TrackType,
    /// Published muted.
    pub muted: bool,
    /// The track's SID; one is made up where there is none.
    pub sid: Option<String>,
}

impl Publish {
    /// A track from `source`, of the type that fits it; audio where the source is unknown.
    #[must_use]
    pub fn new(source: TrackSource) -> Self {
        let video = matches!(source, TrackSource::Camera | TrackSource::ScreenShare);
        Self {
            name: String::new(),
            source,
            track_type: if video {
                TrackType::Video
            } else {
                TrackType::Audio
            },
            muted: false,
            sid: None,
        }
    }

    /// A microphone, the most common case.
    #[must_use]
    pub fn microphone() -> Self {
        Self::new(TrackSource::Microphone)
    }
}

/// A new id such as `RM_4SsxdLR4i9AB`.
pub(super) fn new_id(prefix: &str) -> String {
    let letters = (0..12).filter_map(|_| {
        ID_LETTERS
            .get(rand::random_range(0..ID_LETTERS.len()))
            .map(|letter| char::from(*letter))
    });
    prefix.chars().chain(letters).collect()
}

/// A new room, without anybody in it.
pub(super) fn new_room(name: &str, metadata: &str, now: DateTime<Utc>) -> proto::Room {
    proto::Room {
        sid: new_id("RM_"),
        name: name.to_owned(),
        empty_timeout: 300,
        departure_timeout: 20,
        creation_time: now.timestamp(),
        creation_time_ms: now.timestamp_millis(),
        turn_password: new_id("") + &new_id("") + &new_id(""),
        enabled_codecs: CODECS
            .iter()
            .map(|mime| proto::Codec {
                mime: (*mime).to_owned(),
                fmtp_line: String::new(),
            })
            .collect(),
        metadata: metadata.to_owned(),
        ..Default::default()
    }
}

/// A participant who has just joined, with LiveKit's Python client.
pub(super) fn new_participant(join: Join, now: DateTime<Utc>) -> proto::ParticipantInfo {
    use client_info::Capability;
    let state = if join.signalling_only {
        participant_info::State::Joining
    } else {
        participant_info::State::Active
    };
    proto::ParticipantInfo {
        sid: new_id("PA_"),
        identity: join.identity,
        state: state.into(),
        metadata: join.metadata,
        joined_at: now.timestamp(),
        joined_at_ms: now.timestamp_millis(),
        name: join.name,
        version: if join.signalling_only { 1 } else { 2 },
        permission: Some(proto::ParticipantPermission {
            hidden: join.hidden || join.permission.hidden,
            ..join.permission
        }),
        kind: join.kind.into(),
        kind_details: join.kind_details.into_iter().map(Into::into).collect(),
        attributes: join.attributes,
        client_protocol: 2,
        capabilities: vec![
            Capability::CapPacketTrailer.into(),
            Capability::CapCompressionDeflateRaw.into(),
        ],
        ..Default::default()
    }
}

/// A track that has just been published; `mid` numbers a participant's tracks.
#[expect(
    deprecated,
    reason = "the real server still fills the deprecated `layers`"
)]
pub(super) fn new_track(publish: Publish, mid: u32, now: DateTime<Utc>) -> proto::TrackInfo {
    let video = publish.track_type == TrackType::Video;
    let layers = if video {
        let screen = publish.source == TrackSource::ScreenShare;
        vec![proto::VideoLayer {
            width: 320,
            height: 240,
            bitrate: if screen { 200_000 } else { 225_000 },
            ssrc: rand::random(),
            ..Default::default()
        }]
    } else {
        Vec::new()
    };
    let mime_type = match publish.track_type {
        TrackType::Audio => "audio/red",
        TrackType::Video => "video/VP8",
        TrackType::Data => "",
    };
    let stream = match publish.source {
        TrackSource::Microphone | TrackSource::Camera => "camera",
        TrackSource::ScreenShare | TrackSource::ScreenShareAudio => "screen",
        TrackSource::Unknown => "unknown",
    };
    proto::TrackInfo {
        sid: publish
            .sid
            .unwrap_or_else(|| new_track_sid(publish.track_type, publish.source)),
        r#type: publish.track_type.into(),
        name: publish.name,
        muted: publish.muted,
        width: if video { 320 } else { 0 },
        height: if video { 240 } else { 0 },
        source: publish.source.into(),
        layers: layers.clone(),
        mime_type: mime_type.to_owned(),
        mid: mid.to_string(),
        codecs: vec![proto::SimulcastCodecInfo {
            mime_type: mime_type.to_owned(),
            mid: mid.to_string(),
            cid: uuid::Builder::from_random_bytes(rand::random())
                .into_uuid()
                .to_string(),
            layers,
            video_layer_mode: video_layer::Mode::OneSpatialLayerPerStream.into(),
            ..Default::default()
        }],
        stream: stream.to_owned(),
        version: Some(proto::TimedVersion {
            unix_micro: now.timestamp_micros(),
            ticks: 0,
        }),
        backup_codec_policy: if video {
            proto::BackupCodecPolicy::PreferRegression.into()
        } else {
            proto::BackupCodecPolicy::Simulcast.into()
        },
        ..Default::default()
    }
}

/// LiveKit's track ids tell type and source: `TR_AM...` is a microphone.
fn new_track_sid(track_type: TrackType, source: TrackSource) -> String {
    let track_type = match track_type {
        TrackType::Audio => "A",
        TrackType::Video => "V",
        TrackType::Data => "D",
    };
    let source = match source {
        TrackSource::Microphone => "M",
        TrackSource::Camera => "C",
        TrackSource::ScreenShare => "S",
        TrackSource::ScreenShareAudio => "s",
        TrackSource::Unknown => "",
    };
    new_id(&format!("TR_{track_type}{source}"))
}
