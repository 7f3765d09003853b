//! The server: starts its parts, stops being ready when one of them ends, and drains.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::action::ActionRunner;
use crate::config::Config;
use crate::http;
use crate::http::auth::{AuthSetupError, Authenticator};
use crate::http::{AdmissionQueues, AppParts, AppState};
use crate::inbox::{Inbox, Worker, WorkerParts};
use crate::ledger::Ledger;
use crate::livekit::signature::Verifier;
use crate::livekit::{LiveKit, LiveKitSetupError, Rooms};
use crate::maintenance::{self, Means};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::policy_store::{Policies, StoreError};
use crate::postgres::Pool;
use crate::replica;
use crate::supervisor::Supervisor;
use quell_clock::Clock;

/// How long a drain waits for what is under way; what is left is another replica's.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
const DEFAULT_LIVEKIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys or files of the callers' authentication.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The client for LiveKit.
    #[error(transparent)]
    LiveKit(#[from] LiveKitSetupError),
    /// The stored policies.
    #[error("the stored policies cannot be read: {0}")]
    Policies(#[from] StoreError),
    /// The table of replicas.
    #[error("this process cannot be written down as a replica: {0}")]
    Replica(#[from] sqlx::Error),
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
        let livekit_timeout = config
            .livekit
            .as_ref()
            .map_or(DEFAULT_LIVEKIT_TIMEOUT, |livekit| livekit.timeout);
        let id = Uuid::now_v7().to_string();
        let supervisor = Supervisor::new(tracker.clone(), stop.clone());
        let (ledger, writers) = Ledger::new(&pool, &id, &metrics, stop.clone());
        let runner = if let Some(livekit) = &config.livekit {
            Some(ActionRunner {
                livekit: LiveKit::new(livekit, clock.clone())?,
                pool: pool.clone(),
                ledger: ledger.clone(),
                metrics: metrics.clone(),
            })
        } else {
            tracing::warn!(
                "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
            );
            None
        };
        let authenticator = Authenticator::new(&config.auth, clock.clone()).await?;
        let policies = Policies::load(&pool, metrics.clone()).await?;
        let (rooms, asking) = runner
            .as_ref()
            .map(|runner| {
                let livekit = runner.livekit.clone();
                Rooms::new(livekit, metrics.clone(), tracker.clone())
            })
            .unzip();
        replica::register(&pool, &id).await?;
        let pipeline = Pipeline {
            runner: runner.clone(),
            rooms,
            policies: policies.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            livekit_timeout,
        };
        let worker = Worker::new(WorkerParts {
            pool: pool.clone(),
            pipeline,
            ledger,
            config: config.worker,
            metrics: metrics.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            replica: id.clone(),
        });
        let deadline = config.worker.deadline;
        let (inbox, writer) = Inbox::new(pool.clone(), worker.clone(), deadline, metrics.clone());
        let state = AppState::new(AppParts {
            verifier: Verifier::new(&config.webhook_keys, clock.clone()),
            authenticator,
            inbox,
            runner,
            policies: policies.clone(),
            metrics,
            livekit_timeout,
            tracker: tracker.clone(),
            queues: AdmissionQueues::default(),
            clock: clock.clone(),
            stop: stop.clone(),
            broken: supervisor.broken().clone(),
            pool: pool.clone(),
        });
        let (listener, address) = listen(&config.host, config.port).await?;
        supervisor.supervise(
            "replica",
            replica::heartbeat(pool.clone(), id.clone(), stop.clone()),
        );
        for (name, writer) in writers {
            supervisor.supervise(name, writer);
        }
        if let Some(asking) = asking {
            supervisor.supervise("rooms", asking);
        }
        supervisor.supervise("inbox", writer);
        supervisor.supervise("worker", worker.run());
        supervisor.supervise("policies", policies.watch(pool.clone(), stop.clone()));
        let means = Means {
            pool,
            retention_days: config.event_retention_days,
        };
        maintenance::start(&supervisor, &means, &state.metrics, &clock);
        supervisor.supervise(
            "http",
            serve(listener, http::router(state.clone()), stop.clone()),
        );
        Ok(Self {
            address,
            state,
            replica: id,
            tracker,
            stop,
        })
    }

    /// Returns when a part of the server has ended that never should.
    pub async fn broken(&self) {
        self.state.broken.cancelled().await;
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

async fn listen(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen {
        address: format!("{host}:{port}"),
        error,
    };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

async fn serve(listener: TcpListener, service: http::Service, stop: CancellationToken) {
    use axum::ServiceExt;
    use axum::extract::Request;
    use axum::serve::ListenerExt;
    // Answers are small, and a webhook's sender waits for its own.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY cannot be set");
        }
    });
    let service = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(service);
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP server ended");
    }
}
