//! The Postgres that runs on a data folder: our child, or one that was found running.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::note;
use super::patience::{Patience, is_on_its_way};
use super::place::{PORT, Place};
use super::survey::Survey;
use crate::postgres::constants::LOCK_TIMEOUT;
use crate::postgres::error::{LocalPostgresError, is_own_lack};
use crate::postgres::process::{self, PostgresServer};
use crate::postgres::{data, files};

/// How long a Postgres that was started may say nothing. One that says that it is starting is waited for
/// without a limit: recovery after a crash may take long, and would begin anew if it were broken off.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// The time between two log lines that it is not known whether it still runs.
const TELL: Duration = Duration::from_mins(1);
/// Between two attempts to get the folder's lock.
const POLL: Duration = Duration::from_millis(30);
/// Attempts to get it at a stop, which waits for no other quell.
const STOP_TRIES: usize = 5;
/// Between two checks whether it still runs, and between two attempts to start it while processes
/// of the one before it are still there.
const WATCH: Duration = Duration::from_millis(100);
/// Connections beside quell's own pool: a second quell's, psql, and those that Postgres reserves.
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
    Ours(PostgresServer),
    /// Started by somebody else: the id of its main process.
    Found(i32),
}

/// How it ended, and the last lines of its log.
#[derive(Debug)]
pub(super) struct ServerExit {
    pub(super) how: String,
    pub(super) log: String,
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
    pub(super) async fn find(folder: PathBuf) -> Result<Option<Self>, LocalPostgresError> {
        let found = note::running(&folder).await?;
        Ok(found.map(|(pid, place)| Self {
            folder,
            place,
            process: Process::Found(pid),
        }))
    }

    /// Starts it, unless it runs already. Whoever calls this holds the folder's lock. What was
    /// begun is kept where this is not waited for to its end, so that it can be stopped.
    pub(super) async fn bring_up(
        &mut self,
        survey: &Survey,
        connections_max: u32,
    ) -> Result<(), LocalPostgresError> {
        if let Some((pid, place)) = note::running(&self.folder).await? {
            self.process = Process::Found(pid);
            self.place = place;
            return Ok(());
        }
        self.place = own_place(&self.folder, survey)?;
        let begun = Instant::now();
        let mut told = false;
        loop {
            let command = command(&self.folder, &self.place, survey, connections_max);
            self.process = Process::Ours(PostgresServer::spawn(command)?);
            let Err(ServerExit { how, log }) = self.ready().await else {
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
    async fn ready(&mut self) -> Result<(), ServerExit> {
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
                    server.came_up();
                    return Ok(());
                }
                Err(error) if is_on_its_way(&error) => patience.goes_on(&self.folder, &error),
                // This process lacks something, which is no silence of Postgres.
                Err(sqlx::Error::Io(error)) if is_own_lack(&error) => {
                    patience.goes_on(&self.folder, &error);
                }
                Err(error) if patience.is_over(Instant::now()) => {
                    break format!("{error}, {} s after its start", START_TIMEOUT.as_secs());
                }
                Err(_) => {}
            }
            tokio::time::sleep(patience.pause()).await;
        };
        let log = server.last_lines().await;
        server.stop().await;
        Err(ServerExit { how, log })
    }

    pub(super) fn is_ours(&self) -> bool {
        matches!(self.process, Process::Ours(_))
    }

    /// Whether it is ours and has not come up yet.
    pub(super) fn is_coming_up(&self) -> bool {
        matches!(&self.process, Process::Ours(server) if !server.has_come_up())
    }

    /// Waits for its end, whoever ended it.
    pub(super) async fn ended(&mut self) -> ServerExit {
        let mut told: Option<Instant> = None;
        loop {
            match self.end().await {
                Ok(Some(end)) => return end,
                Err(error) if told.is_none_or(|told| told.elapsed() >= TELL) => {
                    told = Some(Instant::now());
                    tracing::warn!(
                        data = %self.folder.display(),
                        %error,
                        "cannot tell whether Postgres still runs: looking again"
                    );
                }
                Ok(None) | Err(_) => {}
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    async fn end(&mut self) -> io::Result<Option<ServerExit>> {
        Ok(match &mut self.process {
            Process::Ours(server) => match server.ended() {
                Some(status) => Some(ServerExit {
                    how: status.to_string(),
                    log: server.last_lines().await,
                }),
                None => None,
            },
            Process::Found(pid) => (!note::is_there(&self.folder, *pid)?).then(|| ServerExit {
                how: "its main process is gone".to_owned(),
                log: "\n    (it went to the program that had started it)".to_owned(),
            }),
            Process::None => None,
        })
    }

    /// Whether it is known to be gone, or about to go: one that goes down is waited for.
    pub(super) async fn is_gone(&mut self) -> bool {
        match &mut self.process {
            Process::Ours(server) => server.ended().is_some(),
            Process::Found(pid) => {
                let pid = *pid;
                let running = note::running(&self.folder).await;
                running.is_ok_and(|found| found.map(|(pid, _)| pid) != Some(pid))
            }
            Process::None => true,
        }
    }

    /// Stops it where we started it. Sessions that are open are ended.
    pub(super) async fn stop(mut self) {
        match &mut self.process {
            Process::Found(_) => return,
            Process::Ours(server) => server.stop().await,
            Process::None => {}
        }
        // Removes the socket's folder, unless another quell starts just now. A Postgres that was
        // killed leaves its socket in there.
        if let Ok(folder) = File::open(&self.folder)
            && is_locked_soon(&folder).await
            && !note::may_run(&self.folder)
        {
            std::fs::remove_dir_all(&self.place.socket).ok();
        }
    }
}

/// Locks the folder, unless another quell holds it. A program that this process starts just now has a copy of a lock that
/// was given up already, until it becomes that program.
async fn is_locked_soon(folder: &File) -> bool {
    for _ in 0..STOP_TRIES {
        if folder.try_lock().is_ok() {
            return true;
        }
        tokio::time::sleep(POLL).await;
    }
    false
}

/// Where the one that we start listens.
fn own_place(folder: &Path, survey: &Survey) -> Result<Place, LocalPostgresError> {
    Ok(Place {
        socket: data::socket_folder(&survey.socket_root, folder, survey.account.as_ref())?,
        port: PORT,
    })
}

/// Holds the folder itself locked, which leaves nothing behind in it.
pub(super) async fn lock(folder: &Path) -> Result<File, LocalPostgresError> {
    let file = File::open(folder).map_err(files::io("open", folder))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(files::io("lock", folder)(error)),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_TIMEOUT => {
                return Err(LocalPostgresError::Locked {
                    folder: folder.to_owned(),
                });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(POLL).await,
        }
    }
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
        // No TCP: the rights of the socket's folder say who may connect.
        ("listen_addresses", String::new()),
        (
            "unix_socket_directories",
            place.socket.display().to_string(),
        ),
        ("unix_socket_permissions", "0700".to_owned()),
        ("port", place.port.to_string()),
        ("max_connections", connections.to_string()),
        // Its log is written to our pipe, in English, which we can read.
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

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_is_given_up_soon_is_waited_for_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = [(); 2].map(|()| File::open(folder.path()).unwrap());
        theirs.try_lock().unwrap();
        assert!(!is_locked_soon(&ours).await);
        let (locked, ()) = tokio::join!(is_locked_soon(&ours), async { drop(theirs) });
        assert!(locked);
    }
}
