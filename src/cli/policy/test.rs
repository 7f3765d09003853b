//! `quell policy test`: runs the tests that stand beside policies.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::files::{self, Files};
use super::full_name;
use super::text::text_of;
use quell_policy::case::{CaseFile, Report};
use quell_policy::terminal::without_controls;
use quell_policy::{Mode, Policy};

/// At most this many policies without a test are named; further ones are only counted.
const UNTESTED_NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// Files of policies or of tests, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// List the tests that pass as well
    #[arg(long, short)]
    verbose: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let files = Files::find(&arguments.paths)?;
    let policies = files::read(&files.policies)?.value.policies;
    let tests = Tests::run(&files)?;
    for line in tests.lines(arguments.verbose) {
        println!("{line}");
    }
    println!("{} passed, {} failed", tests.passed(), tests.failed());
    let untested = tests.untested(&policies);
    if !untested.is_empty() {
        println!("{}", without_test(&untested));
    }
    Ok(match tests.failed() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// What came of some files of tests.
pub(super) struct Tests(Vec<Report>);

impl Tests {
    /// Runs all tests of these files. All files that cannot be run are reported at once.
    pub(super) fn run(files: &Files) -> anyhow::Result<Self> {
        let mut reports = Vec::new();
        let mut problems = Vec::new();
        for (file, brought_by) in &files.tests {
            match run_file(file, brought_by.as_deref()) {
                Ok(report) => reports.push(report),
                Err(problem) => problems.push(format!("{problem:#}")),
            }
        }
        if problems.is_empty() {
            return Ok(Self(reports));
        }
        anyhow::bail!("the tests cannot be run:\n{}", problems.join("\n"))
    }

    /// Fails with a report of the tests that do.
    pub(super) fn must_pass(&self, or_else: &str) -> anyhow::Result<()> {
        if self.failed() == 0 {
            return Ok(());
        }
        let lines: Vec<_> = self.lines(false).collect();
        anyhow::bail!(
            "{or_else}: {} of {} tests failed\n{}",
            self.failed(),
            self.passed() + self.failed(),
            lines.join("\n")
        )
    }

    pub(super) fn passed(&self) -> usize {
        self.0.iter().map(Report::passed).sum()
    }

    fn failed(&self) -> usize {
        self.0.iter().map(Report::failed).sum()
    }

    fn lines(&self, with_passed: bool) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .flat_map(move |report| report.lines(with_passed))
    }

    /// The policies, but for those that are off, that no test names.
    fn untested(&self, policies: &[Policy]) -> Vec<String> {
        let named = |policy: &Policy| {
            let key = policy.key();
            self.0.iter().any(|report| report.named.contains(&key))
        };
        policies
            .iter()
            .filter(|policy| policy.mode != Mode::Off && !named(policy))
            .map(|policy| full_name(&policy.owner, &policy.name))
            .collect()
    }
}

fn without_test(untested: &[String]) -> String {
    let (count, verb) = match untested.len() {
        1 => ("1 policy".to_owned(), "has"),
        several => (format!("{several} policies"), "have"),
    };
    let named: Vec<_> = untested.iter().take(UNTESTED_NAMED_MAX).cloned().collect();
    let more = match untested.len().saturating_sub(UNTESTED_NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{count} {verb} no test: {}{more}",
        without_controls(&named.join(", "))
    )
}

fn run_file(file: &Path, brought_by: Option<&Path>) -> anyhow::Result<Report> {
    let cases = CaseFile::read(&file.display().to_string(), &text_of(file)?)?;
    let about = if cases.policies.is_empty() {
        vec![match brought_by {
            Some(policies) => policies.to_owned(),
            None => policies_beside(file)?,
        }]
    } else {
        files::named_by(file, &cases).collect()
    };
    let policies = files::read(&about).with_context(|| file.display().to_string())?;
    let policies = policies.value.policies;
    Ok(cases.run(&policies)?)
}

fn policies_beside(file: &Path) -> anyhow::Result<PathBuf> {
    files::tested_by(file)?.ok_or_else(|| {
        anyhow::anyhow!(
            "{}: no file of policies stands beside it with its name; add `policies:` with the \
             files that it is about",
            file.display()
        )
    })
}
