//! One room: who is in it, with which tracks, and what policies say of each now.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo};
use prost::Message;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::Instant;

use super::keyset_page::KeysetPage;
use super::{PAGE_BYTES_MAX, RoomSummary, RoomsError};
use crate::access::Viewer;
use crate::explain::Verdicts;
use crate::livekit::Urgency;
use crate::livekit::facts::facts_from_live;
use crate::pipeline::decide_in_turn;
use crate::postgres::Pool;
use crate::sweep::{
    ListedRoom, Reader, TrackRoom, TrackTimes, UnmutedTrack, peek, unmutes_that_stand,
};
use quell_policy::PolicySet;

/// A track counts as so many bytes of a page at least, since its decision is more than LiveKit says of it.
const TRACK_BYTES_MIN: usize = 1 << 10;
/// What is not decided by then is for the next page, or is not decided. Others wait for no longer than 5 s.
const DECIDING_MAX: Duration = Duration::from_secs(2);

/// Which page of which room.
#[derive(Debug)]
pub struct RoomRequest {
    /// The room's name.
    pub room: String,
    /// Only who comes behind this identity.
    pub after: Option<String>,
    /// The most participants.
    pub limit: usize,
    /// Who reads it.
    pub viewer: Viewer,
    /// The policies to decide by; none: no decisions are shown.
    pub policies: Option<Arc<PolicySet>>,
}

/// A page of a room.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LiveRoomPage {
    /// The room. Hidden participants are left out of its numbers too: nobody hears them.
    #[serde(flatten)]
    pub room: RoomSummary,
    /// The participants, by identity.
    pub participants: Vec<Participant>,
    /// Participants with too much metadata to be read, of all of the room.
    pub skipped: usize,
    /// The identity behind which the next page begins.
    #[serde(skip)]
    pub next: Option<String>,
}

/// Who is in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Participant {
    /// Its identity.
    pub identity: String,
    /// The name that is shown to others.
    pub name: String,
    /// When it joined, to the second.
    pub joined_at: DateTime<Utc>,
    /// What it publishes.
    pub tracks: Vec<Track>,
}

/// A track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Track {
    /// Its SID.
    pub track_sid: String,
    /// What it shows, in LiveKit's words.
    pub source: String,
    /// `AUDIO`, `VIDEO` or `DATA`.
    pub r#type: String,
    /// Its name, as its publisher says.
    pub name: String,
    /// Whether it is muted.
    pub muted: bool,
    /// What policies say of it now; none for callers without the scope `policies:read`, and where it takes too long.
    pub decision: Option<Verdicts>,
    /// Whether a person let it speak since, so that the policy that would mute it leaves it alone; none without a
    /// decision.
    pub let_speak: Option<bool>,
}

impl From<&ParticipantInfo> for Participant {
    fn from(info: &ParticipantInfo) -> Self {
        Self {
            identity: info.identity.clone(),
            name: info.name.clone(),
            joined_at: DateTime::from_timestamp(info.joined_at, 0).unwrap_or_default(),
            tracks: Vec::new(),
        }
    }
}

impl From<&TrackInfo> for Track {
    fn from(info: &TrackInfo) -> Self {
        Self {
            track_sid: info.sid.clone(),
            source: info.source().as_str_name().to_owned(),
            r#type: info.r#type().as_str_name().to_owned(),
            name: info.name.clone(),
            muted: info.muted,
            decision: None,
            let_speak: None,
        }
    }
}

/// The page that `request` asks for.
pub(crate) async fn room(
    pool: &Pool,
    reader: &Reader,
    request: RoomRequest,
    now: DateTime<Utc>,
) -> Result<LiveRoomPage, RoomsError> {
    let RoomRequest {
        room,
        after,
        limit,
        viewer,
        policies,
    } = request;
    let may_see = |room: &ListedRoom| viewer.may_see_room(room.tenant.as_ref());
    let listed = reader.list(Urgency::Routine, Some(&room), may_see).await?;
    let listed = listed
        .rooms
        .into_iter()
        .next()
        .ok_or(RoomsError::NotFound)?;
    let mut page = KeysetPage::new(after, limit, PAGE_BYTES_MAX);
    let each = |participant: ParticipantInfo| {
        let tracks = TRACK_BYTES_MIN * participant.tracks.len();
        let bytes = participant.encoded_len().max(tracks);
        page.add(participant.identity.clone(), participant, bytes);
    };
    let (_, reading) = reader.read_each(Urgency::Routine, &listed, each).await?;
    // These are this room's participants only if it is still there, and the viewer's.
    let live = reading.again().await?.ok_or(RoomsError::NotFound)?;
    if !viewer.may_see_room(live.tenant.as_ref()) {
        return Err(RoomsError::NotFound);
    }
    let (everybody, mut next) = page.into_elements();
    let tracks = everybody.iter().flat_map(|it| &it.tracks);
    let sids: Vec<_> = tracks.map(|track| track.sid.as_str()).collect();
    let times = match policies {
        Some(_) => peek(pool, TrackRoom::from(&listed), &sids).await?,
        None => HashMap::new(),
    };
    let mut participants: Vec<Participant> = Vec::new();
    let begun = Instant::now();
    for info in &everybody {
        if begun.elapsed() >= DECIDING_MAX && !participants.is_empty() {
            next = participants.last().map(|last| last.identity.clone());
            break;
        }
        let mut participant = Participant::from(info);
        for track in &info.tracks {
            let mut shown = Track::from(track);
            // A participant alone may have thousands of tracks.
            let policies = policies.as_ref();
            if let Some(policies) = policies.filter(|_| begun.elapsed() < DECIDING_MAX) {
                let published_at = times.get(&track.sid).map_or(now, |it| it.published_at);
                let facts = facts_from_live(&live, info, track, published_at);
                let current = || (Arc::clone(policies), now);
                let (_, decision) = decide_in_turn(current, facts).await;
                shown.decision = Some(Verdicts::shown_to(&viewer, decision));
            }
            participant.tracks.push(shown);
        }
        participants.push(participant);
    }
    let let_speak = let_speak(pool, &live.info.sid, &participants, &times).await?;
    for participant in &mut participants {
        for track in &mut participant.tracks {
            track.let_speak = track
                .decision
                .as_ref()
                .map(|_| let_speak.contains(&track.track_sid));
        }
    }
    Ok(LiveRoomPage {
        room: RoomSummary::from(&live),
        participants,
        skipped: reading.oversized.len(),
        next,
    })
}

/// The SIDs of tracks that a policy would mute, and that a person lets speak.
async fn let_speak(
    pool: &Pool,
    room_sid: &str,
    participants: &[Participant],
    times: &HashMap<String, TrackTimes>,
) -> Result<HashSet<String>, sqlx::Error> {
    let mut forbidden = Vec::new();
    for participant in participants {
        for track in &participant.tracks {
            let decision = track.decision.as_ref();
            let is_forbidden = decision.is_some_and(|it| it.enforced.mute().is_some());
            if let (true, Some(times)) = (is_forbidden && !track.muted, times.get(&track.track_sid))
            {
                forbidden.push(UnmutedTrack {
                    identity: &participant.identity,
                    source: &track.source,
                    track_sid: &track.track_sid,
                    as_of: times.as_of,
                });
            }
        }
    }
    let let_speak = unmutes_that_stand(pool, room_sid, &forbidden).await?;
    Ok(let_speak.into_iter().map(str::to_owned).collect())
}
