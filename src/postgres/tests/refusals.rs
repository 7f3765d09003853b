//! Connections that nobody may have again, and how long Postgres lets statements go on.

use super::*;
use crate::postgres::limits::{Limits, statement_limit_ms};
use crate::postgres::pool::Dedicated;

const REFUSE: &str = "set default_transaction_read_only = on";

fn pool_of(opened: &Opened, limits: Limits) -> Pool {
    Pool::new(
        opened.service.clone(),
        HOT_CONNECTIONS + 3,
        Duration::from_secs(1),
        limits,
    )
}

async fn backend(connection: &mut Dedicated) -> i32 {
    let asked = query_scalar("select pg_backend_pid()").fetch_one(connection.get().await.unwrap());
    asked.await.unwrap()
}

async fn next(pool: &Pool) -> i32 {
    let asked = query_scalar("select pg_backend_pid()").fetch_one(pool);
    asked.await.unwrap()
}

fn code(error: &sqlx::Error) -> String {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.map(Into::into).unwrap_or_default()
}

#[tokio::test]
async fn the_first_refused_write_ends_every_older_connection() {
    let opened = open().await;
    let pool = pool_of(&opened, Limits::OfSession);
    let (mut one, mut two) = (pool.dedicated(), pool.dedicated());
    let kept = [backend(&mut one).await, backend(&mut two).await];
    // All work on while nothing was refused.
    assert_eq!([backend(&mut one).await, backend(&mut two).await], kept);
    let before = [kept[0], kept[1], next(&pool).await];
    // One of them waits for what never comes, as a commit for a standby that is the primary by now.
    let mut hangs = pool.dedicated();
    let connection = hangs.get().await.unwrap();
    let asleep = query("select pg_sleep(60)").execute(connection);
    let refusing = async {
        query(REFUSE)
            .execute(one.get().await.unwrap())
            .await
            .unwrap();
        let write = "delete from replica where id = 'nobody'";
        let refused = query(write).execute(one.get().await.unwrap()).await;
        assert_eq!(code(&refused.unwrap_err()), "25006");
        std::time::Instant::now()
    };
    let (asleep, refused_at) = tokio::join!(asleep, refusing);
    assert!(asleep.is_err() && refused_at.elapsed() < Duration::from_secs(2));
    let after = [
        backend(&mut one).await,
        backend(&mut two).await,
        next(&pool).await,
    ];
    for pid in after {
        assert!(!before.contains(&pid), "{before:?} {after:?}");
    }
    assert_eq!(after[0], backend(&mut one).await, "those are kept");
}

#[tokio::test]
async fn a_statement_that_postgres_ended_leaves_its_connection_to_nobody() {
    let opened = open().await;
    let pool = pool_of(&opened, Limits::OfSession);
    let mut hot = pool.dedicated();
    let before = backend(&mut hot).await;
    let begun = std::time::Instant::now();
    let ended = query("select pg_sleep(60)").execute(hot.get().await.unwrap());
    assert_eq!(code(&ended.await.unwrap_err()), "57014");
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(3) && took < Duration::from_millis(4800),
        "{took:?}"
    );
    assert_ne!(backend(&mut hot).await, before);
}

#[tokio::test]
async fn time_limits_are_the_logins_and_longer_work_has_its_own() {
    let opened = open().await;
    let limit = "select current_setting('statement_timeout')";
    // Nothing is set by us: another one's session of a pooler has the same.
    let pool = pool_of(&opened, Limits::OfLogin);
    assert_eq!(list(&pool, limit).await, ["4s"]);
    let long = pool.within(Duration::from_secs(20));
    let limits = query_scalar::<_, String>(limit).fetch_all(&long).await;
    assert_eq!(limits.unwrap(), ["16s"]);
    let row = query_scalar::<_, String>(limit).fetch_optional(&long).await;
    assert_eq!(row.unwrap().as_deref(), Some("16s"));
    let mut tx = long.begin_read_only().await.unwrap();
    let said = query_scalar::<_, String>(limit).fetch_one(&mut *tx).await;
    assert_eq!(said.unwrap(), "16s");
    tx.commit().await.unwrap();
    assert_eq!(list(&pool, limit).await, ["4s"], "it stays nowhere");
    // What somebody has given the login stands.
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    assert_eq!(statement_limit_ms(&mut service).await.unwrap(), Some(4000));
    let database = opened.service.get_database().unwrap();
    let own =
        format!("alter role current_user in database {database} set statement_timeout = '2500'");
    run(&mut service, &own).await;
    on(&opened.service, &opened.owner).await.unwrap();
    assert_eq!(statement_limit_ms(&mut service).await.unwrap(), Some(2500));
    // Of one login that is both, nothing is changed.
    let mut owner = PgConnection::connect_with(&opened.owner).await.unwrap();
    on(&opened.owner, &opened.owner).await.unwrap();
    assert_eq!(statement_limit_ms(&mut owner).await.unwrap(), None);
}
