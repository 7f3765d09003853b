//! `quell audit`, `quell token` and `quell secret`: the real program.

use std::time::Duration;

use livekit_double::{Join, Publish};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::Executor as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::apply::{policy, printed};
use crate::policies::JWT_SECRET;
use crate::support::{ACME, Answer, BOUND, Setup, TestApp};

const MICS: &str = "
policies:
  - name: mics
    owner: acme
    match: { source: MICROPHONE }
    effect: mute
";

fn command(app: &TestApp, arguments: &[&str]) -> Command {
    let url = app.config.database.url.as_ref().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
    command
        .args(arguments)
        .env_clear()
        .env("QUELL_LOG", "error")
        .env("DATABASE_URL", url.expose_secret());
    command
}

/// A quell whose policy has muted ann.
async fn muted() -> TestApp {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    app.room("standup", "acme");
    app.publish("standup", Join::new("ann"), Publish::microphone());
    app.settle().await;
    app
}

#[tokio::test]
async fn what_was_done_is_shown_and_written_to_a_file() {
    let app = muted().await;
    let audit = async |arguments: &[&str]| {
        let all = [&["audit"], arguments].concat();
        printed(command(&app, &all)).await
    };
    let shown = audit(&["query", "--room", "standup"]).await;
    assert!(shown.starts_with("0\n"), "{shown}");
    assert!(
        shown.contains("done       mute          standup ann MICROPHONE  by acme/mics@1"),
        "{shown}"
    );
    let shown = audit(&["query", "--action", "policy.create"]).await;
    assert!(
        shown.contains("policy.create acme/mics@1  by cli:test"),
        "{shown}"
    );
    let shown = audit(&["query", "--identity", "ann", "--format", "json"]).await;
    let row: Value = serde_json::from_str(shown.lines().nth(1).unwrap()).unwrap();
    assert_eq!(row["policy_name"], "mics");
    let none = audit(&["query", "--tenant", "globex"]).await;
    assert!(none.contains("no action fits"), "{none}");
    for (arguments, said) in [
        (["--outcome", "nope"], "possible values: done, refused"),
        (["--since", "tuesday"], "`since`: \"tuesday\" is no time"),
    ] {
        let refused = audit(&[&["query"], &arguments[..]].concat()).await;
        assert!(
            !refused.starts_with("0\n") && refused.contains(said),
            "{refused}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.csv");
    let path = file.to_str().unwrap();
    let exported = audit(&["export", "--format", "csv", "--output", path]).await;
    assert!(exported.contains("2 actions"), "{exported}");
    let csv = std::fs::read_to_string(file).unwrap();
    assert_eq!(csv.matches("\r\n").count(), 3, "{csv}");
    let ndjson = audit(&["export", "--action", "mute"]).await;
    assert_eq!(
        ndjson.lines().filter(|line| line.starts_with('{')).count(),
        1,
        "{ndjson}"
    );
    let nowhere = app.mute(ACME, "standup", "nobody", "TR_x", true);
    let answer = nowhere.header("X-Actor", "zoe").header("X-Reason", "loud");
    assert_eq!(Answer::to(answer).await.status, 404);
    let shown = audit(&["query", "--on-behalf-of", "zoe"]).await;
    assert!(
        shown.contains("standup nobody  by acme for zoe (loud): no such participant"),
        "{shown}"
    );
    app.finish().await;
}

#[tokio::test]
async fn what_is_done_is_followed() {
    let app = muted().await;
    let mut following = command(&app, &["audit", "tail", "--identity", "ben"]);
    let mut following = following
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    // It follows from when it began: until it shows something, people come.
    let mut number = 0;
    let line = loop {
        number += 1;
        let room = format!("room-{number}");
        app.room(&room, "acme");
        app.publish(&room, Join::new("ben"), Publish::microphone());
        app.settle().await;
        let line = tokio::time::timeout(Duration::from_secs(1), lines.next_line()).await;
        if let Ok(line) = line {
            break line.unwrap().unwrap();
        }
        assert!(number < 20, "nothing is followed within {BOUND:?}");
    };
    assert!(line.contains("ben MICROPHONE  by acme/mics@1"), "{line}");
    app.finish().await;
}

#[tokio::test]
async fn what_grant_prints_gives_a_tenant_its_rows() {
    let app = muted().await;
    let login = format!("acme_{}", uuid::Uuid::now_v7().simple());
    let sql = printed(command(
        &app,
        &["audit", "grant", "acme", "--login", &login],
    ))
    .await;
    let sql = sql.strip_prefix("0\n").unwrap();
    let statements: Vec<_> = sql
        .lines()
        .filter(|line| !line.starts_with(['\\', '-']))
        .collect();
    let all = statements.join("\n");
    app.pool.execute(sqlx::AssertSqlSafe(all)).await.unwrap();
    let seen = format!(
        "set session authorization {login}; select count(*)::text from moderation_history; reset session authorization"
    );
    let mut connection = app.pool.acquire().await.unwrap();
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(seen))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let count: String = sqlx::Row::get(&rows[0], 0);
    assert_eq!(count, "2");
    let away = format!("drop owned by {login}; drop role {login}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(away))
        .execute(&mut *connection)
        .await
        .unwrap();
    drop(connection);
    app.finish().await;
}

#[tokio::test]
async fn psql_is_opened_as_the_auditor_who_reads_the_audit_and_nothing_else() {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    let program = |arguments: &[&str]| {
        let mut command = command(&app, &[&["audit", "psql"], arguments].concat());
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command
    };
    let psql = async |sql: &str| printed(program(&["-At", "-c", sql])).await;
    let read = psql("select current_user, action from moderation_history").await;
    assert_eq!(read, "0\nquell_auditor|policy.create\n");
    for (sql, why) in [
        ("select * from policy", "permission denied for table policy"),
        (
            "set transaction read write; delete from audit_log",
            "permission denied for table audit_log",
        ),
        ("create table t ()", "read-only transaction"),
    ] {
        let refused = psql(sql).await;
        assert!(
            refused.starts_with("1\n") && refused.contains(why),
            "{refused}"
        );
    }
    // Programs that it starts see no secret, and nothing leads it to another server.
    let mut command = program(&["-c", r"\! env"]);
    command
        .env("QUELL_JWT_SECRET", "hunter2")
        .env("PGSERVICE", "elsewhere");
    let seen = printed(command).await;
    assert!(
        seen.starts_with("0\n") && seen.contains("PGUSER="),
        "{seen}"
    );
    for gone in ["hunter2", "PGSERVICE", "\nDATABASE_URL="] {
        assert!(!seen.contains(gone), "{gone}: {seen}");
    }
    let ended = printed(program(&["-c", r"\! kill $PPID"])).await;
    assert!(ended.starts_with("143\n"), "as a shell says it: {ended}");

    let (login, url) = app.service_login().await;
    let mut command = program(&[]);
    command.env("DATABASE_URL", url);
    let refused = printed(command).await;
    let says = format!("grant quell_auditor to \"{login}\"");
    assert!(
        refused.starts_with("1\n") && refused.contains(&says),
        "{refused}"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_policy_is_switched_off_and_on_and_taken_away_without_a_file() {
    let app = TestApp::new().await;
    app.apply(MICS).await;
    let run = async |arguments: &[&str]| {
        policy(Some(&app), &[arguments, &["--owner", "acme"]].concat()).await
    };
    let mode = async || {
        app.sql("select document ->> 'mode' from policy")
            .await
            .unwrap()
    };
    let disabled = run(&["disable", "mics"]).await;
    assert!(
        disabled.starts_with("0\nupdated    acme/mics  revision 2\n"),
        "{disabled}"
    );
    assert!(
        disabled.contains("note: files keep this policy"),
        "{disabled}"
    );
    assert_eq!(mode().await, "off");
    let again = run(&["disable", "mics"]).await;
    assert!(
        again.starts_with("0\nunchanged  acme/mics  revision 2\n"),
        "{again}"
    );
    run(&["enable", "mics", "--dry-run"]).await;
    assert_eq!(mode().await, "dry_run");
    run(&["enable", "mics"]).await;
    assert_eq!(mode().await, "enforce");
    let deleted = run(&["delete", "mics"]).await;
    assert!(
        deleted.starts_with("0\ndeleted    acme/mics  revision 5\n"),
        "{deleted}"
    );
    assert!(!deleted.contains("stay muted"), "nobody is: {deleted}");
    for verb in ["delete", "disable", "enable"] {
        let missing = run(&[verb, "mics"]).await;
        assert!(
            missing.starts_with("1\n") && missing.contains("there is no policy acme/mics"),
            "{missing}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn tokens_and_secrets_that_are_made_are_taken() {
    let setup = Setup::default()
        .env("QUELL_JWT_SECRET", JWT_SECRET)
        .env("QUELL_JWT_ISSUER", "ours");
    let app = setup.start().await;
    let token = async |arguments: &[&str]| {
        let mut command = command(&app, &[&["token"], arguments].concat());
        command
            .env("QUELL_JWT_SECRET", JWT_SECRET)
            .env("QUELL_JWT_ISSUER", "ours");
        printed(command).await
    };
    let made = token(&["--id", "acme", "--scope", "audit:read", "--ttl", "10m"]).await;
    let made = made.strip_prefix("0\n").unwrap().trim();
    let audit = Answer::to(app.api(Method::GET, made, "/v1/audit")).await;
    assert_eq!(audit.status, 200);
    let policies = Answer::to(app.api(Method::GET, made, "/v1/policies")).await;
    assert_eq!(policies.outcome(), "403 FORBIDDEN");
    for (arguments, said) in [
        (vec!["--id", "cli:ann"], "begins with cli:"),
        (vec!["--id", "acme", "--ttl", "0s"], "--ttl 0s: write 90m"),
        (
            vec!["--id", "acme", "--scope", "all"],
            "possible values: mute",
        ),
    ] {
        let refused = token(&arguments).await;
        assert!(
            !refused.starts_with("0\n") && refused.contains(said),
            "{refused}"
        );
    }
    let without = printed(command(&app, &["token", "--id", "acme"])).await;
    assert!(without.contains("QUELL_JWT_SECRET is not set"), "{without}");
    let secrets = [0, 1].map(|_| command(&app, &["secret", "--id", "acme"]));
    let [first, second] = secrets;
    let (first, second) = (printed(first).await, printed(second).await);
    assert_ne!(first, second);
    let entry: Value =
        serde_json::from_str(first.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!(entry["id"], "acme");
    assert_eq!(entry["secret"].as_str().unwrap().len(), 43);
    assert_ne!(entry["secret"], ACME);
    app.finish().await;
}
