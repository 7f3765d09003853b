//! The inbox: webhooks are committed here before they are answered; workers handle them afterwards.
//!
//! ```text
//! webhook -> accept (event and job, one commit) -> worker: pipeline -> settle
//! ```

mod accept;
mod bytes;
mod claim;
mod settle;
mod worker;

pub use accept::{AcceptError, Accepted, Inbox, InboxSettings};
pub use bytes::Reservation;
pub use worker::{Worker, WorkerParts};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use uuid::Uuid;

use crate::livekit::event::Event;

/// A job that this process holds the lease of.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: Uuid,
    /// Counts the claims of the job: only the newest may settle it.
    pub(crate) attempt: i32,
    /// Its last lease ran out after its deadline: the job is not tried again.
    pub(crate) deadline_exceeded: bool,
    pub(crate) event: Event,
    /// When the event was committed, by Postgres's clock.
    pub(crate) received_at: DateTime<Utc>,
    /// The same on this process's monotonic clock: where latency counts from.
    pub(crate) arrived: Instant,
    /// When this process got the lease: where the wait for a worker counts from.
    pub(crate) leased_at: Instant,
}
