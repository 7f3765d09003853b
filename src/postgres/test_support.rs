//! What the tests of this module share.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, raw_sql};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::config::{Config, DatabaseConfig, Environment};

use super::LocalPostgres;
use super::account::{Account, we_are_root};
use super::process;

const POOLER_PORT: u16 = 6432;
/// The pgbouncer that makes prepared statements known where a transaction runs.
const PREPARED_SINCE: (u32, u32) = (1, 21);

/// Settings for a data folder at `data`, with the machine's own programs.
pub(crate) fn config(data: Option<&Path>) -> DatabaseConfig {
    let mut config = Config::from_environment(&Environment::default())
        .unwrap()
        .database;
    config.pg_data = data.map(Path::to_owned);
    config.search_path = vec!["/usr/local/bin".into(), "/usr/bin".into()];
    config.connections_max = 8;
    config
}

/// A temporary folder that another user can pass through.
pub(crate) fn open_tempdir() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

/// A cluster that the tests of one process share; the last to let go stops it.
pub(crate) struct Cluster {
    local: Option<LocalPostgres>,
    folder: TempDir,
}

impl Cluster {
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let folder = open_tempdir();
        let data = folder.path().join("pg");
        std::fs::create_dir(&data).unwrap();
        if let (true, Some(nobody)) = (we_are_root(), Account::named("nobody")) {
            chown(&data, Some(nobody.uid), Some(nobody.gid)).unwrap();
        }
        let local = LocalPostgres::start(&config(Some(&data))).await;
        let cluster = Arc::new(Self {
            local: Some(local.unwrap()),
            folder,
        });
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("pg")
    }

    /// A new database: the service's options, and the owner's.
    pub(crate) async fn database(&self) -> (PgConnectOptions, PgConnectOptions) {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        let local = self.local.as_ref().unwrap();
        let mut superuser = superuser(&local.owner).await;
        let sql = format!("create database {name} owner quell_owner");
        raw_sql(AssertSqlSafe(sql))
            .execute(&mut superuser)
            .await
            .unwrap();
        (
            local.service.clone().database(&name),
            local.owner.clone().database(&name),
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid_file = self.data().join("postmaster.pid");
        let local = self.local.take().unwrap();
        let socket = local.service.get_socket().unwrap().clone();
        drop(local);
        // Waited for, so that the folder is not removed from under it.
        wait_for(|| !pid_file.exists());
        std::fs::remove_dir(socket).unwrap();
    }
}

/// A pgbouncer before a cluster's Postgres. Dropped, it ends.
pub(crate) struct Pooler {
    child: Child,
    folder: TempDir,
    version: (u32, u32),
}

impl Pooler {
    /// Starts one before the Postgres of `to`, in this mode; from 1.21 on it keeps as many
    /// prepared statements known.
    pub(crate) fn start(to: &PgConnectOptions, mode: &str, prepared_max: u32) -> Self {
        Self::with_sessions(to, mode, prepared_max, 20)
    }

    /// The same, with at most this many sessions for a login at a database.
    pub(crate) fn with_sessions(
        to: &PgConnectOptions,
        mode: &str,
        prepared_max: u32,
        sessions_max: u32,
    ) -> Self {
        let program = [
            "/usr/sbin/pgbouncer",
            "/usr/bin/pgbouncer",
            "/usr/local/bin/pgbouncer",
        ]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
        .expect("no pgbouncer here: run scripts/setup pgbouncer");
        let socket = to.get_socket().unwrap();
        // It refuses root, and has to enter the socket's folder.
        let account = Account::choose(socket).unwrap();
        let mut asked = process::command(program, account.as_ref());
        let said = asked
            .arg("--version")
            .stdout(Stdio::piped())
            .output()
            .unwrap();
        let version = version(std::str::from_utf8(&said.stdout).unwrap());

        let folder = open_tempdir();
        let path = folder.path().display();
        let newer = if version >= PREPARED_SINCE {
            format!("max_prepared_statements = {prepared_max}\n")
        } else {
            String::new()
        };
        let ini = format!(
            "[databases]\n* = host={} port={}\n\
             [pgbouncer]\nlisten_addr =\nunix_socket_dir = {path}\nlisten_port = {POOLER_PORT}\n\
             auth_type = trust\nauth_file = {path}/users\npool_mode = {mode}\n\
             default_pool_size = {sessions_max}\n{newer}",
            socket.display(),
            to.get_port(),
        );
        std::fs::write(folder.path().join("ini"), ini).unwrap();
        let users = "\"quell\" \"\"\n\"quell_owner\" \"\"\n";
        std::fs::write(folder.path().join("users"), users).unwrap();
        if let Some(account) = &account {
            chown(folder.path(), Some(account.uid), Some(account.gid)).unwrap();
        }
        let mut command = process::command(program, account.as_ref());
        let child = command
            .arg("-q")
            .arg(folder.path().join("ini"))
            .stderr(Stdio::null());
        let pooler = Self {
            child: child.spawn().unwrap(),
            folder,
            version,
        };
        let socket = pooler.folder.path().join(format!(".s.PGSQL.{POOLER_PORT}"));
        wait_for(|| socket.exists());
        pooler
    }

    /// The same login at the same database, through this pooler.
    pub(crate) fn before(&self, options: &PgConnectOptions) -> PgConnectOptions {
        options
            .clone()
            .extra_float_digits(None)
            .socket(self.folder.path())
            .port(POOLER_PORT)
    }

    /// Whether it can make prepared statements known where a transaction runs.
    pub(crate) fn keeps_prepared(&self) -> bool {
        self.version >= PREPARED_SINCE
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `PgBouncer 1.18.0`, and more lines.
fn version(said: &str) -> (u32, u32) {
    let number = said.split_whitespace().nth(1).unwrap();
    let mut parts = number.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap())
}

/// The cluster's own administrator, on the database of `options`.
pub(crate) async fn superuser(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(&options.clone().username("postgres"))
        .await
        .unwrap()
}

/// Waits until `condition` holds, for 20 s at most.
pub(crate) fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited 20 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
