//! Asks LiveKit for an event's room and participant as they are now, and adds them to the facts.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{Either, select};
use livekit_protocol::ParticipantInfo;
use tokio::time::Instant;

use super::LiveTrack;
use crate::livekit::event::Event;
use crate::livekit::facts::{add_participant, add_room, add_track};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom, Rooms};
use quell_policy::Facts;

/// An event's own account of its room is used up to this age.
const FULL_ROOM_AGE_MAX: TimeDelta = TimeDelta::seconds(5);

/// What LiveKit answered about a room and a participant. It counts for every event that came before it was asked.
#[derive(Debug, Clone)]
pub struct Look {
    /// The room of the event's name; none: there is none.
    pub room: Result<Option<Arc<LiveRoom>>, LiveKitError>,
    /// The participant; none: there is none, or not in this room.
    pub participant: Result<Option<Arc<ParticipantInfo>>, LiveKitError>,
    /// When LiveKit was asked.
    pub asked_at: Instant,
}

/// What LiveKit answered about a room and everybody in it.
#[derive(Debug)]
pub(crate) struct RoomLook {
    room: Result<Option<Arc<LiveRoom>>, LiveKitError>,
    participants: Result<HashMap<String, Arc<ParticipantInfo>>, LiveKitError>,
    /// The identities of those of whom LiveKit says too much for a list: they can be asked for alone.
    oversized: HashSet<String>,
    asked_at: Instant,
}

impl RoomLook {
    /// The same about one participant.
    pub(crate) fn of(&self, identity: &str) -> Look {
        let participants = self.participants.as_ref();
        let participant = if self.oversized.contains(identity) {
            Err(LiveKitError::TooLarge {
                method: "ListParticipants",
            })
        } else {
            participants
                .map(|participants| participants.get(identity).cloned())
                .map_err(Clone::clone)
        };
        Look {
            room: self.room.clone(),
            participant,
            asked_at: self.asked_at,
        }
    }
}

/// What a look shows of the track that an event told of.
#[derive(Debug)]
pub(super) enum Shown {
    /// The track.
    Live(Box<LiveTrack>),
    /// The room of that name is another one now.
    Stale,
    /// The room, the participant or the track is not there: not yet, or not any more.
    Nothing,
    /// Not everything could be had; the facts hold what could.
    Partly(LiveKitError),
}

impl Look {
    /// Whether it shows the event's track.
    pub(crate) fn shows(&self, event: &Event) -> bool {
        let (Ok(Some(room)), Ok(Some(participant))) = (&self.room, &self.participant) else {
            return false;
        };
        let mut tracks = participant.tracks.iter();
        room.info.sid == event.room.sid && tracks.any(|track| track.sid == event.track.sid)
    }

    /// Adds to `facts` what it says of the event's track.
    pub(super) fn show(&self, event: &Event, facts: &mut Facts) -> Shown {
        if let Ok(Some(room)) = &self.room {
            if room.info.sid != event.room.sid {
                return Shown::Stale;
            }
            add_room(facts, room);
        }
        if let Ok(Some(participant)) = &self.participant {
            add_participant(facts, participant);
        }
        match (&self.room, &self.participant) {
            (Err(error), _) | (_, Err(error)) => Shown::Partly(error.clone()),
            (Ok(Some(room)), Ok(Some(participant))) => {
                let mut tracks = participant.tracks.iter();
                let Some(track) = tracks.find(|track| track.sid == event.track.sid) else {
                    return Shown::Nothing;
                };
                add_track(facts, track);
                Shown::Live(Box::new(LiveTrack {
                    room: Arc::clone(room),
                    participant: Arc::clone(participant),
                    track: track.clone(),
                    fetched_at: self.asked_at,
                }))
            }
            (Ok(_), Ok(_)) => Shown::Nothing,
        }
    }
}

/// The room that the event tells of whole, while that is as good as LiveKit's answer: it says on whose authority
/// there may be a mute.
pub(super) fn full_room(event: &Event, now: DateTime<Utc>) -> Option<Arc<LiveRoom>> {
    let age = (now - event.created_at).abs();
    event.room.full.clone().filter(|_| age <= FULL_ROOM_AGE_MAX)
}

/// Asks for room and participant at the same time; with `told`, only for the participant. Where the event's room is not there, no answer about
/// its participant counts, and none is waited for: LiveKit can take 3 s to say that it has none.
pub(super) async fn look(
    livekit: &LiveKit,
    rooms: &Rooms,
    event: &Event,
    told: Option<Arc<LiveRoom>>,
    deadline: Instant,
) -> Look {
    let asked_at = Instant::now();
    let name = &event.room.name;
    let room = pin!(async {
        match told {
            Some(told) => Ok(Some(told)),
            None => rooms.room(name, deadline).await,
        }
    });
    let participant = pin!(livekit.participant(name, &event.participant.identity, deadline));
    let (room, participant) = match select(room, participant).await {
        Either::Left((room, _)) if is_over(&room, event) => (room, Ok(None)),
        Either::Left((room, participant)) => (room, participant.await),
        Either::Right((participant, room)) => (room.await, participant),
    };
    let participant = if is_over(&room, event) {
        Ok(None)
    } else {
        participant
    };
    Look {
        room,
        participant: participant.map(|participant| participant.map(Arc::new)),
        asked_at,
    }
}

/// Asks for a room and everybody in it at the same time.
pub(super) async fn look_at_room(
    livekit: &LiveKit,
    rooms: &Rooms,
    name: &str,
    deadline: Instant,
) -> RoomLook {
    let asked_at = Instant::now();
    let (room, participants) = tokio::join!(
        rooms.room(name, deadline),
        livekit.participants(name, deadline)
    );
    let by_identity = |participants: Vec<ParticipantInfo>| {
        let each = participants.into_iter();
        each.map(|participant| (participant.identity.clone(), Arc::new(participant)))
            .collect()
    };
    let (participants, oversized) = match participants {
        Ok((participants, oversized)) => (Ok(by_identity(participants)), oversized),
        Err(error) => (Err(error), Vec::new()),
    };
    RoomLook {
        room,
        participants,
        oversized: oversized.into_iter().map(|it| it.name).collect(),
        asked_at,
    }
}

/// Whether the event's room is not there, or another one has its name.
fn is_over(room: &Result<Option<Arc<LiveRoom>>, LiveKitError>, event: &Event) -> bool {
    let Ok(room) = room else {
        return false;
    };
    room.as_ref()
        .is_none_or(|room| room.info.sid != event.room.sid)
}
