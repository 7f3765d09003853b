//! Listens for notifications, on a connection that does nothing else.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{Instant, timeout};

use super::pool::{LIFETIME_MAX, Pool, Refusals, SILENCE_MAX};
use super::pooler::Sessions;

/// A connection that has executed `LISTEN`.
pub(crate) struct Listener {
    inner: PgListener,
    since: Instant,
    refusals: Refusals,
}

/// A listener's connection is gone, or as old as one may get, or leads to a server that is read-only: notifications may
/// be lost, so listen on a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Pool {
    /// Listens on `channel`. None where a pooler shares sessions: it would send the notifications to
    /// whichever connection has that session next, which would take them for an answer and fail.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Option<Listener>, sqlx::Error> {
        let since = Instant::now();
        let listening = async {
            // A connection of its own: where it falls silent, the pool has no fewer.
            let one = PgPoolOptions::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .acquire_timeout(SILENCE_MAX)
                .connect_lazy_with(self.options());
            let mut connection = one.acquire().await?;
            if Sessions::of(&mut connection, &self.options()).await? != Sessions::Own {
                return Ok(None);
            }
            drop(connection);
            let mut listener = PgListener::connect_with(&one).await?;
            listener.eager_reconnect(false);
            listener.listen(channel).await?;
            Ok(Some(Listener {
                inner: listener,
                since,
                refusals: self.refusals(),
            }))
        };
        let listening = timeout(SILENCE_MAX, listening).await;
        listening.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

impl Listener {
    /// Returns when there is a notification, and after `patience` without one.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<(), Gone> {
        if self.since.elapsed() > LIFETIME_MAX || self.refusals.is_since(self.since) {
            return Err(Gone);
        }
        match timeout(patience, self.inner.try_recv()).await {
            Ok(Err(_) | Ok(None)) => Err(Gone),
            Ok(Ok(Some(_))) | Err(_) => Ok(()),
        }
    }
}
