use std::sync::Arc;

use sqlx::{Row, query};

use super::*;
use crate::livekit::event::Event;
use crate::postgres::test_support::Cluster;
use crate::postgres::{Database, PostgresClock};
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
    crate::replica::register(&stored.pool, "replica", &PostgresClock::default())
        .await
        .unwrap();
    run(is_gone).await;
    assert_eq!(claim().await, ["EV_3"]);
}
