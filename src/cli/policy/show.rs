//! `quell policy list` and `quell policy show`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};

use super::output::{Format, TIME, print_out};
use super::{OwnerArguments, full_name};
use crate::http::PolicyResponse;
use crate::policy_store::{self, ALL_POLICIES_TIMEOUT, PolicyRecord};
use crate::postgres::Pool;
use quell_policy::terminal::without_controls;
use quell_policy::{Document, Effect, Policy};

pub(super) async fn list(
    pool: &Pool,
    owner: &OwnerArguments,
    format: Format,
) -> anyhow::Result<()> {
    let stored =
        policy_store::list(&pool.within(ALL_POLICIES_TIMEOUT), owner.only().as_ref()).await?;
    if format == Format::Json {
        let mut lines = String::new();
        for stored in stored {
            lines.push_str(&serde_json::to_string(&PolicyResponse::new(
                stored,
                Vec::new(),
            ))?);
            lines.push('\n');
        }
        return print_out(&lines);
    }
    if stored.is_empty() {
        return print_out("no policies; write some with: quell policy apply policies/\n");
    }
    let mut shown = String::new();
    // Writing to a text does not fail.
    writeln!(
        shown,
        "{:<40} {:>8} {:>8} {:<7} {:<8} CHANGED",
        "POLICY", "REVISION", "PRIORITY", "EFFECT", "MODE"
    )
    .ok();
    for row in &stored {
        let policy = read(row)?;
        let effect = match policy.effect {
            Effect::Mute => "mute",
            Effect::Exempt => "exempt",
        };
        writeln!(
            shown,
            "{:<40} {:>8} {:>8} {effect:<7} {:<8} {} by {}",
            full_name(&row.owner, &row.name),
            row.revision,
            policy.priority,
            policy.mode.as_str(),
            row.updated_at.format(TIME),
            without_controls(&row.updated_by),
        )
        .ok();
    }
    print_out(&shown)
}

pub(super) async fn show(pool: &Pool, name: &str, owner: &OwnerArguments) -> anyhow::Result<()> {
    let owner = &owner.owner();
    let Some(stored) = policy_store::get(pool, owner, name).await? else {
        anyhow::bail!(
            "there is no policy {}: `quell policy list` shows all; name a tenant's with --owner",
            full_name(owner, name)
        );
    };
    let head = format!(
        "# revision {}, changed {} by {}, kept by {}\n",
        stored.revision,
        stored.updated_at.format(TIME),
        without_controls(&stored.updated_by),
        stored.managed_by,
    );
    let document = Document {
        policies: vec![read(&stored)?],
    };
    let yaml = document.to_yaml()?;
    // What goes into a file is to be applied again, and stays as it is.
    if !stdout().is_terminal() {
        return print_out(&format!("{head}{yaml}"));
    }
    let mut shown = head;
    for line in yaml.lines() {
        shown.push_str(&without_controls(line));
        shown.push('\n');
    }
    print_out(&shown)
}

fn read(stored: &PolicyRecord) -> anyhow::Result<Policy> {
    Policy::from_stored(&stored.document, &stored.owner).map_err(|problems| {
        anyhow::anyhow!(
            "the stored policy {} cannot be read by this version:\n{problems}",
            full_name(&stored.owner, &stored.name)
        )
    })
}
