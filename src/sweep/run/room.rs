//! One room of a sweep: decides on every track that is heard, and mutes what is forbidden by the same path as a
//! webhook's.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use livekit_protocol::{ParticipantInfo, TrackInfo};
use tokio::time::Instant;
use uuid::Uuid;

use super::Run;
use crate::action::{Cause, Correlation};
use crate::audit::{Origin, Outcome};
use crate::livekit::facts::facts_from_live;
use crate::livekit::{LiveKitError, LiveRoom};
use crate::pipeline::{FailedMute, Handled, LiveTrack, Seen, TrackResult, decide_in_turn};
use crate::postgres::to_pg_text;
use crate::sweep::reader::ListedRoom;
use crate::sweep::record::{self, Record};
use crate::sweep::tracks::{TrackRoom, TrackTimes};
use quell_policy::Verdict;

/// How often a track is tried on which another replica acts, and the pause between.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// A room may be made anew while it is read; more often than this in one sweep, it is left to the next.
const ROOM_TRIES: usize = 2;

/// A track that is heard, and about which something may be done.
struct Candidate {
    participant: Arc<ParticipantInfo>,
    track: TrackInfo,
    times: TrackTimes,
}

/// Whether a room was dealt with.
enum RoomResult {
    Done,
    /// Another room has its name by now: that one, where it is wanted too.
    Recreated(Option<Box<ListedRoom>>),
}

