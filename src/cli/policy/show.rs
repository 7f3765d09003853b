//! `quell policy list` and `quell policy show`.

use sqlx::PgPool;

use super::{OwnerArguments, full_name};
use crate::policy::{Document, Effect, Policy};
use crate::policy_store::{self, Stored};

pub(super) async fn list(pool: &PgPool, owner: &OwnerArguments) -> anyhow::Result<()> {
    let stored = policy_store::list(pool, owner.filter()).await?;
    if stored.is_empty() {
        println!("no policies; write some with: quell policy apply policies/");
        return Ok(());
    }
    println!(
        "{:<40} {:>8} {:>8} {:<7} {:<8} CHANGED",
        "POLICY", "REVISION", "PRIORITY", "EFFECT", "MODE"
    );
    for row in &stored {
        let policy = read(row)?;
        let effect = match policy.effect {
            Effect::Mute => "mute",
            Effect::Exempt => "exempt",
        };
        println!(
            "{:<40} {:>8} {:>8} {effect:<7} {:<8} {} by {}",
            full_name(row.owner.as_deref(), &row.name),
            row.revision,
            policy.priority,
            policy.mode.as_str(),
            row.updated_at.format("%Y-%m-%d %H:%M:%SZ"),
            row.updated_by,
        );
    }
    Ok(())
}

pub(super) async fn show(pool: &PgPool, name: &str, owner: &OwnerArguments) -> anyhow::Result<()> {
    let owner = owner.owner.as_deref();
    let Some(stored) = policy_store::get(pool, owner, name).await? else {
        anyhow::bail!(
            "there is no policy {}: `quell policy list` shows all; name a tenant's with --owner",
            full_name(owner, name)
        );
    };
    println!(
        "# revision {}, changed {} by {}, kept by {}",
        stored.revision,
        stored.updated_at.format("%Y-%m-%d %H:%M:%SZ"),
        stored.updated_by,
        stored.managed_by,
    );
    let document = Document {
        policies: vec![read(&stored)?],
    };
    print!("{}", document.to_yaml()?);
    Ok(())
}

fn read(stored: &Stored) -> anyhow::Result<Policy> {
    Policy::from_stored(&stored.document, stored.owner.as_deref()).map_err(|problems| {
        anyhow::anyhow!(
            "the stored policy {} cannot be read by this version:\n{problems}",
            full_name(stored.owner.as_deref(), &stored.name)
        )
    })
}
