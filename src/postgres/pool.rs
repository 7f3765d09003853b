//! The service's connections: every statement is bounded, and a connection that was left in the middle
//! of one is closed instead of being given to the next.
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

mod executor;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgQueryResult, PgRow};
use sqlx::{Connection as _, Either, Execute, Executor, PgPool, Postgres, raw_sql};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{self, DATABASE_URL};
use super::error::DatabaseError;
use crate::config::DatabaseConfig;

/// A webhook is answered within 2 s: waiting longer for a connection helps nobody.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for less is not asked first whether it still lives: the question
/// costs a round trip on the way to every mute.
pub(super) const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const CONNECTIONS_WARM: u32 = 4;
/// One stores webhooks, one begins actions, one ends them, one ends those with much metadata, and one sends heartbeats.
pub(crate) const HOT_CONNECTIONS: u32 = 5;
/// quell's statements are short, and no transaction is open across a network call. One that takes longer is
/// stuck, and would keep a connection, a lock, or old rows from everyone else. None is worth compiling.
const SETTINGS: &str = "set statement_timeout = '30s';
    set lock_timeout = '5s';
    set idle_in_transaction_session_timeout = '30s';
    set jit = off";
/// A few rows by their keys, out of tables that are empty most of the time: whatever statistics say, the way
/// to them is by an index.
const HOT_SETTINGS: &str = "set enable_seqscan = off;
    set enable_hashjoin = off;
    set enable_mergejoin = off";
/// The bound of statements on the way of a webhook or a mute, which take far less. A connection on which
/// Postgres says nothing for that long is probably dead.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Connections to the database; cheap to clone.
///
/// It executes single statements itself (`&Pool` is an [`Executor`]).
#[derive(Debug, Clone)]
pub struct Pool {
    raw: PgPool,
    /// The connections that are kept for one thing each ([`Dedicated`]).
    hot: PgPool,
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
        let pool = Self::new(service, config.connections_max, TRUSTED_IDLE);
        Ok(pool.with_policies_bytes_max(config.policies_bytes_max))
    }

    pub(super) fn new(
        service: PgConnectOptions,
        connections_max: u32,
        trusted_idle: Duration,
    ) -> Self {
        // One connection more listens (`Listener`).
        let others = connections_max.saturating_sub(HOT_CONNECTIONS + 1).max(1);
        let options = |connections: u32, settings: &'static str| {
            PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .test_before_acquire(false)
                .before_acquire(move |connection, meta| {
                    Box::pin(async move {
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
            bound: SILENCE_MAX,
            policies_bytes_max: i64::MAX,
        }
    }

    /// The same connections to a database that may hold so many bytes of policies.
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
        let deadline = Instant::now() + self.bound;
        let raw = timeout_at(deadline, pool.acquire()).await;
        Ok(Connection {
            raw: Some(raw.map_err(|_| sqlx::Error::PoolTimedOut)??),
            deadline,
            is_busy: false,
            in_transaction: false,
        })
    }

    /// A connection that one task keeps for the work that it does over and over.
    pub(crate) fn dedicated(&self) -> Dedicated {
        Dedicated {
            pool: self.clone(),
            connection: None,
        }
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
        let mut connection = self.acquire().await?;
        connection.in_transaction = true;
        raw_sql(statement).execute(&mut connection).await?;
        Ok(Transaction(connection))
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

/// A connection for statements of one piece of work, within one bound.
///
/// Dropped, it is given back; in the middle of a statement it is closed, and whoever waits for one
/// may open another at once. (What Postgres was doing there ends by `statement_timeout` at the latest.)
#[derive(Debug)]
pub(crate) struct Connection {
    /// None once it is dropped.
    raw: Option<PoolConnection<Postgres>>,
    deadline: Instant,
    /// Whether a statement has begun and not ended.
    is_busy: bool,
    in_transaction: bool,
}

/// A connection that is kept for the next piece of work, which saves a round trip and two waits each.
#[derive(Debug)]
pub(crate) struct Dedicated {
    pool: Pool,
    connection: Option<Connection>,
}

impl Dedicated {
    /// The connection, for work that begins now.
    pub(crate) async fn get(&mut self) -> Result<&mut Connection, sqlx::Error> {
        let kept = self.connection.take();
        let kept = kept.filter(|kept| !kept.is_busy && !kept.in_transaction);
        let connection = match kept {
            Some(kept) => kept,
            None => self.pool.acquire_of(&self.pool.hot).await?,
        };
        let connection = self.connection.insert(connection);
        connection.deadline = Instant::now() + self.pool.bound;
        Ok(connection)
    }

    /// Gives it back: there is nothing to do for a while, or its server may be gone.
    pub(crate) fn release(&mut self) {
        self.connection = None;
    }
}

/// A statement's mark on its connection.
struct Statement<'a> {
    is_busy: &'a mut bool,
    deadline: Instant,
}

impl Statement<'_> {
    async fn bounded<T>(
        self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        *self.is_busy = true;
        let done = timeout_at(self.deadline, work).await;
        let done = done.map_err(|_| timed_out())?;
        *self.is_busy = false;
        done
    }
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())
}

impl Connection {
    /// Begins a transaction on a connection that is kept. One that is not committed ends with the connection.
    pub(crate) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        raw_sql("begin").execute(&mut *self).await?;
        Ok(())
    }

    /// Commits what was begun.
    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        raw_sql("commit").execute(&mut *self).await?;
        self.in_transaction = false;
        Ok(())
    }

    fn statement(&mut self) -> Result<(&mut PgConnection, Statement<'_>), sqlx::Error> {
        if self.is_busy {
            return Err(timed_out());
        }
        let statement = Statement {
            is_busy: &mut self.is_busy,
            deadline: self.deadline,
        };
        let raw = self.raw.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok((raw, statement))
    }

    async fn results<'q, E: Execute<'q, Postgres> + 'q>(
        &mut self,
        query: E,
    ) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error> {
        let (raw, statement) = self.statement()?;
        statement.bounded(raw.fetch_many(query).try_collect()).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(raw) = self.raw.take() else { return };
        match Handle::try_current() {
            Ok(runtime) if !self.is_busy => {
                // A pool that is being closed waits for it.
                drop(runtime.spawn(give_back(raw, self.in_transaction)));
            }
            Ok(_) => drop(raw.detach()),
            // The process ends. sqlx would start a task, and panic.
            Err(_) => std::mem::forget(raw),
        }
    }
}

async fn give_back(mut raw: PoolConnection<Postgres>, in_transaction: bool) {
    if in_transaction {
        let rolled_back = timeout(SILENCE_MAX, raw_sql("rollback").execute(&mut *raw)).await;
        if !matches!(rolled_back, Ok(Ok(_))) {
            return drop(raw.detach());
        }
    }
    // As sqlx does when a connection is dropped, but bounded.
    if timeout(SILENCE_MAX, raw.return_to_pool()).await.is_err() {
        tracing::warn!("Postgres fell silent on a connection, which is closed");
    }
}

/// A transaction. Dropped before [`Transaction::commit`], it is rolled back.
#[derive(Debug)]
pub(crate) struct Transaction(Connection);

impl Transaction {
    /// Commits.
    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}
