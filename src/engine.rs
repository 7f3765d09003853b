//! What acts on tracks in one process: the action path, the policies in force, the pipeline, and sweeps.

use std::time::Duration;

use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::action::ActionRunner;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::livekit::{LiveKit, LiveKitSetupError, RateLimit, Rooms};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::policy_store::{Policies, StoreError};
use crate::postgres::Pool;
use crate::replica;
use crate::supervisor::Supervisor;
use crate::sweep::{self, Reader, Sweeper, SweeperParts, Ticks};
use quell_clock::Clock;

const DEFAULT_LIVEKIT_TIMEOUT: Duration = Duration::from_secs(5);

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
        let (ledger, writers) = Ledger::new(pool, &id, metrics, stop.clone());
        let mut runner = None;
        if let Some(livekit) = &config.livekit {
            runner = Some(ActionRunner {
                livekit: LiveKit::new(livekit, clock.clone())?,
                pool: pool.clone(),
                ledger: ledger.clone(),
                metrics: metrics.clone(),
            });
        } else {
            tracing::warn!(
                "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            );
        }
        let policies = Policies::load(pool, metrics.clone()).await?;
        replica::register(pool, &id).await?;
        supervisor.supervise(
            "replica",
            replica::heartbeat(pool.clone(), id.clone(), stop.clone()),
        );
        for (name, writer) in writers {
            supervisor.supervise(name, writer);
        }
        let asking = |name, rate| {
            let livekit = runner.as_ref()?.livekit.clone();
            let tracker: &TaskTracker = supervisor.tracker();
            let (rooms, asking) = Rooms::new(livekit, metrics.clone(), tracker.clone(), rate);
            supervisor.supervise(name, asking);
            Some(rooms)
        };
        let livekit_timeout = config
            .livekit
            .as_ref()
            .map_or(DEFAULT_LIVEKIT_TIMEOUT, |livekit| livekit.timeout);
        let rate = RateLimit::new(config.sweep.calls_per_second);
        let rooms = asking("rooms", None);
        let swept_rooms = asking("swept rooms", Some(rate.clone()));
        let pipeline = Pipeline {
            runner: runner.clone(),
            rooms,
            policies: policies.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            livekit_timeout,
        };
        let reader = runner.zip(swept_rooms).map(|(runner, rooms)| Reader {
            livekit: runner.livekit,
            rooms,
            rate,
            timeout: livekit_timeout,
        });
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
