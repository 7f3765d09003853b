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
const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(5);
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
pub(super) struct Server {
    // std's child, not tokio's, and a thread for its log: neither is tied to one runtime.
    child: Child,
    log: Log,
    reader: Option<JoinHandle<()>>,
    stopped: bool,
}

/// The last lines that it wrote.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Server {
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
            stopped: false,
        })
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten();
        self.stopped |= status.is_some();
        status
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
        lines.iter().fold(String::new(), |mut all, line| {
            all.push_str("\n    ");
            all.push_str(line);
            all
        })
    }

    /// Stops it: fast (sessions are cut, all is written), then immediate, then by force.
    pub(super) async fn stop(&mut self) {
        for (signal, patience) in [
            (Signal::SIGINT, FAST_SHUTDOWN),
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

impl Drop for Server {
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
            if lines.len() == LOG_LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line);
        }
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
