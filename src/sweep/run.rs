//! One sweep: reads the rooms that are wanted, decides on every track that is heard, and mutes what is forbidden by
//! the same path as a webhook's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use livekit_protocol::{ParticipantInfo, TrackInfo};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Sweeper;
use super::reader::{ListedRoom, Occupants, Scope};
use super::record::{self, Record};
use super::tick::{Counts, TickCause, TickLease};
use super::tracks::{TrackRoom, TrackTimes};
use crate::action::{Cause, Correlation};
use crate::audit::{Origin, Outcome};
use crate::livekit::facts::facts_from_live;
use crate::livekit::{LiveKitError, LiveRoom, Oversized, Urgency};
use crate::pipeline::{FailedMute, Handled, LiveTrack, Seen, TrackResult};
use crate::postgres::to_pg_text;
use quell_policy::{Verdict, decide};

/// Rooms that are read at the same time.
const ROOMS_AT_ONCE: usize = 32;
/// Tracks of a room that are acted on at the same time, beside those of other rooms.
const TRACKS_AT_ONCE: usize = 64;
/// How often a track is tried on which another replica acts, and the pause between.
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// Where rooms cannot be listed, that is tried again after these, and then every 5 s.
const LIST_PAUSES_MS: [u64; 4] = [100, 500, 1000, 2500];
const LIST_PAUSE_MAX: Duration = Duration::from_secs(5);
/// It is given up after so long: the next tick of the schedule does the same.
const LIST_FOR: Duration = Duration::from_mins(2);
/// A room may be made anew while it is read; more often than this in one sweep, it is left to the next.
const ROOM_TRIES: usize = 2;

/// What a sweep found and did.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) sweeper: &'a Sweeper,
    pub(super) lease: &'a TickLease,
    pub(super) scope: Scope,
    pub(super) urgency: Urgency,
    /// Cancelled when the tick is somebody else's.
    pub(super) lost: CancellationToken,
    pub(super) counts: Mutex<Counts>,
    pub(super) begun: Instant,
}

/// A track that is heard, and about which something may be done.
struct Candidate {
    participant: Arc<ParticipantInfo>,
    track: TrackInfo,
    times: TrackTimes,
}

/// Whether a room was dealt with.
enum RoomResult {
    Done,
    /// It was made anew meanwhile: the room that has its name now.
    Anew(Option<Box<ListedRoom>>),
}

impl Sweeper {
    /// Sweeps for a tick that this process has, and finishes it; none where it could not.
    pub async fn sweep(&self, lease: &TickLease, scope: Scope) -> Option<Counts> {
        let urgency = match lease.tick.cause {
            TickCause::Schedule | TickCause::Manual => Urgency::Routine,
            TickCause::Start | TickCause::Edge | TickCause::Policy | TickCause::Room => {
                Urgency::Urgent
            }
        };
        let run = Run {
            sweeper: self,
            lease,
            scope,
            urgency,
            lost: CancellationToken::new(),
            counts: Mutex::default(),
            begun: Instant::now(),
        };
        let done = {
            let ended = CancellationToken::new();
            let sweeping = async {
                let done = run.rooms().await;
                ended.cancel();
                done
            };
            let renewing = ended.run_until_cancelled(run.keep());
            tokio::join!(sweeping, renewing).0
        };
        let counts = *run.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let ticks = &self.parts.ticks;
        if !run.may_go_on() {
            // At once another's, where it is not already.
            if let Err(error) = ticks.release(lease, Duration::ZERO).await {
                tracing::warn!(%error, "a sweep could not be left to other replicas at once");
            }
            return None;
        }
        let error = done.err().map(|error| error.to_string());
        match ticks.finish(lease, &counts, error.as_deref()).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::error!(%error, "the end of a sweep could not be written; it is done again");
                return None;
            }
        }
        self.parts
            .metrics
            .swept(lease.tick.cause.as_str(), run.begun.elapsed());
        let cause = lease.tick.cause.as_str();
        let took = run.begun.elapsed();
        if let Some(error) = error {
            tracing::error!(
                cause,
                key = lease.tick.key,
                error,
                "rooms could not be swept"
            );
        } else {
            tracing::info!(
                cause,
                key = lease.tick.key,
                ?counts,
                ?took,
                "rooms were swept"
            );
        }
        Some(counts)
    }
}

