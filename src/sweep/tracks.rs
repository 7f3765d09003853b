//! Since when tracks are known: from their own event, or else since a sweep first saw them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::reader::ListedRoom;
use crate::audit::{Outcome, PolicyRevision};
use crate::postgres::{Pool, to_pg_text};

/// By then, a webhook has come or was dropped: LiveKit keeps one for 30 s (as does `tracks.sql`).
const WEBHOOK_WITHIN: Duration = Duration::from_secs(30);
/// Tracks that no sweep has seen for 10 minutes are forgotten, here in memory.
const FORGET_AFTER: Duration = Duration::from_mins(10);
const TRACKS_MAX: usize = 500_000;
/// LiveKit's clocks: a room may be made on another node than its tracks.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::hours(1);

/// Since when a track is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TrackTimes {
    /// When it was published, by LiveKit's clock; of one that no event told of, when it was first seen.
    pub(crate) published_at: DateTime<Utc>,
    /// When that became known here, by Postgres's clock.
    pub(crate) as_of: DateTime<Utc>,
}

#[derive(Debug)]
struct KnownTrack {
    times: TrackTimes,
    /// No event told of it yet, and it is not counted as such: since when.
    without_webhook_since: Option<Instant>,
    seen_at: Instant,
    /// What was written of it that is no news again.
    written: Vec<(Option<PolicyRevision>, Outcome)>,
    /// A sweep acts on it.
    is_claimed: bool,
    /// When a sweep last muted it.
    muted_at: Option<Instant>,
}

impl KnownTrack {
    /// Whether a webhook should have told of it by now.
    fn is_overdue(&self) -> bool {
        let since = self.without_webhook_since;
        since.is_some_and(|since| since.elapsed() >= WEBHOOK_WITHIN)
    }
}

/// A room, as tracks are looked up by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackRoom<'a> {
    pub(crate) sid: &'a str,
    /// Its making, in Unix seconds: no older event is about it.
    pub(crate) created_at: i64,
}

impl<'a> From<&'a ListedRoom> for TrackRoom<'a> {
    fn from(room: &'a ListedRoom) -> Self {
        Self {
            sid: &room.sid,
            created_at: room.created_at,
        }
    }
}

impl TrackRoom<'_> {
    /// No event of its tracks is older.
    pub(crate) fn since(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.created_at, 0)
            .and_then(|at| at.checked_sub_signed(CLOCKS_APART_MAX))
            .unwrap_or_default()
    }
}

/// What this process knows of tracks; the rest is in the database.
#[derive(Debug, Default)]
pub(crate) struct Tracks(Mutex<HashMap<String, KnownTrack>>);

/// What was looked up.
#[derive(Debug, Default)]
pub(crate) struct TrackLookup {
    /// Those that may be acted on. What a job is about is that job's.
    pub(crate) times: HashMap<String, TrackTimes>,
    /// How many are counted as tracks that no webhook told of.
    pub(crate) without_webhook: u64,
}

