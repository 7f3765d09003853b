//! The machine's own Postgres: found, started as a child on a socket only we can reach, stopped.
//!
//! The data stays between runs. One that runs on the data folder already is used and left alone.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, query_scalar, raw_sql};

use crate::config::DatabaseConfig;

use super::account::Account;
use super::data::{self, Holds};
use super::error::LocalPostgresError;
use super::process::{self, Server};
use super::programs::Programs;

pub(super) const SUPERUSER: &str = "postgres";
const OWNER: &str = "quell_owner";
const SERVICE: &str = "quell";
const DATABASE: &str = "quell";
const PORT: u16 = 5432;

/// Recovery after a crash may have a lot to read.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Another quell that makes the folder and starts Postgres holds the lock for as long.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_mins(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One that is there by its id, and does not listen: it comes up, goes down, or is another
/// program that was given the id of one that crashed.
const SILENT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(30);
/// Beside quell's own pool: a second quell's, psql, and what Postgres keeps back.
const CONNECTIONS_SPARE: u32 = 60;

/// What there is to start Postgres with. Looked at only: nothing is made.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The data folder, which may not be there yet.
    pub folder: PathBuf,
    /// Whether it holds no data yet.
    pub is_new: bool,
    /// The programs that fit the data.
    pub programs: Programs,
    account: Option<Account>,
}

impl Survey {
    /// Looks for the programs, the data folder and the user that Postgres will run as.
    pub(crate) async fn of(config: &DatabaseConfig) -> Result<Self, LocalPostgresError> {
        let folder = data::folder(config)?;
        let account = Account::choose(&folder)?;
        let holds = data::look(&folder)?;
        let installed = Programs::find(config, account.as_ref()).await?;
        Ok(Self {
            programs: choose(installed, &holds, &folder)?,
            is_new: !matches!(holds, Holds::Cluster { .. }),
            folder,
            account,
        })
    }

    /// The user that Postgres runs as, where that is not the one who runs quell.
    #[must_use]
    pub(crate) fn user(&self) -> Option<&str> {
        self.account.as_ref().map(|account| account.name.as_str())
    }
}

/// A Postgres on this machine, with quell's database and its two logins.
pub struct LocalPostgres {
    /// The service's login, which owns nothing.
    pub service: PgConnectOptions,
    /// The owner's login, which migrates.
    pub owner: PgConnectOptions,
    data: PathBuf,
    place: Place,
    psql: String,
    // None where it was running before us.
    server: Option<Server>,
}

/// Where a Postgres listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    socket: PathBuf,
    port: u16,
}

