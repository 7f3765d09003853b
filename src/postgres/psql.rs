//! `psql` as an auditor of the database.

use std::process::Command;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::connect::{DATABASE_URL, MIGRATE_URL, bounded, connect, options, place};
use super::database::{Database, Local};
use super::error::DatabaseError;
use crate::config::{DatabaseConfig, Environment};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// It reads, and nothing runs for ever: a guard against mistakes, which whoever has the login can take away.
const SETTINGS: &str =
    "-c role=quell_auditor -c default_transaction_read_only=on -c statement_timeout=60s";
/// Parts of a URL's query that libpq has variables for, beside those that sqlx reads for us.
const OF_QUERY: [(&str, &str); 4] = [
    ("password", "PGPASSWORD"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
];

impl Database {
    /// `psql` on it as the role `quell_auditor`, by the owner's login, once that may take the role. All of where and
    /// who is in its environment: arguments can be seen by everybody on the machine.
    pub(crate) async fn auditor_psql(
        &self,
        config: &DatabaseConfig,
    ) -> Result<Command, DatabaseError> {
        if let Local::Unwatched(local) = &self.local {
            may_audit(&local.owner, DATABASE_URL).await?;
            return Ok(psql(&local.psql, &local.owner));
        }
        let (url, variable) = match (&config.migrate_url, &config.url) {
            (Some(url), _) => (url, MIGRATE_URL),
            (None, Some(url)) => (url, DATABASE_URL),
            (None, None) => {
                return Err(DatabaseError::Url {
                    variable: DATABASE_URL,
                });
            }
        };
        let login = options(url, variable)?;
        may_audit(&login, variable).await?;
        let mut command = psql("psql", &login);
        command.envs(of_url(url));
        Ok(command)
    }
}

async fn may_audit(login: &PgConnectOptions, variable: &'static str) -> Result<(), DatabaseError> {
    let mut connection = connect(login, variable, CONNECT_TIMEOUT).await?;
    let taken = sqlx::raw_sql("set role quell_auditor")
        .execute(&mut connection)
        .await;
    taken.map_err(|error| DatabaseError::NoAuditor {
        place: place(login),
        login: login.get_username().to_owned(),
        error,
    })?;
    // Nothing is lost with a connection that does not end well.
    bounded(CONNECT_TIMEOUT, connection.close()).await.ok();
    Ok(())
}

fn psql(program: &str, login: &PgConnectOptions) -> Command {
    let mut command = Command::new(program);
    // What would lead it elsewhere, and what is none of its business: `\!` starts programs.
    for name in ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE"] {
        command.env_remove(name);
    }
    for name in Environment::of_process().of_settings() {
        command.env_remove(name);
    }
    let host = match login.get_socket() {
        Some(socket) => socket.as_os_str().to_owned(),
        None => login.get_host().into(),
    };
    let database = login.get_database().unwrap_or(login.get_username());
    let ssl_mode = match login.get_ssl_mode() {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    };
    command
        .env("PGHOST", host)
        .env("PGPORT", login.get_port().to_string())
        .env("PGUSER", login.get_username())
        .env("PGDATABASE", database)
        .env("PGSSLMODE", ssl_mode)
        .env("PGAPPNAME", "quell audit psql")
        .env("PGOPTIONS", SETTINGS);
    command
}

fn of_url(url: &SecretString) -> Vec<(&'static str, String)> {
    let Ok(url) = Url::parse(url.expose_secret().trim()) else {
        return Vec::new();
    };
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(text)
            .decode_utf8_lossy()
            .into_owned()
    };
    let password = url.password().map(|text| ("PGPASSWORD", decoded(text)));
    let of_query = url.query_pairs().filter_map(|(name, value)| {
        let (_, variable) = OF_QUERY.into_iter().find(|(of, _)| *of == name)?;
        Some((variable, value.into_owned()))
    });
    password.into_iter().chain(of_query).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_and_who_is_in_the_environment_and_nothing_is_an_argument() {
        let url =
            "postgres://ann:p%40ss@db.example:6432/audit?sslmode=verify-full&sslrootcert=/ca.pem";
        let url = SecretString::from(url);
        let mut command = psql("psql", &options(&url, DATABASE_URL).unwrap());
        command.envs(of_url(&url));
        assert_eq!(command.get_args().count(), 0);
        let set = |name: &str| {
            let found = command.get_envs().find(|(of, _)| *of == name);
            found.unwrap().1.unwrap().to_str().unwrap().to_owned()
        };
        for (name, value) in [
            ("PGHOST", "db.example"),
            ("PGPORT", "6432"),
            ("PGUSER", "ann"),
            ("PGPASSWORD", "p@ss"),
            ("PGDATABASE", "audit"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca.pem"),
        ] {
            assert_eq!(set(name), value, "{name}");
        }
    }
}
