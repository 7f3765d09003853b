//! Listens for notifications, on a connection that does nothing else.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::timeout;

use super::pool::{Pool, SILENCE_MAX};
use super::pooler::Sessions;

/// A connection that has executed `LISTEN`.
pub(crate) struct Listener(PgListener);

/// A listener's connection is gone, and notifications may be lost: listen on a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Pool {
    /// Listens on `channel`. None where a pooler shares sessions: it would send the notifications to
    /// whichever connection has that session next, which would take them for an answer and fail.
    pub(crate) async fn listen(&self, channel: &str) -> Result<Option<Listener>, sqlx::Error> {
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
            Ok(Some(Listener(listener)))
        };
        let listening = timeout(SILENCE_MAX, listening).await;
        listening.map_err(|_| sqlx::Error::PoolTimedOut)?
    }
}

impl Listener {
    /// Returns when there is a notification, and after `patience` without one.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Result<(), Gone> {
        match timeout(patience, self.0.try_recv()).await {
            Ok(Err(_) | Ok(None)) => Err(Gone),
            Ok(Ok(Some(_))) | Err(_) => Ok(()),
        }
    }
}
