//! What is written of actions and jobs, many in one statement: an action's intent before the call, its outcome
//! and the end of the job that it was for after it.
//!
//! ```text
//! Proposal (permit, entry) --begin--> Intent --LiveKit--> Unfinished --end--> outcome (and settlement)
//!                            '------> Busy | Superseded | Lost (the proposal again)
//! ```
//!
//! *Architecture invariant:* only [`Ledger::begin`] makes an [`Intent`], and it is committed by then;
//! `LiveKit`'s client takes nothing else.

mod begin;
mod end;
mod locks;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use begin::{Begun, Intent, Proposal, Unfinished};
pub use end::{Completion, Settlement};
pub(crate) use end::{End, JobEnd};

use crate::access::Authority;
use crate::fail_point::{self, FailPoint};
use crate::metrics::Metrics;
use crate::postgres::{Batcher, Pool, PostgresClock, is_about_data};
use begin::{BeginWriter, Written};
use end::EndWriter;
use locks::Locks;

/// What is left after LiveKit's time is up, to write the outcome down.
pub const SETTLE_MARGIN: Duration = Duration::from_secs(5);
/// The pause before a person's action is begun again that another replica holds up: nothing tells when it ends.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A job that this process has, by its event's key and the attempt: only the newest attempt may act and settle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobLease {
    /// When its event happened, by `LiveKit`'s clock.
    pub created_at: DateTime<Utc>,
    /// Its event's id, as it is stored.
    pub event_id: String,
    /// Counts who had the job.
    pub attempt: i32,
}

/// An action, by its key in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionKey {
    /// Its id.
    pub action_id: Uuid,
    /// When it was begun.
    pub started_at: DateTime<Utc>,
}

/// Why something could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct WriteError(Arc<sqlx::Error>);

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Arc<sqlx::Error>> for WriteError {
    fn from(error: Arc<sqlx::Error>) -> Self {
        Self(error)
    }
}

impl WriteError {
    fn stopping() -> Self {
        sqlx::Error::PoolClosed.into()
    }

    /// Whether Postgres refused what was to be written, as it would again.
    pub(crate) fn is_refusal(&self) -> bool {
        is_about_data(&self.0)
    }
}

/// The way to what writes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    begins: Batcher<BeginWriter>,
    ends: Batcher<EndWriter>,
    locks: Locks,
}

/// The tasks that write for a ledger until the last one is dropped, by name.
pub type Writers = [(&'static str, BoxFuture<'static, ()>); 2];

impl Ledger {
    /// A ledger of the process `replica`. What could not be written is tried again until `stop`.
    #[must_use]
    pub fn new(
        pool: &Pool,
        replica: &str,
        clock: &PostgresClock,
        metrics: &Metrics,
        stop: CancellationToken,
    ) -> (Self, Writers) {
        let begin = BeginWriter {
            replica: replica.to_owned(),
            clock: clock.clone(),
            metrics: metrics.clone(),
        };
        let end = EndWriter {
            metrics: metrics.clone(),
            stop,
        };
        let (begins, begin) = Batcher::new(pool, begin);
        let (ends, end) = Batcher::new(pool, end);
        let ledger = Self {
            begins,
            ends,
            locks: Locks::default(),
        };
        let writers = [("intents", begin), ("outcomes", end)];
        (ledger, writers)
    }

    /// Takes the track's lease and writes the intent, once no other action of this process is under way there.
    /// `LiveKit` may be waited for until `deadline`. A person waits until then for other replicas' actions too;
    /// a policy's action comes back as busy.
    pub async fn begin(&self, proposal: Proposal, deadline: Instant) -> Result<Begun, WriteError> {
        let is_person = !matches!(proposal.permit.authority(), Authority::Policy { .. });
        let turn = self.locks.lock(proposal.key(), is_person);
        let Ok(guard) = timeout_at(deadline, turn).await else {
            return Ok(Begun::Busy(proposal));
        };
        let mut request = begin::BeginRequest { proposal, deadline };
        loop {
            let written = self.begins.write(request).await;
            let (again, written) = written.ok_or_else(WriteError::stopping)?;
            match written? {
                Written::Busy if is_person && Instant::now() + BUSY_PAUSE < deadline => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                    request = again;
                }
                Written::Busy => return Ok(Begun::Busy(again.proposal)),
                Written::Superseded => return Ok(Begun::Superseded(again.proposal)),
                Written::Lost => return Ok(Begun::Lost(again.proposal)),
                Written::Muted => return Ok(Begun::Muted(again.proposal)),
                Written::Intent(started_at) => {
                    return Ok(Begun::Intent(Intent::new(
                        again.proposal,
                        started_at,
                        guard,
                    )));
                }
            }
        }
    }

    /// Writes what came of an action, and how a job ended; false where the job is another replica's by now.
    /// It returns when both are committed.
    pub(crate) async fn end(&self, end: End) -> Result<bool, WriteError> {
        let ends = &self.ends;
        let written = ends.write(end).await;
        let (end, answer) = written.ok_or_else(WriteError::stopping)?;
        match answer {
            // What is refused is the job's: it keeps no outcome out.
            Err(error) if end.is_both() && is_about_data(&error) => {
                let (outcome, job) = end.split();
                let written = ends.write(outcome).await;
                written.ok_or_else(WriteError::stopping)?.1?;
                let written = ends.write(job).await;
                Ok(written.ok_or_else(WriteError::stopping)?.1?)
            }
            answer => {
                let ended = answer?;
                fail_point::reach(FailPoint::Outcome);
                Ok(ended)
            }
        }
    }
}
