//! Migrations, rights and upkeep, on databases of a cluster that these tests share.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use sqlx::migrate::Migrate;
use sqlx::{AssertSqlSafe, Row, query};

use crate::clock::Clock;

use super::account::{Account, our_uid, we_are_root};
use super::test_support::{Cluster, config, superuser};
use super::*;

const INSUFFICIENT_PRIVILEGE: &str = "42501";

struct Opened {
    database: Database,
    service: PgConnectOptions,
    owner: PgConnectOptions,
    _cluster: Arc<Cluster>,
}

async fn open() -> Opened {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let database = on(&service, &owner).await.unwrap();
    Opened {
        database,
        service,
        owner,
        _cluster: cluster,
    }
}

async fn on(
    service: &PgConnectOptions,
    owner: &PgConnectOptions,
) -> Result<Database, DatabaseError> {
    Database::on(service.clone(), owner.clone(), DATABASE_URL, 4).await
}

/// Runs `sql` in a transaction that is rolled back; the SQLSTATE where it failed.
async fn attempt(connection: &mut PgConnection, sql: &str) -> Result<(), String> {
    let mut transaction = connection.begin().await.unwrap();
    let ran = raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut *transaction)
        .await;
    transaction.rollback().await.unwrap();
    match ran {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .as_database_error()
            .and_then(|error| error.code().map(Into::into))
            .unwrap_or_else(|| error.to_string())),
    }
}

async fn run(connection: &mut PgConnection, sql: &str) {
    raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap();
}

async fn list(pool: &PgPool, sql: &str) -> Vec<String> {
    query(AssertSqlSafe(sql.to_owned()))
        .fetch_all(pool)
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

const AUDIT_ROW: &str = "insert into audit_log
    (started_at, action_id, phase, origin, action, settle_by) values
    (now(), gen_random_uuid(), 'intent', 'manual', 'mute', now())";

#[tokio::test]
async fn an_empty_folder_that_is_somebodys_stays_theirs() {
    let cluster = Cluster::shared().await;
    let nobody = Account::named("nobody").map(|nobody| nobody.uid);
    let expected = nobody.filter(|_| we_are_root()).unwrap_or_else(our_uid);
    for path in ["", "PG_VERSION", "postgresql.conf", "base"] {
        let meta = cluster.data().join(path).metadata().unwrap();
        assert_eq!(meta.uid(), expected, "{path}");
    }
}

#[tokio::test]
async fn migrating_twice_at_once_is_migrating_once() {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let (one, two) = tokio::join!(on(&service, &owner), on(&service, &owner));
    let (one, two) = (one.unwrap(), two.unwrap());
    for database in [&one, &two] {
        let mut connection = database.pool.acquire().await.unwrap();
        assert_eq!(schema(&mut connection).await.unwrap(), Schema::Current);
    }
    let applied = list(
        &one.pool,
        "select version::text from _sqlx_migrations order by version",
    )
    .await;
    let known: Vec<String> = migrate::MIGRATOR
        .iter()
        .map(|migration| migration.version.to_string())
        .collect();
    assert_eq!(applied, known);
}

#[tokio::test]
async fn the_second_waits_for_the_first_ones_lock() {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let mut holder = PgConnection::connect_with(&owner).await.unwrap();
    holder.lock().await.unwrap();
    let opening = on(&service, &owner);
    tokio::pin!(opening);
    let mut watcher = superuser(&owner).await;
    loop {
        tokio::select! {
            opened = &mut opening => panic!("it did not wait: {opened:?}"),
            waiting = query_scalar::<_, bool>(
                "select exists (select from pg_locks l join pg_database d on d.oid = l.database
                 where l.locktype = 'advisory' and not l.granted
                   and d.datname = current_database())",
            ).fetch_one(&mut watcher) => if waiting.unwrap() { break },
        }
    }
    holder.unlock().await.unwrap();
    opening.await.unwrap();
}

#[tokio::test]
async fn a_database_of_another_quell_is_refused() {
    let opened = open().await;
    let mut owner = PgConnection::connect_with(&opened.owner).await.unwrap();
    let check = async |sql: &str, want: &str| {
        run(
            &mut PgConnection::connect_with(&opened.owner).await.unwrap(),
            sql,
        )
        .await;
        let error = on(&opened.service, &opened.owner).await.unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    };
    check(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of tomorrow', true, '', 0)",
        "newer quell (migration 9999",
    )
    .await;
    run(
        &mut owner,
        "delete from _sqlx_migrations where version = 9999",
    )
    .await;
    check(
        "update _sqlx_migrations set checksum = '' where version = 1",
        "migration 1 of",
    )
    .await;
}

