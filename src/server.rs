//! The server: starts its parts, stops being ready when one of them ends, and drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::action::ActionRunner;
use crate::audit;
use crate::config::Config;
use crate::http;
use crate::http::auth::{AuthSetupError, Authenticator};
use crate::http::{AdmissionQueues, AppState};
use crate::inbox::{Inbox, InboxSettings, Worker, WorkerParts};
use crate::livekit::signature::Verifier;
use crate::livekit::{LiveKit, LiveKitSetupError};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::policy_store::{Policies, StoreError};
use crate::postgres::{self, Pool};
use quell_clock::Clock;

/// How often intents that nobody settled are looked for.
const RECOVER_INTERVAL: Duration = Duration::from_secs(5);
/// How often partitions are made and dropped.
const UPKEEP_INTERVAL: Duration = Duration::from_hours(1);
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
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Tasks that run for as long as the server does.
struct Lasting {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: CancellationToken,
}

impl Lasting {
    /// Runs `work`. When it ends before it should, the server is broken: it says so, and stops
    /// being ready, instead of going on with a part of it missing.
    fn keep(&self, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (stop, broken) = (self.stop.clone(), self.broken.clone());
        let running = self.tracker.spawn(work);
        self.tracker.spawn(async move {
            let has_panicked = running.await.is_err();
            if !stop.is_cancelled() {
                tracing::error!(
                    what,
                    has_panicked,
                    "a part of quell ended that never should"
                );
                broken.cancel();
            }
        });
    }
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
        let runner = if let Some(livekit) = &config.livekit {
            Some(ActionRunner {
                livekit: LiveKit::new(livekit, clock.clone())?,
                pool: pool.clone(),
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
        let worker = Worker::new(WorkerParts {
            pool: pool.clone(),
            pipeline: Pipeline {
                runner: runner.clone(),
                policies: policies.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                livekit_timeout,
            },
            config: config.worker,
            metrics: metrics.clone(),
            tracker: tracker.clone(),
            stop: stop.clone(),
            replica: Uuid::now_v7().to_string(),
        });
        let settings = InboxSettings {
            deadline: config.worker.deadline,
            lease: config.worker.lease,
        };
        let lasting = Lasting {
            tracker: tracker.clone(),
            stop: stop.clone(),
            broken: CancellationToken::new(),
        };
        let (inbox, writer) = Inbox::new(pool.clone(), worker.clone(), settings, metrics.clone());
        let state = AppState {
            verifier: Arc::new(Verifier::new(&config.webhook_keys, clock.clone())),
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
            broken: lasting.broken.clone(),
            pool: pool.clone(),
        };
        let (listener, address) = listen(&config.host, config.port).await?;
        lasting.keep("inbox", writer);
        lasting.keep("worker", worker.run());
        lasting.keep("policies", policies.watch(pool.clone(), stop.clone()));
        let upkeep = look_after(pool, clock, config.event_retention_days, stop.clone());
        lasting.keep("upkeep", upkeep);
        lasting.keep(
            "http",
            serve(listener, http::router(state.clone()), stop.clone()),
        );
        Ok(Self {
            address,
            state,
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
        // The inbox's writer ends when nobody can give it events any more.
        drop(self.state);
        if tokio::time::timeout(DRAIN_TIMEOUT, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                tasks = self.tracker.len(),
                "stopped before everything was over; leases run out and jobs are taken again"
            );
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

/// What is to be done from time to time, whatever else happens.
async fn look_after(pool: Pool, clock: Clock, retention_days: u32, stop: CancellationToken) {
    let mut recover = tokio::time::interval(RECOVER_INTERVAL);
    let mut tidy = tokio::time::interval(UPKEEP_INTERVAL);
    let forever = async {
        loop {
            tokio::select! {
                _ = recover.tick() => match audit::close_overdue(&pool).await {
                    Ok(0) => {}
                    Ok(closed) => tracing::warn!(closed, "actions were closed as unknown: quell stopped or lost the database during their calls"),
                    Err(error) => tracing::error!(%error, "overdue actions cannot be closed"),
                },
                _ = tidy.tick() => if let Err(error) = postgres::upkeep(&pool, clock.now(), retention_days).await {
                    tracing::error!(%error, "the upkeep of partitions failed");
                },
            }
        }
    };
    stop.run_until_cancelled(forever).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting() -> Lasting {
        Lasting {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            broken: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_part_that_ends_or_panics_breaks_the_server_unless_it_is_stopping() {
        let ended = lasting();
        ended.keep("ended", async {});
        ended.broken.cancelled().await;

        let panicked = lasting();
        panicked.keep("panicked", async { panic!("as a bug would") });
        panicked.broken.cancelled().await;

        let stopped = lasting();
        stopped.keep("stopped", stopped.stop.clone().cancelled_owned());
        stopped.stop.cancel();
        stopped.tracker.close();
        stopped.tracker.wait().await;
        assert!(!stopped.broken.is_cancelled());
    }
}
