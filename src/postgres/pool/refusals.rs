//! When Postgres was last found to take no writes: connections that are older lead to a server that is none of
//! ours any more, after a failover for example.
//!
//! It says so (read-only), or it says nothing for longer than it lets a statement take: a primary that was cut off
//! waits for ever, at each commit, for a standby that is the primary by now.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// What is under way on an older connection may take as long: its answer may be on the way.
const GRACE: Duration = Duration::from_millis(500);

/// Shared by all connections of a pool; cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::postgres) struct Refusals {
    last: watch::Sender<Option<Instant>>,
    /// The last time that it said so itself.
    said: watch::Sender<Option<Instant>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            last: watch::Sender::new(None),
            said: watch::Sender::new(None),
        }
    }
}

impl Refusals {
    /// A connection that was taken then was refused a write. What was taken before the last refusal says
    /// nothing of those that were made since.
    pub(super) fn said(&self, taken_at: Instant) {
        if self.note(taken_at) {
            self.said.send_replace(Some(Instant::now()));
        }
    }

    /// Nothing was said on a connection that was taken then. Others may still be answered there.
    pub(super) fn silent(&self, taken_at: Instant) {
        self.note(taken_at);
    }

    fn note(&self, taken_at: Instant) -> bool {
        self.last.send_if_modified(|last| {
            let is_news = last.is_none_or(|last| taken_at > last);
            if is_news {
                *last = Some(Instant::now());
            }
            is_news
        })
    }

    /// Whether a connection of this age is older than the last refusal.
    pub(super) fn is_before(&self, age: Duration) -> bool {
        self.last.borrow().is_some_and(|last| age >= last.elapsed())
    }

    /// Whether there was one since.
    pub(in crate::postgres) fn is_since(&self, taken_at: Instant) -> bool {
        self.last.borrow().is_some_and(|last| last >= taken_at)
    }

    /// Returns a moment after the server has said so, after `taken_at`.
    pub(in crate::postgres) async fn since(&self, taken_at: Instant) {
        let mut refused = self.said.subscribe();
        let is_since = |last: &Option<Instant>| last.is_some_and(|last| last >= taken_at);
        if refused.wait_for(is_since).await.is_ok() {
            sleep(GRACE).await;
        }
    }
}
