//! Opens the database: found or started, migrated, its service login given its rights; and closes it.

use std::fmt;
use std::pin::{Pin, pin};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::PgConnectOptions;
use tokio::time::timeout;

use super::connect::{
    self, DATABASE_URL, MIGRATE_URL, bounded, connect, options, place, silent_for,
};
use super::error::{DatabaseError, LocalPostgresError};
use super::limits::Limits;
use super::local::{Limit, LocalPostgres, Supervised};
use super::pool::{Pool, TRUSTED_IDLE};
use super::pooler::Sessions;
use super::{data, migrate, rights};
use crate::config::DatabaseConfig;

/// At start, host names and TLS included. Later the pool has its own, shorter one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A migration may rewrite a table, and waits for another quell's. One that takes longer hangs.
const MIGRATE_TIMEOUT: Duration = Duration::from_hours(1);
/// For finding out whether sessions are shared: a pooler lets some of the statements wait for 2 s each.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// To give rights, with the wait for others who do.
const RIGHTS_TIMEOUT: Duration = Duration::from_mins(1);
/// For closing the pool: after a drain, only attempts to reach a Postgres that is away are left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often opening is tried again where somebody else stops Postgres just then.
const OPEN_ATTEMPTS_MAX: u32 = 3;

/// The pool that everything uses, and the Postgres behind it where that is ours.
pub struct Database {
    /// The service's connections.
    pub pool: Pool,
    place: String,
    pub(super) local: Local,
}

/// The machine's own Postgres behind a database.
#[derive(Debug)]
pub(super) enum Local {
    /// There is `DATABASE_URL`.
    None,
    Unwatched(Box<LocalPostgres>),
    Supervised(Supervised),
}

