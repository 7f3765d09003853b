//! One room of a plan: everybody in it, decided by both sets of policies.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo};

use super::PlanError;
use super::report::{PlannedTrack, RoomPlan};
use crate::livekit::facts::facts_from_live;
use crate::livekit::{LiveRoom, Urgency};
use crate::pipeline::decide_in_turn;
use crate::postgres::Pool;
use crate::sweep::{
    ListedRoom, Reader, TrackRoom, TrackTimes, UnmutedTrack, peek, unmutes_that_stand,
};
use quell_policy::{Facts, PolicyRef, PolicySet};

/// What rooms are read with.
pub(super) struct Context<'a> {
    pub(super) pool: &'a Pool,
    pub(super) reader: &'a Reader,
    pub(super) before: &'a Arc<PolicySet>,
    pub(super) after: &'a Arc<PolicySet>,
    pub(super) now: DateTime<Utc>,
}

/// What becomes of a track.
enum Change {
    WouldSilence,
    NoLongerForbidden,
    StaysSilent,
    Undecided,
}

/// A track that one of the sets is about, and since when it is known.
struct PlannedChange {
    change: Change,
    track: PlannedTrack,
    times: TrackTimes,
}

impl PlannedChange {
    /// The track, where it would be silenced.
    fn silenced(&self) -> Option<UnmutedTrack<'_>> {
        matches!(self.change, Change::WouldSilence).then_some(UnmutedTrack {
            identity: &self.track.identity,
            source: &self.track.source,
            track_sid: &self.track.track_sid,
            as_of: self.times.as_of,
        })
    }
}

/// The room's plan; empty where nothing in it changes, or it is another one by now.
pub(super) async fn read(context: &Context<'_>, room: &ListedRoom) -> Result<RoomPlan, PlanError> {
    let mut reading = context.reader.read(Urgency::Routine, room).await?;
    let mut plan = RoomPlan::new(room, reading.oversized.len());
    if reading.tracks == 0 {
        return Ok(plan);
    }
    let Some(listed) = reading.listed().await? else {
        return Ok(plan);
    };
    let mut found = Vec::new();
    while let Some(participants) = reading.next().await? {
        context
            .look_at(room, &listed, &participants.all, &mut found)
            .await?;
    }
    // These are this room's participants only if it is still there.
    if found.is_empty() || reading.again().await?.is_none() {
        return Ok(plan);
    }
    let silenced: Vec<_> = found.iter().filter_map(PlannedChange::silenced).collect();
    let let_speak = unmutes_that_stand(context.pool, &room.sid, &silenced).await?;
    for PlannedChange { change, track, .. } in &found {
        let list = match change {
            Change::WouldSilence if let_speak.contains(track.track_sid.as_str()) => {
                &mut plan.tracks.let_speak
            }
            Change::WouldSilence => &mut plan.tracks.would_silence,
            Change::NoLongerForbidden => &mut plan.tracks.no_longer_forbidden,
            Change::StaysSilent => &mut plan.tracks.stays_silent,
            Change::Undecided => &mut plan.tracks.undecided,
        };
        list.push(track.clone());
    }
    Ok(plan)
}

impl Context<'_> {
    /// Adds the participants' tracks that one of the sets is about.
    async fn look_at(
        &self,
        room: &ListedRoom,
        listed: &LiveRoom,
        participants: &[Arc<ParticipantInfo>],
        found: &mut Vec<PlannedChange>,
    ) -> Result<(), PlanError> {
        let sids: Vec<_> = participants
            .iter()
            .flat_map(|participant| &participant.tracks)
            .map(|track| track.sid.as_str())
            .collect();
        let times = peek(self.pool, TrackRoom::from(room), &sids).await?;
        for participant in participants {
            for track in &participant.tracks {
                let Some(times) = times.get(&track.sid) else {
                    continue;
                };
                let facts = facts_from_live(listed, participant, track, times.published_at);
                if let Some((change, track)) = self.change(facts, participant, track).await {
                    found.push(PlannedChange {
                        change,
                        track,
                        times: *times,
                    });
                }
            }
        }
        Ok(())
    }

    async fn change(
        &self,
        facts: Facts,
        participant: &ParticipantInfo,
        track: &TrackInfo,
    ) -> Option<(Change, PlannedTrack)> {
        let (facts, before) = decide_in_turn(|| (Arc::clone(self.before), self.now), facts).await;
        let (facts, after) = decide_in_turn(|| (Arc::clone(self.after), self.now), facts).await;
        let (before, after) = (before.enforced, after.enforced);
        let change = match (before.mute(), after.mute()) {
            _ if after.is_indeterminate() => Change::Undecided,
            (_, Some(_)) if track.muted => Change::StaysSilent,
            (_, Some(_)) => Change::WouldSilence,
            (Some(_), None) => Change::NoLongerForbidden,
            (None, None) => return None,
        };
        let policy = after.mute().or_else(|| before.mute());
        Some((
            change,
            PlannedTrack {
                identity: participant.identity.clone(),
                track_sid: track.sid.clone(),
                source: facts.track.source.as_str().to_owned(),
                muted: track.muted,
                policy: policy.map(PolicyRef::key),
            },
        ))
    }
}
