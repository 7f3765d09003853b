//! `quell serve`, `quell migrate`.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::{configured, doctor, told_to_stop};
use crate::config::{Config, Environment};
use crate::engine::EngineError;
use crate::fail_point;
use crate::policy_store::StoreError;
use crate::postgres::Database;
use crate::server::{Server, StartError};
use crate::service_manager;
use quell_clock::Clock;

/// How long our own Postgres is waited for while the server starts.
const AWAY_MAX: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(200);

pub(super) async fn run() -> anyhow::Result<()> {
    let config = configured()?;
    if let Some(point) = Environment::of_process().fail_point() {
        fail_point::arm(point);
    }
    let drain_delay = config.http.drain_delay;
    let mut stop = pin!(told_to_stop()?);
    let Some(mut database) = Database::open(&config.database, &mut stop).await? else {
        return Ok(());
    };
    let given_up = pin!(database.supervise());
    let started = tokio::select! {
        started = start(&config, &database) => started,
        () = &mut stop => {
            database.close().await;
            return Ok(());
        }
    };
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            database.close().await;
            return Err(error.into());
        }
    };
    tracing::info!(address = %running.address, database = database.place(), "quell is listening");
    let stopping = running.state.stop.clone();
    running.state.tracker.spawn(async move {
        let warning = doctor::warn_of_failures(&config);
        stopping.run_until_cancelled(warning).await;
    });
    service_manager::ready();
    let watchdog = running.feed_watchdog();
    let serving = async {
        let stopped = tokio::select! {
            () = stop => {
                running.leave();
                tokio::time::sleep(drain_delay).await;
                Ok(())
            }
            () = running.broken() => Err(anyhow::anyhow!("a part of quell ended that never should: see the log")),
            error = given_up => Err(error.into()),
        };
        tracing::info!("quell is stopping");
        service_manager::stopping();
        running.drain().await;
        database.close().await;
        stopped
    };
    tokio::select! {
        stopped = serving => stopped,
        never = watchdog => match never {},
    }
}

/// Starts the server. Another quell that had started the machine's own Postgres may stop it just then;
/// it is started again soon.
async fn start(config: &Config, database: &Database) -> Result<Server, StartError> {
    let begun = Instant::now();
    loop {
        let started = Server::start(config, database.pool.clone(), Clock::system()).await;
        if !matches!(
            started,
            Err(StartError::Engine(
                EngineError::Policies(StoreError::Database(_)) | EngineError::Replica(_)
            ))
        ) || !database.is_supervised()
            || begun.elapsed() > AWAY_MAX
        {
            return started;
        }
        tokio::time::sleep(RETRY).await;
    }
}

pub(super) async fn migrate() -> anyhow::Result<()> {
    let config = configured()?;
    let Some(database) = Database::open(&config.database, told_to_stop()?).await? else {
        bail!("told to stop before the database was up to date");
    };
    println!("{} is up to date", database.place());
    database.close().await;
    Ok(())
}
