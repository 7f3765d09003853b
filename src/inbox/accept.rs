//! Commits events and their jobs, many webhooks to one commit where they come at once.
//!
//! A writer commits whatever has queued up meanwhile, at most [`BATCH_MAX`] events at once.
//! An event that comes alone waits for nothing. Events with metadata can be large (512 KiB of a room and of
//! a participant), so the queue and the batches are also bounded in bytes.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::bytes::{BodyBytes, Reservation};
use super::event_key::event_key;
use super::incoming::{AcceptError, Accepted, COMMIT_TIMEOUT, Incoming};
use super::job::{Job, JobTimes};
use super::ready::{self, Asked, Commits, NotReady, Ready};
use super::store::{Store, Stored, ends_apart};
use super::takeover::{Takeover, TakeoverCandidate};
use super::worker::Worker;
use crate::fail_point::{self, FailPoint};
use crate::livekit::event::{Event, ROOM_STARTED, TRACK_PUBLISHED, ends_track};
use crate::metrics::{Batch, Metrics, Step};
use crate::postgres::{
    Dedicated, Pool, Told, Trouble, batches, failed_query, is_about_data, is_read_only,
};
use crate::traces::{self, Parent};

const BATCH_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 8 << 20;
const QUEUE_MAX: usize = 1024;
const SMALL_BODIES_BYTES_MAX: usize = 4 << 20;
const LARGE_BODIES_BYTES_MAX: usize = 28 << 20;
/// A connection that has nothing to do for so long is given back.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Postgres ends a statement after 4 s. What takes longer waits to commit, for a standby that is the primary by now, perhaps.
const STORE_MAX: Duration = Duration::from_millis(4_500);

