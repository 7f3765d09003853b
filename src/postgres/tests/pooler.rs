//! A real pgbouncer before Postgres, in every mode.

use super::*;
use crate::postgres::test_support::Pooler;

const FORGETS: &str = "is behind a pooler that forgets prepared statements, as pgbouncer does in \
    transaction mode: set its pool_mode to session, or use pgbouncer 1.21 or newer with \
    max_prepared_statements above 0";
const LOSES_LOCK: &str = "must be migrated, and is behind a pooler in transaction mode, which \
    loses the lock that keeps two from migrating at once: set QUELL_MIGRATE_DATABASE_URL to the \
    owner's login at Postgres itself";

#[tokio::test]
async fn a_pooler_works_or_is_refused_in_one_sentence() {
    let cluster = Cluster::shared().await;
    // Through it alone, and with an owner's login at Postgres itself.
    let check = async |mode: &str, prepared_max: u32, want: [Result<(), &str>; 2]| {
        let (service, owner) = cluster.database().await;
        let pooler = Pooler::start(&service, mode, prepared_max);
        let through = pooler.before(&service);
        for (owner, want) in [pooler.before(&owner), owner].into_iter().zip(want) {
            let opened = on(&through, &owner).await;
            let want = want.map_err(|what| format!("{} {what}", place(&through)));
            let got = opened.as_ref().map(|_| ()).map_err(ToString::to_string);
            assert_eq!(got, want, "{mode}, {prepared_max}");
            let Ok(database) = opened else { continue };
            let limit = "select current_setting('statement_timeout')";
            assert_eq!(list(&database.pool, limit).await, ["4s"]);
            create_partitions(&database.pool).await.unwrap();
            drop_events(&database.pool, 30).await.unwrap();
            database.close().await;
        }
        pooler.keeps_prepared()
    };
    check("session", 0, [Ok(()), Ok(())]).await;
    check("statement", 0, [Err(FORGETS), Err(FORGETS)]).await;
    if check("transaction", 0, [Err(FORGETS), Err(FORGETS)]).await {
        check("transaction", 100, [Err(LOSES_LOCK), Ok(())]).await;
    }
}

#[tokio::test]
async fn a_pooler_with_few_sessions_is_seen_through() {
    let cluster = Cluster::shared().await;
    for sessions_max in [1, 2, 3] {
        let (service, owner) = cluster.database().await;
        let pooler = Pooler::with_sessions(&service, "transaction", 0, sessions_max);
        let through = pooler.before(&service);
        let begun = std::time::Instant::now();
        let error = on(&through, &owner).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{} {FORGETS}", place(&through)),
            "{sessions_max}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        if pooler.keeps_prepared() {
            let pooler = Pooler::with_sessions(&service, "transaction", 100, sessions_max);
            on(&pooler.before(&service), &owner).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_query_fails_by_is_said_as_it_is() {
    let opened = open().await;
    let pool = &opened.database.pool;
    let failed = async |sql: &str| {
        let ran = query(AssertSqlSafe(sql.to_owned())).execute(pool).await;
        failed_query(&ran.unwrap_err())
    };
    assert!(failed("select 1 / 0").await.starts_with(
        "the database answers with an error: error returned from database: division by zero"
    ));
    let forgets = format!("the database {FORGETS}");
    assert_eq!(failed("execute none_such").await, forgets);
    let silent = failed_query(&sqlx::Error::PoolTimedOut);
    assert!(
        silent.starts_with("the database does not answer: pool timed out"),
        "{silent}"
    );
    let silent = failed_query(&sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into()));
    assert!(
        silent.starts_with("the database does not answer: "),
        "{silent}"
    );
}

#[tokio::test]
async fn a_setting_that_a_pooler_refuses_is_named() {
    let cluster = Cluster::shared().await;
    let (service, _) = cluster.database().await;
    let pooler = Pooler::start(&service, "session", 0);
    let through = pooler.before(&service).options([("geqo", "off")]);
    let error = on(&through, &through).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the pooler before database ")
            && error.contains("unsupported startup parameter")
            && error.ends_with(
                "take it out of DATABASE_URL, or add it to pgbouncer's ignore_startup_parameters"
            ),
        "{error}"
    );
}

#[test]
fn a_url_asks_for_nothing_that_poolers_refuse() {
    let options = options(&"postgres://a@b/c".to_owned().into(), DATABASE_URL).unwrap();
    assert!(format!("{options:?}").contains("extra_float_digits: None"));
}
