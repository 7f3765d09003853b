//! One quell with everything around it, for one test.

mod answer;
mod database;
mod events;
mod program;
mod proxy;
mod rows;
mod stub;
mod sweeps;
mod trail;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use livekit_double::{Join, Publish, Simulator, SimulatorConfig};
use livekit_protocol::TrackInfo;
use quell::audit::{Actor, Origin};
use quell::config::Config;
use quell::http::AppState;
use quell::policy_store::{self, Author};
use quell::postgres::Pool;
use quell::server::Server;
use quell_clock::Clock;
use quell_policy::{Document, Owner, TenantId};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::PgPool;
use url::Url;

pub(crate) use answer::Answer;
pub(crate) use database::{TestDatabase, admin};
pub(crate) use program::{Program, open_tempdir, read_until, settings};
pub(crate) use proxy::Proxy;
pub(crate) use stub::Stub;
pub(crate) use sweeps::{BY_MICS, MICS, by_hand, sweeping};

/// The longest time that a test waits for anything.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

/// Tokens of the callers that every `TestApp` knows.
pub(crate) const ACME: &str = "acme-secret-0123456789abcdef-0123456789";
pub(crate) const GLOBEX: &str = "globex-secret-0123456789abcdef-01234567";
pub(crate) const OPERATOR: &str = "operator-secret-0123456789abcdef-012345";

/// How a test's quell differs from the usual.
pub(crate) struct Setup {
    env: BTreeMap<String, Option<String>>,
    clock: Clock,
    simulator: SimulatorConfig,
    livekit_url: fn(String) -> String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            clock: Clock::system(),
            simulator: SimulatorConfig {
                enable_remote_unmute: true,
                // A test that needs LiveKit's 3 s sets them.
                no_response_after: Duration::from_millis(100),
                retry_delays: [10, 20, 40, 80].map(Duration::from_millis).to_vec(),
                ..SimulatorConfig::default()
            },
            livekit_url: |url| url,
        }
    }
}

impl Setup {
    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), Some(value.to_owned()));
        self
    }

    /// Leaves a variable out that is usually set.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.insert(name.to_owned(), None);
        self
    }

    /// Gives quell and the double another clock.
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.simulator.clock = clock.clone();
        self.simulator.token_clock = clock.clone();
        self.clock = clock;
        self
    }

    /// Changes the double.
    pub(crate) fn simulator(mut self, change: impl FnOnce(&mut SimulatorConfig)) -> Self {
        change(&mut self.simulator);
        self
    }

    /// Writes `LIVEKIT_URL` in another way.
    pub(crate) fn livekit_url(mut self, change: fn(String) -> String) -> Self {
        self.livekit_url = change;
        self
    }

    pub(crate) async fn start(self) -> TestApp {
        TestApp::start(self).await
    }
}

/// One quell, its database and its LiveKit.
pub(crate) struct TestApp {
    pub(crate) pool: PgPool,
    pub(crate) simulator: Simulator,
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) config: Config,
    clock: Clock,
    series_at_start: BTreeSet<String>,
    running: Option<Server>,
    others: Vec<Server>,
    database: Option<TestDatabase>,
}

/// The owner of policies: this tenant, or else the operator.
pub(crate) fn owner(tenant: Option<&str>) -> Owner {
    tenant.map(|id| TenantId::new(id).unwrap()).into()
}

impl TestApp {
    pub(crate) async fn new() -> Self {
        Setup::default().start().await
    }

