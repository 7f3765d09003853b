//! A child process that runs Postgres: started as another user, listened to, stopped gently.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::account::Account;
use super::error::LocalPostgresError;

const LOG_LINES_MAX: usize = 12;
/// Fast shutdown writes a checkpoint, which takes a while on a slow disk.
const FAST_SHUTDOWN: Duration = Duration::from_secs(20);
/// One that has not come up yet has nothing to write: what it recovers is recovered anew.
const UNREADY_SHUTDOWN: Duration = Duration::from_secs(1);
/// After 5 s Postgres kills those of its processes that do not go.
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(6);
/// For the log's thread to read what was written just before the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(10);

/// `program`, as `account`, in a process group of its own, so that Ctrl-C in a terminal reaches
/// us alone and we say when it stops. It gets none of our environment, which holds secrets.
pub(super) fn command(program: &Path, account: Option<&Account>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        // Ours may be closed to the other user.
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Some(account) = account {
        // std empties the supplementary groups on the way from root.
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// Runs `command` to its end and returns what it said. Where this is not waited for to its end, the
/// program is killed, and with it the programs that it has started.
pub(super) async fn output(
    mut command: Command,
    timeout: Duration,
) -> Result<String, LocalPostgresError> {
    command.stdout(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| LocalPostgresError::Program {
        program: program.clone(),
        why,
    };
    let mut command = tokio::process::Command::from(command);
    let child = command.spawn().map_err(|error| LocalPostgresError::Spawn {
        program: program.clone(),
        error,
    })?;
    let group = Group(child.id());
    let output = tokio::time::timeout(timeout, child.wait_with_output())
        .await
        .map_err(|_| failed(format!("no answer within {} s", timeout.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    group.let_go();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.trim())))
}

/// The process group of a program. Dropped, all of it is killed.
struct Group(Option<u32>);

impl Group {
    fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // It may have ended just now.
            killpg(Pid::from_raw(leader), Signal::SIGKILL).ok();
        }
    }
}

/// A running Postgres that is our child. Dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub(super) struct PostgresServer {
    // std's child, not tokio's, and a thread for its log: neither is tied to one runtime.
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
    has_come_up: bool,
    stopped: bool,
}

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<LastLines>>);

/// The last lines that it wrote, but for its answers to those who come too early: quell asks it all
/// the time.
#[derive(Debug, Default)]
struct LastLines {
    kept: VecDeque<String>,
    was_answer: bool,
}

