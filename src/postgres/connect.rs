//! How a database is named and connected to.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection as _;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::error::DatabaseError;
use super::pooler;

pub(super) const DATABASE_URL: &str = "DATABASE_URL";
pub(super) const MIGRATE_URL: &str = "QUELL_MIGRATE_DATABASE_URL";
const APPLICATION: &str = "quell";

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

/// As the service's connections are named in `pg_stat_activity`.
pub(super) fn service(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name(APPLICATION)
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

/// The result of `work` on a connection outside the pool; after `limit` an error, as of a Postgres
/// that says nothing. (What goes through the pool is bounded there.)
pub(crate) async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or_else(|_| Err(silent_for(limit)))
}

/// The error of a Postgres that said nothing for `limit`.
pub(super) fn silent_for(limit: Duration) -> sqlx::Error {
    let why = format!("no answer within {} s", limit.as_secs());
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// One connection outside the pool, within `timeout`.
pub(crate) async fn connect(
    options: &PgConnectOptions,
    variable: &'static str,
    timeout: Duration,
) -> Result<PgConnection, DatabaseError> {
    bounded(timeout, PgConnection::connect_with(options))
        .await
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
