//! What can go wrong with Postgres, each with what to do about it.
//!
//! A message holds its cause, which is therefore no `source`: it would be printed twice.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::constants::{LOCK_TIMEOUT, MAJOR_MIN, SUPERUSER};
use super::pooler;
use super::trouble::Trouble;

const FORGETS: &str = "is behind a pooler that forgets prepared statements, as pgbouncer does in \
    transaction mode: set its pool_mode to session, or use pgbouncer 1.21 or newer with \
    max_prepared_statements above 0";

/// Why the machine's own Postgres cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum LocalPostgresError {
    #[error(
        "no Postgres is installed here: `postgres` and `initdb` are not in PATH, nor below \
         /usr/lib/postgresql. Install it (Debian: `apt-get install postgresql`), or set \
         QUELL_PG_BIN to the folder of its programs, or DATABASE_URL to a Postgres that runs"
    )]
    NotInstalled,
    #[error(
        "QUELL_PG_BIN is {}, which has no program `{missing}`: set it to the folder that holds \
         `postgres` and `initdb`, such as /usr/lib/postgresql/15/bin",
        folder.display()
    )]
    BinIncomplete {
        folder: PathBuf,
        missing: &'static str,
    },
    #[error(
        "the Postgres in {} is {version}, but quell needs 15 or newer: install a newer one, or \
         set DATABASE_URL to one that runs",
        folder.display()
    )]
    TooOld { folder: PathBuf, version: String },
    #[error("{}/postgres --version said {said:?}, which names no version", folder.display())]
    UnknownVersion { folder: PathBuf, said: String },
    #[error(
        "Postgres refuses to run as root, and there is no user `postgres` or `nobody` to run it \
         as: add one (`useradd --system postgres`), or start quell as another user"
    )]
    NoUser,
    #[error(
        "there is no place for the data: set QUELL_PG_DATA to a folder (HOME and XDG_DATA_HOME \
         are not set)"
    )]
    NoDataFolder,
    #[error(
        "{} is not empty and holds no Postgres data: set QUELL_PG_DATA to an empty folder, or to \
         one that is not there yet",
        folder.display()
    )]
    NotOurs { folder: PathBuf },
    #[error(
        "the data in {} was written by Postgres {data_major}, but only {installed} is installed: \
         install Postgres {data_major}, move the data over with pg_upgrade, or set QUELL_PG_DATA \
         to another folder",
        folder.display()
    )]
    OtherMajor {
        folder: PathBuf,
        data_major: u32,
        installed: String,
    },
    #[error(
        "Postgres runs as the user {user}, who cannot enter {} on the way to the data in {}: \
         open it (`chmod o+x`), or set QUELL_PG_DATA to another folder",
        barred.display(),
        data.display()
    )]
    Barred {
        data: PathBuf,
        barred: PathBuf,
        user: String,
    },
    #[error(
        "{} is for Postgres's socket, but is a link, another user's, or open to others: remove it",
        folder.display()
    )]
    SocketFolder { folder: PathBuf },
    #[error("cannot {doing} {}: {error}", path.display())]
    Files {
        doing: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    #[error(
        "another quell has been starting Postgres on {} for {} s: end it, or wait",
        folder.display(),
        LOCK_TIMEOUT.as_secs()
    )]
    Locked { folder: PathBuf },
    #[error("cannot start {program}: {error}")]
    Spawn { program: String, error: io::Error },
    #[error("{program} failed: {why}")]
    Program { program: String, why: String },
    #[error("Postgres on {} did not start ({how}). The last lines of its log:{log}", data.display())]
    NotStarted {
        data: PathBuf,
        how: String,
        log: String,
    },
    #[error(
        "{} holds no Postgres data any more: put it back, or start quell anew to begin with \
         nothing",
        folder.display()
    )]
    DataGone { folder: PathBuf },
    #[error(
        "Postgres on {} ended {} within {within_seconds} s{}, and is not started again. The last \
         time: {last}",
        data.display(),
        times(*ends),
        match failed_starts {
            0 => String::new(),
            failed => format!(" and could then not be started {}", times(*failed)),
        }
    )]
    GivenUp {
        data: PathBuf,
        ends: usize,
        within_seconds: u64,
        failed_starts: usize,
        last: String,
    },
    #[error("the part of quell that watches over Postgres has ended, which is a bug: see the log")]
    Unwatched,
    #[error(
        "the Postgres that runs on {} cannot be prepared as its user `{SUPERUSER}`: {error}",
        data.display()
    )]
    Prepare { data: PathBuf, error: sqlx::Error },
}

