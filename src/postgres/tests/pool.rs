//! Connections whose Postgres falls silent, and work that is broken off.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, timeout};

use super::*;
use crate::postgres::pool::{Connection, HOT_CONNECTIONS};

const SHORT: Duration = Duration::from_millis(300);

/// A backend that does not go on. Dropped, it does.
struct Frozen(Pid);

impl Frozen {
    fn new(backend: i32) -> Self {
        let pid = Pid::from_raw(backend);
        kill(pid, Signal::SIGSTOP).unwrap();
        Self(pid)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may have ended.
        kill(self.0, Signal::SIGCONT).ok();
    }
}

/// A pool of one connection.
async fn of_one() -> (Opened, Pool) {
    let opened = open().await;
    let pool = Pool::new(
        opened.service.clone(),
        HOT_CONNECTIONS + 2,
        Duration::from_secs(1),
        Limits::OfSession,
    );
    (opened, pool)
}

async fn backend(connection: &mut Connection) -> i32 {
    let pid = query_scalar("select pg_backend_pid()").fetch_one(connection);
    pid.await.unwrap()
}

/// The backend of the next who needs a connection, which is there at once.
async fn next(pool: &Pool) -> i32 {
    let begun = Instant::now();
    let pid = query_scalar("select pg_backend_pid()").fetch_one(pool);
    let pid = pid.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{begun:?}");
    pid
}

fn is_timeout(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_closed_and_its_place_is_free_at_once() {
    let (_opened, pool) = of_one().await;
    let mut connection = pool.within(SHORT).acquire().await.unwrap();
    let silent = backend(&mut connection).await;
    let _frozen = Frozen::new(silent);
    let asked = query("select 1").execute(&mut connection).await;
    assert!(is_timeout(&asked.unwrap_err()));
    // It is nothing to go on with, either.
    let begun = Instant::now();
    let asked = query("select 1").fetch_optional(&mut connection).await;
    assert!(is_timeout(&asked.unwrap_err()) && begun.elapsed() < SHORT);
    drop(connection);
    assert_ne!(next(&pool).await, silent);
}

#[tokio::test]
async fn one_statement_by_itself_is_bounded_as_well() {
    let (_opened, pool) = of_one().await;
    let begun = Instant::now();
    let short = pool.within(SHORT);
    let asked = query("select pg_sleep(60)").execute(&short);
    assert!(is_timeout(&asked.await.unwrap_err()));
    let asked = query("select pg_sleep(60)").fetch_one(&short);
    assert!(is_timeout(&asked.await.unwrap_err()));
    assert!(begun.elapsed() < Duration::from_secs(2));
    next(&pool).await;
}

#[tokio::test]
async fn who_is_given_no_connection_is_told_within_the_bound() {
    let (_opened, pool) = of_one().await;
    let held = pool.acquire().await.unwrap();
    let begun = Instant::now();
    let asked = query("select 1").execute(&pool.within(SHORT)).await;
    assert!(matches!(asked, Err(sqlx::Error::PoolTimedOut)), "{asked:?}");
    assert!(begun.elapsed() < Duration::from_secs(1));
    drop(held);
    next(&pool).await;
}

#[tokio::test]
async fn several_statements_have_one_bound() {
    let (_opened, pool) = of_one().await;
    let mut connection = pool.within(SHORT).acquire().await.unwrap();
    let sleep = || query("select pg_sleep(0.2)");
    sleep().execute(&mut connection).await.unwrap();
    let second = sleep().execute(&mut connection).await;
    assert!(is_timeout(&second.unwrap_err()));
}

#[tokio::test]
async fn work_that_is_broken_off_leaves_its_connection_to_nobody() {
    let (_opened, pool) = of_one().await;
    let used = next(&pool).await;
    assert_eq!(next(&pool).await, used, "it is used again otherwise");
    let asleep = query("select pg_sleep(60)").execute(&pool);
    timeout(SHORT, asleep).await.unwrap_err();
    let other = next(&pool).await;
    assert_ne!(other, used);

    let mut transaction = pool.begin().await.unwrap();
    let asleep = query("select pg_sleep(60)").execute(&mut *transaction);
    timeout(SHORT, asleep).await.unwrap_err();
    drop(transaction);
    assert_ne!(next(&pool).await, other);
}

#[tokio::test]
async fn a_connection_that_falls_silent_between_statements_is_given_up_in_time() {
    let (_opened, pool) = of_one().await;
    for in_transaction in [false, true] {
        let begun = Instant::now();
        let silent = if in_transaction {
            let mut transaction = pool.begin().await.unwrap();
            let silent = backend(&mut transaction).await;
            (Frozen::new(silent), silent)
        } else {
            let mut connection = pool.acquire().await.unwrap();
            let silent = backend(&mut connection).await;
            (Frozen::new(silent), silent)
        };
        let other = loop {
            if let Ok(mut connection) = pool.acquire().await {
                break backend(&mut connection).await;
            }
            assert!(begun.elapsed() < Duration::from_secs(8));
        };
        assert_ne!(other, silent.1);
    }
}

#[tokio::test]
async fn a_transaction_is_committed_or_rolled_back() {
    let (_opened, pool) = of_one().await;
    let job = "insert into job (event_created_at, event_id, received_at, state, deadline, room_sid)
               values (now(), $1, now(), 'queued', now(), 'RM')";
    let mut backends = Vec::new();
    for (id, commits) in [
        ("rolled back", false),
        ("committed", true),
        ("failed", false),
    ] {
        let mut transaction = pool.begin().await.unwrap();
        backends.push(backend(&mut transaction).await);
        query(job)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .unwrap();
        if id == "failed" {
            query("select 1 / 0")
                .execute(&mut *transaction)
                .await
                .unwrap_err();
        }
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    assert_eq!(list(&pool, "select event_id from job").await, ["committed"]);
    // All by one connection: neither a rollback nor an error closes it.
    backends.push(next(&pool).await);
    backends.dedup();
    assert_eq!(backends.len(), 1);

    let mut reads = pool.begin_read_only().await.unwrap();
    let refused = query(job).bind("read only").execute(&mut *reads).await;
    let refused = refused.unwrap_err().into_database_error().unwrap();
    assert_eq!(refused.code().as_deref(), Some("25006"));
}

#[tokio::test]
async fn a_connection_may_be_dropped_where_no_task_can_be_started() {
    let (_opened, pool) = of_one().await;
    let pool = Pool::new(
        pool.options(),
        HOT_CONNECTIONS + 3,
        Duration::from_secs(1),
        Limits::OfSession,
    );
    let connection = pool.acquire().await.unwrap();
    std::thread::spawn(move || drop(connection)).join().unwrap();
    next(&pool).await;
}

#[tokio::test]
async fn requests_and_chores_have_half_of_the_connections_and_the_rest_is_left_to_mutes() {
    let opened = open().await;
    let pool = Pool::new(
        opened.service.clone(),
        HOT_CONNECTIONS + 5,
        Duration::from_secs(1),
        Limits::OfSession,
    );
    let shared = pool.sharing();
    let held = [
        shared.acquire().await.unwrap(),
        shared.acquire().await.unwrap(),
    ];
    let refused = shared.within(SHORT).acquire().await;
    assert!(
        matches!(refused, Err(sqlx::Error::PoolTimedOut)),
        "{refused:?}"
    );
    next(&pool).await;
    drop(held);
    next(&shared).await;
}
