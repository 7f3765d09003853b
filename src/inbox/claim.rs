//! Claims jobs that nobody has: those that came while this process had no memory left, and those of replicas
//! that are gone.

mod horizon;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::event_key::EventKey;
use super::job::{Job, JobTimes};
use super::memory::Memory;
use crate::ledger::JobLease;
use crate::livekit::event;
use crate::postgres::{Pool, interval};
pub(super) use horizon::Horizon;

/// Rooms that jobs are claimed of at once, and jobs of each: a large room keeps no other one waiting.
const ROOMS: i64 = 64;
const EACH: i64 = 16;
/// Jobs of replicas that are gone, at once.
const ABANDONED: i64 = 512;

/// What was claimed.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) jobs: Vec<Job>,
    /// Jobs whose event cannot be read, or is no longer there: nobody can work on them, ever.
    pub(super) unreadable: Vec<(JobLease, String)>,
    /// The room of the last that were queued: the next time goes on after it.
    pub(super) last_room: Option<String>,
}

/// What a claim is made with.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) pool: &'a Pool,
    pub(super) replica: &'a str,
    pub(super) memory: &'a Memory,
    /// Queued jobs are those of rooms after this one.
    pub(super) after_room: &'a str,
    /// Whether jobs may be this replica's already, that it does not know of.
    pub(super) may_be_lost: bool,
    pub(super) horizon: &'a Mutex<Horizon>,
}

impl Claim<'_> {
    /// Claims jobs that nobody has; they are this replica's by then. What could be had comes also with an error.
    pub(super) async fn run(&self) -> (Claimed, Option<sqlx::Error>) {
        let mut claimed = Claimed::default();
        let error = self.take(&mut claimed).await.err();
        (claimed, error)
    }

    async fn take(&self, claimed: &mut Claimed) -> Result<(), sqlx::Error> {
        let lost = if self.may_be_lost {
            lost(self.pool, self.replica, self.memory).await?
        } else {
            Vec::new()
        };
        let (lost_times, lost_ids): (Vec<_>, Vec<_>) = lost.into_iter().unzip();
        let full_rooms = self.memory.full_rooms();
        let begun = Instant::now();
        let horizon = || self.horizon.lock().unwrap_or_else(PoisonError::into_inner);
        let (back, is_all) = horizon().look(begun);
        let rows = sqlx::query_file!(
            "src/inbox/claim.sql",
            self.replica,
            self.after_room,
            &full_rooms,
            ROOMS,
            EACH,
            ABANDONED,
            &lost_times,
            &lost_ids,
            interval(back),
            is_all,
        )
        .fetch_all(self.pool)
        .await?;
        let now = Instant::now();
        // A later part of the list says nothing of the rooms before it, and no list of those that are full.
        if self.after_room.is_empty() && full_rooms.is_empty() {
            let oldest = rows.iter().find_map(|row| row.oldest_secs);
            let oldest = oldest.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
            horizon().found(begun, oldest);
        }
        let mut no_memory = Vec::new();
        for row in rows {
            let lease = JobLease {
                created_at: row.event_created_at,
                event_id: row.event_id,
                attempt: row.attempt,
            };
            if !row.is_abandoned && claimed.last_room.as_ref() < Some(&row.room_sid) {
                claimed.last_room = Some(row.room_sid);
            }
            let Some(body) = row.body else {
                let error = "its event is no longer there".to_owned();
                claimed.unreadable.push((lease, error));
                continue;
            };
            match event::read(body.as_bytes()) {
                Ok(read) => {
                    let Some(reservation) = self.memory.reserve(&read.event) else {
                        no_memory.push(lease);
                        continue;
                    };
                    let ago = |secs| {
                        let since = Duration::try_from_secs_f64(secs).ok();
                        since
                            .and_then(|since| now.checked_sub(since))
                            .unwrap_or(now)
                    };
                    let arrived = ago(row.age_secs);
                    let patience =
                        Duration::try_from_secs_f64(row.patience_secs).unwrap_or_default();
                    let times = JobTimes {
                        received_at: row.received_at,
                        arrived,
                        deadline: arrived + patience,
                    };
                    let job = Job::new(read.event, row.attempt, times, reservation);
                    claimed.jobs.push(Job {
                        deadline_exceeded: row.deadline_exceeded,
                        ..job
                    });
                }
                Err(error) => {
                    let error = format!("its event cannot be read: {error}");
                    claimed.unreadable.push((lease, error));
                }
            }
        }
        put_back(self.pool, &no_memory).await
    }
}

/// Which of these events have a job.
pub(super) async fn still_stored(
    pool: &Pool,
    keys: &HashSet<EventKey>,
) -> Result<HashSet<EventKey>, sqlx::Error> {
    let (times, ids): (Vec<_>, Vec<_>) = keys.iter().cloned().unzip();
    let stored = sqlx::query!(
        "select j.event_created_at, j.event_id
         from job j join unnest($1::timestamptz[], $2::text[]) as k(created_at, event_id)
             on j.event_created_at = k.created_at and j.event_id = k.event_id",
        &times,
        &ids,
    )
    .fetch_all(pool)
    .await?;
    let keys = stored
        .into_iter()
        .map(|row| (row.event_created_at, row.event_id));
    Ok(keys.collect())
}

/// Puts all back that is this replica's and not in its memory.
pub(super) async fn put_back_all(
    pool: &Pool,
    replica: &str,
    memory: &Memory,
) -> Result<(), sqlx::Error> {
    let lost = lost(pool, replica, memory).await?;
    if lost.is_empty() {
        return Ok(());
    }
    let (times, ids): (Vec<_>, Vec<_>) = lost.into_iter().unzip();
    sqlx::query!(
        "update job j set state = 'queued', leased_by = null, action_id = null, placed_at = clock_timestamp()
         from unnest($1::timestamptz[], $2::text[]) as k(created_at, event_id)
         where j.event_created_at = k.created_at and j.event_id = k.event_id
           and j.state = 'leased' and j.leased_by = $3",
        &times,
        &ids,
        replica,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Jobs that are this replica's in Postgres and not in its memory.
async fn lost(pool: &Pool, replica: &str, memory: &Memory) -> Result<Vec<EventKey>, sqlx::Error> {
    let own = sqlx::query!(
        "select event_created_at, event_id from job where state = 'leased' and leased_by = $1",
        replica,
    )
    .fetch_all(pool)
    .await?;
    let keys = own
        .into_iter()
        .map(|row| (row.event_created_at, row.event_id));
    Ok(keys.filter(|key| !memory.has(key)).collect())
}

/// Puts back what there is no memory for, as if it had not been claimed: nobody worked on it.
async fn put_back(pool: &Pool, leases: &[JobLease]) -> Result<(), sqlx::Error> {
    if leases.is_empty() {
        return Ok(());
    }
    let times: Vec<_> = leases.iter().map(|lease| lease.created_at).collect();
    let ids: Vec<_> = leases.iter().map(|lease| lease.event_id.as_str()).collect();
    let attempts: Vec<_> = leases.iter().map(|lease| lease.attempt).collect();
    sqlx::query!(
        "update job j set state = 'queued', leased_by = null, attempt = j.attempt - 1, placed_at = clock_timestamp()
         from unnest($1::timestamptz[], $2::text[], $3::int[]) as l(created_at, event_id, attempt)
         where j.event_created_at = l.created_at and j.event_id = l.event_id and j.attempt = l.attempt
           and j.state = 'leased'",
        &times,
        &ids as _,
        &attempts,
    )
    .execute(pool)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
