//! Commits events and their jobs, many webhooks to one commit where they come at once.
//!
//! A writer commits whatever has queued up meanwhile, at most [`BATCH_MAX`] events at once.
//! An event that comes alone waits for nothing. Events with metadata can be large (512 KiB of a room and of
//! a participant), so the queue and the batches are also bounded in bytes.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::bytes::{BodyBytes, NoRoom, Reservation};
use super::event_key::{EventKey, event_key};
use super::job::{Job, JobTimes};
use super::memory::JobReservation;
use super::takeover::{Takeover, TakeoverCandidate};
use super::worker::Worker;
use crate::fail_point::{self, FailPoint};
use crate::livekit::event::{Event, ROOM_STARTED, TRACK_PUBLISHED, ends_track};
use crate::metrics::{Batch, Metrics, Step};
use crate::postgres::{
    Connection, Dedicated, Pool, batches, interval, is_about_data, to_pg_key, to_pg_text,
};
use quell_policy::TenantId;

const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 8 << 20;
const QUEUE_MAX: usize = 1024;
const SMALL_BODIES_BYTES_MAX: usize = 4 << 20;
const LARGE_BODIES_BYTES_MAX: usize = 28 << 20;
/// A connection that has nothing to do for so long is given back.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// LiveKit waits for the answer, and the room's other events wait behind it.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where webhooks go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    queue: mpsc::Sender<Incoming>,
    bytes: BodyBytes,
    worker: Worker,
    metrics: Metrics,
}

/// What came of accepting an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is committed.
    Stored,
    /// It was committed before.
    Duplicate,
}

/// Why an event is not committed; LiveKit shall send it again.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Too many are waiting.
    #[error("too many events are waiting to be stored")]
    Full,
    /// It took too long.
    #[error("the event could not be stored within {} s", COMMIT_TIMEOUT.as_secs())]
    Timeout,
    /// The database refused it, or failed.
    #[error("the event could not be stored")]
    Database,
    /// quell is being stopped.
    #[error("quell is stopping")]
    Stopping,
}

impl From<NoRoom> for AcceptError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::Full
    }
}

#[derive(Debug)]
struct Incoming {
    event: Event,
    body: String,
    _reservation: Reservation,
    arrived: Instant,
    /// Memory for its job, where there was some: the job is then ours as it is stored, which saves
    /// a commit on the way to the mute.
    job: Option<JobReservation>,
    answer: oneshot::Sender<Result<Accepted, AcceptError>>,
}

impl Inbox {
    /// An inbox and its writer, which runs until the last `Inbox` is dropped. A job is tried for so long as `deadline`.
    /// Events of what begins and ends go to `noticed` too, once they are stored, as far as there is room.
    #[must_use]
    pub fn new(
        pool: Pool,
        worker: Worker,
        deadline: Duration,
        metrics: Metrics,
        noticed: mpsc::Sender<Event>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let (takeover, taking_over) = Takeover::new(pool.clone(), worker.clone());
        let writer = Writer {
            pool,
            worker: worker.clone(),
            takeover,
            deadline,
            metrics: metrics.clone(),
            noticed,
        };
        let inbox = Self {
            queue,
            bytes: BodyBytes::new(SMALL_BODIES_BYTES_MAX, LARGE_BODIES_BYTES_MAX),
            worker,
            metrics,
        };
        let running = async move {
            tokio::join!(writer.run(receiver), taking_over);
        };
        (inbox, Box::pin(running))
    }

    /// The room that a body will take up, to grow while it is read.
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        self.bytes.reservation()
    }

    /// Commits `event`, or says why not, within 2 s.
    pub async fn accept(
        &self,
        event: Event,
        body: String,
        reservation: Reservation,
        arrived: Instant,
    ) -> Result<Accepted, AcceptError> {
        if event.room.tenant.is_some() {
            self.worker
                .note_tenant(&event.room.sid, event.room.tenant.as_ref());
        }
        let job = (event.name == TRACK_PUBLISHED)
            .then(|| self.worker.reserve(&event))
            .flatten();
        let (answer, answered) = oneshot::channel();
        let incoming = Incoming {
            event,
            body,
            _reservation: reservation,
            arrived,
            job,
            answer,
        };
        let begun = Instant::now();
        self.queue.try_send(incoming).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AcceptError::Full,
            mpsc::error::TrySendError::Closed(_) => AcceptError::Stopping,
        })?;
        let result = tokio::time::timeout_at(begun + COMMIT_TIMEOUT, answered)
            .await
            .map_err(|_| AcceptError::Timeout)?
            .map_err(|_| AcceptError::Stopping)?;
        self.metrics.observe(Step::Commit, begun.elapsed());
        result
    }
}

