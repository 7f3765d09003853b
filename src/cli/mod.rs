//! The command line: one file a command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line talks to people through stdout and stderr"
)]

mod audit;
mod demo;
mod doctor;
mod health;
mod policy;
mod reference;
mod serve;
mod simulator;
mod sweep;
mod token;

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Config, Environment, LogFormat, TracesConfig};
use crate::http;
use crate::traces;

/// Keeps `LiveKit` rooms quiet by policy.
#[derive(Debug, Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server, by the settings in the environment
    Serve,
    /// Show the whole thing at work, with its own Postgres and a double of LiveKit
    Demo(demo::Arguments),
    /// Bring the database up to date
    Migrate,
    /// Check, apply and look at stored policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Look at what was done, by whom, and what came of it
    #[command(subcommand)]
    Audit(Box<audit::Command>),
    /// Mute now what policies forbid and nobody has muted, in all live rooms or in one
    Sweep(sweep::Arguments),
    /// Say what is wrong with the settings, the database and LiveKit, and how to mend it
    Doctor,
    /// Ask the quell that serves here (by HOST and PORT) whether it answers; for checks of containers
    Health,
    /// Sign a JWT for a caller, with `QUELL_JWT_SECRET`
    Token(token::TokenArguments),
    /// Make an API secret for a caller, as an entry of `AUTH_API_SECRETS_JSON`
    Secret(token::SecretArguments),
    /// Print the description of the HTTP API (OpenAPI 3.1), as /openapi.json has it
    #[command(name = "openapi")]
    OpenApi,
    /// Print what a shell needs to complete quell's commands
    Completions(reference::CompletionsArguments),
    /// Write man pages: for packages
    #[command(hide = true)]
    Man(reference::ManArguments),
    /// Run the double of LiveKit alone, for trying things out
    Simulator(simulator::Arguments),
}

/// Runs the command that the process's arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    crate::install_crypto();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let done = match cli.command {
            Command::Serve => serve::run().await,
            Command::Demo(arguments) => demo::run(&arguments).await,
            Command::Migrate => serve::migrate().await,
            Command::Policy(command) => return policy::run(&command).await,
            Command::Token(arguments) => token::token(&arguments),
            Command::Secret(arguments) => token::secret(&arguments),
            Command::OpenApi => {
                print!("{}", http::description());
                Ok(())
            }
            Command::Completions(arguments) => reference::completions(&arguments),
            Command::Man(arguments) => reference::man(&arguments),
            Command::Health => health::run().await,
            Command::Audit(command) => return audit::run(&command).await,
            Command::Sweep(arguments) => sweep::run(&arguments).await,
            Command::Doctor => return doctor::run().await,
            Command::Simulator(arguments) => simulator::run(&arguments).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        }
    });
    traces::finish();
    ended
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {}", told(error));
    ExitCode::FAILURE
}

/// The error and its causes, each once: many messages hold their cause already.
fn told(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told.as_str() {
            "" => cause,
            _ if told.contains(&cause) => told,
            _ => format!("{told}: {cause}"),
        }
    })
}

/// Sends log lines to stderr, as the settings say, and spans to a collector; stdout is for what a command answers.
fn log(filter: &str, format: LogFormat, traces: Option<&TracesConfig>) -> anyhow::Result<()> {
    // The log never shows the collector's spans, whatever its filter is.
    let filter =
        EnvFilter::try_new(filter)?.add_directive(format!("{}=off", traces::TARGET).parse()?);
    // Colours are for terminals: in a file or a journal they are noise.
    let is_plain = anstream::AutoStream::choice(&std::io::stderr()) == ColorChoice::Never;
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(!is_plain)
        .with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.boxed(),
        // No span of the log is within another, so a list of spans would repeat it.
        LogFormat::Json => lines.json().with_span_list(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(traces.map(traces::layer).transpose()?)
        .init();
    Ok(())
}

/// The settings, with logging started as they say.
fn configured() -> anyhow::Result<Config> {
    let config = Config::from_environment(&Environment::of_process())?;
    log(
        &config.log_filter,
        config.log_format,
        config.traces.as_ref(),
    )?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// Ends at Ctrl-C or SIGTERM. From this call on, neither ends the process by itself, which would leave
/// its own Postgres running.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineError;
    use crate::policy_store::StoreError;
    use crate::server::StartError;

    #[test]
    fn a_cause_is_said_once() {
        let check = |error: anyhow::Error, want: &str| assert_eq!(told(&error), want);
        let policies = || {
            StartError::Engine(EngineError::Policies(StoreError::Database(
                sqlx::Error::PoolTimedOut,
            )))
        };
        let said = "the stored policies cannot be read: the database does not answer: pool timed \
                    out while waiting for an open connection (check that Postgres runs and can be reached; \
                    quell connects again)";
        check(policies().into(), said);
        check(
            anyhow::Error::new(policies()).context("no start"),
            &format!("no start: {said}"),
        );
        check(anyhow::anyhow!("alone"), "alone");
    }
}
