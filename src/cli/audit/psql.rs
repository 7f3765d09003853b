//! `quell audit psql`: the audit by SQL, without looking for the database.

use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
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

/// psql's exit status where it cannot connect.
const NOT_CONNECTED: i32 = 2;

/// psql's own exit status.
pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = configured()?;
    // Ctrl-C is psql's: it ends a query there. A terminal sends it to both.
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = pin!(told_to_stop()?);
    let Some(database) = Database::open(&config.database, stop).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let mut command: tokio::process::Command = database.auditor_psql(&config.database)?.into();
    let ended = async {
        let mut psql = command.args(&arguments.arguments).spawn().context(
            "psql cannot be started: install it (Debian: postgresql-client), or put it into PATH",
        )?;
        let status = tokio::select! {
            status = psql.wait() => status?,
            _ = terminate.recv() => {
                psql.kill().await?;
                return Ok(ExitCode::FAILURE);
            }
        };
        if status.code() == Some(NOT_CONNECTED) {
            eprintln!(
                "where the role is refused: let an administrator `grant quell_auditor` to this login, or set QUELL_MIGRATE_DATABASE_URL to the owner's"
            );
        }
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        anyhow::Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
    .await;
    database.close().await;
    ended
}