struct Writer {
    pool: Pool,
    worker: Worker,
    takeover: Takeover,
    deadline: Duration,
    metrics: Metrics,
    noticed: mpsc::Sender<Event>,
}

/// What a statement stored and ended.
#[derive(Debug, Default)]
struct Stored {
    /// When each was received; duplicates are missing.
    received_at: HashMap<EventKey, DateTime<Utc>>,
    /// Jobs of tracks that are gone.
    over: HashSet<EventKey>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Incoming>) {
        let mut connection = self.pool.dedicated();
        let mut batch = Vec::new();
        loop {
            match timeout(IDLE_MAX, receiver.recv_many(&mut batch, BATCH_MAX)).await {
                Ok(0) => return,
                Ok(_) => {
                    let events = std::mem::take(&mut batch);
                    for batch in batches(events, BATCH_BYTES_MAX, |incoming| incoming.body.len()) {
                        for batch in ends_apart(batch) {
                            self.metrics.batch(Batch::Events, batch.len());
                            self.write(&mut connection, batch).await;
                        }
                    }
                }
                Err(_) => connection.release(),
            }
        }
    }

    async fn write(&self, connection: &mut Dedicated, batch: Vec<Incoming>) {
        match self.store(connection, &batch).await {
            Ok(stored) => {
                fail_point::reach(FailPoint::Commit);
                self.deliver(batch, stored);
            }
            // One event that Postgres refuses must not take the others with it.
            Err(error) if batch.len() > 1 && is_about_data(&error) => {
                tracing::warn!(%error, events = batch.len(), "a batch of events was refused; storing them one by one");
                for incoming in batch {
                    Box::pin(self.write(connection, vec![incoming])).await;
                }
            }
            Err(error) => {
                for incoming in batch {
                    tracing::error!(%error, event_id = incoming.event.id, "an event could not be stored");
                    // The sender may have gone: its 2 s are over.
                    drop(incoming.answer.send(Err(AcceptError::Database)));
                }
                if !is_about_data(&error) {
                    connection.release();
                    // Events may be stored all the same, with jobs that are ours.
                    self.worker.claim_lost();
                }
            }
        }
    }

    async fn store(
        &self,
        connection: &mut Dedicated,
        batch: &[Incoming],
    ) -> Result<Stored, sqlx::Error> {
        let connection = connection.get().await?;
        fail_point::reach(FailPoint::Insert);
        match self.insert(connection, batch).await {
            // A day without a partition: maintenance was late, or a captured event is replayed.
            Err(error) if is_no_partition(&error) => {
                for incoming in batch {
                    sqlx::query!(
                        "select quell_ensure_partitions($1)",
                        incoming.event.created_at
                    )
                    .execute(&mut *connection)
                    .await?;
                }
                self.insert(connection, batch).await
            }
            result => result,
        }
    }

    async fn insert(
        &self,
        connection: &mut Connection,
        batch: &[Incoming],
    ) -> Result<Stored, sqlx::Error> {
        let texts = |of: fn(&Event) -> &str| -> Vec<Option<String>> {
            let texts = batch.iter().map(|incoming| of(&incoming.event));
            texts
                .map(|text| (!text.is_empty()).then(|| to_pg_text(text)))
                .collect()
        };
        let room_sids = texts(|event| &event.room.sid);
        let room_names = texts(|event| &event.room.name);
        let identities = texts(|event| &event.participant.identity);
        let participant_sids = texts(|event| &event.participant.sid);
        let track_sids = texts(|event| &event.track.sid);
        let created_at: Vec<_> = batch.iter().map(|i| i.event.created_at).collect();
        let ids: Vec<_> = batch.iter().map(|i| to_pg_key(&i.event.id)).collect();
        let names: Vec<_> = batch.iter().map(|i| to_pg_text(&i.event.name)).collect();
        let tenants: Vec<_> = batch
            .iter()
            .map(|i| i.event.room.tenant.as_ref().map(TenantId::as_str))
            .collect();
        let bodies: Vec<_> = batch.iter().map(|i| i.body.as_str()).collect();
        let are_ours: Vec<_> = batch
            .iter()
            .map(|i| (i.event.name == TRACK_PUBLISHED).then_some(i.job.is_some()))
            .collect();
        let ends: Vec<_> = batch.iter().map(|i| ends_track(&i.event.name)).collect();
        let rows = sqlx::query_file!(
            "src/inbox/accept.sql",
            &created_at,
            &ids,
            &names,
            &room_sids as _,
            &room_names as _,
            &tenants as _,
            &identities as _,
            &participant_sids as _,
            &track_sids as _,
            &bodies as _,
            &are_ours as _,
            &ends,
            self.worker.replica(),
            interval(self.deadline),
        )
        .fetch_all(connection)
        .await?;
        let mut stored = Stored::default();
        for row in rows {
            let key = (row.created_at, row.event_id);
            match row.received_at {
                Some(received_at) => drop(stored.received_at.insert(key, received_at)),
                None => drop(stored.over.insert(key)),
            }
        }
        Ok(stored)
    }

    /// Answers the senders, and hands the jobs of what is committed on.
    fn deliver(&self, batch: Vec<Incoming>, mut stored: Stored) {
        if !stored.over.is_empty() {
            self.worker.forget(&stored.over);
        }
        let ends = batch.iter().map(|incoming| &incoming.event);
        self.worker
            .ended(ends.filter(|event| ends_track(&event.name)));
        let mut jobs = Vec::new();
        let mut is_left = false;
        for incoming in batch {
            let key = event_key(&incoming.event);
            // The first of two equals in a batch has it; the second is a duplicate.
            let received_at = stored.received_at.remove(&key);
            let Incoming {
                event,
                arrived,
                job,
                answer,
                ..
            } = incoming;
            let accepted = match received_at {
                Some(_) => Accepted::Stored,
                None => Accepted::Duplicate,
            };
            // The sender may have gone: its 2 s are over. What is stored is handled all the same.
            drop(answer.send(Ok(accepted)));
            if received_at.is_some() && (event.name == ROOM_STARTED || ends_track(&event.name)) {
                // Where there is no room, the next sweep of all rooms sees it.
                drop(self.noticed.try_send(event.clone()));
            }
            match (received_at, job) {
                (Some(received_at), Some(reservation)) => {
                    let times = JobTimes {
                        received_at,
                        arrived,
                        deadline: arrived + self.deadline,
                    };
                    jobs.push(Job::new(event, 1, times, reservation));
                }
                (Some(_), None) => is_left |= event.name == TRACK_PUBLISHED,
                (None, Some(reservation)) => self.takeover.duplicate(TakeoverCandidate {
                    event,
                    reservation,
                    arrived,
                }),
                (None, None) => {}
            }
        }
        self.worker.push(jobs);
        if is_left {
            self.worker.claim_soon();
        }
    }
}

/// The same batch, cut where an event ends what an earlier one may have begun: a statement does not see the
/// jobs that it makes.
fn ends_apart(batch: Vec<Incoming>) -> Vec<Vec<Incoming>> {
    let mut parts = Vec::new();
    let mut part: Vec<Incoming> = Vec::new();
    let mut rooms = HashSet::new();
    for incoming in batch {
        if ends_track(&incoming.event.name) && rooms.contains(&incoming.event.room.sid) {
            parts.push(std::mem::take(&mut part));
            rooms.clear();
        }
        if incoming.event.name == TRACK_PUBLISHED {
            rooms.insert(incoming.event.room.sid.clone());
        }
        part.push(incoming);
    }
    parts.push(part);
    parts
}

/// A check that fails without a constraint's name: there is no partition for the row.
fn is_no_partition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("23514") && error.constraint().is_none()
    })
}
