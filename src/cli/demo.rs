//! `quell demo`: the whole thing at work, with its own Postgres and a double of `LiveKit`.

mod story;
mod window;

use std::path::Path;
use std::pin::pin;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use url::Url;

use super::told_to_stop;
use crate::audit::{Actor, Origin};
use crate::config::{Config, Environment};
use crate::policy_store::{self, Author};
use crate::postgres::{Database, DatabaseError, demo_data_folder};
use crate::server::{Server, StartError};
use livekit_double::{Simulator, SimulatorConfig};
use quell_clock::Clock;
use quell_policy::{Document, Owner};
use story::Story;

/// Made up, and good for nothing but this demo on loopback.
const ACME_SECRET: &str = "demo-secret-of-acme";
const GLOBEX_SECRET: &str = "demo-secret-of-globex";
const OPERATOR_SECRET: &str = "demo-secret-of-the-operator";

const POLICIES: [(&str, &str); 4] = [
    (
        "policies/agents.yaml",
        include_str!("../../policies/agents.yaml"),
    ),
    (
        "policies/phone.yaml",
        include_str!("../../policies/phone.yaml"),
    ),
    (
        "policies/screen-share-dry-run.yaml",
        include_str!("../../policies/screen-share-dry-run.yaml"),
    ),
    (
        "policies/webinar.yaml",
        include_str!("../../policies/webinar.yaml"),
    ),
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End after the last scene instead of waiting for Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut stop = pin!(told_to_stop()?);
    let simulator = Simulator::start(SimulatorConfig {
        enable_remote_unmute: true,
        ..SimulatorConfig::default()
    })
    .await?;
    let mut config = config(&simulator)?;
    super::log(&config.log_filter, config.log_format, None)?;
    let mut own_data = None;
    if config.database.pg_data.is_none() {
        // Apart from the data of `quell serve`: a demo must not write its policies there.
        own_data = Some(demo_data_folder(&config.database)?);
        config.database.pg_data.clone_from(&own_data);
    }
    println!("Starting Postgres, a LiveKit double and quell ...");
    let opened = Database::open(&config.database, &mut stop).await;
    let opened = opened.map_err(|error| what_to_do(error, own_data.as_deref()))?;
    let Some(mut database) = opened else {
        return Ok(());
    };
    let psql_hint = database.psql_hint().unwrap_or_default();
    let given_up = database.supervise();
    let stop = async {
        tokio::select! {
            () = stop => Ok(()),
            error = given_up => Err(error.into()),
        }
    };
    let done = show(arguments, &config, &simulator, &database, &psql_hint, stop).await;
    simulator.shutdown().await;
    database.close().await;
    done
}

/// Demos share a folder, and an earlier one may have been another quell's.
fn what_to_do(error: DatabaseError, own_data: Option<&Path>) -> anyhow::Error {
    let is_anothers = matches!(
        error,
        DatabaseError::Changed { .. } | DatabaseError::Newer { .. }
    );
    match own_data {
        Some(folder) if is_anothers => anyhow::Error::new(error).context(format!(
            "the demo before this one was another version's: remove its data, {}, which holds \
             nothing else, or set QUELL_PG_DATA to another folder",
            folder.display()
        )),
        _ => error.into(),
    }
}

async fn show(
    arguments: &Arguments,
    config: &Config,
    simulator: &Simulator,
    database: &Database,
    psql_hint: &str,
    stop: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    apply(database).await?;
    let running = start(config, database).await?;
    let url = format!("http://{}", running.address);
    simulator.set_webhook_url(Some(Url::parse(&format!("{url}/livekit/webhook"))?));
    println!("  Postgres        {}", database.place());
    println!("  LiveKit double  {}", simulator.url());
    println!("  quell           {url}");
    let story = Story {
        simulator,
        pool: &database.pool,
        url: &url,
    };
    let told = tokio::select! {
        told = tell(arguments, &story, psql_hint) => told,
        stopped = stop => stopped,
    };
    running.drain().await;
    told
}

async fn tell(arguments: &Arguments, story: &Story<'_>, psql_hint: &str) -> anyhow::Result<()> {
    let track = story.tell().await?;
    print_what_to_try(story, &track, psql_hint);
    story.window_opens().await?;
    if arguments.once {
        return Ok(());
    }
    println!("\nquell stays up. Ctrl-C ends it.");
    std::future::pending().await
}

