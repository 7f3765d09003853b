//! `quell policy`: one file for each thing that can be done with policies.

mod apply;
mod backtest;
mod change;
mod check;
mod diff;
mod explain;
mod files;
mod folder;
mod history;
pub(super) mod output;
pub(super) mod plan;
mod rollback;
mod schema;
mod show;
mod test;
mod text;

use std::pin::{Pin, pin};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use self::output::Format;
use super::{configured, failed, told_to_stop};
use crate::access::Principal;
use crate::audit::{Actor, Origin};
use crate::caller_id::COMMAND_LINE;
use crate::config::{Config, os_user};
use crate::policy_store::Author;
use crate::postgres::{Database, Pool, unless};
use quell_policy::terminal::without_controls;
use quell_policy::{Owner, TenantId};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check files and run their tests, without a database
    Check(check::Arguments),
    /// Run the tests beside policies
    Test(test::Arguments),
    /// Write files to the database, all or nothing
    Apply(apply::Arguments),
    /// Show which live tracks files would silence and no longer forbid, and write nothing
    Plan(plan::Arguments),
    /// Try policies on the tracks that were published before, beside what is stored
    Backtest(backtest::Arguments),
    /// List the policies in force
    List {
        #[command(flatten)]
        owner: OwnerArguments,
        /// How policies are shown; json has a line each
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show one policy as YAML
    Show {
        /// The policy's name
        name: String,
        #[command(flatten)]
        owner: OwnerArguments,
    },
    /// List the revisions of a policy, or the last changes of all
    History(history::Arguments),
    /// Show what differs between two revisions, or between files and what is stored.
    ///
    /// Exits with 0 where nothing differs, with 1 where something does, with 2 on trouble.
    Diff(diff::Arguments),
    /// Say why a track is muted or not, policy by policy
    Explain(explain::Arguments),
    /// Remove a policy; its revisions stay
    Delete(change::Named),
    /// Switch a policy off (`mode: off`), as a new revision
    Disable(change::Named),
    /// Switch a policy on (`mode: enforce`, or `dry_run`), as a new revision
    Enable(change::EnableArguments),
    /// Write what a policy once was as its new revision
    Rollback(rollback::Arguments),
    /// Print the JSON Schema of policy files, for editors
    Schema(schema::Arguments),
}

#[derive(Debug, Args)]
#[group(id = "OwnerArguments", multiple = false)]
pub(super) struct OwnerArguments {
    /// A tenant: the `auth_id` in the metadata of its rooms
    #[arg(long, value_name = "TENANT", value_parser = TenantId::new)]
    owner: Option<TenantId>,
    /// The operator, whose policies hold in every room
    #[arg(long)]
    operator: bool,
}

impl OwnerArguments {
    /// Whose policy is meant: the operator's, where no owner is given.
    fn owner(&self) -> Owner {
        self.owner.clone().into()
    }

    /// Whose policies are meant; none is everybody's.
    fn only(&self) -> Option<Owner> {
        (self.owner.is_some() || self.operator).then(|| self.owner())
    }
}

pub(super) async fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Test(arguments) => match test::run(arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Apply(arguments) => apply::run(arguments).await,
        Command::Plan(arguments) => plan::run(arguments).await,
        Command::Backtest(arguments) => backtest::run(arguments).await,
        Command::List { owner, format } => {
            with_database(async |pool| show::list(pool, owner, *format).await).await
        }
        Command::Show { name, owner } => {
            with_database(async |pool| show::show(pool, name, owner).await).await
        }
        Command::History(arguments) => history::run(arguments).await,
        Command::Explain(arguments) => explain::run(arguments).await,
        Command::Diff(arguments) => return diff::run(arguments).await,
        Command::Delete(named) => change::delete(named).await,
        Command::Disable(named) => change::disable(named).await,
        Command::Enable(arguments) => change::enable(arguments).await,
        Command::Rollback(arguments) => rollback::run(arguments).await,
        Command::Schema(arguments) => schema::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

pub(super) async fn with_database<T>(
    work: impl AsyncFnOnce(&Pool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    with_database_until_told(async |pool, stop| {
        let done = unless(stop, Box::pin(work(pool))).await;
        done.unwrap_or_else(|| Err(told()))
    })
    .await
}

/// The same for work that needs the settings.
pub(super) async fn with_database_and_config<T>(
    work: impl AsyncFnOnce(&Config, &Pool) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let config = configured()?;
    with_database_of(&config, async |pool, stop| {
        let done = unless(stop, Box::pin(work(&config, pool))).await;
        done.unwrap_or_else(|| Err(told()))
    })
    .await
}

/// The same for work that stops by itself when it is told to.
pub(super) async fn with_database_until_told<T>(
    work: impl AsyncFnOnce(&Pool, Stop<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    with_database_of(&configured()?, work).await
}

async fn with_database_of<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Pool, Stop<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let mut stop = pin!(told_to_stop()?);
    let Some(database) = Database::open(&config.database, &mut stop).await? else {
        return Err(told());
    };
    let done = Box::pin(work(&database.pool, stop)).await;
    database.close().await;
    done
}

/// Ready at Ctrl-C or SIGTERM.
pub(super) type Stop<'a> = Pin<&'a mut dyn Future<Output = ()>>;

fn told() -> anyhow::Error {
    anyhow::anyhow!("told to stop before it was done")
}

/// A change that whoever runs this command makes.
struct CommandLine(String);

impl CommandLine {
    fn new() -> Self {
        Self(format!("{COMMAND_LINE}{}", os_user()))
    }

    fn principal(&self) -> Principal {
        Principal::CommandLine(self.0.clone())
    }

    fn author(&self) -> Author<'_> {
        Author {
            origin: Origin::Cli,
            actor: Actor::CommandLine(self.0.clone()),
            request: None,
        }
    }
}

/// An owner in messages, quoted: a tenant may have any id.
fn full_name(owner: &Owner, name: &str) -> String {
    without_controls(&format!("{owner}/{name}"))
}