impl Tracks {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, KnownTrack>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when these tracks of a room are known.
    pub(crate) async fn look_up(
        &self,
        pool: &Pool,
        room: TrackRoom<'_>,
        track_sids: &[&str],
    ) -> Result<TrackLookup, sqlx::Error> {
        let mut looked = TrackLookup::default();
        let mut unknown = Vec::new();
        {
            let mut known = self.lock();
            for sid in track_sids {
                match known.get_mut(*sid) {
                    Some(track) => {
                        track.seen_at = Instant::now();
                        looked.times.insert((*sid).to_owned(), track.times);
                        if track.is_overdue() {
                            unknown.push(*sid);
                        }
                    }
                    None => unknown.push(*sid),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(looked);
        }
        let mut late = Vec::new();
        for found in find(pool, room, &unknown, true).await? {
            if found.webhook == Webhook::Open {
                looked.times.remove(&found.track_sid);
                continue;
            }
            let mut known = self.lock();
            if found.webhook == Webhook::Late {
                late.push(found.track_sid.clone());
            }
            let before = known.remove(&found.track_sid);
            let without_webhook_since = match &before {
                _ if found.webhook != Webhook::Missing => None,
                Some(before) => before.without_webhook_since,
                None => Some(Instant::now()),
            };
            looked.times.insert(found.track_sid.clone(), found.times);
            if known.len() < TRACKS_MAX {
                let track = KnownTrack {
                    times: found.times,
                    without_webhook_since,
                    seen_at: Instant::now(),
                    is_claimed: before.as_ref().is_some_and(|before| before.is_claimed),
                    muted_at: before.as_ref().and_then(|before| before.muted_at),
                    written: before.map(|before| before.written).unwrap_or_default(),
                };
                known.insert(found.track_sid, track);
            }
        }
        if !late.is_empty() {
            looked.without_webhook = count(pool, &late).await?;
        }
        Ok(looked)
    }

    /// The right to act on a track that was seen at `seen_at`; none where another sweep does, or has muted it since.
    pub(crate) fn claim(&self, track_sid: &str, seen_at: Instant) -> Option<Claim<'_>> {
        let mut known = self.lock();
        if let Some(track) = known.get_mut(track_sid) {
            if track.is_claimed || track.muted_at.is_some_and(|at| at >= seen_at) {
                return None;
            }
            track.is_claimed = true;
        }
        Some(Claim {
            tracks: self,
            track_sid: track_sid.to_owned(),
        })
    }

    /// Whether that was written of the track.
    pub(crate) fn is_written(
        &self,
        track_sid: &str,
        policy: Option<&PolicyRevision>,
        outcome: Outcome,
    ) -> bool {
        let known = self.lock();
        let written = known.get(track_sid).map(|track| track.written.as_slice());
        let mut written = written.unwrap_or_default().iter();
        written.any(|(by, what)| by.as_ref() == policy && *what == outcome)
    }

    /// Remembers that it was.
    pub(crate) fn note_written(
        &self,
        track_sid: &str,
        policy: Option<PolicyRevision>,
        outcome: Outcome,
    ) {
        if let Some(track) = self.lock().get_mut(track_sid) {
            track.written.push((policy, outcome));
        }
    }

    /// Forgets tracks that no sweep has seen for a while.
    pub(crate) fn forget_old(&self) {
        self.lock()
            .retain(|_, track| track.seen_at.elapsed() < FORGET_AFTER);
    }
}

/// The right to act on a track, among the sweeps of this process.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    tracks: &'a Tracks,
    track_sid: String,
}

impl Claim<'_> {
    /// Remembers that it is muted.
    pub(crate) fn muted(&self) {
        if let Some(track) = self.tracks.lock().get_mut(&self.track_sid) {
            track.muted_at = Some(Instant::now());
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(track) = self.tracks.lock().get_mut(&self.track_sid) {
            track.is_claimed = false;
        }
    }
}

#[derive(Debug)]
pub(crate) struct TrackRow {
    track_sid: String,
    times: TrackTimes,
    webhook: Webhook,
}

/// Whether a webhook told of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Webhook {
    Came,
    /// And its job is open.
    Open,
    Missing,
    /// So late that it is to be counted.
    Late,
    /// As one that did not come.
    Counted,
}

/// The same without a trace: of one that is seen for the first time, since now.
pub(crate) async fn peek(
    pool: &Pool,
    room: TrackRoom<'_>,
    track_sids: &[&str],
) -> Result<HashMap<String, TrackTimes>, sqlx::Error> {
    let found = find(pool, room, track_sids, false).await?;
    Ok(found
        .into_iter()
        .map(|found| (found.track_sid, found.times))
        .collect())
}

/// `is_noted`: it is written down that those are seen of which no event told.
async fn find(
    pool: &Pool,
    room: TrackRoom<'_>,
    track_sids: &[&str],
    is_noted: bool,
) -> Result<Vec<TrackRow>, sqlx::Error> {
    let by_stored: HashMap<String, &str> = track_sids
        .iter()
        .map(|sid| (to_pg_text(sid), *sid))
        .collect();
    let stored: Vec<String> = by_stored.keys().cloned().collect();
    let rows = sqlx::query_file!(
        "src/sweep/tracks.sql",
        &stored,
        to_pg_text(room.sid),
        room.since(),
        is_noted
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        Some(TrackRow {
            track_sid: (*by_stored.get(&row.track_sid)?).to_owned(),
            times: TrackTimes {
                published_at: row.published_at,
                as_of: row.as_of,
            },
            webhook: match (row.is_told, row.is_open) {
                (true, true) => Webhook::Open,
                (true, false) => Webhook::Came,
                (false, _) if row.is_counted => Webhook::Counted,
                (false, _) if row.is_late => Webhook::Late,
                (false, _) => Webhook::Missing,
            },
        })
    });
    Ok(found.collect())
}

/// Counts tracks that no webhook told of, each once among all replicas.
async fn count(pool: &Pool, track_sids: &[String]) -> Result<u64, sqlx::Error> {
    let stored: Vec<String> = track_sids.iter().map(|sid| to_pg_text(sid)).collect();
    let counted = sqlx::query!(
        "update swept_track set is_counted = true where track_sid = any($1) and not is_counted",
        &stored,
    )
    .execute(pool)
    .await?;
    Ok(counted.rows_affected())
}
