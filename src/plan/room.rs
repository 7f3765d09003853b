//! One room of a plan: everybody in it, decided by both sets of policies.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use livekit_protocol::{ParticipantInfo, TrackInfo};

use super::PlanError;
use super::report::{PlannedTrack, RoomPlan};
use crate::livekit::facts::facts_from_live;
use crate::livekit::{LiveRoom, Urgency};
use crate::pipeline::decide_in_turn;
use crate::postgres::{Pool, to_pg_text};
use crate::sweep::{ListedRoom, Reader, TrackRoom, TrackTimes, peek};
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
    let stands = context.unmutes_that_stand(room, &found).await?;
    for PlannedChange { change, track, .. } in found {
        let list = match change {
            Change::WouldSilence if stands.contains(&to_pg_text(&track.track_sid)) => {
                &mut plan.tracks.let_speak
            }
            Change::WouldSilence => &mut plan.tracks.would_silence,
            Change::NoLongerForbidden => &mut plan.tracks.no_longer_forbidden,
            Change::StaysSilent => &mut plan.tracks.stays_silent,
            Change::Undecided => &mut plan.tracks.undecided,
        };
        list.push(track);
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

    /// The tracks among `found`, as they are stored, against whose mute a person's unmute stands.
    async fn unmutes_that_stand(
        &self,
        room: &ListedRoom,
        found: &[PlannedChange],
    ) -> Result<Vec<String>, sqlx::Error> {
        let silenced: Vec<_> = found
            .iter()
            .filter(|found| matches!(found.change, Change::WouldSilence))
            .collect();
        let texts = |of: fn(&PlannedTrack) -> &str| -> Vec<String> {
            let texts = silenced.iter().map(|found| to_pg_text(of(&found.track)));
            texts.collect()
        };
        let as_of: Vec<_> = silenced.iter().map(|found| found.times.as_of).collect();
        sqlx::query_scalar!(
            r#"select track_sid as "track_sid!"
               from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[])
                   as t(identity, source, track_sid, as_of)
               where quell_is_superseded($1, identity, source, track_sid, as_of)"#,
            to_pg_text(&room.sid),
            &texts(|track| &track.identity),
            &texts(|track| &track.source),
            &texts(|track| &track.track_sid),
            &as_of,
        )
        .fetch_all(self.pool)
        .await
    }
}
