//! `quell policy history`: a policy's revisions, or the last changes of all policies.

use std::fmt::Write as _;

use clap::Args;

use super::output::{Format, TIME, print_out};
use super::{OwnerArguments, full_name, with_database};
use crate::http::RevisionResponse;
use crate::policy_store::{self, PAGE_MAX, Revision, RevisionPage, changed_fields};
use crate::postgres::Pool;
use quell_policy::Owner;
use quell_policy::terminal::without_controls;

#[derive(Debug, Args)]
pub(in crate::cli) struct Arguments {
    /// The policy's name, also of a deleted one; without it, the last changes of all policies
    name: Option<String>,
    #[command(flatten)]
    owner: OwnerArguments,
    /// Show at most this many, the newest first
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// How revisions are shown; json has a line each
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    with_database(async |pool| show(pool, arguments).await).await
}

async fn show(pool: &Pool, arguments: &Arguments) -> anyhow::Result<()> {
    let mut left = arguments.limit;
    let mut oldest = None;
    loop {
        let page = page(pool, arguments, oldest.as_ref(), left.min(PAGE_MAX)).await?;
        if oldest.is_none() {
            if page.revisions.is_empty() {
                return nothing(arguments);
            }
            if arguments.format == Format::Text {
                print_out(&head(arguments))?;
            }
        }
        let mut lines = String::new();
        for revision in &page.revisions {
            match arguments.format {
                Format::Text => lines.push_str(&line(arguments, revision)),
                Format::Json => {
                    let revision = RevisionResponse::new(revision.clone());
                    lines.push_str(&serde_json::to_string(&revision)?);
                    lines.push('\n');
                }
            }
        }
        print_out(&lines)?;
        left = left.saturating_sub(PAGE_MAX);
        oldest = page.revisions.into_iter().next_back();
        if !page.is_more {
            return Ok(());
        }
        if left == 0 {
            if arguments.format == Format::Json {
                return Ok(());
            }
            let more = arguments.limit.saturating_mul(2);
            return print_out(&format!("... there are older ones: --limit {more}\n"));
        }
    }
}

async fn page(
    pool: &Pool,
    arguments: &Arguments,
    oldest: Option<&Revision>,
    limit: u16,
) -> anyhow::Result<RevisionPage> {
    let page = if let Some(name) = &arguments.name {
        let before = oldest.map(|oldest| oldest.revision);
        policy_store::history(pool, &arguments.owner.owner(), name, before, limit).await?
    } else {
        let before = oldest.map(|oldest| oldest.id);
        policy_store::latest(pool, arguments.owner.only().as_ref(), before, limit).await?
    };
    Ok(page)
}

fn nothing(arguments: &Arguments) -> anyhow::Result<()> {
    let owner = match (&arguments.name, arguments.owner.only()) {
        (Some(name), _) => anyhow::bail!(never_was(&arguments.owner.owner(), name)),
        (None, _) if arguments.format == Format::Json => return Ok(()),
        (None, None) => {
            return print_out(
                "no policy was ever written; write some with: quell policy apply policies/\n",
            );
        }
        (None, Some(owner)) => owner.as_str().unwrap_or("the operator").to_owned(),
    };
    print_out(&format!("no policy of {owner} was ever written\n"))
}

/// What to say of a policy that has no revision.
pub(super) fn never_was(owner: &Owner, name: &str) -> String {
    format!(
        "there is no policy {}, and there was none: `quell policy history` shows the last changes of all; name a tenant's with --owner",
        full_name(owner, name)
    )
}

fn head(arguments: &Arguments) -> String {
    let columns = row(["REVISION", "CHANGE", "WHEN", "BY", "KEPT BY", "WHAT"]);
    match &arguments.name {
        Some(name) => format!("{}\n{columns}\n", full_name(&arguments.owner.owner(), name)),
        None => format!("{:<40} {columns}\n", "POLICY"),
    }
}

fn line(arguments: &Arguments, revision: &Revision) -> String {
    let columns = row([
        &revision.revision.to_string(),
        &revision.change,
        &revision.created_at.format(TIME).to_string(),
        &without_controls(&revision.author),
        &revision.managed_by,
        &what(revision),
    ]);
    if arguments.name.is_some() {
        return format!("{columns}\n");
    }
    let name = full_name(&revision.owner, &revision.name);
    format!("{name:<40} {columns}\n")
}

fn row([revision, change, when, by, kept_by, what]: [&str; 6]) -> String {
    let row = format!("{revision:>8} {change:<6} {when:<20} {by:<20} {kept_by:<7} {what}");
    row.trim_end().to_owned()
}

/// What a change changed, on one line.
fn what(revision: &Revision) -> String {
    let fields = changed_fields(revision.previous.as_ref(), revision.document.as_ref());
    let mut what = String::new();
    if let Some(old) = revision.restored_from {
        // Writing to a text does not fail.
        write!(what, "back to revision {old}").ok();
    }
    for (index, field) in fields.iter().enumerate() {
        let before = match (index, what.is_empty()) {
            (0, true) => "",
            (0, false) => ": ",
            _ => ", ",
        };
        write!(what, "{before}{field}").ok();
    }
    if what.is_empty() && revision.change == "update" {
        what.push_str("only who keeps it");
    }
    what
}