/// Where webhooks go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inbox {
    queue: mpsc::Sender<Incoming>,
    bytes: BodyBytes,
    worker: Worker,
    metrics: Metrics,
    ready: Ready,
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
        let commits = Commits::default();
        let (ready, asked) = Ready::new(commits.clone());
        let writer = Writer {
            pool,
            worker: worker.clone(),
            takeover,
            store: Store {
                replica: worker.replica().to_owned(),
                deadline,
            },
            deadline,
            metrics: metrics.clone(),
            noticed,
            commits,
        };
        let inbox = Self {
            queue,
            bytes: BodyBytes::new(SMALL_BODIES_BYTES_MAX, LARGE_BODIES_BYTES_MAX),
            worker,
            metrics,
            ready,
        };
        let running = async move {
            tokio::join!(writer.run(receiver, asked), taking_over);
        };
        (inbox, Box::pin(running))
    }

    /// The room that a body will take up, to grow while it is read.
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        self.bytes.reservation()
    }

    /// Whether events can be committed: one was within the last second, or else the writer commits something
    /// now.
    pub async fn ready(&self) -> Result<(), NotReady> {
        self.ready.ask().await
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
        let span = traces::accept(&event.id, &event.name);
        let (answer, answered) = oneshot::channel();
        let incoming = Incoming {
            event,
            body,
            _reservation: reservation,
            arrived,
            traced: Parent::of(&span),
            job,
            answer,
        };
        let begun = Instant::now();
        self.queue.try_send(incoming).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AcceptError::Full,
            mpsc::error::TrySendError::Closed(_) => AcceptError::Stopping,
        })?;
        let result = tokio::time::timeout_at(begun + COMMIT_TIMEOUT, answered)
            .instrument(span)
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
    store: Store,
    deadline: Duration,
    metrics: Metrics,
    noticed: mpsc::Sender<Event>,
    commits: Commits,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Incoming>, mut asked: mpsc::Receiver<Asked>) {
        let mut connection = self.pool.within(STORE_MAX).dedicated();
        let mut told = Told::default();
        let (mut batch, mut askers) = (Vec::new(), Vec::new());
        loop {
            let came = tokio::select! {
                // Events first: whether they can be stored shows as they are.
                biased;
                came = timeout(IDLE_MAX, receiver.recv_many(&mut batch, BATCH_MAX)) => came,
                1.. = asked.recv_many(&mut askers, ready::ASKED_MAX) => {
                    // Whoever waits no longer is no reason to keep events waiting.
                    askers.retain(|asker| !asker.is_closed());
                    if askers.is_empty() {
                        continue;
                    }
                    let probed = self.probe(&mut connection, &mut told).await;
                    for asker in askers.drain(..) {
                        drop(asker.send(probed.clone()));
                    }
                    continue;
                }
            };
            match came {
                Ok(0) => return,
                Ok(_) => {
                    let events = std::mem::take(&mut batch);
                    for batch in batches(events, BATCH_BYTES_MAX, |incoming| incoming.body.len()) {
                        for batch in ends_apart(batch) {
                            self.metrics.batch(Batch::Events, batch.len());
                            self.write(&mut connection, batch, &mut told).await;
                        }
                    }
                }
                Err(_) => connection.release(),
            }
        }
    }

    async fn probe(&self, connection: &mut Dedicated, told: &mut Told) -> Result<(), NotReady> {
        let why = match ready::probe(&self.commits, connection, self.worker.replica()).await {
            Ok(true) => return Ok(()),
            Ok(false) => self.commits.why_slow(),
            Err(error) => {
                self.commits.failed(&error);
                if told.is_news(&error) {
                    let error = failed_query(&error);
                    tracing::error!(error, "nothing can be committed");
                }
                NotReady::from(&error)
            }
        };
        connection.release();
        Err(why)
    }

    async fn write(&self, connection: &mut Dedicated, batch: Vec<Incoming>, told: &mut Told) {
        let mut stored = self.try_to_store(connection, &batch).await;
        if stored.as_ref().is_err_and(is_read_only) {
            // Nothing was done. The next connection may lead to the server that is the primary by now.
            connection.release();
            stored = self.try_to_store(connection, &batch).await;
        }
        match stored {
            Ok(stored) => {
                if told.is_over() {
                    tracing::info!("events can be stored again");
                }
                fail_point::reach(FailPoint::Commit);
                self.deliver(batch, stored);
            }
            // One event that Postgres refuses must not take the others with it.
            Err(error) if batch.len() > 1 && is_about_data(&error) => {
                tracing::warn!(%error, events = batch.len(), "a batch of events was refused; storing them one by one");
                for incoming in batch {
                    Box::pin(self.write(connection, vec![incoming], told)).await;
                }
            }
            Err(error) => {
                if told.is_news(&error) {
                    let ids: Vec<_> = batch.iter().map(|i| i.event.id.as_str()).collect();
                    let (events, error) = (ids.len(), failed_query(&error));
                    let event_id = ids.first().copied().unwrap_or_default();
                    tracing::error!(error, event_id, events, "an event could not be stored");
                }
                let what = Trouble::of(&error).map_or("the database refused it", Trouble::what);
                for incoming in batch {
                    // The sender may have gone: its 2 s are over.
                    drop(incoming.answer.send(Err(AcceptError::Database(what))));
                }
                if !is_about_data(&error) {
                    connection.release();
                    self.commits.failed(&error);
                    // Events may be stored all the same, with jobs that are ours.
                    self.worker.claim_lost();
                }
            }
        }
    }

    async fn try_to_store(
        &self,
        connection: &mut Dedicated,
        batch: &[Incoming],
    ) -> Result<Stored, sqlx::Error> {
        let stored = {
            let connection = connection.get().await?;
            fail_point::reach(FailPoint::Insert);
            self.store.store(connection, batch).await?
        };
        // Duplicates alone commit nothing.
        if !stored.received_at.is_empty() {
            self.commits.note();
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
                traced,
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
                    jobs.push(Job {
                        traced,
                        ..Job::new(event, 1, times, reservation)
                    });
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
