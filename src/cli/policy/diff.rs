//! `quell policy diff`: two revisions of a policy, or files and what is stored.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::files::Files;
use super::output::{Side, TIME, print_out, unified_diff};
use super::{OwnerArguments, full_name, history, with_database};
use crate::cli::failed;
use crate::policy_store::{self, ChangeOutcome, ManagedBy, Planned, PolicyRecord, Revision};
use crate::postgres::Pool;
use quell_policy::{Owner, Policy};

/// As `diff` ends, so that scripts know: 0 is no difference, 1 is some.
const TROUBLE: u8 = 2;

const USAGE: &str = "quell policy diff <NAME> [FROM [TO]] [--owner <TENANT> | --operator]
       quell policy diff --file <PATH>... [--prune (--owner <TENANT> | --operator)]";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(in crate::cli) struct Arguments {
    /// The policy's name, also of a deleted one
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// The revision to compare from; without it, the one before TO
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    from: Option<i32>,
    /// The revision to compare with; without it, the newest
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    to: Option<i32>,
    /// Show what `apply` would do with these files, or folders of them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    file: Vec<PathBuf>,
    /// Show what `apply --prune` would remove, too
    #[arg(long, requires_all = ["file", "OwnerArguments"])]
    prune: bool,
    #[command(flatten)]
    owner: OwnerArguments,
}

