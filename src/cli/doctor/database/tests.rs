use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, raw_sql};

use super::super::Level;
use super::*;
use crate::postgres::Database;
use crate::postgres::test_support::{Cluster, Pooler, config, open_tempdir, superuser};

async fn complaints(service: &PgConnectOptions) -> Vec<(Level, String)> {
    examine(service, URL, &Clock::system())
        .await
        .into_iter()
        .filter(|finding| finding.level != Level::Ok)
        .map(|finding| (finding.level, finding.what))
        .collect()
}

async fn run(options: &PgConnectOptions, sql: &str) {
    let mut connection = PgConnection::connect_with(options).await.unwrap();
    raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
}

/// A webhook of yesterday.
async fn webhook_came(owner: &PgConnectOptions) {
    run(
        owner,
        "insert into webhook_event (created_at, event_id, event, body) values (date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '1 hour', 'EV_1', 'room_started', '{}')",
    )
    .await;
}

#[tokio::test]
async fn a_database_is_examined_from_empty_to_broken() {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let expect = async |options: &PgConnectOptions, level: Level, says: &str| {
        let got = complaints(options).await;
        let [(found, text)] = got.as_slice() else {
            panic!("{says} -> {got:?}");
        };
        assert_eq!(*found, level, "{text}");
        assert!(text.contains(says), "{text} lacks {says}");
    };
    expect(&service, Level::Warn, "migrations are not applied yet").await;

    let database = Database::on(service.clone(), owner.clone(), URL, 2).await;
    database.unwrap().close().await;
    expect(&service, Level::Warn, "no webhook of LiveKit's has come").await;
    webhook_came(&owner).await;
    assert_eq!(complaints(&service).await, []);
    expect(&owner, Level::Warn, "quell_owner owns the tables").await;

    run(&owner, "grant create on schema public to quell").await;
    expect(&service, Level::Warn, "quell may create tables").await;
    run(&owner, "revoke create on schema public from quell").await;

    run(&owner, "revoke insert, select on audit_log from quell").await;
    expect(&service, Level::Fail, "select audit_log, insert audit_log").await;
    run(&owner, "select quell_grant_service('quell')").await;

    run(&owner, "revoke select on failed_actions from quell_auditor").await;
    expect(&service, Level::Warn, "cannot read every audit view").await;
    run(&owner, "select quell_grant_auditor()").await;
    run(&owner, "revoke select on silences from quell_tenant").await;
    expect(&service, Level::Warn, "cannot read every audit view").await;
    run(&owner, "select quell_grant_auditor()").await;
    assert_eq!(complaints(&service).await, []);

    let drop_ahead = "do $$ declare name text; begin
        for name in select relname from pg_class c join pg_inherits i on i.inhrelid = c.oid
            where i.inhparent = 'webhook_event'::regclass
              and to_date(right(relname, 8), 'YYYYMMDD') > (now() at time zone 'UTC')::date + DAYS
        loop execute 'drop table ' || name; end loop; end $$";
    run(&owner, &drop_ahead.replace("DAYS", "3")).await;
    expect(&service, Level::Warn, "for 4 more days only").await;
    run(&owner, &drop_ahead.replace("DAYS", "-1")).await;
    expect(&service, Level::Fail, "no partition for today").await;
    run(&owner, "select quell_ensure_partitions(now())").await;

    run(
        &owner,
        "insert into policy (id, owner, name, revision, document, managed_by, updated_by)
         values (gen_random_uuid(), 'acme', 'new', 1, '{\"of\": \"tomorrow\"}', 'rest', 'acme')",
    )
    .await;
    expect(
        &service,
        Level::Fail,
        "revision 1 of policy new of tenant \"acme\" cannot be read",
    )
    .await;
    run(&owner, "delete from policy").await;

    run(
        &owner,
        "update _sqlx_migrations set version = 99 where version = 5",
    )
    .await;
    expect(&service, Level::Fail, "a newer quell").await;
}

#[tokio::test]
async fn a_pooler_that_shares_sessions_is_told() {
    let cluster = Cluster::shared().await;
    let (service, owner) = cluster.database().await;
    let database = Database::on(service.clone(), owner.clone(), URL, 2).await;
    database.unwrap().close().await;
    webhook_came(&owner).await;
    let check = async |mode: &str, prepared_max: u32, want: &[Level], owners: Level| {
        let pooler = Pooler::start(&service, mode, prepared_max);
        let got = complaints(&pooler.before(&service)).await;
        let levels: Vec<Level> = got.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, want, "{mode}, {prepared_max}: {got:?}");
        let finding = super::owners(&pooler.before(&owner)).await.unwrap();
        assert_eq!(finding.level, owners, "{mode}, {prepared_max}: {finding:?}");
        pooler.keeps_prepared()
    };
    check("session", 0, &[], Level::Ok).await;
    if check("transaction", 0, &[Level::Fail], Level::Fail).await {
        check("transaction", 100, &[Level::Warn], Level::Fail).await;
    }

    for (mode, level) in [("transaction", Level::Fail), ("session", Level::Warn)] {
        let pooler = Pooler::with_sessions(&service, mode, 0, 1);
        let got = complaints(&pooler.before(&service)).await;
        assert!(
            matches!(got.as_slice(), [(got, _)] if *got == level),
            "{mode}: {got:?}"
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told() {
    let cluster = Cluster::shared().await;
    let (service, _) = cluster.database().await;
    let hands = quell_clock::ManualClock::new(Clock::system().now() - TimeDelta::hours(1));
    let findings = examine(&service, URL, &hands.clock()).await;
    assert!(
        findings
            .iter()
            .any(|f| f.level == Level::Fail && f.what.contains("s ahead of ours")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn what_would_be_started_is_told_and_not_started() {
    let root = open_tempdir();
    let data = root.path().join("pg");
    let mut config = config(Some(&data));
    let clock = Clock::system();
    let findings = check(&config, &clock).await;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
    assert!(findings[0].what.contains("(to be made)"), "{findings:?}");
    assert!(!data.exists());

    config.pg_bin = Some(root.path().to_owned());
    let findings = check(&config, &clock).await;
    assert_eq!(findings[0].level, Level::Fail);
    let remedy = findings[0].remedy.as_ref().unwrap();
    assert!(remedy.contains("QUELL_PG_BIN"), "{remedy}");
}

#[tokio::test]
async fn the_one_that_runs_is_examined() {
    let cluster = Cluster::shared().await;
    // Its own database may not be migrated; that it answers is what counts here.
    let findings = check(&config(Some(&cluster.data())), &Clock::system()).await;
    assert!(findings[0].what.contains("psql"), "{findings:?}");
    assert!(findings[1].what.contains("answers"), "{findings:?}");
    superuser(&cluster.database().await.0).await;
}

#[tokio::test]
async fn both_urls_are_tried_and_no_password_is_shown() {
    let mut config = config(None);
    config.url = Some(SecretString::from("postgres://a:hunter2@127.0.0.1:1/x"));
    config.migrate_url = Some(SecretString::from("postgres://b:hunter2@127.0.0.1:2/x"));
    let findings = check(&config, &Clock::system()).await;
    assert_eq!(findings.len(), 2);
    for (finding, names) in findings.iter().zip([URL, MIGRATE_URL]) {
        assert_eq!(finding.level, Level::Fail);
        let text = format!("{finding:?}");
        assert!(text.contains(names) && !text.contains("hunter2"), "{text}");
    }
}