#[tokio::test]
async fn a_login_that_owns_nothing_needs_a_migrated_database() {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let error = on(&service, &service).await.unwrap_err().to_string();
    assert!(
        error.contains("login quell may not") && error.contains("QUELL_MIGRATE_DATABASE_URL"),
        "{error}"
    );
    on(&service, &owner).await.unwrap().close().await;
    on(&service, &service).await.unwrap().close().await;

    // And it says what it lacks.
    let mut connection = PgConnection::connect_with(&owner).await.unwrap();
    run(&mut connection, "revoke insert on audit_log from quell").await;
    let error = on(&service, &service).await.unwrap_err().to_string();
    assert!(error.contains("insert audit_log"), "{error}");
    // The owner mends it.
    on(&service, &owner).await.unwrap();
}

#[tokio::test]
async fn one_login_may_be_both() {
    let cluster = Cluster::shared().await;
    let (_, owner) = cluster.database().await;
    let database = on(&owner, &owner).await.unwrap();
    database.upkeep(Clock::system().now(), 30).await.unwrap();
}

#[tokio::test]
async fn the_service_can_do_its_work_and_nothing_else() {
    let opened = open().await;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    let may = [
        "select * from _sqlx_migrations",
        "insert into policy (id, name, revision, document, managed_by, updated_by)
         values (gen_random_uuid(), 'p', 1, '{}', 'rest', 'ann');
         update policy set revision = 2; delete from policy",
        "insert into policy_revision (name, revision, change, document, author, managed_by)
         values ('p', 1, 'create', '{}', 'ann', 'rest') returning id",
        "insert into webhook_event (created_at, event_id, event, body)
         values (now(), 'EV_1', 'track_published', '{}') on conflict do nothing;
         update webhook_event set settlement = 'muted', settled_at = now()",
        "insert into job (id, event_created_at, event_id, state, deadline)
         values (gen_random_uuid(), now(), 'EV_1', 'queued', now());
         update job set attempt = 1; delete from job",
        "insert into track_lease (room_sid, identity, source) values ('RM', 'ann', 'MICROPHONE');
         update track_lease set touched_at = now(); delete from track_lease",
        AUDIT_ROW,
        "select quell_ensure_partitions(now()); select quell_drop_events(now() - interval '30 days')",
        "select * from moderation_history, failed_actions, unsettled_actions, would_have_muted,
         actions_by_participant, policy_effect",
        "listen quell_policy",
    ];
    for sql in may {
        assert_eq!(attempt(&mut service, sql).await, Ok(()), "{sql}");
    }
    let may_not = [
        "create table t (id int)",
        "create schema s",
        "create function f() returns int language sql as 'select 1'",
        "alter table job add column x int",
        "drop table job",
        "truncate job",
        "update audit_log set error = ''",
        "delete from audit_log",
        "truncate audit_log",
        "update policy_revision set author = ''",
        "delete from policy_revision",
        "delete from webhook_event",
        "update _sqlx_migrations set checksum = ''",
        "create trigger t before insert on job for each row execute function quell_refuse_change()",
        "select quell_create_partition('audit_log', '2020-01-01', '2020-01-02')",
        "select quell_grant_service('quell')",
        "select quell_grant_auditor()",
        "create role r",
        "set role quell_owner",
        "copy job to program 'true'",
        "select pg_read_file('/etc/passwd')",
    ];
    for sql in may_not {
        let got = attempt(&mut service, sql).await;
        assert_eq!(got, Err(INSUFFICIENT_PRIVILEGE.to_owned()), "{sql}");
    }
    // Partitions are reached through their parents only.
    let partition = "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
                     where c.relkind = 'r'";
    for partition in list(&opened.database.pool, partition).await {
        let got = attempt(&mut service, &format!("select * from {partition}")).await;
        assert_eq!(got, Err(INSUFFICIENT_PRIVILEGE.to_owned()), "{partition}");
    }
}

