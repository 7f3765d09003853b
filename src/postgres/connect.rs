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
