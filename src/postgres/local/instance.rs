//! The Postgres that runs on a data folder: our child, or one that was found running.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::super::data;
use super::super::error::LocalPostgresError;
use super::super::process::{self, Server};
use super::{SUPERUSER, Survey};

const PORT: u16 = 5432;
/// One that is started says something by then. Recovery after a crash may have a lot to read, and is
/// begun anew where it is broken off: one that says that it comes up is waited for as long as it does.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two lines that it is still waited for.
const TELL: Duration = Duration::from_mins(1);
/// Another quell that makes the folder and starts Postgres holds the lock for as long.
pub(in crate::postgres) const LOCK_TIMEOUT: Duration = Duration::from_mins(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// One that is there by its id, and does not listen: it comes up, goes down, or is another
/// program that was given the id of one that crashed.
const SILENT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(30);
/// Between two looks whether it still runs, and between two attempts to start it while processes
/// of the one before it are still there.
const WATCH: Duration = Duration::from_millis(100);
/// Beside quell's own pool: a second quell's, psql, and what Postgres keeps back.
const CONNECTIONS_SPARE: u32 = 60;
/// What Postgres says while a process that outlived the main one still has its memory.
const MEMORY_IN_USE: &str = "pre-existing shared memory block";

/// What runs on a data folder, and where it listens.
#[derive(Debug)]
pub(super) struct Instance {
    /// The data folder, by its real path.
    pub(super) folder: PathBuf,
    pub(super) place: Place,
    process: Process,
}

#[derive(Debug)]
enum Process {
    /// Not started yet.
    None,
    Ours(Server),
    /// Started by somebody else: the id of its main process.
    Found(i32),
}

/// How it ended, and the last lines of its log.
#[derive(Debug)]
pub(super) struct End {
    pub(super) how: String,
    pub(super) log: String,
}

/// Where a Postgres listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) socket: PathBuf,
    pub(super) port: u16,
}

impl Instance {
    /// Of the folder in `survey`, which was made: nothing runs yet.
    pub(super) fn new(folder: PathBuf, survey: &Survey) -> Result<Self, LocalPostgresError> {
        Ok(Self {
            place: own_place(&folder, survey)?,
            folder,
            process: Process::None,
        })
    }

    /// The one that runs already.
    pub(super) async fn find(folder: PathBuf) -> Option<Self> {
        let (pid, place) = running(&folder).await?;
        Some(Self {
            folder,
            place,
            process: Process::Found(pid),
        })
    }