impl LocalPostgresError {
    /// Whether quell's own process lacked something, which says nothing of Postgres.
    pub(super) fn is_own_lack(&self) -> bool {
        if let Self::Files { error, .. } | Self::Spawn { error, .. } = self {
            is_own_lack(error)
        } else {
            false
        }
    }
}

/// Whether the system refuses this process more of something: file descriptors, memory, processes.
pub(super) fn is_own_lack(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        matches!(
            Errno::from_raw(code),
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EAGAIN
        )
    })
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Why the database cannot be used. No message shows a URL or a password.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum DatabaseError {
    #[error(transparent)]
    Local(#[from] LocalPostgresError),
    #[error(
        "{variable} cannot be read as a URL: write it as postgres://user:password@host:5432/name, \
         special characters in the password percent-encoded"
    )]
    Url { variable: &'static str },
    #[error(
        "cannot connect to {place}: {error}. Check {variable}, and that Postgres runs and lets \
         this login in"
    )]
    Connect {
        place: String,
        variable: &'static str,
        error: sqlx::Error,
    },
    #[error("{place} runs Postgres {version}, but quell needs {MAJOR_MIN} or newer: upgrade it")]
    TooOld { place: String, version: String },
    #[error(
        "{place} was migrated by a newer quell (migration {version} is not known here): run that \
         one, or use another database"
    )]
    Newer { place: String, version: i64 },
    #[error(
        "migration {version} of {place} is not the one that this quell has: it was changed after \
         it had run. Run the quell that made this database, or use another database"
    )]
    Changed { place: String, version: i64 },
    #[error(
        "{place} must be migrated, and its login {login} may not: set QUELL_MIGRATE_DATABASE_URL \
         to the owner's login, or run `quell migrate` with it ({error})"
    )]
    MayNotMigrate {
        place: String,
        login: String,
        error: sqlx::migrate::MigrateError,
    },
    #[error("cannot migrate {place}: {error}")]
    Migrate {
        place: String,
        error: sqlx::migrate::MigrateError,
    },
    #[error(
        "the service's login {login} has no right to {missing} in {place}: the owner's login \
         (QUELL_MIGRATE_DATABASE_URL) gives it by `select quell_grant_service('{login}')`"
    )]
    Rights {
        place: String,
        login: String,
        missing: String,
    },
    #[error("cannot {doing} in {place}: {error}")]
    Query {
        doing: &'static str,
        place: String,
        error: sqlx::Error,
    },
    #[error(
        "the login {login} may not read {place} as an auditor: let an administrator run \
         `grant quell_auditor to \"{login}\"`, or set QUELL_MIGRATE_DATABASE_URL to the owner's login ({error})"
    )]
    NoAuditor {
        place: String,
        login: String,
        error: sqlx::Error,
    },
    #[error("{place} {FORGETS}")]
    PreparedStatements { place: String },
    #[error(
        "{place} must be migrated, and is behind a pooler in transaction mode, which loses the \
         lock that keeps two from migrating at once: set QUELL_MIGRATE_DATABASE_URL to the owner's \
         login at Postgres itself"
    )]
    MigrateThroughPooler { place: String },
    #[error(
        "the pooler before {place} refuses a setting of the connection ({error}): take it out of \
         {variable}, or add it to pgbouncer's ignore_startup_parameters"
    )]
    RefusedSetting {
        place: String,
        variable: &'static str,
        error: sqlx::Error,
    },
}

impl DatabaseError {
    /// What became of a query.
    pub(crate) fn of_query(doing: &'static str, place: &str, error: sqlx::Error) -> Self {
        let place = place.to_owned();
        if pooler::is_forgotten(&error) {
            return Self::PreparedStatements { place };
        }
        Self::Query {
            doing,
            place,
            error,
        }
    }
}

/// What became of a query, where the database's place is known to whoever reads it: what is wrong with Postgres and
/// what to do about it, or what it refused.
pub(crate) fn failed_query(error: &sqlx::Error) -> String {
    if pooler::is_forgotten(error) {
        return format!("the database {FORGETS}");
    }
    match Trouble::of(error) {
        Some(trouble) => format!("{}: {error} ({})", trouble.what(), trouble.remedy()),
        None => format!("the database answers with an error: {error}"),
    }
}

/// Whether Postgres refused a row (SQLSTATE classes 22 and 23, and 54: too long for an index, nested too
/// deep), so that the other rows may still be stored.
pub(crate) fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| {
        ["22", "23", "54"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}