    async fn start(setup: Setup) -> Self {
        quell::install_crypto();
        let database = TestDatabase::create().await;
        let simulator = Simulator::start(setup.simulator).await.unwrap();
        let mut env = usual_env(&simulator, &database);
        let livekit_url = (setup.livekit_url)(simulator.url());
        env.insert("LIVEKIT_URL".to_owned(), livekit_url);
        for (name, value) in setup.env {
            match value {
                Some(value) => env.insert(name, value),
                None => env.remove(&name),
            };
        }
        let config = Config::from_environment(&env.into_iter().collect()).unwrap();
        let pool = database.pool().await;
        let running = Server::start(&config, service(&config), setup.clock.clone())
            .await
            .unwrap();
        let url = format!("http://{}", running.address);
        let webhooks = Url::parse(&format!("{url}/livekit/webhook")).unwrap();
        simulator.set_webhook_url(Some(webhooks));
        let mut app = Self {
            pool,
            simulator,
            http: reqwest::Client::new(),
            url,
            config,
            clock: setup.clock,
            series_at_start: BTreeSet::new(),
            running: Some(running),
            others: Vec::new(),
            database: Some(database),
        };
        app.series_at_start = app.series();
        app
    }

    /// Starts another replica on the same database; returns its URL.
    pub(crate) async fn replica(&mut self) -> String {
        let running = Server::start(&self.config, service(&self.config), self.clock.clone())
            .await
            .unwrap();
        let url = format!("http://{}", running.address);
        self.others.push(running);
        url
    }

    /// What quell's handlers share.
    pub(crate) fn state(&self) -> &AppState {
        &self.running.as_ref().unwrap().state
    }

    /// The same of every replica, this one first.
    pub(crate) fn states(&self) -> impl Iterator<Item = &AppState> {
        self.running
            .iter()
            .chain(&self.others)
            .map(|running| &running.state)
    }

    /// `POST /livekit/participant/mute`, ready to be changed and sent.
    pub(crate) fn mute(
        &self,
        token: &str,
        room: &str,
        identity: &str,
        sid: &str,
        muted: bool,
    ) -> RequestBuilder {
        self.http
            .post(format!("{}/livekit/participant/mute", self.url))
            .bearer_auth(token)
            .json(&json!({"room_name": room, "participant_identity": identity, "track_sid": sid, "muted": muted}))
    }

    /// A request to `/v1`.
    pub(crate) fn api(&self, method: reqwest::Method, token: &str, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(token)
    }

    /// Stores policies as `quell policy apply` does, and waits until they are in force.
    pub(crate) async fn apply(&self, yaml: &str) {
        let document = Document::load([("test.yaml", yaml)])
            .map_err(|e| e.to_string())
            .unwrap()
            .value;
        let author = Author {
            origin: Origin::Cli,
            actor: Actor::CommandLine("cli:test".to_owned()),
            request: None,
        };
        policy_store::apply(&self.state().pool, &author, &document.policies, None, None)
            .await
            .unwrap();
        self.state()
            .policies
            .refresh(&self.state().pool)
            .await
            .unwrap();
    }

    /// What time it is for quell and the double.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A room of `tenant` in the double.
    pub(crate) fn room(&self, name: &str, tenant: &str) {
        let metadata = json!({ "auth_id": tenant }).to_string();
        self.simulator.create_room(name, Some(&metadata));
    }

    /// Somebody joins and publishes a track.
    pub(crate) fn publish(&self, room: &str, join: Join, publish: Publish) -> TrackInfo {
        let identity = join.identity.clone();
        self.simulator.join(room, join);
        self.simulator.publish(room, &identity, publish).unwrap()
    }

    /// Whether LiveKit has the track muted.
    pub(crate) fn is_muted(&self, room: &str, identity: &str, sid: &str) -> bool {
        self.simulator.track(room, identity, sid).unwrap().muted
    }

    /// Waits until every webhook is delivered and every job is settled.
    pub(crate) async fn settle(&self) {
        self.simulator.wait_delivered(BOUND).await.unwrap();
        self.wait_for("no job is open", async || self.open_jobs().await == 0)
            .await;
    }

