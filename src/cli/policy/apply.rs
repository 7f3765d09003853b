//! `quell policy apply`: files become what is stored, all or nothing.

use std::path::PathBuf;

use clap::Args;

use super::files::Files;
use super::test::Tests;
use super::{CommandLine, OwnerArguments, full_name, with_database};
use crate::policy_store::{self, Applied};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files, or folders of them (*.yaml, *.yml, *.json, also in folders below); the tests beside them must pass
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Remove the policies of --owner or --operator that an earlier apply wrote and no file holds
    #[arg(long, requires = "OwnerArguments")]
    prune: bool,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let files = Files::find(&arguments.paths)?;
    let policies = files.load()?;
    let tests = Tests::run(&files)?;
    tests.must_pass("nothing is applied")?;
    let prune = arguments.owner.only();
    if !arguments.prune && prune.is_some() {
        anyhow::bail!(
            "--owner and --operator say whose policies --prune removes: add --prune, or name the owner in the files (`owner:`)"
        );
    }
    with_database(async |pool| {
        let command_line = CommandLine::new();
        let author = command_line.author();
        if tests.passed() > 0 {
            println!("{} tests passed", tests.passed());
        }
        let applied = policy_store::apply(pool, &author, &policies, prune.as_ref()).await?;
        print_applied(&applied);
        Ok(())
    })
    .await
}

fn print_applied(applied: &[Applied]) {
    for Applied {
        key,
        revision,
        outcome,
    } in applied
    {
        println!(
            "{:<9}  {}  revision {revision}",
            outcome.as_str(),
            full_name(&key.owner, &key.name)
        );
    }
    let count = |wanted| applied.iter().filter(|line| line.outcome == wanted).count();
    println!(
        "{} created, {} updated, {} unchanged, {} deleted",
        count(policy_store::ChangeOutcome::Created),
        count(policy_store::ChangeOutcome::Updated),
        count(policy_store::ChangeOutcome::Unchanged),
        count(policy_store::ChangeOutcome::Deleted),
    );
}
