//! The real program, as people start it.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use livekit_double::Simulator;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::{ACME, BOUND, TestDatabase};

/// The longest time that a program is waited for: in a demo, a window opens at a full minute.
const PROGRAM_BOUND: Duration = Duration::from_secs(100);

pub(crate) type Settings = [(&'static str, String)];

/// A running quell. Dropped, it and its own Postgres are ended.
pub(crate) struct Program {
    child: Child,
    pub(crate) out: BufReader<ChildStdout>,
    pub(crate) err: BufReader<ChildStderr>,
    data: Option<PathBuf>,
}

impl Program {
    /// Starts quell with nothing in its environment but `env` and a usual `PATH`.
    pub(crate) fn start(arguments: &[&str], env: &Settings) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_quell")), arguments, env)
    }

    /// The same, where it may have `files` files open.
    pub(crate) fn start_with_files(files: u32, arguments: &[&str], env: &Settings) -> Self {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={files}:{files}"));
        command.arg(env!("CARGO_BIN_EXE_quell"));
        Self::spawn(command, arguments, env)
    }

    fn spawn(mut command: Command, arguments: &[&str], env: &Settings) -> Self {
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut data = None;
        for (name, value) in env {
            command.env(name, value);
            data = data.or_else(|| (*name == "QUELL_PG_DATA").then(|| value.into()));
        }
        let mut child = command.spawn().unwrap();
        Self {
            out: BufReader::new(child.stdout.take().unwrap()),
            err: BufReader::new(child.stderr.take().unwrap()),
            child,
            data,
        }
    }

    /// Waits until a server listens; its URL.
    pub(crate) async fn url(&mut self) -> String {
        let log = read_until(&mut self.err, "quell is listening").await;
        let line: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        format!("http://{}", line["fields"]["address"].as_str().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    /// Sets how many files it may have open, as `prlimit` takes it; what it was.
    pub(crate) fn files_max(&self, limit: &str) -> String {
        let prlimit = |arguments: &[&str]| {
            let pid = self.child.id().unwrap().to_string();
            let mut command = std::process::Command::new("prlimit");
            let said = command.args(["--pid", &pid]).args(arguments).output();
            let said = said.unwrap();
            assert!(said.status.success(), "{said:?}");
            String::from_utf8(said.stdout).unwrap().trim().to_owned()
        };
        let before = prlimit(&["--nofile", "--raw", "--noheadings", "--output", "SOFT"]);
        // The soft one only: it is set back without rights.
        prlimit(&[&format!("--nofile={limit}:")]);
        before
    }

    /// Waits for its end; its exit code, stdout and stderr from here on.
    pub(crate) async fn end(&mut self) -> (i32, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        let ended = async {
            let (_, _, status) = tokio::try_join!(
                self.out.read_to_string(&mut out),
                self.err.read_to_string(&mut err),
                self.child.wait(),
            )
            .unwrap();
            status
        };
        let ended = tokio::time::timeout(PROGRAM_BOUND, ended).await;
        let status = ended.unwrap_or_else(|_| panic!("quell does not end:\n{out}\n{err}"));
        let code = status.code().expect("quell was ended by a signal");
        (code, out, err)
    }

    /// Waits until it has ended by itself, by a signal.
    pub(crate) async fn crashes(&mut self) {
        let ended = tokio::time::timeout(BOUND, self.child.wait()).await;
        let status = ended.expect("quell does not crash").unwrap();
        assert_eq!(status.code(), None, "{status:?}");
    }

    /// Kills it, as the kernel does where memory is short: nothing else is ended.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// The process id of its own Postgres, while that runs.
    pub(crate) fn postgres(&self) -> Option<Pid> {
        let file = self.data.as_ref()?.join("postmaster.pid");
        let text = std::fs::read_to_string(file).ok()?;
        Some(Pid::from_raw(text.lines().next()?.parse().ok()?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let is_over = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        if is_over(&mut self.child) {
            return;
        }
        // It is asked first, since it stops its Postgres then.
        self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while !is_over(&mut self.child) && asked.elapsed() < BOUND {
            std::thread::sleep(Duration::from_millis(5));
        }
        let postgres = self.postgres();
        self.child.start_kill().ok();
        if let Some(postgres) = postgres {
            kill(postgres, Signal::SIGQUIT).ok();
        }
    }
}

/// Lines up to and with the one that holds `mark`.
pub(crate) async fn read_until(from: &mut BufReader<impl AsyncRead + Unpin>, mark: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(mark) {
            let bytes = from.read_line(&mut text).await.unwrap();
            assert!(bytes > 0, "it ended without {mark:?}:\n{text}");
        }
    };
    let read = tokio::time::timeout(PROGRAM_BOUND, read).await;
    assert!(read.is_ok(), "waited in vain for {mark:?}:\n{text}");
    text
}

/// The settings of a server on this database and this LiveKit.
pub(crate) fn settings(
    database: &TestDatabase,
    livekit: &Simulator,
) -> Vec<(&'static str, String)> {
    let key = livekit.api_key().unwrap();
    vec![
        ("PORT", "0".to_owned()),
        ("DATABASE_URL", database.url().to_owned()),
        ("LIVEKIT_URL", livekit.url()),
        ("LIVEKIT_API_KEY", key.key.clone()),
        ("LIVEKIT_API_SECRET", key.secret.expose_secret().to_owned()),
        (
            "AUTH_API_SECRETS_JSON",
            json!([{"id": "acme", "secret": ACME}]).to_string(),
        ),
        ("QUELL_LOG_FORMAT", "json".to_owned()),
    ]
}

/// A temporary folder that Postgres's user can pass through where quell runs as root.
pub(crate) fn open_tempdir() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    folder
}
