//! The policies in force in this process: a snapshot that is swapped when something changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::read::{StoreError, changes_since, everything};
use crate::metrics::Metrics;
use crate::policy::PolicySet;
use crate::postgres::bounded;

/// Notifications are lost behind some poolers and across a reconnect; a change is to be in force
/// within a second all the same.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const CHANNEL: &str = "quell_policy";

/// The policies in force; cheap to clone.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    snapshot: ArcSwap<PolicySet>,
    /// Whether the snapshot was ever read, and is not just the empty one to begin with.
    is_loaded: AtomicBool,
    metrics: Metrics,
}

impl Policies {
    /// Reads the policies in force.
    pub async fn load(pool: &PgPool, metrics: Metrics) -> Result<Self, StoreError> {
        let policies = Self(Arc::new(Inner {
            snapshot: ArcSwap::default(),
            is_loaded: AtomicBool::new(false),
            metrics,
        }));
        policies.refresh(pool).await?;
        Ok(policies)
    }

    /// The snapshot of now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<PolicySet> {
        self.0.snapshot.load_full()
    }

    /// Takes over what has changed since the last look, if anything has.
    pub async fn refresh(&self, pool: &PgPool) -> Result<(), StoreError> {
        // Revisions are written one after the other: the largest id tells of every change.
        let before = self.snapshot();
        let (newest, changes) = bounded(changes_since(pool, before.as_of())).await?;
        let is_first = !self.0.is_loaded.load(Ordering::SeqCst);
        if newest == before.as_of() && !is_first {
            return Ok(());
        }
        let (begun, change_count) = (Instant::now(), changes.len());
        // Thousands of policies take a while to compile: not on a thread that webhooks need.
        let set = if is_first || newest < before.as_of() {
            // Less than was seen before: the database was put back to an earlier state.
            let (newest, rows) = bounded(everything(pool)).await?;
            let set = spawn_blocking(move || PolicySet::from_stored(rows)).await;
            set.map_err(broken)??.as_of_revision(newest)
        } else {
            let set = spawn_blocking(move || before.with_changes(changes)).await;
            set.map_err(broken)??.as_of_revision(newest)
        };
        let took = begun.elapsed();
        tracing::info!(
            policies = set.len(),
            changes = change_count,
            ?took,
            "policies are in force"
        );
        self.0.metrics.policies(set.len());
        self.0.snapshot.store(Arc::new(set));
        self.0.is_loaded.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Keeps the snapshot fresh until `stop`. Where a change cannot be read, the policies before
    /// it stay in force.
    pub async fn watch(self, pool: PgPool, stop: CancellationToken) {
        let watching = async {
            let mut listener = None;
            loop {
                if listener.is_none() {
                    listener = listen(&pool).await;
                }
                if let Err(error) = self.refresh(&pool).await {
                    tracing::error!(%error, "a change of policies cannot be taken over; those before it stay in force");
                }
                match &mut listener {
                    Some(heard) => {
                        let told = tokio::time::timeout(POLL_INTERVAL, heard.try_recv()).await;
                        if matches!(told, Ok(Err(_) | Ok(None))) {
                            listener = None;
                        }
                    }
                    None => tokio::time::sleep(POLL_INTERVAL).await,
                }
            }
        };
        stop.run_until_cancelled(watching).await;
    }
}

async fn listen(pool: &PgPool) -> Option<PgListener> {
    let listener = async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    listener
        .await
        .inspect_err(|error| tracing::warn!(%error, "changes of policies cannot be listened for; looking twice a second"))
        .ok()
}

fn broken(error: JoinError) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}
