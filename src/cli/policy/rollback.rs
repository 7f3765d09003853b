//! `quell policy rollback`: what a policy once was becomes its new revision.

use clap::Args;

use super::change::notes;
use super::output::print_out;
use super::{CommandLine, OwnerArguments, full_name, history, with_database};
use crate::policy_store::{
    self, ChangeOutcome, Changed, ExpectedRevision, Rollback, RollbackError,
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The policy's name, also of a deleted one
    name: String,
    /// The revision to go back to, as `quell policy history` shows it
    #[arg(long, value_name = "REVISION", value_parser = clap::value_parser!(i32).range(1..))]
    to: i32,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    with_database(async |pool| {
        let (owner, name) = (&arguments.owner.owner(), arguments.name.as_str());
        let wanted = Rollback {
            owner,
            name,
            to: arguments.to,
            managed_by: None,
            expected: ExpectedRevision::Anything,
        };
        let command_line = CommandLine::new();
        let done = policy_store::rollback(pool, &command_line.author(), &wanted).await;
        let changed = done.map_err(|error| {
            if matches!(error, RollbackError::NoPolicy) {
                anyhow::anyhow!(history::never_was(owner, name))
            } else {
                anyhow::anyhow!("{}: {error}", full_name(owner, name))
            }
        })?;
        print_out(&told(arguments, &changed))?;
        notes(pool, &changed).await;
        Ok(())
    })
    .await
}

fn told(arguments: &Arguments, changed: &Changed) -> String {
    let name = full_name(&changed.policy.owner, &changed.policy.name);
    let (outcome, revision) = (changed.outcome.as_str(), changed.policy.revision);
    let to = arguments.to;
    if changed.outcome == ChangeOutcome::Unchanged {
        return format!("{outcome:<9}  {name}  revision {revision} says what revision {to} said\n");
    }
    format!("{outcome:<9}  {name}  revision {revision}, which says what revision {to} said\n")
}