/// The demo's settings; of the environment only what says where Postgres is, and how to log.
fn config(simulator: &Simulator) -> anyhow::Result<Config> {
    let key = SimulatorConfig::default()
        .api_keys
        .into_iter()
        .next()
        .context("the double has no key")?;
    let secrets = json!([
        {"id": "acme", "secret": ACME_SECRET},
        {"id": "globex", "secret": GLOBEX_SECRET},
        {"id": "operator", "secret": OPERATOR_SECRET},
    ]);
    let mut environment = Environment::of_process().only(&[
        "HOME",
        "PATH",
        "PORT",
        "XDG_DATA_HOME",
        "QUELL_PG_BIN",
        "QUELL_PG_DATA",
        "QUELL_LOG",
    ]);
    for (name, value) in [
        ("LIVEKIT_URL", simulator.url().as_str()),
        ("LIVEKIT_API_KEY", &key.key),
        (
            "LIVEKIT_API_SECRET",
            secrecy::ExposeSecret::expose_secret(&key.secret),
        ),
        ("AUTH_API_SECRETS_JSON", &secrets.to_string()),
        ("QUELL_OPERATOR_IDS", "operator"),
        ("QUELL_LOG", "error"),
        // The story goes by its own edges: no sweep of all rooms comes between.
        ("QUELL_SWEEP_CRON", "0 0 * * * *"),
    ] {
        environment.set_default(name, value);
    }
    Ok(Config::from_environment(&environment)?)
}

async fn start(config: &Config, database: &Database) -> anyhow::Result<Server> {
    let start =
        async |config: &Config| Server::start(config, database.pool.clone(), Clock::system()).await;
    match start(config).await {
        // Somebody else has the usual port: any other will do for a demo.
        Err(StartError::Listen { .. }) => Ok(start(&Config {
            port: 0,
            ..config.clone()
        })
        .await?),
        started => Ok(started?),
    }
}

async fn apply(database: &Database) -> anyhow::Result<()> {
    let document = Document::load(POLICIES)?.value;
    let author = Author {
        origin: Origin::Cli,
        actor: Actor::CommandLine("cli:demo".into()),
        request: None,
    };
    policy_store::apply(
        &database.pool,
        &author,
        &document.policies,
        Some(&Owner::Operator),
        None,
    )
    .await?;
    Ok(())
}

fn print_what_to_try(story: &Story<'_>, track: &story::Muted, psql_hint: &str) {
    let url = story.url;
    let body = json!({
        "room_name": track.room,
        "participant_identity": track.identity,
        "track_sid": track.sid,
        "muted": false,
    });
    println!("\nTry it yourself\n");
    println!("  # let {} speak, as a moderator of acme", track.identity);
    println!(
        "  curl -sS {url}/livekit/participant/mute -H 'Authorization: Bearer {ACME_SECRET}' \\"
    );
    println!("       -H 'Content-Type: application/json' -d '{body}'\n");
    println!("  # the same as another tenant: masked, as if there were no such room");
    println!(
        "  curl -sS {url}/livekit/participant/mute -H 'Authorization: Bearer {GLOBEX_SECRET}' \\"
    );
    println!("       -H 'Content-Type: application/json' -d '{body}'\n");
    println!("  # the policies in force, as their operator");
    println!("  curl -sS {url}/v1/policies -H 'Authorization: Bearer {OPERATOR_SECRET}'\n");
    println!("  # somebody else joins the double and publishes a microphone: quell mutes it");
    let simulator = story.simulator.url();
    let room = &track.room;
    println!(
        "  curl -sS {simulator}/_sim/rooms/{room}/participants -H 'Content-Type: application/json' -d '{{\"identity\":\"you\"}}'"
    );
    println!(
        "  curl -sS {simulator}/_sim/rooms/{room}/participants/you/tracks -H 'Content-Type: application/json' -d '{{\"source\":\"MICROPHONE\"}}'\n"
    );
    println!("  # is it alive, can it work, where does the time go");
    println!(
        "  curl -sS -w '%{{http_code}}\\n' {url}/healthz; curl -sS -w '%{{http_code}}\\n' {url}/readyz; curl -sS {url}/metrics"
    );
    println!("\n  # the audit, by SQL (docs/AUDIT.md has more questions)");
    println!(
        "  {psql_hint} -c 'select started_at, actor, action, outcome, identity, policy_name from moderation_history order by started_at desc limit 20'"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_another_version_is_told_of_with_what_to_do() {
        let changed = |own_data| {
            let error = DatabaseError::Changed {
                place: "the database".to_owned(),
                version: 1,
            };
            format!("{:#}", what_to_do(error, own_data))
        };
        assert_eq!(
            changed(Some(Path::new("/var/lib/quell/demo"))),
            "the demo before this one was another version's: remove its data, /var/lib/quell/demo, \
             which holds nothing else, or set QUELL_PG_DATA to another folder: migration 1 of the \
             database is not the one that this quell has: it was changed after it had run. Run the \
             quell that made this database, or use another database"
        );
        // Where somebody has named a folder, it may hold what is dear to them.
        assert!(changed(None).starts_with("migration 1 of the database"));
        let other = DatabaseError::TooOld {
            place: "the database".to_owned(),
            version: "14.1".to_owned(),
        };
        let other = what_to_do(other, Some(Path::new("/var/lib/quell/demo")));
        assert!(other.to_string().starts_with("the database runs Postgres"));
    }
}
