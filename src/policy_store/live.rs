//! The policies in force in this process: a snapshot that is swapped when something changed.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::read::{
    ALL_POLICIES_TIMEOUT, Newest, Since, StoreError, changes_since, everything, newest_revision,
};
use crate::metrics::Metrics;
use crate::postgres::{Listener, Pool};
use quell_policy::PolicySet;
use quell_policy::set::Unreadable;

/// Notifications are lost behind some poolers and across a reconnect; a change is to be in force
/// within a second all the same.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const CHANNEL: &str = "quell_policy";

/// The policies in force; cheap to clone.
#[derive(Debug, Clone)]
pub struct Policies(Arc<PoliciesInner>);

#[derive(Debug)]
struct PoliciesInner {
    snapshot: ArcSwap<PolicySet>,
    /// Told of every new snapshot.
    changed: watch::Sender<()>,
    /// The revision that the snapshot was read at; none before the first read. Locked while a change is
    /// applied: of two at once, the one that read first could end last.
    seen: Mutex<Option<Newest>>,
    metrics: Metrics,
}

impl Policies {
    /// Reads the policies in force.
    pub async fn load(pool: &Pool, metrics: Metrics) -> Result<Self, StoreError> {
        let policies = Self(Arc::new(PoliciesInner {
            snapshot: ArcSwap::default(),
            changed: watch::Sender::new(()),
            seen: Mutex::new(None),
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

    /// Tells of every snapshot that is put in force from now on.
    #[must_use]
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Applies what has changed since the last refresh, if anything has.
    pub async fn refresh(&self, pool: &Pool) -> Result<(), StoreError> {
        let mut seen = self.0.seen.lock().await;
        // Revisions are written one after the other: the largest id tells of every change.
        if *seen == Some(newest_revision(pool).await?) {
            return Ok(());
        }
        let begun = Instant::now();
        let pool = &pool.within(ALL_POLICIES_TIMEOUT);
        let since = match *seen {
            Some(seen) => changes_since(pool, seen).await?,
            None => Since::AnotherHistory,
        };
        let newest = match since {
            Since::Changed(newest, changes) => {
                self.put_in_force(newest, |before| before.with_changes(changes))
                    .await?;
                newest
            }
            Since::AnotherHistory => {
                let (newest, rows) = everything(pool).await?;
                self.put_in_force(newest, |_| PolicySet::from_stored(rows))
                    .await?;
                newest
            }
        };
        *seen = Some(newest);
        let policies = self.snapshot().len();
        self.0.metrics.policies(policies, newest.id);
        tracing::info!(policies, took = ?begun.elapsed(), "policies are in force");
        Ok(())
    }

    /// Thousands of policies take a while to compile, and to drop: not on a thread that webhooks
    /// need.
    async fn put_in_force(
        &self,
        newest: Newest,
        compile: impl FnOnce(&PolicySet) -> Result<PolicySet, Unreadable> + Send + 'static,
    ) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.0);
        let work = move || {
            let set = compile(&inner.snapshot.load())?.as_of_revision(newest.id);
            inner.snapshot.store(Arc::new(set));
            inner.changed.send_replace(());
            Ok(())
        };
        spawn_blocking(work).await.map_err(broken)?
    }

    /// Keeps the snapshot fresh until `stop`. Where a change cannot be read, the policies before
    /// it stay in force.
    pub async fn watch(self, pool: Pool, stop: CancellationToken) {
        let watching = async {
            let (mut listener, mut may_listen) = (None, true);
            let mut told_of = None;
            loop {
                if listener.is_none() && may_listen {
                    (listener, may_listen) = listen(&pool).await;
                }
                let trouble = self.refresh(&pool).await.err();
                let trouble = trouble.map(|error| error.to_string());
                // The same error is logged once, and not twice a second.
                if let Some(error) = &trouble
                    && trouble != told_of
                {
                    tracing::error!(%error, "a change of policies cannot be taken over; those before it stay in force");
                }
                told_of = trouble;
                match &mut listener {
                    Some(listening) => {
                        if listening.wait(POLL_INTERVAL).await.is_err() {
                            listener = None;
                        }
                    }
                    None => tokio::time::sleep(POLL_INTERVAL).await,
                }
            }
        };
        stop.run_until_cancelled(Box::pin(watching)).await;
    }
}

/// A listener, and whether to try again where there is none.
async fn listen(pool: &Pool) -> (Option<Listener>, bool) {
    match pool.listen(CHANNEL).await {
        Ok(listener) => {
            let may_listen = listener.is_some();
            (listener, may_listen)
        }
        Err(error) => {
            tracing::warn!(%error, "changes of policies cannot be listened for; looking twice a second");
            (None, true)
        }
    }
}

fn broken(error: JoinError) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}
