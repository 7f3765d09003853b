//! Claims jobs that nobody has: those that came while this process had no memory left, and those of replicas
//! that are gone.

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

/// Rooms that jobs are claimed of at once, and jobs of each: a large room keeps no other one waiting.
const ROOMS: i64 = 64;
const EACH: i64 = 16;
/// Jobs of replicas that are gone, at once.
const ABANDONED: i64 = 512;

/// Since when something may be queued: a claim looks no further back, since rows of finished jobs may still be in its way.
#[derive(Debug)]
pub(super) struct Horizon {
    /// All that was queued before is claimed; none where that is not known.
    clear_before: Option<Instant>,
    /// When all was looked at last.
    looked_at_all: Option<Instant>,
}

/// A statement that queues something is over by then, whatever its clock said as it began.
const MARGIN: Duration = Duration::from_secs(10);
/// All is looked at so often: clocks of databases are set, and what one claim had locked another did not see.
const ALL_INTERVAL: Duration = Duration::from_mins(1);
/// Longer than anything is queued.
const ALWAYS: Duration = Duration::from_hours(24 * 365);

impl Horizon {
    pub(super) const fn new() -> Self {
        Self {
            clear_before: None,
            looked_at_all: None,
        }
    }

    /// How far back to look, and whether that is at everything.
    fn look(&mut self, now: Instant) -> (Duration, bool) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= ALL_INTERVAL;
        if self.looked_at_all.is_none_or(is_due) {
            self.looked_at_all = Some(now);
            self.clear_before = None;
        }
        self.clear_before.map_or((ALWAYS, true), |clear_before| {
            (now.saturating_duration_since(clear_before) + MARGIN, false)
        })
    }

    /// A claim that began at `now` found that the oldest was queued so long ago, or that nothing is queued.
    fn found(&mut self, now: Instant, oldest: Option<Duration>) {
        let oldest = oldest.map_or(Some(now), |age| now.checked_sub(age));
        self.clear_before = oldest;
    }
}

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
        let begun = Instant::now();
        let horizon = || self.horizon.lock().unwrap_or_else(PoisonError::into_inner);
        let (back, is_all) = horizon().look(begun);
        let rows = sqlx::query_file!(
            "src/inbox/claim.sql",
            self.replica,
            self.after_room,
            &self.memory.full_rooms(),
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
        // The rooms of a later part of the list say nothing of those before them.
        if self.after_room.is_empty() {
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
mod tests {
    use std::sync::Arc;

    use sqlx::{Row, query};

    use super::*;
    use crate::livekit::event::Event;
    use crate::postgres::Database;
    use crate::postgres::test_support::Cluster;
    use crate::test_data::tenant;

    /// Jobs: event ids, rooms, tenants, in their order; queued, or the replica's.
    const JOBS: &str = "
        with asked as (
            select * from unnest($1::text[], $2::text[], $3::text[]) with ordinality
            as t(id, room, tenant, place)),
        event as (
            insert into webhook_event (created_at, event_id, event, body)
            select date_trunc('second', now()), id, 'track_published', json_build_object(
                'id', id, 'event', 'track_published', 'createdAt', floor(extract(epoch from now())),
                'room', json_build_object('sid', room, 'name', room,
                    'metadata', json_build_object('auth_id', tenant)::text),
                'participant', json_build_object('identity', 'p'),
                'track', json_build_object('sid', 'TR_' || id))
            from asked)
        insert into job (event_created_at, event_id, received_at, state, attempt, leased_by, deadline, room_sid)
        select date_trunc('second', now()), id, now() + make_interval(secs => place), case when $4 then 'leased' else 'queued' end,
               case when $4 then 1 else 0 end, case when $4 then 'replica' end, now() + interval '1 day', room
        from asked";

    /// A database in which `replica` lives.
    struct Stored {
        pool: Pool,
        horizon: Mutex<Horizon>,
        _database: Database,
        _cluster: Arc<Cluster>,
    }

    impl Stored {
        async fn new() -> Self {
            let cluster = Cluster::shared().await;
            let (service, owner) = cluster.database().await;
            let database = Database::on(service, owner, "DATABASE_URL", 4).await;
            let database = database.unwrap();
            let pool = database.pool.clone();
            query("insert into replica values ('replica', now() + interval '1 day')")
                .execute(&pool)
                .await
                .unwrap();
            Self {
                pool,
                horizon: Mutex::new(Horizon::new()),
                _database: database,
                _cluster: cluster,
            }
        }

        async fn store(&self, jobs: &[(String, &str, &str)], are_leased: bool) {
            query(JOBS)
                .bind(jobs.iter().map(|job| job.0.as_str()).collect::<Vec<_>>())
                .bind(jobs.iter().map(|job| job.1).collect::<Vec<_>>())
                .bind(jobs.iter().map(|job| job.2).collect::<Vec<_>>())
                .bind(are_leased)
                .execute(&self.pool)
                .await
                .unwrap();
        }

        async fn claim(&self, replica: &str, memory: &Memory, may_be_lost: bool) -> Claimed {
            let claim = Claim {
                pool: &self.pool,
                replica,
                memory,
                after_room: "",
                may_be_lost,
                horizon: &self.horizon,
            };
            let (claimed, error) = claim.run().await;
            assert!(error.is_none(), "{error:?}");
            claimed
        }
    }

    fn ids(claimed: &Claimed) -> Vec<&str> {
        let mut ids: Vec<_> = claimed
            .jobs
            .iter()
            .map(|job| job.event.id.as_str())
            .collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test]
    async fn a_large_room_keeps_no_other_one_waiting() {
        let stored = Stored::new().await;
        let large = (0..500).map(|n| (format!("EV_{n:03}"), "RM_large", "acme"));
        let rooms = ["RM_a", "RM_b", "RM_z"];
        let small = rooms.map(|room| (format!("EV_{room}"), room, "acme"));
        let jobs: Vec<_> = large.chain(small).collect();
        stored.store(&jobs, false).await;
        let memory = Memory::default();
        let claimed = stored.claim("replica", &memory, false).await;
        // The oldest of the large room, and all others.
        let mut expected: Vec<_> = (0..EACH).map(|n| format!("EV_{n:03}")).collect();
        expected.extend(rooms.map(|room| format!("EV_{room}")));
        assert_eq!(ids(&claimed), expected);
        // Nobody has them twice.
        let again = stored.claim("other", &memory, false).await;
        assert_eq!(again.jobs.len(), usize::try_from(EACH).unwrap());
        assert!(
            again
                .jobs
                .iter()
                .all(|job| job.event.room.sid == "RM_large")
        );
    }

    #[tokio::test]
    async fn what_a_full_tenant_has_no_memory_for_is_left_as_it_was() {
        let stored = Stored::new().await;
        let memory = Memory::default();
        let jobs = [
            ("EV_full".to_owned(), "RM_full", "full"),
            ("EV_other".to_owned(), "RM_other", "other"),
        ];
        stored.store(&jobs, false).await;
        let mut held = Vec::new();
        for room in ["RM_full", "RM_full_2", "RM_full_3"] {
            memory.note_tenant(room, Some(&tenant("full")));
            let mut event = Event::default();
            room.clone_into(&mut event.room.sid);
            held.extend(
                std::iter::from_fn(|| memory.reserve(&event)).skip(usize::from(room == "RM_full")),
            );
        }
        for _ in 0..3 {
            let claimed = stored.claim("replica", &memory, false).await;
            assert!(!ids(&claimed).contains(&"EV_full"));
            let row = query("select state, attempt from job where event_id = 'EV_full'");
            let row = row.fetch_one(&stored.pool).await.unwrap();
            assert_eq!((row.get::<&str, _>(0), row.get::<i32, _>(1)), ("queued", 0));
        }
        drop(held);
        let claimed = stored.claim("replica", &memory, false).await;
        assert_eq!(ids(&claimed), ["EV_full"]);
    }

    #[tokio::test]
    async fn what_a_replica_has_without_knowing_it_comes_back_to_it() {
        let stored = Stored::new().await;
        let memory = Memory::default();
        let jobs = ["EV_known", "EV_lost"].map(|id| (id.to_owned(), "RM_1", "acme"));
        stored.store(&jobs, false).await;
        let mut known = stored.claim("replica", &memory, false).await;
        assert_eq!(ids(&known), ["EV_known", "EV_lost"]);
        // As where the answer to the claim was lost.
        known.jobs.retain(|job| job.event.id == "EV_known");
        assert_eq!(ids(&stored.claim("replica", &memory, false).await), [""; 0]);
        let back = stored.claim("replica", &memory, true).await;
        assert_eq!(ids(&back), ["EV_lost"]);
        assert_eq!(back.jobs[0].attempt, 2);
        assert_eq!(ids(&stored.claim("replica", &memory, true).await), [""; 0]);
    }

    #[tokio::test]
    async fn a_replica_that_is_gone_is_looked_at_until_it_has_nothing_and_again_when_it_was_back() {
        let stored = Stored::new().await;
        let memory = Memory::default();
        let run = async |sql: &'static str| {
            query(sql).execute(&stored.pool).await.unwrap();
        };
        let is_gone = "update replica set alive_until = now() - interval '1 second'";
        let store = async |id: &str| {
            stored.store(&[(id.to_owned(), "RM_1", "acme")], true).await;
        };
        let claim = async || {
            let claimed = stored.claim("other", &memory, false).await;
            claimed
                .jobs
                .into_iter()
                .map(|job| job.event.id)
                .collect::<Vec<_>>()
        };
        store("EV_1").await;
        assert_eq!(claim().await, [""; 0]);
        run(is_gone).await;
        assert_eq!(claim().await, ["EV_1"]);
        // It is known to have nothing, so nobody looks...
        store("EV_2").await;
        assert_eq!(claim().await, [""; 0]);
        // ...but once a minute...
        *stored.horizon.lock().unwrap() = Horizon::new();
        assert_eq!(claim().await, ["EV_2"]);
        // ...or where it had come back meanwhile.
        store("EV_3").await;
        crate::replica::register(&stored.pool, "replica")
            .await
            .unwrap();
        run(is_gone).await;
        assert_eq!(claim().await, ["EV_3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_looks_back_to_what_an_earlier_one_had_not_found_and_at_all_once_a_minute() {
        let mut horizon = Horizon::new();
        let start = Instant::now() + Duration::from_hours(1);
        assert_eq!(horizon.look(start), (ALWAYS, true));
        // Until a claim has told, all is looked at.
        assert_eq!(horizon.look(start), (ALWAYS, true));
        horizon.found(start, None);
        let second = Duration::from_secs(1);
        assert_eq!(horizon.look(start + second), (second + MARGIN, false));
        horizon.found(start + second, Some(second * 30));
        assert_eq!(
            horizon.look(start + second * 2),
            (second * 31 + MARGIN, false)
        );
        assert_eq!(horizon.look(start + ALL_INTERVAL), (ALWAYS, true));
    }
}
