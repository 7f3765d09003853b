//! `quell serve`, `quell migrate`.

use std::pin::pin;

use super::{configured, told_to_stop};
use crate::app::Running;
use crate::clock::Clock;
use crate::postgres::Database;

pub(super) async fn run() -> anyhow::Result<()> {
    let config = configured()?;
    let mut stop = pin!(told_to_stop()?);
    let database = tokio::select! {
        opened = Database::open(&config.database) => opened?,
        () = &mut stop => return Ok(()),
    };
    let running = match Running::start(&config, database.pool.clone(), Clock::system()).await {
        Ok(running) => running,
        Err(error) => {
            database.close().await;
            return Err(error.into());
        }
    };
    tracing::info!(address = %running.address, database = database.place(), "quell is listening");
    let stopped = tokio::select! {
        () = stop => Ok(()),
        () = running.broken() => Err(anyhow::anyhow!("a part of quell ended that never should: see the log")),
    };
    tracing::info!("quell is stopping");
    running.drain().await;
    database.close().await;
    stopped
}

pub(super) async fn migrate() -> anyhow::Result<()> {
    let config = configured()?;
    let database = Database::open(&config.database).await?;
    println!("{} is up to date", database.place());
    database.close().await;
    Ok(())
}
