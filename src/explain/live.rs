//! A participant that is in a room now: its tracks, as if they were published now.

use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_protocol::TrackInfo;
use tokio::time::Instant;

use super::{Case, ExplainError, sources};
use crate::access::Authority;
use crate::livekit::LiveKit;
use crate::livekit::event::TRACK_PUBLISHED;
use crate::livekit::facts::{add_participant, add_room, add_track};
use crate::mute::{Sight, Target, look};
use quell_policy::{
    EventFacts, Fact, Facts, ParticipantFacts, RoomFacts, Source, TrackFacts, TrackType,
};

/// So many tracks of one participant are explained; further ones are only counted.
const TRACKS_MAX: usize = 20;

/// The tracks of the target, and how many there are more.
pub(super) async fn cases(
    livekit: &LiveKit,
    authority: &Authority,
    target: &Target<'_>,
    timeout: Duration,
    at: DateTime<Utc>,
) -> Result<(Vec<Case>, usize), ExplainError> {
    let deadline = Instant::now() + timeout;
    let sight = look(livekit, authority, target, deadline).await?;
    let tracks = sight.participant().tracks.iter();
    let tracks: Vec<_> = tracks
        .filter(|track| target.track.is_none_or(|sid| track.sid == sid))
        .collect();
    let left_off = tracks.len().saturating_sub(TRACKS_MAX);
    let cases = tracks
        .into_iter()
        .take(TRACKS_MAX)
        .map(|track| Case {
            facts: facts(&sight, track, at),
            sources: sources::of_live(),
            at,
            event: None,
            warnings: Vec::new(),
        })
        .collect();
    Ok((cases, left_off))
}

fn facts(sight: &Sight, track: &TrackInfo, at: DateTime<Utc>) -> Facts {
    let mut facts = Facts {
        room: RoomFacts {
            name: sight.room().info.name.clone(),
            sid: sight.room().info.sid.clone(),
            ..RoomFacts::default()
        },
        participant: ParticipantFacts {
            identity: sight.participant().identity.clone(),
            ..ParticipantFacts::default()
        },
        track: TrackFacts {
            sid: track.sid.clone(),
            name: track.name.clone(),
            source: Source::Unknown,
            type_: TrackType::Audio,
            mime_type: String::new(),
            muted: Fact::Unknown,
        },
        event: EventFacts {
            type_: TRACK_PUBLISHED.to_owned(),
            created_at: at.timestamp(),
        },
    };
    add_room(&mut facts, sight.room());
    add_participant(&mut facts, sight.participant());
    add_track(&mut facts, track);
    facts
}