    async fn open_jobs(&self) -> i64 {
        sqlx::query_scalar("select count(*) from job where state <> 'dead'")
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until `condition` holds, and fails when it does not within [`BOUND`].
    pub(crate) async fn wait_for<F: Future<Output = bool>>(
        &self,
        what: &str,
        condition: impl Fn() -> F,
    ) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(BOUND, wait).await.is_ok(),
            "waited in vain: {what}"
        );
    }

    /// One value out of the database, as text.
    pub(crate) async fn sql(&self, query: &str) -> Option<String> {
        let wrapped = format!("select (q.*)::text from (select x::text from ({query}) as t(x)) q");
        let text: Option<Option<String>> = sqlx::query_scalar(sqlx::AssertSqlSafe(wrapped))
            .fetch_optional(&self.pool)
            .await
            .unwrap();
        text.flatten()
            .map(|row| row.trim_matches(|c| c == '(' || c == ')').to_owned())
    }

    /// The settlement of the event of the track.
    pub(crate) async fn settlement(&self, track_sid: &str) -> Option<String> {
        sqlx::query_scalar("select settlement from webhook_event where track_sid = $1 and event = 'track_published'")
            .bind(track_sid)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The stored facts or decision (`column`) of the event of the track.
    pub(crate) async fn stored(&self, column: &str, track_sid: &str) -> Value {
        let query = format!(
            "select {column} from webhook_event where track_sid = $1 and event = 'track_published'"
        );
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(track_sid)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// The names of all that is measured: of counters, with their labels.
    fn series(&self) -> BTreeSet<String> {
        let text = self.state().metrics.text();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let names = samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
        names.collect()
    }

    /// Drains quell, and fails if work or an open intent is left, or if a counter was not there
    /// from the start.
    pub(crate) async fn finish(mut self) {
        let series = self.series();
        let late: Vec<_> = series.difference(&self.series_at_start).collect();
        assert!(late.is_empty(), "not counted from the start: {late:?}");
        for running in self.others.drain(..).chain(self.running.take()) {
            running.drain().await;
        }
        assert_eq!(self.open_jobs().await, 0, "jobs are left");
        // From the log itself, not from `open_intent`.
        let open: i64 = sqlx::query_scalar(
            "select count(*) from (select started_at, action_id from audit_log where phase = 'intent'
                                   except select started_at, action_id from audit_log where phase = 'outcome') open",
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(open, 0, "intents without an outcome are left");
        let open: i64 = sqlx::query_scalar("select count(*) from unsettled_actions")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        assert_eq!(open, 0, "intents with an outcome are said to be open");
        self.stop().await;
    }

    /// Drains a quell in which a test leaves work behind on purpose.
    pub(crate) async fn finish_with_work_left(mut self) {
        for running in self.others.drain(..).chain(self.running.take()) {
            running.drain().await;
        }
        self.stop().await;
    }

    async fn stop(&mut self) {
        self.simulator.shutdown().await;
        self.pool.close().await;
        if let Some(database) = self.database.take() {
            database.drop().await;
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let is_finished = self.database.is_none();
        assert!(
            is_finished || std::thread::panicking(),
            "a test ends with `finish`"
        );
    }
}

/// The service's own connections.
pub(crate) fn service(config: &Config) -> Pool {
    Pool::lazy(&config.database).unwrap()
}

fn usual_env(simulator: &Simulator, database: &TestDatabase) -> BTreeMap<String, String> {
    use secrecy::ExposeSecret;
    let key = simulator.api_key().unwrap();
    let secrets = json!([
        {"id": "acme", "secret": ACME},
        {"id": "globex", "secret": GLOBEX},
        {"id": "ops", "secret": OPERATOR},
    ]);
    [
        ("HOST", "127.0.0.1"),
        ("PORT", "0"),
        ("LIVEKIT_URL", &simulator.url()),
        ("LIVEKIT_API_KEY", &key.key),
        ("LIVEKIT_API_SECRET", key.secret.expose_secret()),
        ("DATABASE_URL", database.url()),
        ("AUTH_API_SECRETS_JSON", &secrets.to_string()),
        ("QUELL_OPERATOR_IDS", "ops"),
        // A test of sweeps says when.
        ("QUELL_SWEEP_CRON", "off"),
        // Tests have clocks of other years; what is old is judged by Postgres's.
        ("QUELL_EVENT_RETENTION", "36500d"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
