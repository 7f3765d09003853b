//! The server: starts its parts, stops being ready when one of them ends, and drains.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::action::Refusals;
use crate::config::Config;
use crate::engine::{Engine, EngineError};
use crate::http;
use crate::http::auth::{AuthSetupError, Authenticator};
use crate::http::{
    AdmissionQueues, AppParts, AppState, CallerLimits, ConnectionLimits, Connections,
};
use crate::inbox::{BodyBytes, Inbox, Worker, WorkerParts};
use crate::livekit::signature::Verifier;
use crate::maintenance::{self, Means};
use crate::metrics::Metrics;
use crate::open_files::{self, OpenFilesError};
use crate::postgres::Pool;
use crate::replica;
use crate::service_manager;
use crate::supervisor::Supervisor;
use quell_clock::Clock;

/// How long a drain waits for what is under way; what is left is another replica's.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Events that sweeps may look at; what does not fit is seen by the next sweep of all rooms.
const NOTICED_MAX: usize = 4096;
/// Requests of one caller that are under way: a LiveKit that hangs keeps mutes for some seconds.
const MUTES_AT_ONCE_MAX: usize = 256;
const REQUESTS_AT_ONCE_MAX: usize = 16;
/// The room for bodies of callers' requests: those of at most 64 KiB, and larger ones.
const SMALL_BODIES_BYTES_MAX: usize = 16 << 20;
const LARGE_BODIES_BYTES_MAX: usize = 32 << 20;

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys or files of the callers' authentication.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// What acts on tracks.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The files that the process may have open.
    #[error(transparent)]
    Files(#[from] OpenFilesError),
    /// The address.
    #[error("cannot listen on {address}: {error}; set HOST and PORT to an address that is free")]
    Listen {
        /// What was tried.
        address: String,
        /// What the system says.
        error: std::io::Error,
    },
}

/// A server that runs until it is drained.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// What its handlers share.
    pub state: AppState,
    replica: String,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Server {
    /// Starts serving on `config.host` and `config.port`, with a database that is migrated.
    pub async fn start(config: &Config, pool: Pool, clock: Clock) -> Result<Self, StartError> {
        let tracker = TaskTracker::new();
        let stop = CancellationToken::new();
        let metrics = Metrics::new();
        let supervisor = Supervisor::new(tracker.clone(), stop.clone());
        let authenticator = Authenticator::new(&config.auth, clock.clone()).await?;
        let limits = ConnectionLimits {
            connections_max: open_files::connections_max(config)?,
            per_peer_max: config.http.connections_per_peer_max,
        };
        let (listener, address) = listen(&config.host, config.port).await?;
        let mut metrics_listener = None;
        if let Some(address) = config.http.metrics_listen {
            let listening = listen(&address.ip().to_string(), address.port()).await?;
            metrics_listener = Some(listening.0);
        }
        let engine = Engine::start(config, &pool, &clock, &metrics, &supervisor).await;
        let engine = engine.inspect_err(|_| stop.cancel())?;
        let worker = Worker::new(WorkerParts {
            pool: pool.clone(),
            pipeline: engine.pipeline.clone(),
            ledger: engine.ledger,
            config: config.worker,
            metrics: metrics.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            replica: engine.id.clone(),
        });
        let deadline = config.worker.deadline;
        let (noticed, events) = mpsc::channel(NOTICED_MAX);
        let (inbox, writer) = Inbox::new(
            pool.clone(),
            worker.clone(),
            deadline,
            metrics.clone(),
            noticed,
        );
        let (refusals, counting) = Refusals::new(pool.clone(), clock.clone(), stop.clone());
        let state = AppState::new(AppParts {
            verifier: Verifier::new(&config.webhook_keys, clock.clone()),
            authenticator,
            inbox,
            runner: engine.pipeline.runner,
            sweeper: engine.sweeper.clone(),
            policies: engine.policies.clone(),
            metrics,
            livekit_timeout: engine.livekit_timeout,
            refusals,
            mutes: CallerLimits::new(config.http.mutes_per_second, MUTES_AT_ONCE_MAX),
            requests: CallerLimits::new(config.http.requests_per_second, REQUESTS_AT_ONCE_MAX),
            body_bytes: BodyBytes::new(SMALL_BODIES_BYTES_MAX, LARGE_BODIES_BYTES_MAX),
            tracker: tracker.clone(),
            queues: AdmissionQueues::default(),
            clock: clock.clone(),
            stop: stop.clone(),
            leaving: CancellationToken::new(),
            broken: supervisor.broken().clone(),
            pool: pool.sharing(),
        });
        supervisor.supervise("inbox", writer);
        supervisor.supervise("refusals", counting);
        supervisor.supervise("worker", worker.run());
        let policies = engine.policies;
        supervisor.supervise("policies", policies.watch(pool.clone(), stop.clone()));
        if let (Some(sweeper), Some(schedule)) = (engine.sweeper, config.sweep.schedule.clone()) {
            sweeper.start(&supervisor, schedule, events);
        }
        let means = Means {
            pool: pool.sharing(),
            retention_days: config.event_retention_days,
        };
        maintenance::start(&supervisor, &means, &state.metrics, &clock);
        supervisor.supervise("readiness", http::watch_readiness(state.clone()));
        let connections = Connections::new(limits, state.metrics.clone());
        let serve = |listener, service| {
            let connections = connections.clone();
            http::serve(
                listener,
                service,
                connections,
                tracker.clone(),
                stop.clone(),
            )
        };
        let router = http::router(state.clone(), metrics_listener.is_none());
        supervisor.supervise("http", serve(listener, router));
        if let Some(listener) = metrics_listener {
            let router = http::metrics_router(state.clone());
            supervisor.supervise("metrics", serve(listener, router));
        }
        Ok(Self {
            address,
            state,
            replica: engine.id,
            tracker,
            stop,
        })
    }

    /// Returns when a part of the server has ended that never should.
    pub async fn broken(&self) {
        self.state.broken.cancelled().await;
    }

    /// Feeds systemd's watchdog, also while the server drains; never over.
    pub fn feed_watchdog(&self) -> impl Future<Output = Infallible> + use<> {
        service_manager::feed_watchdog(self.tracker.clone(), self.state.broken.clone())
    }

    /// Is not ready any more, and serves on: load balancers notice, and send nothing new.
    pub fn leave(&self) {
        self.state.leaving.cancel();
    }

    /// Takes no more requests and waits, bounded, for what is under way.
    pub async fn drain(self) {
        self.stop.cancel();
        self.tracker.close();
        let pool = self.state.pool.clone();
        // What writes for others ends when nobody can give it anything any more.
        drop(self.state);
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.tracker.len(),
                "stopped before everything was over; other replicas go on with it"
            );
        }
        if let Err(error) = replica::leave(&pool, &self.replica).await {
            tracing::warn!(%error, "other replicas notice only later that this one has stopped");
        }
    }
}

/// Listens on `host` and `port`.
async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen {
        address: format!("{host}:{port}"),
        error,
    };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