impl fmt::Debug for Database {
    // By hand: sqlx's options hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("place", &self.place)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Connects (to the machine's own Postgres without `DATABASE_URL`), migrates and gives rights.
    /// Where `stop` is over first, what was begun is stopped, and there is no database.
    pub async fn open(
        config: &DatabaseConfig,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>, DatabaseError> {
        let mut stop = pin!(stop);
        let Some(url) = &config.url else {
            return Box::pin(Self::open_local(config, stop)).await;
        };
        let service = options(url, DATABASE_URL)?;
        let (owner, variable) = match &config.migrate_url {
            Some(url) => (options(url, MIGRATE_URL)?, MIGRATE_URL),
            None => (service.clone(), DATABASE_URL),
        };
        let opening = Self::on(service, owner, variable, config.connections_max);
        let opened = unless(&mut stop, Box::pin(opening)).await.transpose()?;
        Ok(opened.map(|database| database.within(config)))
    }

    async fn open_local(
        config: &DatabaseConfig,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Self>, DatabaseError> {
        let mut attempt = 1;
        loop {
            let Some(at_rest) = unless(&mut stop, LocalPostgres::at_rest(config)).await else {
                return Ok(None);
            };
            let (mut local, survey) = at_rest?;
            let opening = async {
                local.bring_up(&survey).await?;
                let (service, owner) = (local.service.clone(), local.owner.clone());
                let opening = Self::on(service, owner, DATABASE_URL, config.connections_max);
                Ok(Box::pin(opening).await)
            };
            let failed = match unless(&mut stop, opening).await {
                Some(Ok(Ok(database))) => {
                    return Ok(Some(Self {
                        local: Local::Unwatched(Box::new(local)),
                        ..database.within(config)
                    }));
                }
                // Whoever had started it may have stopped it just now.
                Some(Ok(Err(_))) if attempt < OPEN_ATTEMPTS_MAX && local.is_gone().await => {
                    attempt += 1;
                    continue;
                }
                Some(Ok(Err(error)) | Err(error)) => Err(error),
                None => Ok(None),
            };
            local.stop().await;
            return failed;
        }
    }

    /// The same, with the limits that are set.
    fn within(self, config: &DatabaseConfig) -> Self {
        let pool = self.pool.clone();
        Self {
            pool: pool.with_policies_bytes_max(config.policies_bytes_max),
            ..self
        }
    }

    pub(crate) async fn on(
        service: PgConnectOptions,
        owner: PgConnectOptions,
        owner_variable: &'static str,
        connections_max: u32,
    ) -> Result<Self, DatabaseError> {
        let service = connect::service(service);
        let place = place(&service);
        let owner_options = owner.application_name("quell (owner)");
        let mut owner = connect(&owner_options, owner_variable, CONNECT_TIMEOUT).await?;
        let failed = |doing, limit| DatabaseError::of_query(doing, &place, silent_for(limit));
        let migrating = migrate::bring_up_to_date(&mut owner, &owner_options);
        let migrated = timeout(MIGRATE_TIMEOUT, migrating).await;
        let migrated = migrated.unwrap_or_else(|_| Err(failed("migrate", MIGRATE_TIMEOUT)))?;

        let mut connection = connect(&service, DATABASE_URL, CONNECT_TIMEOUT).await?;
        let sessions = bounded(LOOK_TIMEOUT, Sessions::of(&mut connection, &service)).await;
        let sessions =
            sessions.map_err(|error| DatabaseError::of_query("look around", &place, error))?;
        let mut limits = Limits::OfSession;
        match sessions {
            Sessions::Own => {}
            Sessions::Scarce => tracing::warn!(
                place,
                connections_max,
                "a pooler before Postgres has no session for a second connection: its pool must be \
                 larger than QUELL_DATABASE_CONNECTIONS, for each quell"
            ),
            Sessions::Shared => {
                limits = Limits::OfLogin;
                tracing::warn!(
                    place,
                    "there is a pooler in transaction mode before Postgres: time limits are those of the \
                     login, and policies are looked for twice a second (docs/OPERATIONS.md, \"Behind a pooler\")"
                );
            }
            Sessions::Forgetful => return Err(DatabaseError::PreparedStatements { place }),
        }
        let giving = rights::give(&mut owner, &mut connection, &place, migrated);
        let given = timeout(RIGHTS_TIMEOUT, giving).await;
        given.unwrap_or_else(|_| Err(failed("give rights", RIGHTS_TIMEOUT)))?;
        for connection in [owner, connection] {
            // Nothing is lost with a connection that does not end well.
            bounded(CLOSE_TIMEOUT, connection.close()).await.ok();
        }
        let pool = Pool::new(service, connections_max, TRUSTED_IDLE, limits);
        Ok(Self {
            pool,
            place,
            local: Local::None,
        })
    }

    /// Host, port and name, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What a person types to open `psql` on the machine's own Postgres, until that is supervised.
    #[must_use]
    pub fn psql_hint(&self) -> Option<String> {
        match &self.local {
            Local::Unwatched(local) => Some(local.psql_hint()),
            Local::None | Local::Supervised(_) => None,
        }
    }

    /// Whether its Postgres is the machine's own and started again whenever it ends.
    #[must_use]
    pub fn is_supervised(&self) -> bool {
        matches!(self.local, Local::Supervised(_))
    }

    /// Starts the machine's own Postgres again whenever it ends, from now on, so that `pool` goes
    /// on by itself. The future is over when that cannot be done; never with `DATABASE_URL`.
    pub fn supervise(&mut self) -> impl Future<Output = LocalPostgresError> + Send + use<> {
        let given_up = match std::mem::replace(&mut self.local, Local::None) {
            Local::Unwatched(local) => {
                let pool = self.pool.clone();
                let (supervised, given_up) = Supervised::start(*local, pool, Limit::of_server());
                self.local = Local::Supervised(supervised);
                Some(given_up)
            }
            other @ (Local::None | Local::Supervised(_)) => {
                self.local = other;
                None
            }
        };
        async move {
            match given_up {
                Some(given_up) => given_up.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Closes the pool, and stops the Postgres that we started.
    pub async fn close(self) {
        let closing = async {
            let closed = timeout(CLOSE_TIMEOUT, self.pool.close()).await;
            if closed.is_err() {
                tracing::warn!(
                    "some database connections were still in use when the pool was closed"
                );
            }
        };
        let local = match self.local {
            Local::None => None,
            Local::Unwatched(local) => Some(*local),
            Local::Supervised(supervised) => supervised.end().await,
        };
        match local {
            None => closing.await,
            // Nobody works with it, and both take their time.
            Some(local) if local.is_coming_up() => {
                tokio::join!(closing, local.stop());
            }
            Some(local) => {
                closing.await;
                local.stop().await;
            }
        }
    }
}

/// What `work` gives, unless `stop` is over first.
pub(crate) async fn unless<T>(
    stop: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        // Work that is told to stop by itself has the last word.
        biased;
        done = work => Some(done),
        () = stop => None,
    }
}

/// Where the demo's own Postgres keeps its data, apart from the service's.
pub fn demo_data_folder(config: &DatabaseConfig) -> Result<std::path::PathBuf, LocalPostgresError> {
    data::demo_folder(config)
}