pub(super) async fn run(arguments: &Arguments) -> ExitCode {
    let differs = match &arguments.name {
        Some(name) => revisions(arguments, name).await,
        None => with_files(arguments).await,
    };
    match differs {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            failed(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

async fn revisions(arguments: &Arguments, name: &str) -> anyhow::Result<bool> {
    let owner = &arguments.owner.owner();
    let (old, new) = with_database(async |pool| {
        let newest = policy_store::history(pool, owner, name, None, 1).await?;
        let Some(newest) = newest.revisions.into_iter().next() else {
            anyhow::bail!(history::never_was(owner, name));
        };
        let new = match arguments.to {
            Some(to) => find(pool, owner, name, to, &newest).await?,
            None => newest.clone(),
        };
        let old = match arguments.from {
            Some(from) => Some(find(pool, owner, name, from, &newest).await?),
            None => policy_store::revision(pool, owner, name, new.revision - 1).await?,
        };
        Ok((old, new))
    })
    .await?;
    let named = full_name(owner, name);
    let documents = [
        old.as_ref().and_then(|old| old.document.as_ref()),
        new.document.as_ref(),
    ];
    let [old_yaml, new_yaml] = yaml(owner, documents)?;
    let old_side = match &old {
        Some(old) => side(&named, old, &old_yaml),
        None => Side {
            label: "nothing".to_owned(),
            text: String::new(),
        },
    };
    let new_side = side(&named, &new, &new_yaml);
    if let Some(diff) = unified_diff(&old_side, &new_side) {
        return print_out(&diff).map(|()| true);
    }
    let from = old.map_or(0, |old| old.revision);
    print_out(&format!(
        "{named}: revisions {from} and {} are the same\n",
        new.revision
    ))?;
    Ok(false)
}

async fn find(
    pool: &Pool,
    owner: &Owner,
    name: &str,
    number: i32,
    newest: &Revision,
) -> anyhow::Result<Revision> {
    let found = policy_store::revision(pool, owner, name, number).await?;
    found.ok_or_else(|| {
        anyhow::anyhow!(
            "{} has no revision {number}: the newest is {}",
            full_name(owner, name),
            newest.revision
        )
    })
}

fn side(named: &str, revision: &Revision, yaml: &str) -> Side {
    let deleted = if revision.document.is_none() {
        " (deleted)"
    } else {
        ""
    };
    Side {
        label: format!(
            "{named}  revision {}{deleted}, {} by {}",
            revision.revision,
            revision.created_at.format(TIME),
            revision.author
        ),
        text: with_keeper(yaml, &revision.managed_by),
    }
}

/// Who keeps a policy can change alone, and is a change that has to be seen.
fn with_keeper(yaml: &str, managed_by: &str) -> String {
    if yaml.is_empty() {
        return String::new();
    }
    format!("# kept by {managed_by}\n{yaml}")
}

/// Both documents as YAML, in the same order of fields; no document is no text. Where this version
/// cannot read one of them, both are shown as they are stored.
fn yaml(owner: &Owner, documents: [Option<&Value>; 2]) -> anyhow::Result<[String; 2]> {
    let read = documents.map(|document| {
        document
            .map(|document| Policy::from_stored(document, owner))
            .transpose()
    });
    if let [Ok(old), Ok(new)] = read {
        return Ok([text(old.as_ref())?, text(new.as_ref())?]);
    }
    let [old, new] = documents;
    Ok([text(old)?, text(new)?])
}

fn text(document: Option<&impl serde::Serialize>) -> anyhow::Result<String> {
    match document {
        Some(document) => Ok(serde_saphyr::to_string(document)?),
        None => Ok(String::new()),
    }
}

async fn with_files(arguments: &Arguments) -> anyhow::Result<bool> {
    let prune = match (arguments.prune, arguments.owner.only()) {
        (true, Some(owner)) => Some(owner),
        (false, Some(_)) => anyhow::bail!(
            "--owner and --operator say whose policies --prune would remove: add --prune, or leave them out; the files name their owners"
        ),
        (_, None) => None,
    };
    let policies = Files::find(&arguments.file)?.load()?;
    with_database(async |pool| {
        let planned = policy_store::plan(pool, &policies, prune.as_ref()).await?;
        for planned in &planned {
            if let Some(diff) = planned_diff(planned)? {
                print_out(&format!("{diff}\n"))?;
            }
        }
        let count = |wanted| planned.iter().filter(|line| line.outcome == wanted).count();
        let unchanged = count(ChangeOutcome::Unchanged);
        print_out(&format!(
            "if applied: {} created, {} updated, {unchanged} unchanged, {} deleted\n",
            count(ChangeOutcome::Created),
            count(ChangeOutcome::Updated),
            count(ChangeOutcome::Deleted),
        ))?;
        Ok(unchanged != planned.len())
    })
    .await
}

fn planned_diff(planned: &Planned<'_>) -> anyhow::Result<Option<String>> {
    if planned.outcome == ChangeOutcome::Unchanged {
        return Ok(None);
    }
    let new = planned.policy.map(Policy::to_json);
    let stored = planned.stored.as_ref();
    let owner = match (stored, planned.policy) {
        (Some(stored), _) => &stored.owner,
        (None, Some(policy)) => &policy.owner,
        (None, None) => &Owner::Operator,
    };
    let documents = [stored.map(|stored| &stored.document), new.as_ref()];
    let [old_yaml, new_yaml] = yaml(owner, documents)?;
    Ok(unified_diff(
        &stored_side(stored, &old_yaml),
        &file_side(planned, &new_yaml),
    ))
}

fn stored_side(stored: Option<&PolicyRecord>, yaml: &str) -> Side {
    let Some(stored) = stored else {
        return Side {
            label: "not stored".to_owned(),
            text: String::new(),
        };
    };
    Side {
        label: format!(
            "{}  revision {}, {} by {}",
            full_name(&stored.owner, &stored.name),
            stored.revision,
            stored.updated_at.format(TIME),
            stored.updated_by
        ),
        text: with_keeper(yaml, &stored.managed_by),
    }
}

fn file_side(planned: &Planned<'_>, yaml: &str) -> Side {
    Side {
        label: match planned.policy {
            Some(policy) => format!("{}  in the files", full_name(&policy.owner, &policy.name)),
            None => "in no file".to_owned(),
        },
        text: with_keeper(yaml, ManagedBy::Apply.as_str()),
    }
}
