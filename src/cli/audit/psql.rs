//! `quell audit psql`: the audit by SQL, without looking for the database.

use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitCode, ExitStatus};

use anyhow::Context as _;
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{configured, told_to_stop};
use crate::postgres::Database;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// What psql is told, such as `-c "select * from failed_actions"`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENT"
    )]
    arguments: Vec<String>,
}

/// psql's own exit status.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = configured()?;
    // Ctrl-C is psql's: it ends a query there. A terminal sends it to both.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let stop = pin!(told_to_stop()?);
    let Some(database) = Database::open(&config.database, stop).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let ended = async {
        let command = database.auditor_psql(&config.database).await?;
        let mut psql = Command::from(command)
            .args(&arguments.arguments)
            .spawn()
            .context("psql cannot be started: install it (Debian: postgresql-client), or put it into PATH")?;
        let told = tokio::select! {
            status = psql.wait() => return Ok(exit_code(status?)),
            _ = terminate.recv() => Signal::SIGTERM,
            _ = hangup.recv() => Signal::SIGHUP,
        };
        // It puts the terminal back as it was before it ends.
        if let Some(pid) = psql.id().and_then(|pid| i32::try_from(pid).ok()) {
            kill(Pid::from_raw(pid), told)?;
        }
        anyhow::Ok(exit_code(psql.wait().await?))
    }
    .await;
    database.close().await;
    ended
}

/// As a shell says it: of what a signal ended, 128 and its number.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from)
}
