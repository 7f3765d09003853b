//! The database: found or started, migrated, its service login given its rights, kept up.
//!
//! Two logins. The owner (`QUELL_MIGRATE_DATABASE_URL`) migrates; the service (`DATABASE_URL`)
//! owns nothing and cannot change what is written once. One login may be both.

mod account;
mod data;
mod error;
mod local;
mod migrate;
mod pooler;
mod process;
mod programs;
mod rights;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod upkeep;

use std::fmt;
use std::pin::{Pin, pin};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool, raw_sql};

pub(crate) use error::failed_query;
pub use error::{DatabaseError, LocalPostgresError};
pub use local::LocalPostgres;
pub(crate) use local::Survey;
use local::{Limit, Supervised};
pub(crate) use migrate::{Schema, schema, server_version};
pub(crate) use pooler::Sessions;
pub(crate) use programs::MAJOR_MIN;
pub(crate) use rights::{Auditor, auditor_role, missing_rights};
pub use upkeep::{Upkeep, upkeep};

const DATABASE_URL: &str = "DATABASE_URL";
const MIGRATE_URL: &str = "QUELL_MIGRATE_DATABASE_URL";
const APPLICATION: &str = "quell";

/// At start, host names and TLS included. Later the pool has its own, shorter one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A webhook is answered within 2 s: waiting longer for a connection helps nobody.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for less is not asked first whether it still lives: the question
/// costs a round trip on the way to every mute.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const CONNECTIONS_WARM: u32 = 4;
/// No statement on the way of a webhook or a mute takes as long.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// After a drain nothing is under way but attempts to reach a Postgres that is away.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a Postgres that somebody else stops just then is looked for anew.
const OPEN_ATTEMPTS_MAX: u32 = 3;

/// The pool that everything uses, and the Postgres behind it where that is ours.
pub struct Database {
    /// The service's connections.
    pub pool: PgPool,
    place: String,
    local: Local,
}

/// The machine's own Postgres behind a database.
#[derive(Debug)]
enum Local {
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
        config: &crate::config::DatabaseConfig,
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
        unless(&mut stop, Box::pin(opening)).await.transpose()
    }

    async fn open_local(
        config: &crate::config::DatabaseConfig,
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
                Ok(Self::on(service, owner, DATABASE_URL, config.connections_max).await)
            };
            let failed = match unless(&mut stop, opening).await {
                Some(Ok(Ok(database))) => {
                    return Ok(Some(Self {
                        local: Local::Unwatched(Box::new(local)),
                        ..database
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

    pub(crate) async fn on(
        service: PgConnectOptions,
        owner: PgConnectOptions,
        owner_variable: &'static str,
        connections_max: u32,
    ) -> Result<Self, DatabaseError> {
        let service = service.application_name(APPLICATION);
        let place = place(&service);
        let owner_options = owner.application_name("quell (owner)");
        let mut owner = connect(&owner_options, owner_variable, CONNECT_TIMEOUT).await?;
        let migrated = migrate::bring_up_to_date(&mut owner, &owner_options).await?;

        let mut connection = connect(&service, DATABASE_URL, CONNECT_TIMEOUT).await?;
        let sessions = Sessions::of(&mut connection, &service).await;
        match sessions.map_err(|error| DatabaseError::of_query("look around", &place, error))? {
            Sessions::Own => {}
            Sessions::Scarce => tracing::warn!(
                place,
                connections_max,
                "a pooler before Postgres has no session for a second connection: its pool must be \
                 larger than QUELL_DATABASE_CONNECTIONS, for each quell"
            ),
            Sessions::Shared => tracing::warn!(
                place,
                "there is a pooler in transaction mode before Postgres: statements' time limits get \
                 lost, and policies are looked for twice a second (docs/OPERATIONS.md, \"Behind a pooler\")"
            ),
            Sessions::Forgetful => return Err(DatabaseError::PreparedStatements { place }),
        }
        rights::give(&mut owner, &mut connection, &place, migrated).await?;
        for connection in [owner, connection] {
            // Nothing is lost with a connection that does not end well.
            connection.close().await.ok();
        }
        let pool = pool(service, connections_max, TRUSTED_IDLE);
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
            let closed = tokio::time::timeout(CLOSE_TIMEOUT, self.pool.close()).await;
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

/// Reads a URL; `variable` names it in the error.
pub(crate) fn options(
    url: &SecretString,
    variable: &'static str,
) -> Result<PgConnectOptions, DatabaseError> {
    // The parser's own message could quote a part of the URL.
    PgConnectOptions::from_str(url.expose_secret().trim())
        // Poolers refuse it, and floats come in binary.
        .map(|options| options.extra_float_digits(None))
        .map_err(|_| DatabaseError::Url { variable })
}

/// Where the demo's own Postgres keeps its data, apart from the service's.
pub fn demo_data_folder(
    config: &crate::config::DatabaseConfig,
) -> Result<std::path::PathBuf, LocalPostgresError> {
    data::demo_folder(config)
}

/// The result of `work`, or an error where Postgres says nothing for so long that the connection
/// is probably gone without a word: nothing else would end the wait before the kernel does.
pub(crate) async fn bounded<T>(
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(SILENCE_MAX, work)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// A duration as Postgres takes it.
pub(crate) fn interval(duration: Duration) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX),
    }
}

/// Which database `options` mean, without the password.
pub(crate) fn place(options: &PgConnectOptions) -> String {
    let name = options
        .get_database()
        .unwrap_or_else(|| options.get_username());
    let host = options.get_socket().map_or_else(
        || options.get_host().to_owned(),
        |socket| socket.display().to_string(),
    );
    format!("database {name} on {host}:{}", options.get_port())
}

/// One connection outside the pool, within `timeout`.
pub(crate) async fn connect(
    options: &PgConnectOptions,
    variable: &'static str,
    timeout: Duration,
) -> Result<PgConnection, DatabaseError> {
    tokio::time::timeout(timeout, PgConnection::connect_with(options))
        .await
        .unwrap_or_else(|_| {
            let why = format!("no answer within {} s", timeout.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                why,
            )))
        })
        .map_err(|error| {
            let place = place(options);
            if pooler::refuses_setting(&error) {
                return DatabaseError::RefusedSetting {
                    place,
                    variable,
                    error,
                };
            }
            DatabaseError::Connect {
                place,
                variable,
                error,
            }
        })
}

fn pool(service: PgConnectOptions, connections_max: u32, trusted_idle: Duration) -> PgPool {
    let connections_max = connections_max.max(1);
    PgPoolOptions::new()
        .max_connections(connections_max)
        .min_connections(connections_max.min(CONNECTIONS_WARM))
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
        .after_connect(|connection, _| {
            Box::pin(async move {
                // Nothing of quell's runs for long, and nothing waits for a network call with a
                // transaction open. What does so anyway is stuck, and would keep a connection, a
                // lock, or old rows from everyone else. Set after connecting: poolers refuse
                // settings in the connection's first packet.
                raw_sql(
                    "set statement_timeout = '30s';
                     set lock_timeout = '5s';
                     set idle_in_transaction_session_timeout = '30s'",
                )
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .connect_lazy_with(service)
}
