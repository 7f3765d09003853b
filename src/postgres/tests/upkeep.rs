//! Partitions ahead, and what is removed once it has served its time.

use super::*;

#[tokio::test]
async fn upkeep_makes_the_partitions_ahead_and_drops_old_events_only() {
    let opened = open().await;
    let pool = &opened.database.pool;
    let of = |parent: &str| {
        format!(
            "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
             where i.inhparent = '{parent}'::regclass and right(relname, 8) < '20220201'
             order by 1"
        )
    };
    let now = at("2021-12-25T23:59:59Z");
    // Two replicas at once.
    let (one, two) = tokio::join!(
        upkeep(&opened.database.pool, now, 30),
        upkeep(&opened.database.pool, now, 30)
    );
    assert_eq!((one.unwrap(), two.unwrap()), Default::default());
    let days = list(pool, &of("webhook_event")).await;
    assert_eq!(days.len(), 16);
    assert_eq!(days.first().unwrap(), "webhook_event_20211224");
    assert_eq!(days.last().unwrap(), "webhook_event_20220108");
    let months = ["audit_log_20211201", "audit_log_20220101"];
    assert_eq!(list(pool, &of("audit_log")).await, months);

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
    let done = upkeep(&opened.database.pool, at("2021-12-27T12:00:00Z"), 2)
        .await
        .unwrap();
    assert_eq!(done.event_partitions, 1);
    let days = list(pool, &of("webhook_event")).await;
    assert_eq!(days.first().unwrap(), "webhook_event_20211225");
    assert_eq!(days.last().unwrap(), "webhook_event_20220110");
    assert_eq!(
        list(pool, &of("audit_log")).await,
        months,
        "audit rows stay"
    );
    let events = list(pool, "select created_at::text from webhook_event").await;
    assert_eq!(events.len(), 2);

    // A clock that runs ahead does not drop the last day.
    upkeep(
        &opened.database.pool,
        Clock::system().now() + TimeDelta::days(400),
        1,
    )
    .await
    .unwrap();
    let today = list(
        pool,
        "select to_regclass('webhook_event_' || to_char(now() at time zone 'UTC', 'YYYYMMDD'))::text",
    )
    .await;
    assert_eq!(today.len(), 1);
}

#[tokio::test]
async fn upkeep_removes_dead_jobs_and_idle_leases() {
    let opened = open().await;
    let pool = &opened.database.pool;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    run(
        &mut service,
        "insert into job (id, event_created_at, event_id, received_at, state, deadline)
         select gen_random_uuid(), now(), state || age, now() - age::interval, state, now()
         from unnest(array['dead', 'queued']) state, unnest(array['31 days', '29 days']) age;
         insert into track_lease (room_sid, identity, source, touched_at, action_id, leased_until)
         values ('old', 'a', 'M', now() - interval '25 hours', null, null),
                ('expired', 'a', 'M', now() - interval '25 hours', gen_random_uuid(), now()),
                ('held', 'a', 'M', now() - interval '25 hours', gen_random_uuid(), now() + interval '1 hour'),
                ('new', 'a', 'M', now(), null, null)",
    )
    .await;
    let done = upkeep(&opened.database.pool, Clock::system().now(), 30)
        .await
        .unwrap();
    assert_eq!((done.dead_jobs, done.track_leases), (1, 2));
    let jobs = list(pool, "select event_id from job order by 1").await;
    assert_eq!(jobs, ["dead29 days", "queued29 days", "queued31 days"]);
    let leases = list(pool, "select room_sid from track_lease order by 1").await;
    assert_eq!(leases, ["held", "new"]);
}

#[tokio::test]
async fn upkeep_does_not_wait_for_a_report() {
    let opened = open().await;
    let now = at("2021-12-25T12:00:00Z");
    upkeep(&opened.database.pool, now, 30).await.unwrap();
    let mut reader = PgConnection::connect_with(&opened.owner).await.unwrap();
    let mut report = reader.begin().await.unwrap();
    run(
        &mut report,
        "select * from audit_log; select * from webhook_event",
    )
    .await;

    // New partitions come all the same; old events wait for the next time.
    let later = now + TimeDelta::days(60);
    let done = upkeep(&opened.database.pool, later, 30).await.unwrap();
    assert_eq!(done.event_partitions, 0);
    report.rollback().await.unwrap();
    let done = upkeep(&opened.database.pool, later, 30).await.unwrap();
    assert_eq!(done.event_partitions, 16);
}
