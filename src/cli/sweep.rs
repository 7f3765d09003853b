//! `quell sweep`: sweeps live rooms now, or shows what that would do.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::policy::output::print_out;
use super::policy::{plan, with_database_and_config};
use crate::config::Config;
use crate::engine::Engine;
use crate::livekit::NOT_CONFIGURED;
use crate::metrics::Metrics;
use crate::plan::PlanRequest;
use crate::postgres::Pool;
use crate::replica;
use crate::supervisor::Supervisor;
use crate::sweep::{Counts, RoomScope, Tick, TickCause};
use quell_clock::Clock;

/// How long its tasks may take to end.
const END_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Sweep this room alone
    #[arg(long, value_name = "ROOM")]
    room: Option<String>,
    /// Only show which tracks would be muted
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    with_database_and_config(async |config, pool| {
        let shown = if arguments.dry_run {
            let request = PlanRequest {
                room: arguments.room.clone(),
                ..plan::request(None)
            };
            plan::make(config, pool, request).await?.to_string()
        } else {
            shown(&sweep(config, pool, arguments.room.clone()).await?)
        };
        print_out(&shown)
    })
    .await
}

async fn sweep(config: &Config, pool: &Pool, room: Option<String>) -> anyhow::Result<Counts> {
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    let supervisor = Supervisor::new(tracker.clone(), stop.clone());
    let (metrics, clock) = (Metrics::new(), Clock::system());
    let engine = Engine::start(config, pool, &clock, &metrics, &supervisor).await?;
    let counts = async {
        let sweeper = engine.sweeper.as_ref();
        let sweeper = sweeper.ok_or_else(|| anyhow::anyhow!(NOT_CONFIGURED))?;
        let tick = Tick {
            cause: TickCause::Manual,
            key: Uuid::now_v7().to_string(),
            room_name: room,
        };
        let counts = sweeper.sweep_now(tick, RoomScope::All).await?;
        counts.ok_or_else(|| anyhow::anyhow!("the sweep was not finished: see the log"))
    };
    let counts = counts.await;
    let id = engine.id.clone();
    stop.cancel();
    drop(engine);
    tracker.close();
    // What is left has nothing more to write.
    drop(tokio::time::timeout(END_MAX, tracker.wait()).await);
    replica::leave(pool, &id).await?;
    counts
}

fn shown(counts: &Counts) -> String {
    let Counts {
        rooms,
        participants,
        tracks,
        muted,
        failed,
        skipped,
    } = counts;
    format!(
        "{muted} muted, of {tracks} tracks of {participants} participants in {rooms} rooms\n\
         {failed} failed, {skipped} with too much metadata to be read\n"
    )
}