impl Run<'_> {
    fn may_go_on(&self) -> bool {
        !self.lost.is_cancelled() && !self.sweeper.parts.stop.is_cancelled()
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Keeps the tick for as long as the database is reached.
    async fn keep(&self) {
        let ticks = &self.sweeper.parts.ticks;
        let mut good_until = self.begun + ticks.lease;
        let mut times = tokio::time::interval(ticks.lease / 4);
        times.set_missed_tick_behavior(MissedTickBehavior::Delay);
        times.tick().await;
        loop {
            times.tick().await;
            let asked_at = Instant::now();
            match ticks.renew(self.lease).await {
                Ok(true) => good_until = asked_at + ticks.lease,
                Err(error) if Instant::now() < good_until => {
                    tracing::debug!(%error, "the lease of a sweep could not be renewed");
                }
                Ok(false) | Err(_) => break,
            }
        }
        tracing::info!(
            cause = self.lease.tick.cause.as_str(),
            "a sweep is another replica's by now"
        );
        self.lost.cancel();
    }

    async fn rooms(&self) -> Result<(), LiveKitError> {
        let parts = &self.sweeper.parts;
        let policies = parts.pipeline.policies.snapshot();
        if !policies.any_mute(parts.pipeline.clock.now()) {
            return Ok(());
        }
        let listed = self.list().await?;
        stream::iter(listed)
            .for_each_concurrent(ROOMS_AT_ONCE, |room| Box::pin(self.room(room)))
            .await;
        Ok(())
    }

    /// The rooms that are wanted, and in which a policy may mute.
    async fn list(&self) -> Result<Vec<ListedRoom>, LiveKitError> {
        let parts = &self.sweeper.parts;
        let mut pauses = LIST_PAUSES_MS.iter().copied().map(Duration::from_millis);
        loop {
            let (policies, now) = (
                parts.pipeline.policies.snapshot(),
                parts.pipeline.clock.now(),
            );
            let name = self.lease.tick.room_name.as_deref();
            let wants = |room: &ListedRoom| {
                parts.edges.note_room(room.into(), now);
                self.scope.concerns(&policies, now, room)
            };
            let error = match parts.reader.list(self.urgency, name, wants).await {
                Ok(listed) => {
                    self.skip("room", None, &listed.oversized);
                    return Ok(listed.rooms);
                }
                Err(error) => error,
            };
            let pause = pauses.next().unwrap_or(LIST_PAUSE_MAX);
            if !self.may_go_on() || self.begun.elapsed() + pause > LIST_FOR {
                return Err(error);
            }
            tracing::warn!(%error, "rooms cannot be listed for a sweep; that is tried again soon");
            let stopped = parts.stop.run_until_cancelled(tokio::time::sleep(pause));
            stopped.await;
        }
    }

    fn skip(&self, what: &'static str, room: Option<&str>, oversized: &[Oversized]) {
        for Oversized { sid, name, bytes } in oversized {
            self.sweeper.parts.metrics.sweep_skipped(what);
            self.count(|counts| counts.skipped += 1);
            tracing::warn!(
                what,
                room,
                sid,
                name,
                bytes,
                "a sweep left out what has too much metadata to be read: nothing in it is muted by sweeps"
            );
        }
    }

    async fn room(&self, mut room: ListedRoom) {
        for _ in 0..ROOM_TRIES {
            if !self.may_go_on() {
                return;
            }
            match self.read_room(&room).await {
                Ok(RoomResult::Done | RoomResult::Anew(None)) => return,
                Ok(RoomResult::Anew(Some(anew))) => room = *anew,
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
        let occupants = reader.occupants(self.urgency, &room.name).await?;
        self.skip("participant", Some(&room.name), &occupants.oversized);
        self.count(|counts| {
            counts.rooms += 1;
            counts.participants += count(occupants.len());
            counts.tracks += count(occupants.tracks);
        });
        if occupants.tracks == 0 {
            return Ok(RoomResult::Done);
        }
        let Some(listed) = reader.listed(room).await? else {
            return self.anew(room).await;
        };
        let listed = occupants.counted(&listed);
        let asked_at = occupants.asked_at;
        if !self
            .part(room, &occupants, &listed, &occupants.participants, asked_at)
            .await?
        {
            return self.anew(room).await;
        }
        for identity in &occupants.left {
            if !self.may_go_on() {
                break;
            }
            let (found, asked_at) = reader.occupant(self.urgency, &room.name, identity).await?;
            let Some(participant) = found else { continue };
            let participant = [participant];
            if !self
                .part(room, &occupants, &listed, &participant, asked_at)
                .await?
            {
                return self.anew(room).await;
            }
        }
        Ok(RoomResult::Done)
    }

    /// What has the room's name now.
    async fn anew(&self, room: &ListedRoom) -> Result<RoomResult, SweepError> {
        let parts = &self.sweeper.parts;
        let (policies, now) = (
            parts.pipeline.policies.snapshot(),
            parts.pipeline.clock.now(),
        );
        let wants = |room: &ListedRoom| self.scope.concerns(&policies, now, room);
        let name = Some(room.name.as_str());
        let listed = parts.reader.list(self.urgency, name, wants).await?;
        let anew = listed.rooms.into_iter().next();
        Ok(RoomResult::Anew(anew.map(Box::new)))
    }

    /// Deals with some of the participants; false where the room is another one by now.
    async fn part(
        &self,
        room: &ListedRoom,
        occupants: &Occupants,
        listed: &LiveRoom,
        participants: &[Arc<ParticipantInfo>],
        asked_at: Instant,
    ) -> Result<bool, SweepError> {
        let candidates = self.candidates(room, listed, participants).await?;
        if candidates.is_empty() || !self.may_go_on() {
            return Ok(true);
        }
        // After the participants: they are this room's, if it is still there.
        let Some(now) = self.sweeper.parts.reader.again(room).await? else {
            return Ok(false);
        };
        let now = Arc::new(occupants.counted(&now));
        let sids: Vec<_> = candidates
            .iter()
            .map(|candidate| to_pg_text(&candidate.track.sid))
            .collect();
        let failed = record::failed(&self.sweeper.parts.ticks.pool, &sids).await?;
        stream::iter(candidates)
            .for_each_concurrent(TRACKS_AT_ONCE, |candidate| {
                let live = LiveTrack {
                    room: Arc::clone(&now),
                    participant: candidate.participant,
                    track: candidate.track,
                    fetched_at: asked_at,
                };
                let failed = failed.get(&to_pg_text(&live.track.sid));
                let failed = failed.map_or(&[][..], Vec::as_slice);
                Box::pin(self.track(live, candidate.times, failed))
            })
            .await;
        Ok(true)
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
        parts.metrics.untold(looked.untold);
        let (policies, now) = (
            parts.pipeline.policies.snapshot(),
            parts.pipeline.clock.now(),
        );
        let mut candidates = Vec::new();
        for participant in participants {
            for track in participant.tracks.iter().filter(|track| !track.muted) {
                // What a job is about is the job's.
                let Some(times) = looked.times.get(&track.sid) else {
                    continue;
                };
                let facts = facts_from_live(listed, participant, track, times.published_at);
                let decision = decide(&policies, &facts, now);
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
    async fn track(&self, live: LiveTrack, times: TrackTimes, failed: &[FailedMute]) {
        let parts = &self.sweeper.parts;
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
        };
        self.count(|counts| match &handled.result {
            TrackResult::Muted(_) => {
                counts.muted += 1;
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
            | TrackResult::Superseded => {}
        });
        if let Err(error) = self.record(&id, &live, &mut handled, times, &cause).await {
            tracing::error!(%error, track = live.track.sid, "what a sweep decided could not be written");
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
