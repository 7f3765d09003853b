//! What acts on tracks in one process: the action path, the policies in force, the pipeline, and sweeps.

use std::time::Duration;

use uuid::Uuid;

use crate::action::ActionRunner;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::livekit::{LiveKit, LiveKitSetupError, Rooms};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::policy_store::{Policies, StoreError};
use crate::postgres::{Pool, PostgresClock};
use crate::replica;
use crate::supervisor::Supervisor;
use crate::sweep::{self, Reader, Sweeper, SweeperParts, Ticks};
use quell_clock::Clock;

/// Why a process cannot act.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The client for LiveKit.
    #[error(transparent)]
    LiveKit(#[from] LiveKitSetupError),
    /// The stored policies.
    #[error("the stored policies cannot be read: {0}")]
    Policies(#[from] StoreError),
    /// The table of replicas.
    #[error("this process cannot be written down as a replica: {0}")]
    Replica(#[from] sqlx::Error),
}

/// The parts of one process that act on tracks. Their tasks run until the supervisor's stop.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The process, among those on the same database.
    pub(crate) id: String,
    pub(crate) ledger: Ledger,
    pub(crate) policies: Policies,
    pub(crate) pipeline: Pipeline,
    /// None where LiveKit is not configured.
    pub(crate) sweeper: Option<Sweeper>,
    pub(crate) livekit_timeout: Duration,
}

impl Engine {
    pub(crate) async fn start(
        config: &Config,
        pool: &Pool,
        clock: &Clock,
        metrics: &Metrics,
        supervisor: &Supervisor,
    ) -> Result<Self, EngineError> {
        let id = Uuid::now_v7().to_string();
        let stop = supervisor.stop();
        let postgres_clock = PostgresClock::default();
        let (ledger, writers) = Ledger::new(pool, &id, &postgres_clock, metrics, stop.clone());
        let mut runner = None;
        if let Some(livekit) = &config.livekit {
            runner = Some(ActionRunner {
                livekit: LiveKit::new(livekit, clock.clone())?,
                pool: pool.clone(),
                ledger: ledger.clone(),
                metrics: metrics.clone(),
            });
        }
        let policies = Policies::load(pool, metrics.clone()).await?;
        replica::register(pool, &id, &postgres_clock).await?;
        supervisor.supervise(
            "replica",
            replica::heartbeat(pool.clone(), id.clone(), postgres_clock, stop.clone()),
        );
        for (name, writer) in writers {
            supervisor.supervise(name, writer);
        }
        let livekit_timeout = config.livekit_timeout();
        let (mut rooms, mut reader) = (None, None);
        if let Some(runner) = &runner {
            let (livekit, tracker) = (&runner.livekit, supervisor.tracker());
            let asking = Rooms::new(livekit.clone(), metrics.clone(), tracker.clone(), None);
            supervisor.supervise("rooms", asking.1);
            rooms = Some(asking.0);
            let reading = Reader::new(livekit, config, metrics, tracker);
            supervisor.supervise("rooms that are swept", reading.1);
            reader = Some(reading.0);
        }
        let pipeline = Pipeline {
            runner,
            rooms,
            policies: policies.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            livekit_timeout,
        };
        let sweeper = reader.map(|reader| {
            Sweeper::new(SweeperParts {
                pipeline: pipeline.clone(),
                reader,
                ticks: Ticks {
                    pool: pool.clone(),
                    replica: id.clone(),
                    lease: sweep::LEASE,
                },
                metrics: metrics.clone(),
                stop: stop.clone(),
                tracker: supervisor.tracker().clone(),
            })
        });
        Ok(Self {
            id,
            ledger,
            policies,
            pipeline,
            sweeper,
            livekit_timeout,
        })
    }
}
