//! Partitions ahead, and what is removed once it has served its time.

use super::*;
use crate::postgres::{delete_dead_jobs, delete_leases, delete_sweeps, delete_unmutes};

const PARTITIONS: &str =
    "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
    where i.inhparent = '$parent'::regclass and right(relname, 8) < '20220201' order by 1";

/// The partitions of `parent` before February 2022.
async fn partitions(pool: &Pool, parent: &str) -> Vec<String> {
    list(pool, &PARTITIONS.replace("$parent", parent)).await
}

/// Makes the partitions around a time.
async fn around(pool: &Pool, time: &str) {
    let ensure = query("select quell_ensure_partitions($1)").bind(at(time));
    ensure.execute(pool).await.unwrap();
}

/// Drops events from before a time; returns how many partitions.
async fn drop_before(pool: &Pool, time: &str) -> i32 {
    let dropping = query_scalar("select quell_drop_events($1)").bind(at(time));
    dropping.fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn partitions_are_made_ahead_and_old_events_alone_are_dropped() {
    let opened = open().await;
    let pool = &opened.database.pool;
    // Two replicas at once.
    tokio::join!(
        around(pool, "2021-12-25T23:59:59Z"),
        around(pool, "2021-12-25T23:59:59Z")
    );
    let days = partitions(pool, "webhook_event").await;
    assert_eq!(days.len(), 16);
    assert_eq!(days.first().unwrap(), "webhook_event_20211224");
    assert_eq!(days.last().unwrap(), "webhook_event_20220108");
    let months = ["audit_log_20211201", "audit_log_20220101"];
    assert_eq!(partitions(pool, "audit_log").await, months);

    for (created_at, partition) in [
        ("2021-12-24T00:00:00Z", "webhook_event_20211224"),
        ("2021-12-24T23:59:59.999999Z", "webhook_event_20211224"),
        ("2021-12-25T00:00:00Z", "webhook_event_20211225"),
        ("2022-01-08T23:59:59Z", "webhook_event_20220108"),
    ] {
        let got = query_scalar::<_, String>(
            "insert into webhook_event (created_at, event_id, event, body)
             values ($1, 'EV', 'room_started', '{}') returning tableoid::regclass::text",
        )
        .bind(at(created_at))
        .fetch_one(pool)
        .await
        .unwrap();
        assert_eq!(got, partition, "{created_at}");
    }

    // At noon of the 27th, with two days kept, the 24th has served its time and the 25th has not.
    around(pool, "2021-12-27T12:00:00Z").await;
    assert_eq!(drop_before(pool, "2021-12-25T12:00:00Z").await, 1);
    let days = partitions(pool, "webhook_event").await;
    assert_eq!(days.first().unwrap(), "webhook_event_20211225");
    assert_eq!(days.last().unwrap(), "webhook_event_20220110");
    let audit = partitions(pool, "audit_log").await;
    assert_eq!(audit, months, "audit rows stay");
    let events = list(pool, "select created_at::text from webhook_event").await;
    assert_eq!(events.len(), 2);

    // Whatever is asked for, the last day is not dropped.
    drop_before(pool, "2099-01-01T00:00:00Z").await;
    let today = list(
        pool,
        "select to_regclass('webhook_event_' || to_char(now() at time zone 'UTC', 'YYYYMMDD'))::text",
    )
    .await;
    assert_eq!(today.len(), 1);
}

#[tokio::test]
async fn chores_go_by_the_clock_of_postgres() {
    let opened = open().await;
    let pool = &opened.database.pool;
    let days_of =
        "select (to_date(right(relname, 8), 'YYYYMMDD') - (now() at time zone 'UTC')::date)::text
        from pg_class c join pg_inherits i on i.inhrelid = c.oid
        where i.inhparent = 'webhook_event'::regclass order by relname";
    // As a quell that was down since left them.
    let old = query("select quell_ensure_partitions(now() - interval '18 days')");
    old.execute(pool).await.unwrap();
    create_partitions(pool).await.unwrap();
    let days = |range: std::ops::RangeInclusive<i32>| -> Vec<String> {
        range.map(|day| day.to_string()).collect()
    };
    let mut want = days(-19..=-4);
    want.extend(days(-1..=14));
    assert_eq!(list(pool, days_of).await, want);
    // The day that is partly younger is kept.
    assert_eq!(drop_events(pool, 7).await.unwrap(), 12);
    let mut want = days(-7..=-4);
    want.extend(days(-1..=14));
    assert_eq!(list(pool, days_of).await, want);
}

#[tokio::test]
async fn dead_jobs_and_idle_leases_are_removed() {
    let opened = open().await;
    let pool = &opened.database.pool;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    run(
        &mut service,
        "insert into job (event_created_at, event_id, received_at, state, deadline, room_sid)
         select now(), state || age, now() - age::interval, state, now(), 'RM'
         from unnest(array['dead', 'queued']) state, unnest(array['31 days', '29 days']) age;
         insert into track_lease (room_sid, identity, source, touched_at, action_id, leased_until)
         values ('old', 'a', 'M', now() - interval '25 hours', null, null),
                ('expired', 'a', 'M', now() - interval '25 hours', gen_random_uuid(), now()),
                ('held', 'a', 'M', now() - interval '25 hours', gen_random_uuid(), now() + interval '1 hour'),
                ('new', 'a', 'M', now(), null, null)",
    )
    .await;
    assert_eq!(delete_dead_jobs(pool, 30).await.unwrap(), 1);
    assert_eq!(delete_leases(pool).await.unwrap(), 2);
    let jobs = list(pool, "select event_id from job order by 1").await;
    assert_eq!(jobs, ["dead29 days", "queued29 days", "queued31 days"]);
    let leases = list(pool, "select room_sid from track_lease order by 1").await;
    assert_eq!(leases, ["held", "new"]);
}

#[tokio::test]
async fn nothing_waits_for_a_report() {
    let opened = open().await;
    let pool = &opened.database.pool;
    around(pool, "2021-12-25T12:00:00Z").await;
    let mut reader = PgConnection::connect_with(&opened.owner).await.unwrap();
    let mut report = reader.begin().await.unwrap();
    run(
        &mut report,
        "select * from audit_log; select * from webhook_event",
    )
    .await;

    // New partitions come all the same; old events wait for the next time.
    around(pool, "2022-02-23T12:00:00Z").await;
    assert_eq!(drop_before(pool, "2022-01-24T12:00:00Z").await, 0);
    report.rollback().await.unwrap();
    assert_eq!(drop_before(pool, "2022-01-24T12:00:00Z").await, 16);
}

/// A person let somebody speak in the room `room_sid`, the given time ago.
async fn unmute(pool: &Pool, room_sid: &str, ago: &str) {
    let unmute = query(
        "insert into manual_unmute (action_id, room_sid, identity, source, track_sid, at)
         values (gen_random_uuid(), $1, 'ann', 'MICROPHONE', 'TR_1', now() - $2::interval)",
    );
    let unmute = unmute.bind(room_sid).bind(ago.to_owned());
    unmute.execute(pool).await.unwrap();
}

/// `LiveKit` told of an event of the room, the given time ago.
async fn told(pool: &Pool, room_sid: &str, event: &str, ago: &str) {
    let around = query("select quell_ensure_partitions(now() - $1::interval)").bind(ago.to_owned());
    around.execute(pool).await.unwrap();
    let told = query(
        "insert into webhook_event (created_at, received_at, event_id, event, room_sid, body)
         values (now() - $3::interval, now() - $3::interval, gen_random_uuid()::text, $2, $1, '{}')",
    );
    let told = told.bind(room_sid).bind(event).bind(ago.to_owned());
    told.execute(pool).await.unwrap();
}

#[tokio::test]
async fn an_unmute_is_kept_as_long_as_its_room_lives() {
    let opened = open().await;
    let pool = &opened.database.pool;
    // A room that began three days ago and goes on, and one that has just ended.
    for room in ["RM_lives", "RM_ends"] {
        told(pool, room, "room_started", "3 days").await;
        unmute(pool, room, "70 hours").await;
    }
    told(pool, "RM_ends", "room_finished", "23 hours").await;
    // Ended a day ago; the second unmute was of the last minute.
    told(pool, "RM_ended", "room_finished", "25 hours").await;
    unmute(pool, "RM_ended", "26 hours").await;
    unmute(pool, "RM_ended", "23 hours").await;
    // Nobody told of the end, nor of anything: kept for the retention and a day.
    unmute(pool, "RM_silent", "7 days 23 hours").await;
    unmute(pool, "RM_long_silent", "8 days 1 hour").await;
    // Nobody told of the end, but of people who come and go.
    unmute(pool, "RM_goes_on", "20 days").await;
    told(pool, "RM_goes_on", "participant_joined", "7 days 23 hours").await;
    unmute(pool, "RM_went_on", "20 days").await;
    told(pool, "RM_went_on", "participant_left", "8 days 1 hour").await;

    let kept = "select room_sid from manual_unmute order by 1";
    assert_eq!(delete_unmutes(pool, 7).await.unwrap(), 3);
    let want = ["RM_ended", "RM_ends", "RM_goes_on", "RM_lives", "RM_silent"];
    assert_eq!(list(pool, kept).await, want);
    assert_eq!(delete_unmutes(pool, 7).await.unwrap(), 0);

    // And a day after its end it goes.
    let later = "update webhook_event set received_at = received_at - interval '2 hours'
                 where event = 'room_finished'";
    query(later).execute(pool).await.unwrap();
    assert_eq!(delete_unmutes(pool, 7).await.unwrap(), 1);
    let want = ["RM_ended", "RM_goes_on", "RM_lives", "RM_silent"];
    assert_eq!(list(pool, kept).await, want);
}

#[tokio::test]
async fn what_sweeps_wrote_is_kept_for_the_retention_and_as_long_as_rooms_live() {
    let opened = open().await;
    let pool = &opened.database.pool;
    told(pool, "RM_ended", "room_finished", "25 hours").await;
    told(pool, "RM_lives", "room_started", "3 days").await;
    for (days, room) in [(2, "RM_ended"), (2, "RM_lives"), (9, "RM_silent")] {
        for sql in [
            "insert into sweep_run (id, cause, key, leased_until, replica, created_at)
             values (gen_random_uuid(), 'schedule', $2, now(), 'r', now() - make_interval(days => $1))",
            "insert into sweep_decision (id, sweep_id, decided_at, as_of, room_name, room_sid, identity, track_sid, outcome, facts, decision)
             values ('SW_' || $2, gen_random_uuid(), now() - make_interval(days => $1), now(), 'r', $2, 'ann', 'TR', 'done', '{}', '{}')",
            "insert into swept_track (track_sid, room_sid, first_seen_at) values ('TR_' || $2, $2, now() - make_interval(days => $1))",
        ] {
            let insert = query(sql).bind(days).bind(room);
            insert.execute(pool).await.unwrap();
        }
    }
    assert_eq!(delete_sweeps(pool, 7).await.unwrap(), 1);
    let runs = list(pool, "select key from sweep_run order by 1").await;
    assert_eq!(runs, ["RM_ended", "RM_lives"]);
    let decisions = list(pool, "select room_sid from sweep_decision order by 1").await;
    assert_eq!(decisions, ["RM_ended", "RM_lives"]);
    let tracks = list(pool, "select room_sid from swept_track order by 1").await;
    assert_eq!(tracks, ["RM_lives"]);
}
