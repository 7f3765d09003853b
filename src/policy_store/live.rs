//! The policies in force in this process: a snapshot that is swapped when something changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use super::read::{OwnerFilter, StoreError, list};
use crate::metrics::Metrics;
use crate::policy::{PolicySet, StoredPolicy};
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
    /// The newest revision that the snapshot has seen.
    newest: AtomicI64,
    metrics: Metrics,
}

impl Policies {
    /// Reads the policies in force.
    pub async fn load(pool: &PgPool, metrics: Metrics) -> Result<Self, StoreError> {
        let policies = Self(Arc::new(Inner {
            snapshot: ArcSwap::default(),
            newest: AtomicI64::new(-1),
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
        // Revisions are written one after the other, so that the largest id tells of every
        // change; it is read before the policies, so that what comes between is seen next time.
        let newest =
            sqlx::query_scalar!(r#"select coalesce(max(id), 0) as "newest!" from policy_revision"#)
                .fetch_one(pool);
        let newest = bounded(newest).await?;
        if newest == self.0.newest.load(Ordering::SeqCst) {
            return Ok(());
        }
        let rows = bounded(list(pool, OwnerFilter::All)).await?;
        let rows = rows.into_iter().map(|row| StoredPolicy {
            owner: row.owner,
            name: row.name,
            revision: row.revision,
            document: row.document,
        });
        // Thousands of policies take a while to compile: not on a thread that webhooks need.
        let set = tokio::task::spawn_blocking(|| PolicySet::from_stored(rows))
            .await
            .map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))??;
        tracing::info!(policies = set.len(), "policies are in force");
        self.0.metrics.policies(set.len());
        self.0.snapshot.store(Arc::new(set));
        self.0.newest.store(newest, Ordering::SeqCst);
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
