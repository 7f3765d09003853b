//! Webhooks by hand: made, signed, sent, and held up in the database.

use chrono::{DateTime, Utc};
use livekit_double::ApiKey;
use livekit_double::{SignedWebhook, sign_webhook};
use serde_json::Value;
use sqlx::{Connection, Executor, PgConnection};
use url::Url;

use super::{Answer, TestApp};

/// A lock on the table of events: nothing can be stored until it is released.
pub(crate) struct Blocked(PgConnection);

impl Blocked {
    /// Releases the lock.
    pub(crate) async fn release(mut self) {
        self.0.execute("rollback").await.unwrap();
        self.0.close().await.unwrap();
    }
}

impl TestApp {
    /// Where LiveKit sends webhooks to.
    pub(crate) fn webhook_url(&self) -> Url {
        Url::parse(&format!("{}/livekit/webhook", self.url)).unwrap()
    }

    /// Sends `body` with that `Authorization`.
    pub(crate) async fn webhook(
        &self,
        authorization: Option<&str>,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let mut request = self
            .http
            .post(self.webhook_url())
            .header("Content-Type", "application/webhook+json")
            .body(body.into());
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        Answer::to(request).await
    }

    /// `body`, signed with LiveKit's own key at `now`.
    pub(crate) fn signed(&self, body: impl Into<Vec<u8>>, now: DateTime<Utc>) -> SignedWebhook {
        let body = body.into();
        let token = sign_webhook(self.livekit_key(), &body, now).unwrap();
        SignedWebhook { body, token }
    }

    /// LiveKit's key.
    pub(crate) fn livekit_key(&self) -> &ApiKey {
        self.simulator.api_key().unwrap()
    }

    /// Sends `event`, signed now.
    pub(crate) async fn send_event(&self, event: &Value) -> Answer {
        let signed = self.signed(event.to_string(), self.now());
        self.webhook(Some(&signed.token), signed.body).await
    }

    /// The last webhook that the double has made, as it would send it now.
    pub(crate) fn last_webhook(&self) -> SignedWebhook {
        let event = self.simulator.events().pop().unwrap();
        self.simulator.signed_webhook(&event).unwrap()
    }

    /// Keeps every event from being stored.
    pub(crate) async fn block_events(&self) -> Blocked {
        self.block("lock table webhook_event in access exclusive mode")
            .await
    }

    /// Keeps every event from being read, for longer than `lock_timeout` (5 s): a statement waits for the
    /// table's lock first, and then for those of its partitions.
    pub(crate) async fn block_events_twice(&self) -> [Blocked; 2] {
        let partitions = "do $$ declare name regclass; begin
                 for name in select inhrelid from pg_inherits
                             where inhparent = 'webhook_event'::regclass loop
                     execute format('lock table %s in access exclusive mode', name);
                 end loop;
             end $$";
        let partitions = self.block(partitions).await;
        let table = "lock table only webhook_event in access exclusive mode";
        [self.block(table).await, partitions]
    }

    async fn block(&self, lock: &'static str) -> Blocked {
        // Chores that a server does first of all would wait for the lock as well.
        self.wait_for("every chore is done once", async || {
            let text = self.state().metrics.text();
            let mut chores = text.lines().filter(|line| {
                line.starts_with("quell_maintenance_runs_total") && line.contains(r#"result="ok""#)
            });
            chores.all(|line| !line.ends_with(" 0"))
        })
        .await;
        let url = self.config.database.url.as_ref().unwrap();
        let url = secrecy::ExposeSecret::expose_secret(url);
        let mut connection = PgConnection::connect(url).await.unwrap();
        connection.execute("begin").await.unwrap();
        connection.execute(lock).await.unwrap();
        Blocked(connection)
    }

    /// Waits until quell has verified `count` webhooks, which is when they are about to be stored.
    pub(crate) async fn wait_verified(&self, count: usize) {
        let line = format!("quell_step_seconds_count{{step=\"Verify\"}} {count}");
        self.wait_for(&line, async || {
            let url = format!("{}/metrics", self.url);
            let metrics = self.http.get(url).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            metrics.lines().any(|found| found == line)
        })
        .await;
    }

    /// Waits until a statement waits for the lock of [`Self::block_events`].
    pub(crate) async fn wait_blocked(&self) {
        self.wait_blocked_for(0).await;
    }

    /// Waits until a statement has waited for this many seconds.
    pub(crate) async fn wait_blocked_for(&self, seconds: u32) {
        let waiting = "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'
               and wait_event = 'relation'
               and query_start <= clock_timestamp() - make_interval(secs => $1)";
        self.wait_for("a statement waits for the lock", async || {
            let waiting = sqlx::query_scalar::<_, i64>(waiting).bind(f64::from(seconds));
            waiting.fetch_one(&self.pool).await.unwrap() > 0
        })
        .await;
    }
}