impl PostgresServer {
    pub(super) fn spawn(mut command: Command) -> Result<Self, LocalPostgresError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .spawn()
            .map_err(|error| LocalPostgresError::Spawn { program, error })?;
        let log = Log::default();
        let reader = child.stderr.take().map(|stderr| {
            let log = log.clone();
            std::thread::spawn(move || log.follow(stderr))
        });
        Ok(Self {
            child,
            log,
            reader,
            has_come_up: false,
            stopped: false,
        })
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.stopped |= status.is_some();
        status
    }

    /// It takes connections.
    pub(super) fn came_up(&mut self) {
        self.has_come_up = true;
    }

    pub(super) fn has_come_up(&self) -> bool {
        self.has_come_up
    }

    /// The last lines of its log, each on a line of its own; all of them once it has ended.
    pub(super) async fn last_lines(&mut self) -> String {
        if self.ended().is_some() {
            let started = Instant::now();
            while started.elapsed() < LAST_WORDS
                && self.reader.as_ref().is_some_and(|r| !r.is_finished())
            {
                tokio::time::sleep(POLL).await;
            }
        }
        let lines = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().fold(String::new(), |mut all, line| {
            all.push_str("\n    ");
            all.push_str(line);
            all
        })
    }

    /// Stops it: fast (sessions are cut, all is written), then immediate, then by force.
    pub(super) async fn stop(&mut self) {
        let fast = if self.has_come_up {
            FAST_SHUTDOWN
        } else {
            UNREADY_SHUTDOWN
        };
        for (signal, patience) in [
            (Signal::SIGINT, fast),
            (Signal::SIGQUIT, IMMEDIATE_SHUTDOWN),
        ] {
            self.signal(signal);
            if self.wait(patience).await {
                return;
            }
            tracing::warn!(
                %signal,
                waited_seconds = patience.as_secs(),
                "Postgres did not stop when told to"
            );
        }
        // The data is safe (fsync is on): it will be recovered at the next start.
        if let Err(error) = self.child.kill() {
            tracing::warn!(%error, "Postgres could not be killed");
        }
        self.stopped = self.wait(IMMEDIATE_SHUTDOWN).await;
    }

    async fn wait(&mut self, patience: Duration) -> bool {
        let started = Instant::now();
        while started.elapsed() < patience {
            if self.ended().is_some() {
                return true;
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }

    fn signal(&mut self, signal: Signal) {
        // Not yet waited for, so the id is still this child's.
        if self.ended().is_none()
            && let Ok(pid) = i32::try_from(self.child.id())
            && let Err(error) = kill(Pid::from_raw(pid), signal)
        {
            tracing::warn!(%error, %signal, "Postgres could not be signalled");
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if !self.stopped {
            self.signal(Signal::SIGINT);
        }
    }
}

impl Log {
    fn follow(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            tracing::debug!(target: "quell::postgres", "{line}");
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push(line);
        }
    }
}

impl LastLines {
    fn push(&mut self, line: String) {
        self.was_answer = line.contains("FATAL:  the database system is ")
            || self.was_answer && line.contains("DETAIL:  ");
        if self.was_answer {
            return;
        }
        if self.kept.len() == LOG_LINES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }
}

/// Whether a process with this id is there, ours or not.
pub(super) fn is_alive(pid: i32) -> bool {
    pid > 0
        && !matches!(
            kill(Pid::from_raw(pid), None),
            Err(nix::errno::Errno::ESRCH)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_are_postgres_own() {
        let check = |said: &[&str], want: &[&str]| {
            let mut lines = LastLines::default();
            for line in said {
                lines.push((*line).to_owned());
            }
            assert_eq!(lines.kept, want, "{said:?}");
        };
        check(
            &[
                "[7] LOG:  redo starts at 0/150A0C8",
                "[8] FATAL:  the database system is starting up",
                "[9] FATAL:  the database system is not yet accepting connections",
                "[9] DETAIL:  Consistent recovery state has not been yet reached.",
                "[10] FATAL:  the database system is in recovery mode",
                "[11] FATAL:  the database system is shutting down",
                "[7] PANIC:  could not write to file: No space left on device",
                "[7] DETAIL:  of the line before",
                "[8] FATAL:  the database system is starting up",
            ],
            &[
                "[7] LOG:  redo starts at 0/150A0C8",
                "[7] PANIC:  could not write to file: No space left on device",
                "[7] DETAIL:  of the line before",
            ],
        );
        let many = (0..20).map(|line| line.to_string()).collect::<Vec<_>>();
        let many = many.iter().map(String::as_str).collect::<Vec<_>>();
        check(&many, &many[20 - LOG_LINES_MAX..]);
    }

    #[tokio::test]
    async fn one_that_has_not_come_up_is_told_to_quit_soon() {
        // It ignores the fast shutdown, as one may that reads its log of changes.
        let mut command = command(Path::new("/bin/sh"), None);
        command.args([
            "-c",
            "trap '' INT; echo here >&2; while :; do sleep 0.01; done",
        ]);
        let mut server = PostgresServer::spawn(command).unwrap();
        while server.last_lines().await.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        let begun = Instant::now();
        server.stop().await;
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let ended = server.ended().unwrap().to_string();
        assert!(ended.contains("SIGQUIT"), "{ended}");
    }

    #[tokio::test]
    async fn a_program_that_is_not_waited_for_ends_with_those_that_it_started() {
        let root = tempfile::tempdir().unwrap();
        let note = root.path().join("pids");
        let mut command = command(Path::new("/bin/sh"), None);
        command
            .args(["-c", "sleep 600 & echo $$ $! > \"$0\"; wait"])
            .arg(&note);
        let pids = async {
            loop {
                let text = std::fs::read_to_string(&note).unwrap_or_default();
                let pids = text.split_whitespace().map(|pid| pid.parse().unwrap());
                let pids = pids.collect::<Vec<i32>>();
                if text.ends_with('\n') {
                    break pids;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let pids = tokio::select! {
            said = output(command, Duration::from_mins(1)) => panic!("{said:?}"),
            pids = pids => pids,
        };
        assert_eq!(pids.len(), 2);
        // What is left of them, until somebody has looked how they ended, is no program.
        let runs = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        crate::postgres::test_support::wait_for(|| !pids.iter().any(runs));
    }
}