#[tokio::test]
async fn auditors_read_the_views_and_nothing_else() {
    let opened = open().await;
    let mut auditor = superuser(&opened.owner).await;
    run(&mut auditor, "set session authorization quell_auditor").await;
    let relations = list(
        &opened.database.pool,
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')",
    )
    .await;
    let mut readable = Vec::new();
    for relation in relations {
        match attempt(&mut auditor, &format!("select * from {relation}")).await {
            Ok(()) => readable.push(relation),
            Err(code) => assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{relation}"),
        }
    }
    readable.sort_unstable();
    assert_eq!(
        readable,
        [
            "actions_by_participant",
            "failed_actions",
            "moderation_history",
            "policy_effect",
            "unsettled_actions",
            "would_have_muted"
        ]
    );
    for sql in [
        AUDIT_ROW,
        "delete from would_have_muted",
        "create table t (id int)",
        "select quell_ensure_partitions(now())",
        "select quell_drop_events(now())",
        "select quell_create_partition('audit_log', '2020-01-01', '2020-01-02')",
        "select quell_grant_service('quell_auditor')",
    ] {
        let got = attempt(&mut auditor, sql).await;
        assert!(got.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn what_is_written_once_stays_even_for_its_owner() {
    let opened = open().await;
    let mut owner = PgConnection::connect_with(&opened.owner).await.unwrap();
    run(&mut owner, AUDIT_ROW).await;
    let mut tables = list(
        &opened.database.pool,
        "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
         where i.inhparent = 'audit_log'::regclass",
    )
    .await;
    assert!(!tables.is_empty());
    tables.extend(["audit_log".to_owned(), "policy_revision".to_owned()]);
    for table in tables {
        for sql in [
            format!("update {table} set policy_name = ''"),
            format!("update {table} set name = ''"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            let got = attempt(&mut owner, &sql).await;
            let unknown_column = got == Err("42703".to_owned());
            assert!(
                unknown_column || got == Err("23000".to_owned()),
                "{sql}: {got:?}"
            );
        }
    }
}

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
        opened.database.upkeep(now, 30),
        opened.database.upkeep(now, 30)
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
    let upkeep = opened
        .database
        .upkeep(at("2021-12-27T12:00:00Z"), 2)
        .await
        .unwrap();
    assert_eq!(upkeep.event_partitions, 1);
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
    opened
        .database
        .upkeep(Clock::system().now() + TimeDelta::days(400), 1)
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
    let upkeep = opened
        .database
        .upkeep(Clock::system().now(), 30)
        .await
        .unwrap();
    assert_eq!((upkeep.dead_jobs, upkeep.track_leases), (1, 2));
    let jobs = list(pool, "select event_id from job order by 1").await;
    assert_eq!(jobs, ["dead29 days", "queued29 days", "queued31 days"]);
    let leases = list(pool, "select room_sid from track_lease order by 1").await;
    assert_eq!(leases, ["held", "new"]);
}

#[tokio::test]
async fn upkeep_does_not_wait_for_a_report() {
    let opened = open().await;
    let now = at("2021-12-25T12:00:00Z");
    opened.database.upkeep(now, 30).await.unwrap();
    let mut reader = PgConnection::connect_with(&opened.owner).await.unwrap();
    let mut report = reader.begin().await.unwrap();
    run(
        &mut report,
        "select * from audit_log; select * from webhook_event",
    )
    .await;

    // New partitions come all the same; old events wait for the next time.
    let later = now + TimeDelta::days(60);
    let upkeep = opened.database.upkeep(later, 30).await.unwrap();
    assert_eq!(upkeep.event_partitions, 0);
    report.rollback().await.unwrap();
    let upkeep = opened.database.upkeep(later, 30).await.unwrap();
    assert_eq!(upkeep.event_partitions, 16);
}

#[tokio::test]
async fn intent_and_outcome_are_one_row_of_history() {
    let opened = open().await;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    run(
        &mut service,
        "insert into audit_log (started_at, action_id, phase, origin, action, room_name, actor,
                                settle_by, outcome, error) values
         (now(), '00000000-0000-0000-0000-000000000001', 'intent', 'manual', 'mute', 'r1', 'ann', now(), null, null),
         (now(), '00000000-0000-0000-0000-000000000001', 'outcome', 'manual', 'mute', null, null, null, 'done', null),
         (now(), '00000000-0000-0000-0000-000000000002', 'outcome', 'manual', 'mute', 'r2', 'bob', null, 'refused', 'no'),
         (now(), '00000000-0000-0000-0000-000000000003', 'intent', 'webhook', 'mute', 'r3', null, now(), null, null)",
    )
    .await;
    let history = list(
        &opened.database.pool,
        "select concat_ws(' ', right(action_id::text, 1), actor, room_name, outcome,
                          (settled_at is not null)::text)
         from moderation_history order by 1",
    )
    .await;
    assert_eq!(
        history,
        [
            "1 ann r1 done true",
            "2 bob r2 refused true",
            "3 r3 unsettled false"
        ]
    );
}

#[tokio::test]
async fn nothing_is_waited_for_without_end() {
    let opened = open().await;
    let settings = list(
        &opened.database.pool,
        "select name || '=' || setting from pg_settings
         where name in ('statement_timeout', 'lock_timeout', 'application_name',
                        'idle_in_transaction_session_timeout') order by name",
    )
    .await;
    assert_eq!(
        settings,
        [
            "application_name=quell",
            "idle_in_transaction_session_timeout=30000",
            "lock_timeout=5000",
            "statement_timeout=30000"
        ]
    );
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let opened = open().await;
    let pool = pool(opened.service.clone(), 4, Duration::ZERO);
    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(pool.acquire().await.unwrap());
    }
    drop(connections);
    let mut superuser = superuser(&opened.owner).await;
    run(
        &mut superuser,
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await;
    list(&pool, "select 'here'").await;
}

#[tokio::test]
async fn errors_show_no_password() {
    let open = async |url: &str| {
        let mut config = config(None);
        config.url = Some(url.to_owned().into());
        Database::open(&config).await.unwrap_err().to_string()
    };
    let error = open("postgres://ann:hunter2@127.0.0.1:1/audit").await;
    assert!(error.contains("database audit on 127.0.0.1:1"), "{error}");
    assert!(error.contains("DATABASE_URL"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = open("postgres://ann:hunter2@127.0.0.1:hunter2/audit").await;
    assert!(error.contains("DATABASE_URL"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
