//! Commits events and their jobs, many webhooks to one commit where they come at once.
//!
//! One writer commits whatever has queued up during its last commit, at most [`BATCH_MAX`] events at once.
//! An event that comes alone waits for nothing. Events with metadata can be large (512 KiB of a room and of
//! a participant), so the queue and the batches are also bounded in bytes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use super::Job;
use super::bytes::{QueueBytes, Reservation, batches};
use super::worker::Worker;
use crate::livekit::event::{Event, TRACK_PUBLISHED};
use crate::metrics::{Metrics, Step};
use crate::postgres::{Connection, Pool, interval, to_pg_key, to_pg_text};
use quell_policy::TenantId;

const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 8 << 20;
const QUEUE_MAX: usize = 1024;
/// LiveKit waits for the answer, and the room's other events wait behind it.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);

/// How jobs are stored.
#[derive(Debug, Clone, Copy)]
pub struct InboxSettings {
    /// How long a job is tried for.
    pub deadline: Duration,
    /// How long a job's lease lasts; after that, another replica may claim the job.
    pub lease: Duration,
}

/// Where webhooks go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    queue: mpsc::Sender<Incoming>,
    bytes: QueueBytes,
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

#[derive(Debug)]
struct Incoming {
    event: Event,
    body: String,
    _reservation: Reservation,
    arrived: Instant,
    /// A worker's slot, where one was free: the job is then leased as it is stored, which saves
    /// a commit on the way to the mute.
    slot: Option<OwnedSemaphorePermit>,
    answer: oneshot::Sender<Result<Accepted, AcceptError>>,
}

