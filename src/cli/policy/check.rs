//! `quell policy check`: all that `apply` would look at before it writes, without a database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::files::Files;
use super::test::Tests;
use quell_policy::{Owner, Policy, TextWork};

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files, or folders of them (*.yaml, *.yml, *.json, also in folders below); the tests beside them are run
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let files = Files::find(&arguments.paths)?;
    let policies = files.load()?;
    bound_text_work(&policies)?;
    let tests = Tests::run(&files)?;
    tests.must_pass("these policies would not be applied")?;
    let passed = match tests.passed() {
        0 => String::new(),
        passed => format!("; {} passed", counted(passed, "test", "tests")),
    };
    let policies = counted(policies.len(), "policy", "policies");
    println!("{policies}, no errors{passed}");
    Ok(())
}

/// Refuses what the policies of one owner would be refused for together.
fn bound_text_work(policies: &[Policy]) -> anyhow::Result<()> {
    let mut by_owner: BTreeMap<&Owner, TextWork> = BTreeMap::new();
    for policy in policies {
        let of_owner = by_owner.entry(&policy.owner).or_default();
        of_owner.extend(policy.text_work());
    }
    match by_owner.values().find_map(TextWork::refusal) {
        Some(refusal) => anyhow::bail!("these policies would not be applied: {refusal}"),
        None => Ok(()),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
