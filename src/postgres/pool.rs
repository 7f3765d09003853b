//! The service's connections: every statement is bounded, and a connection that was left in the middle
//! of one, or whose server cannot be trusted any more, is closed instead of being given to the next.
//!
//! ```text
//! &Pool --------------- one statement -------+
//! Pool::acquire -> Connection -- several ----+-> all within the pool's bound, with the wait for a connection
//! Pool::begin -> Transaction -- several -----+
//! ```
//!
//! sqlx's own pool is not reachable from elsewhere. A connection that is given back to it is asked
//! whether it lives, without a limit: where Postgres fell silent, that would take a connection from
//! everybody for as long as the kernel believes in it.

mod connection;
mod executor;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection as _, PgPool, raw_sql};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{self, DATABASE_URL};
use super::error::DatabaseError;
use super::limits::{self, Limits, OF_SESSION};
use crate::config::DatabaseConfig;
use connection::timed_out;
pub(crate) use connection::{Connection, Dedicated, Transaction};
pub(super) use refusals::Refusals;

/// A webhook is answered within 2 s: waiting longer for a connection helps nobody.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for less is not asked first whether it still lives: the question
/// costs a round trip on the way to every mute.
pub(super) const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const CONNECTIONS_WARM: u32 = 4;
const WHY_TIMEOUT: Duration = Duration::from_millis(500);
/// One stores webhooks, one begins actions, one ends them, and one sends heartbeats.
pub(crate) const HOT_CONNECTIONS: u32 = 4;
/// A connection ends after at most 5 minutes, so that none leads to a server for longer that is not the one any
/// more: this long the pool has it, and then one task may have it for a minute more.
pub(super) const LIFETIME_MAX: Duration = Duration::from_mins(4);
const KEPT_MAX: Duration = Duration::from_mins(1);
/// quell's statements are short: none is worth compiling.
const SETTINGS: &str = "set jit = off";
/// A few rows by their keys, out of tables that are empty most of the time: whatever statistics say, the way
/// to them is by an index.
const HOT_SETTINGS: &str = "set enable_seqscan = off;
    set enable_hashjoin = off;
    set enable_mergejoin = off";
/// The bound of statements on the way of a webhook or a mute, which take far less: Postgres ends them after 4 s
/// (`limits.rs`). A connection on which it says nothing for that long is probably dead.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Connections to the database; cheap to clone.
///
/// It executes single statements itself (`&Pool` is an [`sqlx::Executor`]).
#[derive(Debug, Clone)]
pub struct Pool {
    raw: PgPool,
    /// The connections that are kept for one thing each ([`Dedicated`]).
    hot: PgPool,
    /// How many of `raw` callers' requests and chores may have at once: the rest is left to claims and whatever else
    /// mutes wait for.
    share: Arc<Semaphore>,
    takes_share: bool,
    refusals: Refusals,
    finding_out: Arc<Semaphore>,
    bound: Duration,
    policies_bytes_max: i64,
}

impl Pool {
    /// Connects to the database of `DATABASE_URL` when it is first used; it has to be up to date.
    pub fn lazy(config: &DatabaseConfig) -> Result<Self, DatabaseError> {
        let url = config.url.as_ref();
        let url = url.ok_or(DatabaseError::Url {
            variable: DATABASE_URL,
        })?;
        let service = connect::service(connect::options(url, DATABASE_URL)?);
        let pool = Self::new(
            service,
            config.connections_max,
            TRUSTED_IDLE,
            Limits::OfSession,
        );
        Ok(pool.with_policies_bytes_max(config.policies_bytes_max))
    }

    pub(super) fn new(
        service: PgConnectOptions,
        connections_max: u32,
        trusted_idle: Duration,
        limits: Limits,
    ) -> Self {
        let refusals = Refusals::default();
        let limits = match limits {
            Limits::OfSession => OF_SESSION,
            Limits::OfLogin => "",
        };
        // One connection more listens (`Listener`).
        let others = connections_max.saturating_sub(HOT_CONNECTIONS + 1).max(1);
        let options = |connections: u32, settings: &'static str| {
            let refusals = refusals.clone();
            PgPoolOptions::new()
                .max_connections(connections)
                .max_lifetime(LIFETIME_MAX)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(move |connection, meta| {
                    let is_old = refusals.is_before(meta.age);
                    Box::pin(async move {
                        if is_old {
                            return Ok(false);
                        }
                        if meta.idle_for > trusted_idle {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        // Set after connecting: poolers refuse settings in the connection's first packet.
                        // Bounded here: sqlx bounds it only where somebody waits for the connection.
                        let set = async {
                            raw_sql(SETTINGS).execute(&mut *connection).await?;
                            raw_sql(limits).execute(&mut *connection).await?;
                            raw_sql(settings).execute(connection).await
                        };
                        timeout(SILENCE_MAX, set).await.map_err(|_| timed_out())??;
                        Ok(())
                    })
                })
        };
        let raw = options(others, "")
            // One is left to others while sqlx tries to connect those, which may take it 300 s.
            .min_connections(CONNECTIONS_WARM.min(others - 1));
        let hot = options(HOT_CONNECTIONS, HOT_SETTINGS);
        Self {
            raw: raw.connect_lazy_with(service.clone()),
            hot: hot.connect_lazy_with(service),
            share: Arc::new(Semaphore::new(
                usize::try_from(others / 2).unwrap_or(1).max(1),
            )),
            takes_share: false,
            refusals,
            finding_out: Arc::new(Semaphore::new(1)),
            bound: SILENCE_MAX,
            policies_bytes_max: i64::MAX,
        }
    }