impl Inbox {
    /// An inbox and its writer, which runs until the last `Inbox` is dropped.
    pub fn new(
        pool: Pool,
        worker: Worker,
        settings: InboxSettings,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            pool,
            worker: worker.clone(),
            settings,
        };
        let inbox = Self {
            queue,
            bytes: QueueBytes::new(),
            worker,
            metrics,
        };
        (inbox, writer.run(receiver))
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
        let slot = (event.name == TRACK_PUBLISHED)
            .then(|| self.worker.free_slot())
            .flatten();
        let (answer, answered) = oneshot::channel();
        let incoming = Incoming {
            event,
            body,
            _reservation: reservation,
            arrived,
            slot,
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
    settings: InboxSettings,
}

struct StoredEvent {
    event_created_at: DateTime<Utc>,
    event_id: String,
    received_at: DateTime<Utc>,
    job_id: Option<Uuid>,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Incoming>) {
        let mut batch = Vec::new();
        while receiver.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let events = std::mem::take(&mut batch);
            for batch in batches(events, BATCH_BYTES_MAX, |incoming| incoming.body.len()) {
                self.write(batch).await;
            }
        }
    }

    async fn write(&self, batch: Vec<Incoming>) {
        match self.store(&batch).await {
            Ok(stored) => self.deliver(batch, stored),
            // One event that Postgres refuses must not take the others with it.
            Err(error) if batch.len() > 1 && is_about_data(&error) => {
                tracing::warn!(%error, events = batch.len(), "a batch of events was refused; storing them one by one");
                for incoming in batch {
                    Box::pin(self.write(vec![incoming])).await;
                }
            }
            Err(error) => {
                for incoming in batch {
                    tracing::error!(%error, event_id = incoming.event.id, "an event could not be stored");
                    // The sender may have gone: its 2 s are over.
                    drop(incoming.answer.send(Err(AcceptError::Database)));
                }
            }
        }
    }

    async fn store(&self, batch: &[Incoming]) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        match self.insert(&mut connection, batch).await {
            // A day without a partition: maintenance was late, or a captured event is replayed.
            Err(error) if is_no_partition(&error) => {
                for incoming in batch {
                    sqlx::query!(
                        "select quell_ensure_partitions($1)",
                        incoming.event.created_at
                    )
                    .execute(&mut connection)
                    .await?;
                }
                self.insert(&mut connection, batch).await
            }
            result => result,
        }
    }

    async fn insert(
        &self,
        connection: &mut Connection,
        batch: &[Incoming],
    ) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let texts = |of: fn(&Event) -> &str| -> Vec<Option<String>> {
            let texts = batch.iter().map(|incoming| of(&incoming.event));
            texts
                .map(|text| (!text.is_empty()).then(|| to_pg_text(text)))
                .collect()
        };
        let room_sids = texts(|event| &event.room.sid);
        let room_names = texts(|event| &event.room.name);
        let identities = texts(|event| &event.participant.identity);
        let track_sids = texts(|event| &event.track.sid);
        let created_at: Vec<_> = batch.iter().map(|i| i.event.created_at).collect();
        let ids: Vec<_> = batch.iter().map(|i| to_pg_key(&i.event.id)).collect();
        let names: Vec<_> = batch.iter().map(|i| to_pg_text(&i.event.name)).collect();
        let tenants: Vec<_> = batch
            .iter()
            .map(|i| i.event.room.tenant.as_ref().map(TenantId::as_str))
            .collect();
        let bodies: Vec<_> = batch.iter().map(|i| i.body.as_str()).collect();
        let wants_job: Vec<_> = batch
            .iter()
            .map(|i| i.event.name == TRACK_PUBLISHED)
            .collect();
        let is_leased: Vec<_> = batch.iter().map(|i| i.slot.is_some()).collect();
        let job_ids: Vec<_> = batch.iter().map(|_| Uuid::now_v7()).collect();
        sqlx::query_as!(
            StoredEvent,
            r#"with incoming as (
                select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[],
                    $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bool[],
                    $11::bool[], $12::uuid[])
                with ordinality as t(created_at, event_id, event, room_sid, room_name, tenant,
                     identity, track_sid, body, wants_job, is_leased, job_id, place)),
            stored as (
                insert into webhook_event (created_at, event_id, event, room_sid, room_name, tenant,
                                           identity, track_sid, body)
                select created_at, event_id, event, room_sid, room_name, tenant, identity, track_sid,
                       body::json
                -- In the order of the key, so that two replicas with the same events never
                -- wait for each other.
                from incoming order by created_at, event_id, place
                on conflict do nothing
                returning created_at, event_id, received_at),
            jobs as (
                insert into job (id, event_created_at, event_id, received_at, state, attempt,
                                 leased_by, leased_until, deadline)
                select distinct on (s.created_at, s.event_id)
                       i.job_id, s.created_at, s.event_id, s.received_at,
                       case when i.is_leased then 'leased' else 'queued' end,
                       case when i.is_leased then 1 else 0 end,
                       case when i.is_leased then $13::text end,
                       case when i.is_leased then s.received_at + $14::interval end,
                       s.received_at + $15::interval
                from stored s join incoming i using (created_at, event_id)
                where i.wants_job
                -- Of equals in a batch the first has the job: the same one that is handed on.
                order by s.created_at, s.event_id, i.place
                returning id, event_created_at, event_id)
            select s.created_at as "event_created_at!", s.event_id as "event_id!",
                   s.received_at as "received_at!", j.id as "job_id?"
            from stored s left join jobs j
                on j.event_created_at = s.created_at and j.event_id = s.event_id"#,
            &created_at,
            &ids,
            &names,
            &room_sids as _,
            &room_names as _,
            &tenants as _,
            &identities as _,
            &track_sids as _,
            &bodies as _,
            &wants_job,
            &is_leased,
            &job_ids,
            self.worker.replica(),
            interval(self.settings.lease),
            interval(self.settings.deadline),
        )
        .fetch_all(connection)
        .await
    }

    /// Answers the senders, and starts the jobs of what is committed.
    fn deliver(&self, batch: Vec<Incoming>, mut stored: Vec<StoredEvent>) {
        for incoming in batch {
            let Incoming {
                event,
                arrived,
                slot,
                answer,
                ..
            } = incoming;
            let id = to_pg_key(&event.id);
            let position = stored
                .iter()
                .position(|s| s.event_id == id && s.event_created_at == event.created_at);
            // The first of two equals in a batch has it; the second is a duplicate.
            let new = position.map(|position| stored.swap_remove(position));
            let accepted = match &new {
                Some(_) => Accepted::Stored,
                None => Accepted::Duplicate,
            };
            // The sender may have gone: its 2 s are over. What is stored is handled all the same.
            drop(answer.send(Ok(accepted)));
            let Some(StoredEvent {
                job_id: Some(job_id),
                received_at,
                ..
            }) = new
            else {
                continue;
            };
            match slot {
                Some(slot) => self.worker.start(
                    Job {
                        id: job_id,
                        attempt: 1,
                        deadline_exceeded: false,
                        event,
                        received_at,
                        arrived,
                        leased_at: Instant::now(),
                    },
                    slot,
                ),
                None => self.worker.wake(),
            }
        }
    }
}

/// A check that fails without a constraint's name: there is no partition for the row.
fn is_no_partition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("23514") && error.constraint().is_none()
    })
}

/// Whether Postgres refused a row (SQLSTATE classes 22 and 23, and 54: too long for an index, nested too
/// deep), so that the other rows may still be stored.
fn is_about_data(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| {
        ["22", "23", "54"]
            .iter()
            .any(|class| code.starts_with(class))
    })
}
