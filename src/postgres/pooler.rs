//! Finds out whether a pooler gives every transaction another session of Postgres.
//!
//! Where it does, nothing of a session lasts: prepared statements, `set`, `listen`, session locks.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Row, query_scalar, raw_sql};

/// A pooler with too few sessions for two connections lets the second wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The number of probes: other users of the pooler may hide from one of them that sessions are shared.
const PROBES: u32 = 3;

const UNDEFINED_STATEMENT: &str = "26000";
const DUPLICATE_STATEMENT: &str = "42P05";
/// Of the protocol: also what pgbouncer says of everything that it refuses.
const PROTOCOL_VIOLATION: &str = "08P01";

/// Whose a connection's sessions are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// One session, for as long as the connection lasts: Postgres itself, or a pooler in session
    /// mode.
    Own,
    /// The same, and a second connection got none: a pooler in session mode has too few.
    Scarce,
    /// One session a transaction, and the pooler makes prepared statements known there.
    Shared,
    /// One session a transaction, and what was prepared is not there.
    Forgetful,
}

impl Sessions {
    /// Finds out whose the sessions of `connection` are, with the help of a second connection.
    ///
    /// That one holds on to a session. Where it is the one that the first had, or where the first
    /// has another then, sessions are shared. It never seems so where it is not.
    pub(crate) async fn of(
        connection: &mut PgConnection,
        options: &PgConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        match probe(connection, options).await {
            Err(error) if is_forgotten(&error) => Ok(Self::Forgetful),
            found => found,
        }
    }
}

async fn probe(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<Sessions, sqlx::Error> {
    prepared(connection).await?;
    let mut second = PgConnection::connect_with(options).await?;
    let mut found = Sessions::Own;
    for _ in 0..PROBES {
        let before = session(connection).await?;
        let Some(held) = patient(hold(&mut second)).await? else {
            // It waits for the one that the first connection has for itself.
            return Ok(Sessions::Scarce);
        };
        if held == before {
            found = Sessions::Shared;
            // What the first has prepared there is in its way. There may be no other session for
            // the first meanwhile.
            prepared(&mut second).await?;
        } else {
            let after = patient(session(connection)).await?;
            if after != Some(before) {
                found = Sessions::Shared;
            }
            if found == Sessions::Shared && after.is_some() {
                prepared(connection).await?;
            }
        }
        raw_sql("rollback").execute(&mut second).await?;
    }
    second.close().await?;
    Ok(found)
}

/// What `work` gives; none where it takes too long.
async fn patient<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<Option<T>, sqlx::Error> {
    tokio::time::timeout(PATIENCE, work).await.ok().transpose()
}

async fn hold(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    raw_sql("begin").execute(&mut *connection).await?;
    session(connection).await
}

/// The id of the session's process, asked for without a prepared statement.
async fn session(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = raw_sql("select pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    row.try_get(0)
}

/// Runs a statement that is prepared the first time, and known after that.
async fn prepared(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    query_scalar!("select 1 as one")
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Whether this is what becomes of prepared statements where sessions are shared: they are not
/// there, or another connection's are.
pub(super) fn is_forgotten(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    match error.code().as_deref() {
        Some(UNDEFINED_STATEMENT | DUPLICATE_STATEMENT) => true,
        Some(PROTOCOL_VIOLATION) => {
            let said = error.message();
            said.contains("prepared statement") || said.contains("pooling mode")
        }
        _ => false,
    }
}

/// Whether a pooler refuses a setting in the connection's first packet.
pub(super) fn refuses_setting(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some(PROTOCOL_VIOLATION)
            && error.message().contains("unsupported startup parameter")
    })
}
