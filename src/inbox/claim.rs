//! Claims jobs that nobody has: those that came while this process had no memory left, and those of replicas
//! that are gone.

use std::time::Duration;

use tokio::time::Instant;

use super::job::Job;
use super::memory::Memory;
use crate::ledger::JobLease;
use crate::livekit::event;
use crate::postgres::Pool;

/// Rooms that jobs are claimed of at once, and jobs of each: a large room keeps no other one waiting.
const ROOMS: i32 = 64;
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
    /// How many were claimed of all; jobs for which there was no memory were put back.
    pub(super) count: usize,
}

/// Claims jobs of replicas that are gone, and of rooms after `after_room`; committed when this returns.
pub(super) async fn claim(
    pool: &Pool,
    replica: &str,
    memory: &Memory,
    after_room: &str,
) -> Result<Claimed, sqlx::Error> {
    // Rooms with queued jobs, and replicas with jobs, are found one after the other, each by one step in an
    // index (a "loose index scan"), however many jobs they have.
    let rows = sqlx::query_file!(
        "src/inbox/claim.sql",
        replica,
        after_room,
        &memory.full_rooms(),
        ROOMS,
        EACH,
        ABANDONED,
    )
    .fetch_all(pool)
    .await?;
    let now = Instant::now();
    let mut claimed = Claimed {
        count: rows.len(),
        ..Claimed::default()
    };
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
                let Some(reservation) = memory.reserve(&read.event) else {
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
                let patience = Duration::try_from_secs_f64(row.patience_secs).unwrap_or_default();
                claimed.jobs.push(Job {
                    event: read.event,
                    attempt: row.attempt,
                    received_at: row.received_at,
                    arrived,
                    deadline: arrived + patience,
                    deadline_exceeded: row.deadline_exceeded,
                    tries: 0,
                    busy: 0,
                    look: None,
                    _reservation: reservation,
                });
            }
            Err(error) => {
                let error = format!("its event cannot be read: {error}");
                claimed.unreadable.push((lease, error));
            }
        }
    }
    claimed.count -= no_memory.len();
    put_back(pool, &no_memory).await?;
    Ok(claimed)
}

/// Puts back what there is no memory for.
async fn put_back(pool: &Pool, leases: &[JobLease]) -> Result<(), sqlx::Error> {
    if leases.is_empty() {
        return Ok(());
    }
    let times: Vec<_> = leases.iter().map(|lease| lease.created_at).collect();
    let ids: Vec<_> = leases.iter().map(|lease| lease.event_id.as_str()).collect();
    let attempts: Vec<_> = leases.iter().map(|lease| lease.attempt).collect();
    sqlx::query!(
        "update job j set state = 'queued', leased_by = null
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
mod tests {
    use std::collections::BTreeMap;

    use sqlx::{AssertSqlSafe, query};

    use super::*;
    use crate::postgres::Database;
    use crate::postgres::test_support::Cluster;

    /// A large room's jobs came first.
    const JOBS: &str = "
        with alive as (insert into replica values ('replica', now() + interval '1 day')),
        event as (
            insert into webhook_event (created_at, event_id, event, body)
            select now(), 'EV_' || n, 'track_published', json_build_object(
                'id', 'EV_' || n, 'event', 'track_published', 'createdAt', 1800000000,
                'room', json_build_object('sid', room, 'name', room),
                'participant', json_build_object('identity', 'p'), 'track', json_build_object('sid', 'TR_' || n))
            from (select n, case when n < 500 then 'RM_large' else 'RM_' || n end as room
                  from generate_series(1, 509) n) of
            returning created_at, event_id, body)
        insert into job (event_created_at, event_id, received_at, state, deadline, room_sid)
        select created_at, event_id, now() + make_interval(secs => substr(event_id, 4)::int), 'queued',
               now() + interval '1 day', body -> 'room' ->> 'sid'
        from event";

    #[tokio::test]
    async fn a_large_room_keeps_no_other_one_waiting() {
        let cluster = Cluster::shared().await;
        let (service, owner) = cluster.database().await;
        let database = Database::on(service, owner, "DATABASE_URL", 4).await;
        let pool = database.unwrap().pool;
        query(AssertSqlSafe(JOBS.to_owned()))
            .execute(&pool)
            .await
            .unwrap();
        let memory = Memory::default();
        let claimed = claim(&pool, "replica", &memory, "").await.unwrap();
        let mut by_room = BTreeMap::new();
        for job in &claimed.jobs {
            *by_room.entry(job.event.room.sid.as_str()).or_insert(0) += 1;
        }
        assert_eq!(by_room.len(), 11);
        assert_eq!(by_room.remove("RM_large"), Some(EACH));
        assert!(by_room.into_values().all(|jobs| jobs == 1));
        // The oldest of each, and nobody has them twice.
        for number in 1..=EACH {
            let id = format!("EV_{number}");
            assert!(claimed.jobs.iter().any(|job| job.event.id == id), "{id}");
        }
        let again = claim(&pool, "other", &memory, "").await.unwrap();
        assert_eq!(i64::try_from(again.jobs.len()), Ok(EACH));
        assert!(
            again
                .jobs
                .iter()
                .all(|job| job.event.room.sid == "RM_large")
        );
    }
}
