//! What the tests of this module share.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection, raw_sql};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::config::{Config, DatabaseConfig, Environment};

use super::LocalPostgres;
use super::account::{Account, we_are_root};

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
