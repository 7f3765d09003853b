//! The policies in force in this process: a snapshot that is swapped when something changed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::read::{
    ALL_POLICIES_TIMEOUT, Newest, Since, StoreError, changes_since, everything, list,
    newest_revision,
};
use super::readable::{broken, last_readable};
use crate::metrics::Metrics;
use crate::postgres::{Listener, Pool};
use quell_policy::set::Unreadable;
use quell_policy::{Change, Owner, PolicySet, StoredPolicy};

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
    /// Locked while a change is applied: of two at once, the one that read first could end last.
    seen: Mutex<Seen>,
    metrics: Metrics,
}

/// What the snapshot has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The revision that it was read at; none before the first read.
    newest: Option<Newest>,
    /// Owners with a policy that this version cannot read: theirs are the policies before it.
    left_behind: HashSet<Owner>,
}

impl Policies {
    /// Reads the policies in force.
    pub async fn load(pool: &Pool, metrics: Metrics) -> Result<Self, StoreError> {
        let policies = Self(Arc::new(PoliciesInner {
            snapshot: ArcSwap::default(),
            changed: watch::Sender::new(()),
            seen: Mutex::default(),
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
        let Seen {
            newest: seen_newest,
            left_behind,
        } = &mut *seen;
        // Revisions are written one after the other: the largest id tells of every change.
        if *seen_newest == Some(newest_revision(pool).await?) {
            return Ok(());
        }
        let begun = Instant::now();
        let pool = &pool.within(ALL_POLICIES_TIMEOUT);
        let since = match *seen_newest {
            Some(seen) => changes_since(pool, seen).await?,
            None => Since::AnotherHistory,
        };
        let (newest, (set, unreadable)) = match since {
            Since::Changed(newest, changes) => {
                // Of the changes of those who were left behind some were passed over: they are read whole.
                let whole = changes.iter().map(|change| &change.key.owner);
                let whole = whole.filter(|owner| left_behind.contains(*owner));
                let whole: HashSet<_> = whole.cloned().collect();
                let after = self.after(pool, changes, &whole).await?;
                left_behind.retain(|owner| !whole.contains(owner));
                (newest, after)
            }
            Since::AnotherHistory => {
                let (newest, rows) = everything(pool).await?;
                let anew = anew(pool, rows).await?;
                left_behind.clear();
                (newest, anew)
            }
        };
        for error in unreadable {
            tracing::error!(
                %error,
                "a stored policy cannot be read by this version: its owner's policies before it stay in force, and those of all others go on"
            );
            left_behind.insert(error.key.owner);
        }
        let set = Arc::new(set.as_of_revision(newest.id));
        let policies = set.len();
        // The one before takes a while to be dropped.
        let before = self.0.snapshot.swap(set);
        spawn_blocking(move || drop(before));
        self.0.changed.send_replace(());
        *seen_newest = Some(newest);
        let owners = left_behind.len();
        self.0.metrics.policies(policies, newest.id, owners);
        tracing::info!(policies, took = ?begun.elapsed(), "policies are in force");
        Ok(())
    }

    /// The snapshot after `changes`, and with all that is stored of the owners `whole`.
    async fn after(
        &self,
        pool: &Pool,
        mut changes: Vec<Change>,
        whole: &HashSet<Owner>,
    ) -> Result<(PolicySet, Vec<Unreadable>), StoreError> {
        changes.retain(|change| !whole.contains(&change.key.owner));
        let mut owners = Vec::new();
        for owner in whole {
            owners.push((owner.clone(), list(pool, Some(owner)).await?));
        }
        let before = self.snapshot();
        compiled(move || {
            let (mut set, mut unreadable) = before.with_changes(changes);
            for (owner, rows) in owners {
                match set.with_owner(&owner, rows.into_iter().map(StoredPolicy::from)) {
                    Ok(with_owner) => set = with_owner,
                    Err(error) => unreadable.push(error),
                }
            }
            (set, unreadable)
        })
        .await
    }

    /// Keeps the snapshot fresh until `stop`.
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

/// A set of everything that is stored. An owner with a policy that cannot be read has what it had before that.
async fn anew(
    pool: &Pool,
    rows: Vec<StoredPolicy>,
) -> Result<(PolicySet, Vec<Unreadable>), StoreError> {
    let changes = rows.into_iter().map(|row| Change {
        key: row.key.clone(),
        stored: Some(row),
    });
    let changes: Vec<_> = changes.collect();
    let (mut set, unreadable) = compiled(|| PolicySet::default().with_changes(changes)).await?;
    for error in &unreadable {
        let owner = error.key.owner.clone();
        let rows = list(pool, Some(&owner)).await?;
        let rows = rows.into_iter().map(StoredPolicy::from).collect();
        let rows = last_readable(&(), pool, &owner, rows).await?;
        let before = set;
        set = compiled(move || match before.with_owner(&owner, rows) {
            Ok(with_owner) => with_owner,
            Err(_) => before,
        })
        .await?;
    }
    Ok((set, unreadable))
}

/// Thousands of policies take a while to compile: not on a thread that webhooks need.
async fn compiled<T: Send + 'static>(
    compile: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    Ok(spawn_blocking(compile).await.map_err(broken)?)
}
