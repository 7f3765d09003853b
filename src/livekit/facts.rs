//! What LiveKit says, as facts: its events, and its answers about rooms, participants and tracks.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo, TrackSource, TrackType, participant_info};

use super::event::{Event, TRACK_PUBLISHED};
use super::room::LiveRoom;
use quell_policy::facts::{
    EventFacts, Fact, Facts, Kind, KindDetail, ParticipantFacts, RoomFacts, Source, TrackFacts,
    TrackType as Type,
};
use quell_policy::limits::TRACK_NAME_BYTES_MAX;
use quell_policy::metadata::metadata_in;

/// The facts that an event itself holds.
pub(crate) fn facts_from_event(event: &Event) -> Facts {
    Facts {
        room: RoomFacts {
            name: event.room.name.clone(),
            sid: event.room.sid.clone(),
            ..RoomFacts::default()
        },
        participant: ParticipantFacts {
            identity: event.participant.identity.clone(),
            sid: event.participant.sid.clone(),
            ..ParticipantFacts::default()
        },
        track: TrackFacts {
            sid: event.track.sid.clone(),
            name: track_name(&event.track.name),
            source: Source::from(event.track.source.as_str()),
            type_: Type::from(event.track.track_type.as_str()),
            mime_type: event.track.mime_type.clone(),
            // What the client said when it published; it may have unmuted since.
            muted: Fact::Unknown,
        },
        event: EventFacts {
            type_: event.name.clone(),
            created_at: event.created_at.timestamp(),
        },
    }
}

/// The facts of a track that LiveKit shows, as if it were published at `at`.
pub(crate) fn facts_from_live(
    room: &LiveRoom,
    participant: &ParticipantInfo,
    track: &TrackInfo,
    at: DateTime<Utc>,
) -> Facts {
    let mut facts = Facts {
        room: RoomFacts {
            name: room.info.name.clone(),
            sid: room.info.sid.clone(),
            ..RoomFacts::default()
        },
        participant: ParticipantFacts {
            identity: participant.identity.clone(),
            ..ParticipantFacts::default()
        },
        track: TrackFacts {
            sid: track.sid.clone(),
            name: track_name(&track.name),
            source: Source::Unknown,
            type_: Type::Audio,
            mime_type: String::new(),
            muted: Fact::Unknown,
        },
        event: EventFacts {
            type_: TRACK_PUBLISHED.to_owned(),
            created_at: at.timestamp(),
        },
    };
    add_room(&mut facts, room);
    add_participant(&mut facts, participant);
    add_track(&mut facts, track);
    facts
}

/// The start of it: the client that publishes chooses it, and LiveKit bounds all other texts. So nobody stays unmuted whose
/// track's name takes long to read.
fn track_name(name: &str) -> String {
    name[..name.floor_char_boundary(TRACK_NAME_BYTES_MAX)].to_owned()
}

/// Adds what `ListRooms` says of the room.
pub(crate) fn add_room(facts: &mut Facts, room: &LiveRoom) {
    facts.room.tenant = Fact::Known(room.tenant.clone());
    facts.room.metadata = Fact::Known(room.metadata.clone());
    facts.room.num_participants = Fact::Known(room.info.num_participants);
    facts.room.num_publishers = Fact::Known(room.info.num_publishers);
    facts.room.created_at = Fact::Known(room.info.creation_time);
    facts.room.active_recording = Fact::Known(room.info.active_recording);
}

/// Adds what `GetParticipant` says of the participant.
pub(crate) fn add_participant(facts: &mut Facts, participant: &ParticipantInfo) {
    let kind = participant_info::Kind::try_from(participant.kind)
        .map_or_else(|n| n.0.to_string(), |kind| kind.as_str_name().to_owned());
    let to = &mut facts.participant;
    to.sid.clone_from(&participant.sid);
    to.name = Fact::Known(participant.name.clone());
    to.kind = Fact::Known(Kind::from(kind.as_str()));
    let details = participant.kind_details.iter().map(|number| {
        participant_info::KindDetail::try_from(*number).map_or_else(
            |n| KindDetail::Other(n.0.to_string()),
            |detail| KindDetail::from(detail.as_str_name()),
        )
    });
    to.kind_details = Fact::Known(details.collect());
    to.joined_at = Fact::Known(participant.joined_at);
    let attributes: BTreeMap<_, _> = participant.attributes.clone().into_iter().collect();
    to.attributes = Fact::Known(attributes);
    to.metadata = Fact::Known(metadata_in(&participant.metadata));
    to.is_publisher = Fact::Known(participant.is_publisher);
    let permission = participant.permission.as_ref();
    to.can_publish = Fact::Known(permission.is_none_or(|may| may.can_publish));
    to.can_update_metadata = Fact::Known(permission.is_none_or(|may| may.can_update_metadata));
}

