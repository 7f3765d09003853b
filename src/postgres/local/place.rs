//! Where a Postgres of this machine listens.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use crate::postgres::constants::SUPERUSER;

/// Where the one that we start listens.
pub(super) const PORT: u16 = 5432;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a Postgres listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) socket: PathBuf,
    pub(super) port: u16,
}

impl Place {
    pub(super) fn login(&self, user: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(self.port)
            .username(user)
            .database(database)
    }

    /// What `psql` needs to be told, as its options.
    pub(super) fn psql_options(&self) -> String {
        let port = if self.port == PORT {
            String::new()
        } else {
            format!(" -p {}", self.port)
        };
        format!("-h {}{port}", self.socket.display())
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.login(SUPERUSER, "postgres");
        tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options))
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}
