//! Looks at LiveKit: the room and the participant of an event, as they are now, as facts.

use std::collections::BTreeMap;
use std::time::Duration;

use livekit_protocol::{ParticipantInfo, TrackInfo, TrackSource, TrackType, participant_info};
use serde_json::Value;
use tokio::time::Instant;

use crate::livekit::event::Event;
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};
use crate::policy::facts::{
    EventFacts, Fact, Facts, Kind, ParticipantFacts, RoomFacts, Source, TrackFacts,
    TrackType as Type,
};

/// A webhook can be faster than the API that shows its track: these are the pauses between looks.
const LOOK_AGAIN: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// What was seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// All that the event speaks of.
    All(Box<Live>),
    /// The room of that name is another one now.
    Stale,
    /// The room, the participant or the track is not there (any more).
    Gone,
    /// Not everything could be had; the facts hold what could.
    Partly(LiveKitError),
}

/// The room and the track, as LiveKit shows them now.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) room: LiveRoom,
    pub(super) track: TrackInfo,
}

/// The facts that an event itself holds.
pub(super) fn told_by(event: &Event) -> Facts {
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
            name: event.track.name.clone(),
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

/// Asks LiveKit for the room and, at the same time, the participant, and adds them to `facts`.
pub(super) async fn look(
    livekit: &LiveKit,
    event: &Event,
    facts: &mut Facts,
    deadline: Instant,
) -> Seen {
    let begun = Instant::now();
    let mut pauses = LOOK_AGAIN.iter();
    loop {
        let (room, participant) = tokio::join!(
            livekit.room(&event.room.name, deadline),
            livekit.participant(&event.room.name, &event.participant.identity, deadline),
        );
        let room = match room {
            Ok(Some(room)) if room.info.sid != event.room.sid => return Seen::Stale,
            other => other,
        };
        if let Ok(Some(room)) = &room {
            add_room(facts, room);
        }
        if let Ok(Some(participant)) = &participant {
            add_participant(facts, participant);
        }
        match (room, participant) {
            (Err(error), _) | (_, Err(error)) => return Seen::Partly(error),
            (Ok(Some(room)), Ok(Some(participant))) => {
                let mut tracks = participant.tracks.into_iter();
                if let Some(track) = tracks.find(|track| track.sid == event.track.sid) {
                    add_track(facts, &track);
                    return Seen::All(Box::new(Live { room, track }));
                }
            }
            (Ok(_), Ok(_)) => {}
        }
        match pauses.next() {
            // LiveKit says of nothing when it has become visible: there is only asking again.
            Some(pause) if Instant::now() + *pause < deadline => tokio::time::sleep(*pause).await,
            // There was more to look for, and no time: that is not "gone".
            Some(_) => return Seen::Partly(LiveKitError::out_of_time("GetParticipant", begun)),
            None => return Seen::Gone,
        }
    }
}

fn json_or_null(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn add_room(facts: &mut Facts, room: &LiveRoom) {
    facts.room.tenant = Fact::Known(room.tenant.clone());
    facts.room.metadata = Fact::Known(json_or_null(&room.info.metadata));
    facts.room.num_participants = Fact::Known(room.info.num_participants);
    facts.room.num_publishers = Fact::Known(room.info.num_publishers);
    facts.room.created_at = Fact::Known(room.info.creation_time);
    facts.room.active_recording = Fact::Known(room.info.active_recording);
}

fn add_participant(facts: &mut Facts, participant: &ParticipantInfo) {
    let kind = participant_info::Kind::try_from(participant.kind)
        .map_or_else(|n| n.0.to_string(), |kind| kind.as_str_name().to_owned());
    let to = &mut facts.participant;
    to.sid.clone_from(&participant.sid);
    to.name = Fact::Known(participant.name.clone());
    to.kind = Fact::Known(Kind::from(kind.as_str()));
    to.joined_at = Fact::Known(participant.joined_at);
    let attributes: BTreeMap<_, _> = participant.attributes.clone().into_iter().collect();
    to.attributes = Fact::Known(attributes);
    to.metadata = Fact::Known(json_or_null(&participant.metadata));
    to.is_publisher = Fact::Known(participant.is_publisher);
    to.can_publish = Fact::Known(
        participant
            .permission
            .as_ref()
            .is_none_or(|permission| permission.can_publish),
    );
}

/// LiveKit's present word on the track beats the event's.
fn add_track(facts: &mut Facts, track: &TrackInfo) {
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