    /// The same connections to a database that may hold this many bytes of policies.
    pub(super) fn with_policies_bytes_max(self, policies_bytes_max: i64) -> Self {
        Self {
            policies_bytes_max,
            ..self
        }
    }

    /// How many bytes of policies the database may hold.
    pub(crate) fn policies_bytes_max(&self) -> i64 {
        self.policies_bytes_max
    }

    /// The same connections, for what nobody's mute waits for: at most half of those that are for nothing else.
    #[must_use]
    pub(crate) fn sharing(&self) -> Self {
        Self {
            takes_share: true,
            ..self.clone()
        }
    }

    /// The same connections, for work that may take as long as `bound` (else 5 s).
    #[must_use]
    pub(crate) fn within(&self, bound: Duration) -> Self {
        Self {
            bound,
            ..self.clone()
        }
    }

    /// A connection for several statements. All of them have to be over within the bound, which
    /// begins now.
    pub(crate) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        self.acquire_of(&self.raw).await
    }

    async fn acquire_of(&self, pool: &PgPool) -> Result<Connection, sqlx::Error> {
        let begun = Instant::now();
        let deadline = begun + self.bound;
        let mut share = None;
        if self.takes_share {
            let waiting = Arc::clone(&self.share).acquire_owned();
            let taken = timeout_at(deadline.min(begun + ACQUIRE_TIMEOUT), waiting).await;
            // Nothing closes the semaphore.
            let taken = taken.ok().and_then(Result::ok);
            share = Some(taken.ok_or(sqlx::Error::PoolTimedOut)?);
        }
        let raw = timeout_at(deadline, pool.acquire()).await;
        match raw.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(raw) => Ok(Connection::new(raw, deadline, self.refusals.clone(), share)),
            Err(sqlx::Error::PoolTimedOut) => Err(self.why_none().await),
            Err(error) => Err(error),
        }
    }

    /// Why there was no connection in time. sqlx connects again and again where Postgres has too many, or does not let
    /// anybody in yet, and does not say so in the end. One at a time finds out.
    async fn why_none(&self) -> sqlx::Error {
        let Ok(_permit) = self.finding_out.try_acquire() else {
            return sqlx::Error::PoolTimedOut;
        };
        let options = self.options();
        match timeout(WHY_TIMEOUT, PgConnection::connect_with(&options)).await {
            Ok(Err(error)) => error,
            // All of ours are in use; or nobody answers.
            Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
        }
    }

    /// A connection that one task keeps for the work that it does over and over.
    pub(crate) fn dedicated(&self) -> Dedicated {
        Dedicated::new(self.clone())
    }

    /// Begins a transaction, which has to be over within the bound.
    pub(crate) async fn begin(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("begin").await
    }

    /// The same of a transaction that only reads.
    pub(crate) async fn begin_read_only(&self) -> Result<Transaction, sqlx::Error> {
        self.begin_with("begin read only").await
    }

    async fn begin_with(&self, statement: &'static str) -> Result<Transaction, sqlx::Error> {
        let connection = self.acquire().await?;
        let begin = limits::begin(statement, self.bound, SILENCE_MAX);
        Transaction::begin(connection, begin).await
    }

    /// Whether the work may take longer than Postgres lets a session's statements take.
    fn is_long(&self) -> bool {
        self.bound > SILENCE_MAX
    }

    /// Tells since when connections lead to a server that takes writes, as far as it is known.
    pub(super) fn refusals(&self) -> Refusals {
        self.refusals.clone()
    }

    /// How it connects.
    pub(super) fn options(&self) -> PgConnectOptions {
        (*self.raw.connect_options()).clone()
    }

    /// New connections are made this way from now on.
    pub(super) fn set_options(&self, service: PgConnectOptions) {
        let service = connect::service(service);
        self.hot.set_connect_options(service.clone());
        self.raw.set_connect_options(service);
    }

    #[cfg(test)]
    pub(super) fn raw(&self) -> &PgPool {
        &self.raw
    }

    /// Waits until every connection is closed.
    pub(super) async fn close(&self) {
        self.raw.close().await;
        self.hot.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a login's limits and a failover change comes to every connection.
    #[tokio::test]
    async fn no_connection_lives_longer_than_five_minutes() {
        let service = PgConnectOptions::new();
        let pool = Pool::new(service, 16, TRUSTED_IDLE, Limits::OfSession);
        for connections in [&pool.raw, &pool.hot] {
            let lifetime = connections.options().get_max_lifetime().unwrap();
            assert!(lifetime + KEPT_MAX <= Duration::from_mins(5));
        }
    }
}