impl fmt::Debug for LocalPostgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalPostgres")
            .field("data", &self.data)
            .field("place", &self.place)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl LocalPostgres {
    /// Starts Postgres, or finds the one that runs on the data folder already.
    pub async fn start(config: &DatabaseConfig) -> Result<Self, LocalPostgresError> {
        let Survey {
            folder,
            programs,
            account,
            ..
        } = Survey::of(config).await?;
        let account = account.as_ref();
        let folder = data::create(&folder, account)?;
        // Of two that start at once the second waits here, and then finds the first one's.
        let lock = lock(&folder).await?;
        if !matches!(data::look(&folder)?, Holds::Cluster { .. }) {
            tracing::info!(data = %folder.display(), "making a new Postgres data folder");
            data::initialize(&folder, &programs, account).await?;
        }
        let (place, server) = if let Some(place) = running(&folder).await {
            tracing::info!(data = %folder.display(), "using the Postgres that runs already");
            (place, None)
        } else {
            let place = Place {
                socket: data::socket_folder(&folder, account)?,
                port: PORT,
            };
            let server = start(config, &programs, account, &folder, &place).await?;
            tracing::info!(
                data = %folder.display(),
                version = programs.version,
                "started the machine's own Postgres"
            );
            (place, Some(server))
        };
        prepare(&place)
            .await
            .map_err(|source| LocalPostgresError::Prepare {
                data: folder.clone(),
                source,
            })?;
        drop(lock);
        Ok(Self {
            service: place.login(SERVICE, DATABASE),
            owner: place.login(OWNER, DATABASE),
            psql: programs.psql(&config.search_path),
            data: folder,
            place,
            server,
        })
    }

    /// The one that runs on `config`'s data folder already; starts and makes nothing.
    pub async fn find_running(config: &DatabaseConfig) -> Option<Self> {
        let folder = data::folder(config).ok()?.canonicalize().ok()?;
        let place = running(&folder).await?;
        Some(Self {
            service: place.login(SERVICE, DATABASE),
            owner: place.login(OWNER, DATABASE),
            psql: "psql".to_owned(),
            data: folder,
            place,
            server: None,
        })
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Whether we started it, and so stop it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// What a person types to open `psql` on the database, as the same user or as root.
    #[must_use]
    pub fn psql_hint(&self) -> String {
        let Place { socket, port } = &self.place;
        let port = if *port == PORT {
            String::new()
        } else {
            format!(" -p {port}")
        };
        let psql = &self.psql;
        format!(
            "{psql} -h {}{port} -U {SERVICE} {DATABASE}",
            socket.display()
        )
    }

    /// Stops it where we started it. Sessions that are open are ended.
    pub async fn stop(self) {
        let Some(server) = self.server else {
            return;
        };
        server.stop().await;
        // Tidying up, but not under the feet of another quell that starts just now.
        if let Ok(folder) = File::open(&self.data)
            && folder.try_lock().is_ok()
        {
            std::fs::remove_dir(&self.place.socket).ok();
        }
    }
}

impl Place {
    fn login(&self, user: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(self.port)
            .username(user)
            .database(database)
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let options = self.login(SUPERUSER, "postgres");
        tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect_with(&options))
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

/// The programs that fit the data; the preferred ones where there is none yet.
fn choose(
    installed: Vec<Programs>,
    holds: &Holds,
    folder: &Path,
) -> Result<Programs, LocalPostgresError> {
    let versions: Vec<String> = installed.iter().map(|p| p.version.clone()).collect();
    let data_major = match holds {
        Holds::Cluster { major } => Some(*major),
        Holds::Nothing | Holds::Unfinished => None,
    };
    installed
        .into_iter()
        .find(|programs| data_major.is_none_or(|major| major == programs.major))
        .ok_or_else(|| LocalPostgresError::OtherMajor {
            folder: folder.to_owned(),
            data_major: data_major.unwrap_or_default(),
            installed: versions.join(", "),
        })
}

/// Holds the folder itself locked, which leaves nothing behind in it.
async fn lock(folder: &Path) -> Result<File, LocalPostgresError> {
    let file = File::open(folder).map_err(data::io("open", folder))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(data::io("lock", folder)(error)),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_TIMEOUT => {
                return Err(LocalPostgresError::Locked {
                    folder: folder.to_owned(),
                });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Where the Postgres that runs on `folder` listens. One that is coming up or going down is
/// waited for; of one that is gone only its file may be left, which the next one takes over.
async fn running(folder: &Path) -> Option<Place> {
    let started = Instant::now();
    let mut patience = SILENT_TIMEOUT;
    while started.elapsed() < patience {
        let (pid, place) = read_pid_file(&folder.join("postmaster.pid"))?;
        if !process::is_alive(pid) {
            return None;
        }
        if let Some(place) = place {
            match place.connect().await {
                // It answers: whoever may not come in is told so when the roles are made.
                Ok(_) => return Some(place),
                Err(sqlx::Error::Database(error)) if error.code().as_deref() != Some("57P03") => {
                    return Some(place);
                }
                // 57P03 is Postgres coming up or going down.
                Err(sqlx::Error::Database(_)) => patience = START_TIMEOUT,
                Err(_) => {}
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

/// Postgres's own note of what runs: process id, data folder, start, port, socket folder, ...
/// The place is missing until it listens on a socket.
fn read_pid_file(path: &Path) -> Option<(i32, Option<Place>)> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok()?;
    let mut rest = lines.skip(2);
    let place = match (rest.next().map(str::parse), rest.next()) {
        (Some(Ok(port)), Some(socket)) if !socket.is_empty() => Some(Place {
            socket: socket.into(),
            port,
        }),
        _ => None,
    };
    Some((pid, place))
}

async fn start(
    config: &DatabaseConfig,
    programs: &Programs,
    account: Option<&Account>,
    folder: &Path,
    place: &Place,
) -> Result<Server, LocalPostgresError> {
    let mut command = process::command(&programs.postgres(), account);
    let connections = config.connections_max.saturating_add(CONNECTIONS_SPARE);
    command.arg("-D").arg(folder);
    for (name, value) in [
        // No TCP: the socket's folder says who may come.
        ("listen_addresses", String::new()),
        (
            "unix_socket_directories",
            place.socket.display().to_string(),
        ),
        ("unix_socket_permissions", "0700".to_owned()),
        ("port", place.port.to_string()),
        ("max_connections", connections.to_string()),
        // Its log comes to us.
        ("log_destination", "stderr".to_owned()),
        ("logging_collector", "off".to_owned()),
    ] {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let mut server = Server::spawn(command)?;
    let started = Instant::now();
    let how = loop {
        if let Some(status) = server.ended() {
            break status.to_string();
        }
        match place.connect().await {
            Ok(connection) => {
                drop(connection);
                return Ok(server);
            }
            Err(error) if started.elapsed() > START_TIMEOUT => {
                break format!("{error}, {} s after its start", START_TIMEOUT.as_secs());
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    };
    let log = server.last_lines().await;
    server.stop().await;
    Err(LocalPostgresError::NotStarted {
        data: folder.to_owned(),
        how,
        log,
    })
}

/// Makes the two logins and the database where they are missing.
async fn prepare(place: &Place) -> Result<(), sqlx::Error> {
    let mut connection = place.connect().await?;
    raw_sql(
        "do $$ begin
            if not exists (select from pg_roles where rolname = 'quell_owner') then
                -- It makes the role of the auditors.
                create role quell_owner login createrole;
            end if;
            if not exists (select from pg_roles where rolname = 'quell') then
                create role quell login;
            end if;
        end $$",
    )
    .execute(&mut connection)
    .await?;
    let made = query_scalar!(
        r#"select exists (select from pg_database where datname = $1) as "made!""#,
        DATABASE
    )
    .fetch_one(&mut connection)
    .await?;
    if !made {
        raw_sql("create database quell owner quell_owner")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

#[cfg(test)]
mod tests;
