//! `quell policy check`: all that `apply` would look at before it writes, without a database.

use std::path::PathBuf;

use clap::Args;

use super::files::Files;
use super::test::Tests;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files, or folders of them (*.yaml, *.yml, *.json, also in folders below); the tests beside them are run
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let files = Files::find(&arguments.paths)?;
    let policies = files.load()?;
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

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
