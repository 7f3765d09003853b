//! Fetches an event's room, participant and track from LiveKit, as they are now, and adds them to the facts.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use livekit_protocol::ParticipantInfo;
use tokio::time::Instant;

use super::LiveTrack;
use crate::livekit::event::Event;
use crate::livekit::facts::{add_participant, add_room, add_track};
use crate::livekit::{LiveKit, LiveKitError, LiveRoom};
use quell_policy::Facts;

/// A webhook can be faster than the API that shows its track: the pauses between tries.
const RETRY_PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// What LiveKit shows of what an event told of.
#[derive(Debug)]
pub(super) enum Fetched {
    /// The track.
    Live(Box<LiveTrack>),
    /// The room of that name is another one now.
    Stale,
    /// The room, the participant or the track is not there (any more).
    Gone,
    /// Not everything could be had; the facts hold what could.
    Partly(LiveKitError),
}

/// Asks LiveKit for the room and, at the same time, the participant, and adds them to `facts`.
pub(super) async fn fetch(
    livekit: &LiveKit,
    event: &Event,
    facts: &mut Facts,
    deadline: Instant,
) -> Fetched {
    let begun = Instant::now();
    let mut pauses = RETRY_PAUSES.iter();
    loop {
        let fetched_at = Instant::now();
        let (room, participant) = ask(livekit, event, deadline).await;
        let room = match room {
            Ok(Some(room)) if room.info.sid != event.room.sid => return Fetched::Stale,
            other => other,
        };
        if let Ok(Some(room)) = &room {
            add_room(facts, room);
        }
        if let Ok(Some(participant)) = &participant {
            add_participant(facts, participant);
        }
        match (room, participant) {
            (Err(error), _) | (_, Err(error)) => return Fetched::Partly(error),
            (Ok(Some(room)), Ok(Some(participant))) => {
                let mut tracks = participant.tracks.iter();
                if let Some(track) = tracks.find(|track| track.sid == event.track.sid).cloned() {
                    add_track(facts, &track);
                    return Fetched::Live(Box::new(LiveTrack {
                        room,
                        participant,
                        track,
                        fetched_at,
                    }));
                }
            }
            (Ok(_), Ok(_)) => {}
        }
        match pauses.next() {
            // LiveKit does not tell when something becomes visible, so it is asked again.
            Some(pause) if Instant::now() + *pause < deadline => tokio::time::sleep(*pause).await,
            // It ran out of time before the last retry, so the track may still appear.
            Some(_) => return Fetched::Partly(LiveKitError::out_of_time("GetParticipant", begun)),
            None => return Fetched::Gone,
        }
    }
}

/// Asks for room and participant at the same time. Where the event's room is not there, no answer about
/// its participant counts, and none is waited for: LiveKit can take 3 s to say that it has none.
async fn ask(
    livekit: &LiveKit,
    event: &Event,
    deadline: Instant,
) -> (
    Result<Option<LiveRoom>, LiveKitError>,
    Result<Option<ParticipantInfo>, LiveKitError>,
) {
    let name = &event.room.name;
    let room = pin!(livekit.room(name, deadline));
    let participant = pin!(livekit.participant(name, &event.participant.identity, deadline));
    let (room, participant) = match select(room, participant).await {
        Either::Left((room, _)) if is_over(&room, event) => return (room, Ok(None)),
        Either::Left((room, participant)) => (room, participant.await),
        Either::Right((participant, room)) => (room.await, participant),
    };
    if is_over(&room, event) {
        return (room, Ok(None));
    }
    (room, participant)
}

/// Whether the event's room is not there, or another one has its name.
fn is_over(room: &Result<Option<LiveRoom>, LiveKitError>, event: &Event) -> bool {
    let Ok(room) = room else {
        return false;
    };
    room.as_ref()
        .is_none_or(|room| room.info.sid != event.room.sid)
}