    /// Starts it, unless it runs already. Whoever calls this holds the folder's lock. What was
    /// begun is kept where this is not waited for to its end, so that it can be stopped.
    pub(super) async fn bring_up(
        &mut self,
        survey: &Survey,
        connections_max: u32,
    ) -> Result<(), LocalPostgresError> {
        if let Some((pid, place)) = running(&self.folder).await {
            self.process = Process::Found(pid);
            self.place = place;
            return Ok(());
        }
        self.place = own_place(&self.folder, survey)?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            let command = command(&self.folder, &self.place, survey, connections_max);
            self.process = Process::Ours(Server::spawn(command)?);
            let Err(End { how, log }) = self.ready().await else {
                return Ok(());
            };
            if !log.contains(MEMORY_IN_USE) || begun.elapsed() > START_TIMEOUT {
                return Err(LocalPostgresError::NotStarted {
                    data: self.folder.clone(),
                    how,
                    log,
                });
            }
            if !told {
                told = true;
                tracing::warn!(
                    data = %self.folder.display(),
                    "Postgres's main process was killed, and others of it still have its memory: \
                     waiting for their end"
                );
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Waits until our child answers.
    async fn ready(&mut self) -> Result<(), End> {
        let mut patience = Patience::new(Instant::now(), START_TIMEOUT);
        let Process::Ours(server) = &mut self.process else {
            return Ok(());
        };
        let how = loop {
            if let Some(status) = server.ended() {
                break status.to_string();
            }
            match self.place.connect().await {
                Ok(connection) => {
                    drop(connection);
                    return Ok(());
                }
                Err(error) if is_on_its_way(&error) => patience.goes_on(&self.folder),
                Err(error) if patience.is_over(Instant::now()) => {
                    break format!("{error}, {} s after its start", START_TIMEOUT.as_secs());
                }
                Err(_) => {}
            }
            tokio::time::sleep(POLL).await;
        };
        let log = server.last_lines().await;
        server.stop().await;
        Err(End { how, log })
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.process, Process::Ours(_))
    }

    /// Waits for its end, whoever ended it.
    pub(super) async fn ended(&mut self) -> End {
        loop {
            if let Some(end) = self.end().await {
                return end;
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    async fn end(&mut self) -> Option<End> {
        match &mut self.process {
            Process::Ours(server) => Some(End {
                how: server.ended()?.to_string(),
                log: server.last_lines().await,
            }),
            Process::Found(pid) => (!is_noted(&self.folder, *pid)).then(|| End {
                how: "its main process is gone".to_owned(),
                log: "\n    (it went to the program that had started it)".to_owned(),
            }),
            Process::None => None,
        }
    }

    /// Whether it is not there any more, or about to go: one that goes down is waited for.
    pub(super) async fn is_gone(&mut self) -> bool {
        match &mut self.process {
            Process::Ours(server) => server.ended().is_some(),
            Process::Found(pid) => {
                let pid = *pid;
                running(&self.folder).await.map(|(pid, _)| pid) != Some(pid)
            }
            Process::None => true,
        }
    }

    /// Stops it where we started it. Sessions that are open are ended.
    pub(super) async fn stop(mut self) {
        let Process::Ours(server) = &mut self.process else {
            return;
        };
        server.stop().await;
        // Tidying up, but not under the feet of another quell that starts just now. One that was
        // killed leaves its socket in there.
        if let Ok(folder) = File::open(&self.folder)
            && folder.try_lock().is_ok()
            && !read_pid_file(&pid_file(&self.folder))
                .is_some_and(|(pid, _)| process::is_alive(pid))
        {
            std::fs::remove_dir_all(&self.place.socket).ok();
        }
    }
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

/// Where the one that we start listens.
fn own_place(folder: &Path, survey: &Survey) -> Result<Place, LocalPostgresError> {
    Ok(Place {
        socket: data::socket_folder(folder, survey.account.as_ref())?,
        port: PORT,
    })
}

/// Holds the folder itself locked, which leaves nothing behind in it.
pub(super) async fn lock(folder: &Path) -> Result<File, LocalPostgresError> {
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

/// The Postgres that runs on `folder`: its main process's id, and where it listens. One that is
/// coming up or going down is waited for; of one that is gone only its file may be left, which
/// the next one takes over.
async fn running(folder: &Path) -> Option<(i32, Place)> {
    let mut patience = Patience::new(Instant::now(), SILENT_TIMEOUT);
    while !patience.is_over(Instant::now()) {
        let (pid, place) = read_pid_file(&pid_file(folder))?;
        if !process::is_alive(pid) {
            return None;
        }
        if let Some(place) = place {
            match place.connect().await {
                Err(error) if is_on_its_way(&error) => patience.goes_on(folder),
                // It answers: whoever may not come in is told so when the roles are made.
                Ok(_) | Err(sqlx::Error::Database(_)) => return Some((pid, place)),
                Err(_) => {}
            }
        }
        tokio::time::sleep(POLL).await;
    }
    None
}

/// Whether Postgres says that it comes up, recovers or goes down.
fn is_on_its_way(error: &sqlx::Error) -> bool {
    const CANNOT_CONNECT_NOW: &str = "57P03";
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.as_deref() == Some(CANNOT_CONNECT_NOW)
}

/// How long one that says nothing is waited for.
struct Patience {
    heard: Instant,
    told: Instant,
    silence_max: Duration,
}

impl Patience {
    fn new(now: Instant, silence_max: Duration) -> Self {
        Self {
            heard: now,
            told: now,
            silence_max,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.heard) > self.silence_max
    }

    /// It said that it is on its way; whether there is a line to be written of that.
    fn hears(&mut self, now: Instant) -> bool {
        self.heard = now;
        let tells = now.duration_since(self.told) >= TELL;
        if tells {
            self.told = now;
        }
        tells
    }

    fn goes_on(&mut self, folder: &Path) {
        if self.hears(Instant::now()) {
            tracing::warn!(data = %folder.display(), "Postgres recovers, or stops: waiting for it");
        }
    }
}

/// Whether `pid` is still the main process on `folder`.
fn is_noted(folder: &Path, pid: i32) -> bool {
    read_pid_file(&pid_file(folder)).is_some_and(|(noted, _)| noted == pid)
        && process::is_alive(pid)
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("postmaster.pid")
}

/// Postgres's own note of what runs: process id, data folder, start, port, socket folder, ...
/// The place is missing until it listens on a socket.
pub(super) fn read_pid_file(path: &Path) -> Option<(i32, Option<Place>)> {
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

fn command(
    folder: &Path,
    place: &Place,
    survey: &Survey,
    connections_max: u32,
) -> std::process::Command {
    let mut command = process::command(&survey.programs.postgres(), survey.account.as_ref());
    let connections = connections_max.saturating_add(CONNECTIONS_SPARE);
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
        // Its log comes to us, in the words that we know.
        ("log_destination", "stderr".to_owned()),
        ("logging_collector", "off".to_owned()),
        ("lc_messages", "C".to_owned()),
    ] {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_says_that_it_comes_up_is_waited_for_and_one_that_is_silent_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut patience = Patience::new(start, Duration::from_mins(1));
        assert!(!patience.is_over(at(60)));
        assert!(patience.is_over(at(61)));
        // A line a minute.
        let told: Vec<_> = [1, 59, 60, 61, 119, 121, 600]
            .map(|s| patience.hears(at(s)))
            .into();
        assert_eq!(told, [false, false, true, false, false, true, true]);
        assert!(!patience.is_over(at(660)));
        assert!(patience.is_over(at(661)));
    }
}
