//! `quell policy check|apply|list|show`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use sqlx::PgPool;

use super::{configured, failed};
use crate::audit::Origin;
use crate::config::os_user;
use crate::policy::document::DOCUMENT_BYTES_MAX;
use crate::policy::{Document, Effect, Policy};
use crate::policy_store::{self, Applied, Author, OwnerFilter, Prune, Stored};
use crate::postgres::Database;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check files without a database
    Check {
        /// Files, or folders of *.yaml files
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write files to the database, all or nothing
    Apply(ApplyArguments),
    /// List the policies in force
    List {
        #[command(flatten)]
        owner: OwnerArguments,
    },
    /// Show one policy as YAML
    Show {
        /// The policy's name
        name: String,
        #[command(flatten)]
        owner: OwnerArguments,
    },
}

#[derive(Debug, Args)]
pub(super) struct ApplyArguments {
    /// Files, or folders of *.yaml files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Remove the policies of --owner or --operator that an earlier apply wrote and no file holds
    #[arg(long, requires = "OwnerArguments")]
    prune: bool,
    #[command(flatten)]
    owner: OwnerArguments,
}

#[derive(Debug, Args)]
#[group(id = "OwnerArguments", multiple = false)]
pub(super) struct OwnerArguments {
    /// A tenant: the `auth_id` in the metadata of its rooms
    #[arg(long, value_name = "TENANT")]
    owner: Option<String>,
    /// The operator, whose policies hold in every room
    #[arg(long)]
    operator: bool,
}

impl OwnerArguments {
    fn filter(&self) -> OwnerFilter<'_> {
        match (&self.owner, self.operator) {
            (Some(tenant), _) => OwnerFilter::Is(Some(tenant)),
            (None, true) => OwnerFilter::Is(None),
            (None, false) => OwnerFilter::All,
        }
    }
}

pub(super) async fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Check { paths } => load(paths).map(|policies| {
            println!("{} policies, no errors", policies.len());
        }),
        Command::Apply(arguments) => apply(arguments).await,
        Command::List { owner } => with_database(async |pool| list(pool, owner).await).await,
        Command::Show { name, owner } => {
            with_database(async |pool| show(pool, name, owner).await).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn with_database(
    work: impl AsyncFnOnce(&PgPool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = configured()?;
    let database = Database::open(&config.database).await?;
    let done = work(&database.pool).await;
    database.close().await;
    done
}

async fn apply(arguments: &ApplyArguments) -> anyhow::Result<()> {
    let policies = load(&arguments.paths)?;
    let prune = match (arguments.prune, arguments.owner.filter()) {
        (true, OwnerFilter::Is(owner)) => Prune::Owner(owner),
        (true, OwnerFilter::All) | (false, _) => Prune::Nothing,
    };
    if !arguments.prune && arguments.owner.filter() != OwnerFilter::All {
        anyhow::bail!(
            "--owner and --operator say whose policies --prune removes: add --prune, or name the owner in the files (`owner:`)"
        );
    }
    with_database(async |pool| {
        let id = format!("cli:{}", os_user());
        let author = Author {
            origin: Origin::Cli,
            id: &id,
            request_id: None,
        };
        let applied = policy_store::apply(pool, &author, &policies, prune).await?;
        print_applied(&applied);
        Ok(())
    })
    .await
}

fn print_applied(applied: &[Applied]) {
    for Applied {
        owner,
        name,
        revision,
        outcome,
    } in applied
    {
        println!(
            "{:<9}  {}  revision {revision}",
            outcome.as_str(),
            full_name(owner.as_deref(), name)
        );
    }
    let count = |wanted| applied.iter().filter(|line| line.outcome == wanted).count();
    println!(
        "{} created, {} updated, {} unchanged, {} deleted",
        count(policy_store::Outcome::Created),
        count(policy_store::Outcome::Updated),
        count(policy_store::Outcome::Unchanged),
        count(policy_store::Outcome::Deleted),
    );
}

fn full_name(owner: Option<&str>, name: &str) -> String {
    format!("{}/{name}", owner.unwrap_or("(operator)"))
}

async fn list(pool: &PgPool, owner: &OwnerArguments) -> anyhow::Result<()> {
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

async fn show(pool: &PgPool, name: &str, owner: &OwnerArguments) -> anyhow::Result<()> {
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

/// Reads and checks every file; warnings go to stderr.
fn load(paths: &[PathBuf]) -> anyhow::Result<Vec<Policy>> {
    let mut files = Vec::new();
    for path in paths {
        for file in files_at(path)? {
            let text = text_of(&file)?;
            files.push((file.display().to_string(), text));
        }
    }
    let named = files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()));
    let checked = Document::load(named)
        .map_err(|problems| anyhow::anyhow!("the policies cannot be used:\n{problems}"))?;
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(checked.value.policies)
}

/// The file itself, or the *.yaml and *.yml files of a folder, in order of their names.
fn files_at(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in path
        .read_dir()
        .with_context(|| format!("{} cannot be read", path.display()))?
    {
        let file = entry
            .with_context(|| format!("{} cannot be read", path.display()))?
            .path();
        let name = file.to_string_lossy();
        // Tests stand beside the policies that they test.
        let is_test = name.ends_with(".test.yaml") || name.ends_with(".test.yml");
        if (name.ends_with(".yaml") || name.ends_with(".yml")) && !is_test && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        anyhow::bail!("{} holds no *.yaml file", path.display());
    }
    Ok(files)
}

fn text_of(file: &Path) -> anyhow::Result<String> {
    let failed = || format!("{} cannot be read", file.display());
    let mut bytes = Vec::new();
    // One byte more than is allowed is enough to be told that it is too long.
    let limit = u64::try_from(DOCUMENT_BYTES_MAX)?.saturating_add(1);
    File::open(file)
        .with_context(failed)?
        .take(limit)
        .read_to_end(&mut bytes)
        .with_context(failed)?;
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!(
            "{} is not UTF-8 text: the byte at {} is not; save it as UTF-8",
            file.display(),
            error.utf8_error().valid_up_to()
        )
    })
}