/// Adds what `GetParticipant` says of the track: it is newer than what the event says.
pub(crate) fn add_track(facts: &mut Facts, track: &TrackInfo) {
    let source = TrackSource::try_from(track.source).map_or_else(
        |n| n.0.to_string(),
        |source| source.as_str_name().to_owned(),
    );
    let track_type = TrackType::try_from(track.r#type)
        .map_or_else(|n| n.0.to_string(), |t| t.as_str_name().to_owned());
    facts.track.source = Source::from(source.as_str());
    facts.track.type_ = Type::from(track_type.as_str());
    facts.track.mime_type.clone_from(&track.mime_type);
    facts.track.muted = Fact::Known(track.muted);
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use quell_policy::{CompiledPolicy, Document, PolicySet, decide};

    fn nested(levels: usize) -> String {
        let lists = levels.saturating_sub(1);
        format!("{{\"x\":{}{}}}", "[".repeat(lists), "]".repeat(lists))
    }

    fn unknown() -> Facts {
        Facts {
            room: RoomFacts::default(),
            participant: ParticipantFacts::default(),
            track: TrackFacts {
                sid: String::new(),
                name: String::new(),
                source: Source::Microphone,
                type_: Type::Audio,
                mime_type: String::new(),
                muted: Fact::Unknown,
            },
            event: EventFacts::default(),
        }
    }

    #[test]
    fn of_a_tracks_name_the_start_is_a_fact() {
        assert_eq!(track_name("mic"), "mic");
        let long = "é".repeat(100_000);
        assert_eq!(track_name(&long), "é".repeat(2048));
        assert_eq!(track_name(&format!("a{long}")).len(), 4095);
    }

    #[test]
    fn kind_details_are_read_by_number_and_newer_ones_kept() {
        for (number, word) in [
            (0, "CLOUD_AGENT"),
            (1, "FORWARDED"),
            (2, "CONNECTOR_WHATSAPP"),
            (3, "CONNECTOR_TWILIO"),
            (4, "BRIDGE_RTSP"),
            (5, "SIMULATION"),
            (99, "99"),
            (-1, "-1"),
        ] {
            let mut facts = unknown();
            let participant = ParticipantInfo {
                kind_details: vec![number, 1],
                ..ParticipantInfo::default()
            };
            add_participant(&mut facts, &participant);
            let details = facts.participant.kind_details;
            let wanted = [KindDetail::from(word), KindDetail::Forwarded];
            assert_eq!(details, Fact::Known(wanted.to_vec()));
            // All that are known here can be named, and no others.
            let named = KindDetail::WORDS.contains(&word);
            assert_eq!(
                named,
                participant_info::KindDetail::try_from(number).is_ok()
            );
        }
    }

    #[test]
    fn no_metadata_makes_an_event_unreadable() {
        let yaml = "policies: [{ name: a, match: {}, when: 'has(room.metadata.x)', effect: mute }]";
        let document = Document::load([("p.yaml", yaml)]).unwrap().value;
        let compiled = document.policies.iter();
        let set = PolicySet::new(compiled.map(|policy| CompiledPolicy::new(policy, 1).unwrap()));
        // The reader of what is stored goes to 127.
        for levels in [2, 64, 65, 125, 126, 127, 10_000] {
            let metadata = nested(levels);
            let mut facts = unknown();
            let participant = ParticipantInfo {
                metadata: metadata.clone(),
                ..ParticipantInfo::default()
            };
            add_participant(&mut facts, &participant);
            let info = livekit_protocol::Room {
                metadata,
                ..livekit_protocol::Room::default()
            };
            add_room(&mut facts, &LiveRoom::from(info));
            let now = DateTime::from_timestamp(1_795_357_717, 0).unwrap();
            let decided = decide(&set, &facts, now);
            // As it is stored, and read back by explanations and backtests.
            let stored = serde_json::to_string(&facts).unwrap();
            let back: Facts = serde_json::from_str(&stored).unwrap();
            assert_eq!(back, facts, "{levels}");
            assert_eq!(decide(&set, &back, now), decided);
            assert!(decided.enforced.mute().is_some(), "{levels}");
        }
    }
}
