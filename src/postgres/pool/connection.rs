//! A connection in use: its bound, and whether anybody may have it next.

use std::borrow::Cow;
use std::io::{Error, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow};
use sqlx::{AssertSqlSafe, Either, Execute, Executor as _, Postgres, raw_sql};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::refusals::Refusals;
use super::{KEPT_MAX, Pool, SILENCE_MAX};
use crate::postgres::trouble::{ends_connection, is_read_only};

/// A connection for statements of one piece of work, within one bound.
///
/// Dropped, it is given back. It is closed in the middle of a statement, and after one that Postgres ended for its
/// time, or as a read-only server does; whoever waits for one may open another at once. (What Postgres was doing
/// there ends by `statement_timeout` at the latest.)
#[derive(Debug)]
pub(crate) struct Connection {
    /// None once it is dropped.
    raw: Option<PoolConnection<Postgres>>,
    deadline: Instant,
    taken_at: Instant,
    refusals: Refusals,
    /// Whether a statement has begun and not ended, or ended so that no other may follow.
    is_over: bool,
    in_transaction: bool,
    #[expect(dead_code, reason = "it is held")]
    share: Option<OwnedSemaphorePermit>,
}

/// A connection that is kept for the next piece of work, which saves a round trip and two waits each.
#[derive(Debug)]
pub(crate) struct Dedicated {
    pool: Pool,
    connection: Option<Connection>,
}

impl Dedicated {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            connection: None,
        }
    }

    /// The connection, for work that begins now.
    pub(crate) async fn get(&mut self) -> Result<&mut Connection, sqlx::Error> {
        let kept = self.connection.take();
        let kept = kept.filter(|kept| {
            let is_done = !kept.is_over && !kept.in_transaction;
            is_done && kept.taken_at.elapsed() < KEPT_MAX && !kept.refusals.is_since(kept.taken_at)
        });
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

/// Postgres ends a statement after 4 s (`limits.rs`): where it has said nothing for longer, it waits to commit, or is
/// not there.
const SILENCE_MIN: Duration = Duration::from_millis(4_300);

/// A statement's mark on its connection.
pub(super) struct Statement<'a> {
    is_over: &'a mut bool,
    deadline: Instant,
    taken_at: Instant,
    refusals: &'a Refusals,
}

impl Statement<'_> {
    pub(super) async fn bounded<T>(
        self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        *self.is_over = true;
        let begun = Instant::now();
        let done = tokio::select! {
            biased;
            done = timeout_at(self.deadline, work) => if let Ok(done) = done {
                done
            } else {
                if begun.elapsed() > SILENCE_MIN {
                    self.refusals.silent(self.taken_at);
                }
                return Err(timed_out());
            },
            // Where others are told that this server is read-only, what is under way there may wait for ever:
            // for a standby, for example, that is the primary by now.
            () = self.refusals.since(self.taken_at) => return Err(superseded()),
        };
        match &done {
            Err(error) if is_read_only(error) => self.refusals.said(self.taken_at),
            Err(error) if ends_connection(error) => {}
            Ok(_) | Err(_) => *self.is_over = false,
        }
        done
    }
}

pub(super) fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(ErrorKind::TimedOut.into())
}

fn superseded() -> sqlx::Error {
    let why = "its server was found to be read-only";
    sqlx::Error::Io(Error::new(ErrorKind::ConnectionAborted, why))
}

impl Connection {
    pub(super) fn new(
        raw: PoolConnection<Postgres>,
        deadline: Instant,
        refusals: Refusals,
        share: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            raw: Some(raw),
            deadline,
            taken_at: Instant::now(),
            refusals,
            is_over: false,
            in_transaction: false,
            share,
        }
    }

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

    pub(super) fn statement(&mut self) -> Result<(&mut PgConnection, Statement<'_>), sqlx::Error> {
        if self.is_over {
            return Err(timed_out());
        }
        let statement = Statement {
            is_over: &mut self.is_over,
            deadline: self.deadline,
            taken_at: self.taken_at,
            refusals: &self.refusals,
        };
        let raw = self.raw.as_deref_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok((raw, statement))
    }

    pub(super) async fn results<'q, E: Execute<'q, Postgres> + 'q>(
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
            Ok(runtime) if !self.is_over => {
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
    pub(super) async fn begin(
        mut connection: Connection,
        begin: Cow<'static, str>,
    ) -> Result<Self, sqlx::Error> {
        connection.in_transaction = true;
        // It is made of our own words and a number.
        let begin = raw_sql(AssertSqlSafe(begin.into_owned()));
        begin.execute(&mut connection).await?;
        Ok(Self(connection))
    }

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
