//! `quell policy delete`, `disable` and `enable`: one stored policy, without a file.

use clap::Args;

use super::output::print_out;
use super::{CommandLine, OwnerArguments, full_name, with_database};
use crate::audit::{StillMuted, still_muted};
use crate::policy_store::{
    self, ChangeError, ChangeOutcome, Changed, ExpectedRevision, ManagedBy, PolicyRecord,
};
use crate::postgres::Pool;
use quell_policy::terminal::without_controls;
use quell_policy::{Mode, Owner, Policy};

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The policy's name
    name: String,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EnableArguments {
    #[command(flatten)]
    named: Named,
    /// Only write down what it would do
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn delete(named: &Named) -> anyhow::Result<()> {
    with_database(async |pool| {
        let (owner, name) = (&named.owner.owner(), named.name.as_str());
        let command_line = CommandLine::new();
        let by = command_line.author();
        let done = policy_store::delete(pool, &by, owner, name, ExpectedRevision::Exists).await;
        let changed = done.map_err(|error| failed(owner, name, &error))?;
        told(pool, &changed, false).await
    })
    .await
}

pub(super) async fn disable(named: &Named) -> anyhow::Result<()> {
    set_mode(named, Mode::Off).await
}

pub(super) async fn enable(arguments: &EnableArguments) -> anyhow::Result<()> {
    let mode = if arguments.dry_run {
        Mode::DryRun
    } else {
        Mode::Enforce
    };
    set_mode(&arguments.named, mode).await
}

async fn set_mode(named: &Named, mode: Mode) -> anyhow::Result<()> {
    with_database(async |pool| {
        let (owner, name) = (&named.owner.owner(), named.name.as_str());
        let stored = stored(pool, owner, name).await?;
        let mut policy = Policy::from_stored(&stored.document, owner).map_err(|problems| {
            anyhow::anyhow!(
                "{} cannot be read by this version:\n{problems}",
                full_name(owner, name)
            )
        })?;
        policy.mode = mode;
        // Who keeps it stays so: files that say something else win with the next apply.
        let managed_by = if stored.managed_by == ManagedBy::Apply.as_str() {
            ManagedBy::Apply
        } else {
            ManagedBy::Rest
        };
        let command_line = CommandLine::new();
        let expected = ExpectedRevision::Revision(stored.revision);
        let done =
            policy_store::put(pool, &command_line.author(), &policy, managed_by, expected).await;
        let changed = done.map_err(|error| failed(owner, name, &error))?;
        told(pool, &changed, mode == Mode::Enforce).await
    })
    .await
}

async fn stored(pool: &Pool, owner: &Owner, name: &str) -> anyhow::Result<PolicyRecord> {
    let stored = policy_store::get(pool, owner, name).await?;
    stored.ok_or_else(|| failed(owner, name, &ChangeError::Missing))
}

fn failed(owner: &Owner, name: &str, error: &ChangeError) -> anyhow::Error {
    let name = full_name(owner, name);
    if matches!(error, ChangeError::Missing) {
        return anyhow::anyhow!(
            "there is no policy {name}: `quell policy list` shows all; name a tenant's with --owner"
        );
    }
    anyhow::anyhow!("{name}: {error}")
}

/// Says what was done, and what does not follow from it. Who is muted stays so, which is no news of a policy that `mutes`.
async fn told(pool: &Pool, changed: &Changed, mutes: bool) -> anyhow::Result<()> {
    let PolicyRecord {
        owner,
        name,
        revision,
        ..
    } = &changed.policy;
    let outcome = changed.outcome.as_str();
    print_out(&format!(
        "{outcome:<9}  {}  revision {revision}\n",
        full_name(owner, name)
    ))?;
    if mutes {
        note_files(changed);
    } else {
        notes(pool, changed).await;
    }
    Ok(())
}

fn note_files(changed: &Changed) {
    let kept = changed.policy.managed_by == ManagedBy::Apply.as_str();
    if kept && changed.outcome != ChangeOutcome::Unchanged {
        eprintln!("{KEPT_IN_FILES}");
    }
}

/// Says what does not follow from a change: what files say stays, and so does who is muted.
pub(super) async fn notes(pool: &Pool, changed: &Changed) {
    let PolicyRecord { owner, name, .. } = &changed.policy;
    if changed.outcome == ChangeOutcome::Unchanged {
        return;
    }
    note_files(changed);
    match still_muted(pool, owner, name).await {
        Ok(still) if still.tracks.is_empty() => {}
        Ok(still) => eprint!("{}", stays_muted(&still)),
        Err(error) => {
            eprintln!(
                "note: whoever it has muted stays muted; who that is cannot be read: {error}"
            );
        }
    }
}

fn stays_muted(still: &StillMuted) -> String {
    let mut text =
        "note: within a day it has muted these, who stay muted until a moderator or they themselves unmute:\n"
            .to_owned();
    for track in &still.tracks {
        let source = track.source.as_deref().unwrap_or_default();
        let line = format!(
            "  {}  {}  {source}  {}",
            track.room_name, track.identity, track.track_sid
        );
        text += &without_controls(&line);
        text.push('\n');
    }
    if !still.is_whole {
        text += "  and others, perhaps: these are of its last 200 mutes\n";
    }
    text
}

const KEPT_IN_FILES: &str = "note: files keep this policy: the next `quell policy apply` writes what they say over it, and --prune removes it where they do not have it; change the files too";
