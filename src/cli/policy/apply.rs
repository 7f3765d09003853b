//! `quell policy apply`: files become what is stored, all or nothing.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::files::Files;
use super::output::print_out;
use super::test::Tests;
use super::{CommandLine, OwnerArguments, full_name, plan, with_database_and_config};
use crate::config::Config;
use crate::draft::Draft;
use crate::policy_store::{self, Applied};
use crate::postgres::Pool;
use quell_policy::{Owner, Policy};

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
    /// Show first which live tracks this silences and no longer forbids, and ask
    #[arg(long)]
    plan: bool,
    /// Do not ask after the plan
    #[arg(long, requires = "plan")]
    yes: bool,
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
    with_database_and_config(async |config, pool| {
        let command_line = CommandLine::new();
        let author = command_line.author();
        if tests.passed() > 0 {
            println!("{} tests passed", tests.passed());
        }
        let mut snapshot = None;
        if arguments.plan {
            snapshot = planned(config, pool, &policies, prune.as_ref()).await?;
            if !arguments.yes && !is_wanted().await? {
                println!("nothing is applied");
                return Ok(());
            }
        }
        let applied =
            policy_store::apply(pool, &author, &policies, prune.as_ref(), snapshot).await?;
        print_applied(&applied);
        Ok(())
    })
    .await
}

/// Shows what the files would do to live tracks; returns the newest change that the plan includes.
async fn planned(
    config: &Config,
    pool: &Pool,
    policies: &[Policy],
    prune: Option<&Owner>,
) -> anyhow::Result<Option<i64>> {
    // Before what is removed is looked up: what is stored since is not in the plan.
    let snapshot = policy_store::newest_revision_id(pool).await?;
    let changes = policy_store::plan(pool, policies, prune).await?;
    let removed = changes.iter().filter(|change| change.policy.is_none());
    let draft = Draft {
        policies: policies.to_vec(),
        without: removed
            .filter_map(|change| Some(change.stored.as_ref()?.key()))
            .collect(),
        alone: false,
    };
    let request = plan::request(Some(draft));
    let plan = plan::make(config, pool, request).await?;
    print_out(&format!("{plan}\n"))?;
    Ok(Some(snapshot))
}

/// Asks whether to go on.
async fn is_wanted() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("nothing is applied: there is no terminal to ask at; --yes goes on without");
    }
    print_out("apply this? [y/N] ")?;
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    });
    let answer = answer.await??;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
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
