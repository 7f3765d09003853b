//! Postgres in trouble: each is named in the log, a webhook is answered 503 and never 200 without a commit, and
//! all goes on by itself when it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use livekit_double::{Simulator, SimulatorConfig, sign_webhook};
use nix::sys::signal::Signal;
use quell_clock::Clock;
use reqwest::Client;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::Instant;

use crate::support::{BOUND, Program, TestDatabase, admin, settings};

/// What sends webhooks as LiveKit does, and keeps those that were acknowledged.
#[derive(Clone)]
struct Sender {
    http: Client,
    url: String,
    key: livekit_double::ApiKey,
    count: Arc<AtomicU32>,
}

impl Sender {
    /// Sends the next event; its id, and the answer's status: 200 or 503.
    async fn send(&self) -> (String, u16) {
        let id = format!("EV_{}", self.count.fetch_add(1, Ordering::Relaxed));
        let status = self.send_as(&id).await;
        (id, status)
    }

    async fn send_as(&self, id: &str) -> u16 {
        let now = Clock::system().now();
        let body = json!({
            "id": id, "event": "participant_joined", "createdAt": now.timestamp().to_string(),
            "room": {"sid": "RM_1", "name": "standup"}, "participant": {"sid": "PA_1", "identity": "ann"},
        })
        .to_string();
        let token = sign_webhook(&self.key, body.as_bytes(), now).unwrap();
        let request = self.http.post(format!("{}/livekit/webhook", self.url));
        let request = request.header("content-type", "application/webhook+json");
        let answer = request.header("authorization", token).body(body).send();
        let status = answer.await.unwrap().status().as_u16();
        assert!([200, 503].contains(&status), "{status}");
        status
    }
}

/// A server with a login of its own, whose Postgres gets into trouble.
struct Troubled {
    program: Program,
    livekit: Simulator,
    database: TestDatabase,
    login: String,
    pool: PgPool,
    sender: Sender,
    acknowledged: Vec<String>,
}

impl Troubled {
    async fn start() -> Self {
        quell::install_crypto();
        let database = TestDatabase::create().await;
        let (login, url) = database.service_login().await;
        let livekit = Simulator::start(SimulatorConfig::default()).await.unwrap();
        let mut settings = settings(&database, &livekit);
        settings.retain(|(name, _)| *name != "DATABASE_URL");
        settings.push(("DATABASE_URL", url));
        settings.push(("QUELL_MIGRATE_DATABASE_URL", database.url().to_owned()));
        let mut program = Program::start(&["serve"], &settings);
        let url = program.url().await;
        let mut troubled = Self {
            program,
            sender: Sender {
                http: Client::new(),
                url,
                key: livekit.api_key().unwrap().clone(),
                count: Arc::default(),
            },
            livekit,
            pool: database.pool().await,
            database,
            login,
            acknowledged: Vec::new(),
        };
        troubled.goes_on().await;
        troubled
    }