impl Run<'_> {
    /// Sweeps a room.
    pub(super) async fn room(&self, mut room: ListedRoom) {
        for _ in 0..ROOM_TRIES {
            if !self.may_go_on() {
                return;
            }
            match self.read_room(&room).await {
                Ok(RoomResult::Done | RoomResult::Recreated(None)) => return,
                Ok(RoomResult::Recreated(Some(now))) => room = *now,
                Err(error) => {
                    tracing::warn!(%error, room = room.name, "a room could not be swept");
                    self.count(|counts| counts.failed += 1);
                    return;
                }
            }
        }
    }

    async fn read_room(&self, room: &ListedRoom) -> Result<RoomResult, SweepError> {
        let reader = &self.sweeper.parts.reader;
        let mut reading = reader.read(self.urgency, room).await?;
        self.skip("participant", Some(&room.name), &reading.oversized);
        if self.is_first_pass() {
            self.count(|counts| {
                counts.rooms += 1;
                counts.participants += count(reading.participants);
                counts.tracks += count(reading.tracks);
            });
        }
        if reading.tracks == 0 {
            return Ok(RoomResult::Done);
        }
        let Some(listed) = reading.listed().await? else {
            return self.recreated(room).await;
        };
        while let Some(participants) = reading.next().await? {
            let candidates = self.candidates(room, &listed, &participants.all).await?;
            if !self.may_go_on() {
                break;
            }
            if candidates.is_empty() {
                continue;
            }
            // After the participants: they are this room's, if it is still there.
            let Some(now) = reading.again().await? else {
                return self.recreated(room).await;
            };
            self.act(&Arc::new(now), candidates, participants.asked_at)
                .await?;
        }
        Ok(RoomResult::Done)
    }

    /// What has the room's name now.
    async fn recreated(&self, room: &ListedRoom) -> Result<RoomResult, SweepError> {
        let parts = &self.sweeper.parts;
        let (policies, now) = (
            parts.pipeline.policies.snapshot(),
            parts.pipeline.clock.now(),
        );
        let wants = |room: &ListedRoom| self.scope.concerns(&policies, now, room);
        let name = Some(room.name.as_str());
        let listed = parts.reader.list(self.urgency, name, wants).await?;
        let now = listed.rooms.into_iter().next();
        Ok(RoomResult::Recreated(now.map(Box::new)))
    }

    /// Deals with tracks of a room, as it is now.
    async fn act(
        &self,
        now: &Arc<LiveRoom>,
        candidates: Vec<Candidate>,
        asked_at: Instant,
    ) -> Result<(), SweepError> {
        let sids: Vec<_> = candidates
            .iter()
            .map(|candidate| to_pg_text(&candidate.track.sid))
            .collect();
        let failed = record::failed(&self.sweeper.parts.ticks.pool, &sids).await?;
        stream::iter(candidates)
            .for_each_concurrent(None, |candidate| {
                let live = LiveTrack {
                    room: Arc::clone(now),
                    participant: candidate.participant,
                    track: candidate.track,
                    fetched_at: asked_at,
                };
                let failed = failed.get(&to_pg_text(&live.track.sid));
                let failed = failed.map_or(&[][..], Vec::as_slice);
                Box::pin(self.track(live, candidate.times, failed))
            })
            .await;
        Ok(())
    }

    /// The tracks that are heard and that a policy may be about.
    async fn candidates(
        &self,
        room: &ListedRoom,
        listed: &LiveRoom,
        participants: &[Arc<ParticipantInfo>],
    ) -> Result<Vec<Candidate>, SweepError> {
        let parts = &self.sweeper.parts;
        let sids: Vec<_> = participants
            .iter()
            .flat_map(|participant| &participant.tracks)
            .map(|track| track.sid.as_str())
            .collect();
        let of_room = TrackRoom::from(room);
        let looked = parts
            .tracks
            .look_up(&parts.ticks.pool, of_room, &sids)
            .await?;
        parts.metrics.without_webhook(looked.without_webhook);
        let (policies, now) = (
            parts.pipeline.policies.snapshot(),
            parts.pipeline.clock.now(),
        );
        let mut candidates = Vec::new();
        for participant in participants {
            // Metadata can take milliseconds to read, and the lease is to be kept meanwhile.
            tokio::task::yield_now().await;
            for track in participant.tracks.iter().filter(|track| !track.muted) {
                // What a job is about is the job's.
                let Some(times) = looked.times.get(&track.sid) else {
                    continue;
                };
                let facts = facts_from_live(listed, participant, track, times.published_at);
                let (_, decision) = decide_in_turn(|| (Arc::clone(&policies), now), facts).await;
                let is_nothing = |verdict: &Verdict| matches!(verdict, Verdict::Nothing { .. });
                if is_nothing(&decision.enforced) && is_nothing(&decision.dry_run) {
                    continue;
                }
                candidates.push(Candidate {
                    participant: Arc::clone(participant),
                    track: track.clone(),
                    times: *times,
                });
            }
        }
        Ok(candidates)
    }

    /// Decides on a track once more, by the room as it is now, and does what is decided.
    async fn track(&self, mut live: LiveTrack, times: TrackTimes, failed: &[FailedMute]) {
        let parts = &self.sweeper.parts;
        // Nothing closes it.
        let _place = parts.acts.acquire().await;
        let Some(claim) = parts.tracks.claim(&live.track.sid, live.fetched_at) else {
            return;
        };
        let id = format!("SW_{}", Uuid::now_v7().simple());
        let cause = Cause {
            origin: Origin::Sweep,
            correlation: Correlation::Sweep(id.clone()),
            arrived: Instant::now(),
        };
        let mut tries = 0;
        let mut handled = loop {
            if !self.may_go_on() {
                return;
            }
            let seen = Seen::Live {
                live: &live,
                published_at: times.published_at,
                failed,
            };
            let handled = parts.pipeline.run(seen, times.as_of, &cause).await;
            tries += 1;
            if !matches!(handled.result, TrackResult::Busy) || tries >= BUSY_TRIES {
                break handled;
            }
            tokio::time::sleep(BUSY_PAUSE).await;
            // The other one may have muted it.
            match parts.reader.track(self.urgency, &live).await {
                Ok(Some(now)) => live = now,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, event_id = id, track = live.track.sid, "a track could not be swept");
                    self.count(|counts| counts.failed += 1);
                    return;
                }
            }
        };
        self.count(|counts| match &handled.result {
            TrackResult::Muted(_) => {
                counts.muted += i32::from(handled.begun.is_some());
                claim.muted();
            }
            TrackResult::Retry(_) | TrackResult::Refused(_) | TrackResult::Busy => {
                counts.failed += 1;
            }
            TrackResult::Nothing
            | TrackResult::Stale
            | TrackResult::Gone
            | TrackResult::NotShown
            | TrackResult::Lost
            // Another pass would come to the same.
            | TrackResult::Undecided(_)
            | TrackResult::Superseded => {}
        });
        if let Err(error) = self.record(&id, &live, &mut handled, times, &cause).await {
            tracing::error!(%error, event_id = id, track = live.track.sid, "what a sweep decided could not be written");
            self.count(|counts| counts.failed += 1);
        }
    }

    async fn record(
        &self,
        id: &str,
        live: &LiveTrack,
        handled: &mut Handled,
        times: TrackTimes,
        cause: &Cause,
    ) -> Result<(), sqlx::Error> {
        let parts = &self.sweeper.parts;
        for (outcome, policy, row) in record::outcomes(handled, cause) {
            let sid = &handled.facts.track.sid;
            // Each action is news.
            let is_action = matches!(outcome, Outcome::Done | Outcome::Gone);
            if !is_action && parts.tracks.is_written(sid, policy.as_ref(), outcome) {
                continue;
            }
            let room = &live.room.info;
            let of_room = TrackRoom {
                sid: &room.sid,
                created_at: room.creation_time,
            };
            let pool = &parts.ticks.pool;
            if record::is_told(pool, of_room, sid, outcome, policy.as_ref()).await? {
                parts.tracks.note_written(sid, policy, outcome);
                continue;
            }
            let record = Record {
                id,
                sweep_id: self.lease.id,
                as_of: times.as_of,
                handled,
                policy: policy.as_ref(),
                outcome,
                row,
            };
            record::write(pool, record).await?;
            if !is_action {
                parts.tracks.note_written(sid, policy, outcome);
            }
        }
        Ok(())
    }
}
/// Why a room could not be swept.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    LiveKit(#[from] LiveKitError),
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
}

fn count(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
