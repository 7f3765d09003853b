//! Migrations, rights and maintenance, on databases of a cluster that these tests share.

mod maintenance;
mod pool;
mod pooler;
mod refusals;
mod rights;

use std::future::pending;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::migrate::Migrate;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row, query, query_scalar, raw_sql};

use super::account::{Account, our_uid, we_are_root};
use super::connect::DATABASE_URL;
use super::limits::Limits;
use super::pool::HOT_CONNECTIONS;
use super::test_support::{Cluster, config, superuser};
use super::*;

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

async fn list(pool: &Pool, sql: &str) -> Vec<String> {
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
        let mut connection = database.pool.raw().acquire().await.unwrap();
        assert_eq!(schema(&mut connection).await.unwrap(), Schema::Current);
    }
    let applied = list(
        &one.pool,
        "select version::text from _sqlx_migrations m order by m.version",
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
         values (9999, 'breaking of tomorrow', true, '', 0)",
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
async fn an_older_quell_goes_on_and_starts_beside_a_newer_one_that_only_added() {
    let opened = open().await;
    // What the next version may do: it adds what this one does without.
    let mut owner = PgConnection::connect_with(&opened.owner).await.unwrap();
    for sql in [
        "alter table webhook_event add column of_tomorrow text",
        "alter table job add column of_tomorrow integer not null default 0",
        "create table of_tomorrow (id bigint primary key)",
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9999, 'of tomorrow', true, '', 0)",
    ] {
        run(&mut owner, sql).await;
    }
    create_partitions(&opened.database.pool).await.unwrap();
    let again = on(&opened.service, &opened.owner).await.unwrap();
    create_partitions(&again.pool).await.unwrap();
    drop_events(&again.pool, 30).await.unwrap();
    let ahead = schema(&mut owner).await.unwrap();
    assert_eq!(ahead, Schema::Ahead(9999));
    // One that lacks migrations of its own there is another line of versions.
    run(&mut owner, "delete from _sqlx_migrations where version = 8").await;
    let error = on(&opened.service, &opened.owner).await.unwrap_err();
    assert!(
        error.to_string().contains("newer quell (migration 9999"),
        "{error}"
    );
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
    create_partitions(&database.pool).await.unwrap();
    drop_events(&database.pool, 30).await.unwrap();
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
            "lock_timeout=3000",
            "statement_timeout=4000"
        ]
    );
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let opened = open().await;
    let pool = Pool::new(
        opened.service.clone(),
        HOT_CONNECTIONS + 5,
        Duration::ZERO,
        Limits::OfSession,
    );
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
        Database::open(&config, pending())
            .await
            .unwrap_err()
            .to_string()
    };
    let error = open("postgres://ann:hunter2@127.0.0.1:1/audit").await;
    assert!(error.contains("database audit on 127.0.0.1:1"), "{error}");
    assert!(error.contains("DATABASE_URL"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = open("postgres://ann:hunter2@127.0.0.1:hunter2/audit").await;
    assert!(error.contains("DATABASE_URL"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