    /// As an administrator.
    async fn sql(&self, sql: &str) {
        let sql = sql
            .replace("SERVICE", &self.login)
            .replace("DATABASE", self.database.name());
        let sql = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool);
        sql.await.unwrap();
    }

    async fn end_sessions(&self) {
        self.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'SERVICE'",
        )
        .await;
    }

    async fn send(&mut self) -> bool {
        let (id, status) = self.sender.send().await;
        if status == 200 {
            self.acknowledged.push(id);
        }
        status == 200
    }

    async fn readiness(&self) -> (u16, String) {
        let asked = self.sender.http.get(format!("{}/readyz", self.sender.url));
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Waits until webhooks are refused, and `/readyz` says that, and why.
    async fn fails(&mut self, why: &str) {
        let begun = Instant::now();
        while self.send().await {
            assert!(begun.elapsed() < BOUND, "webhooks are stored all the same");
        }
        loop {
            let (status, text) = self.readiness().await;
            if status == 503 && text.contains(why) {
                break;
            }
            assert!(begun.elapsed() < BOUND, "{status} {text}, not {why}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!self.send().await, "nothing was mended yet");
    }

    /// Waits until webhooks are stored again.
    async fn goes_on(&mut self) -> Duration {
        let begun = Instant::now();
        while !self.send().await || self.readiness().await.0 != 200 {
            assert!(begun.elapsed() < BOUND, "it does not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    /// What was acknowledged is stored, and the log names the cause, and that it is over.
    async fn end(mut self, cause: &str) {
        let stored: Vec<String> = sqlx::query_scalar("select event_id from webhook_event")
            .fetch_all(&self.pool)
            .await
            .unwrap();
        let lost: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|id| !stored.contains(id))
            .collect();
        assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
        self.program.signal(Signal::SIGTERM);
        let (code, _, log) = self.program.end().await;
        assert_eq!(code, 0, "{log}");
        let lines: Vec<&str> = log.lines().collect();
        let said: Vec<_> = lines
            .iter()
            .filter(|line| {
                line.contains("\"level\":\"ERROR\"") && line.contains("quell::inbox::accept")
            })
            .collect();
        let named = said.iter().filter(|line| line.contains(cause)).count();
        // Once in ten seconds.
        assert!((1..=2).contains(&named), "{cause}: {said:#?}");
        assert!(log.contains("events can be stored again"), "{log}");
        self.livekit.shutdown().await;
        self.pool.close().await;
        self.database.drop().await;
        let drop = format!("drop role {}", self.login);
        let mut admin = admin().await;
        sqlx::raw_sql(AssertSqlSafe(drop))
            .execute(&mut admin)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_is_left_at_the_first_refused_write() {
    let mut troubled = Troubled::start().await;
    let read_only = "alter role SERVICE in database DATABASE set default_transaction_read_only";
    troubled.sql(&format!("{read_only} = on")).await;
    troubled.end_sessions().await;
    troubled.fails("the database is read-only").await;
    // Its connections stay read-only: nobody but quell ends them.
    troubled.sql(&format!("{read_only} = off")).await;
    let took = troubled.goes_on().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    troubled.end("the database is read-only").await;
}

#[tokio::test]
async fn too_many_connections_are_named() {
    let mut troubled = Troubled::start().await;
    troubled.sql("alter role SERVICE connection limit 0").await;
    troubled.end_sessions().await;
    troubled
        .fails("the database has too many connections")
        .await;
    troubled.sql("alter role SERVICE connection limit -1").await;
    troubled.goes_on().await;
    troubled.end("too many connections for role").await;
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_named() {
    let mut troubled = Troubled::start().await;
    let mut holder = troubled.pool.begin().await.unwrap();
    sqlx::raw_sql("lock table webhook_event in access exclusive mode")
        .execute(&mut *holder)
        .await
        .unwrap();
    // Postgres itself gives up after 3 s.
    troubled
        .fails("the database keeps a lock for somebody else")
        .await;
    holder.rollback().await.unwrap();
    troubled.goes_on().await;
    troubled
        .end("the database keeps a lock for somebody else")
        .await;
}

#[tokio::test]
async fn a_disk_that_is_full_is_named() {
    let mut troubled = Troubled::start().await;
    // A disk that is really full is another machine's: this is the error that it is told by.
    let function = "create function full_disk() returns trigger language plpgsql as $$ begin
             raise exception 'could not extend file: No space left on device' using errcode = '53100';
         end $$";
    troubled.sql(function).await;
    let tables = ["webhook_event", "replica"];
    for table in tables {
        // The table before its partitions, as everybody else locks them.
        let sql = format!(
            "lock table {table} in access exclusive mode;
             create trigger full_disk before insert or update on {table}
             for each row execute function full_disk()"
        );
        troubled.sql(&sql).await;
    }
    troubled.fails("the database's disk is full").await;
    for table in tables {
        troubled
            .sql(&format!(
                "lock table {table} in access exclusive mode; drop trigger full_disk on {table}"
            ))
            .await;
    }
    troubled.goes_on().await;
    troubled.end("the database's disk is full: ").await;
}

#[tokio::test]
async fn what_is_acknowledged_while_backends_are_killed_is_stored() {
    let mut troubled = Troubled::start().await;
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (sender, over) = (troubled.sender.clone(), Arc::clone(&over));
            tokio_util::task::TaskTracker::new().spawn(async move {
                let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
                while !over.load(Ordering::Relaxed) {
                    match sender.send().await {
                        (id, 200) => acknowledged.push(id),
                        (id, _) => refused.push(id),
                    }
                }
                (acknowledged, refused)
            })
        })
        .collect();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        troubled.end_sessions().await;
    }
    over.store(true, Ordering::Relaxed);
    let mut refused = Vec::new();
    for sender in senders {
        let (acknowledged, others) = sender.await.unwrap();
        troubled.acknowledged.extend(acknowledged);
        refused.extend(others);
    }
    troubled.goes_on().await;
    assert!(troubled.acknowledged.len() > 100, "there was a load");
    assert!(!refused.is_empty(), "some were caught in the middle");
    // LiveKit sends them again.
    for id in refused {
        assert_eq!(troubled.sender.send_as(&id).await, 200);
        troubled.acknowledged.push(id);
    }
    troubled.end("the database ended the connection").await;
}
