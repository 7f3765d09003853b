//! Asks for rooms, those that are wanted at the same time in one `ListRooms`.
//!
//! A question joins only a call that was not sent yet: one that is under way may be older than the room.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::rate::{RateLimit, Urgency};
use super::room::{LiveKit, LiveRoom};
use super::twirp::LiveKitError;
use crate::metrics::{Batch, Metrics};

const QUEUE_MAX: usize = 4096;
/// The names of one call.
const NAMES_MAX: usize = 64;
const NAMES_BYTES_MAX: usize = 16 << 10;
/// How long a call that is not answered holds the next one up.
const PACE: Duration = Duration::from_millis(2);
/// A room with more (metadata, above all) is asked for alone, so that no tenant's rooms make an answer too
/// large for others.
const LARGE_BYTES: usize = 32 << 10;
const LARGE_MAX: usize = 1024;

type Answer = Result<Option<Arc<LiveRoom>>, LiveKitError>;

struct RoomQuery {
    name: String,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// The way to ask; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rooms(mpsc::Sender<RoomQuery>);

/// Who asks.
struct Asker {
    livekit: LiveKit,
    metrics: Metrics,
    tracker: TaskTracker,
    /// How often it may ask; none: as often as [`PACE`] allows.
    rate: Option<RateLimit>,
    /// The names of rooms that were large when they were last seen.
    large: Mutex<HashSet<String>>,
}

impl Rooms {
    /// The way to ask, and what asks until the last of them is dropped. Calls run on `tracker`, at that rate.
    #[must_use]
    pub fn new(
        livekit: LiveKit,
        metrics: Metrics,
        tracker: TaskTracker,
        rate: Option<RateLimit>,
    ) -> (Self, BoxFuture<'static, ()>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        let asker = Arc::new(Asker {
            livekit,
            metrics,
            tracker,
            rate,
            large: Mutex::default(),
        });
        (Self(queue), Box::pin(run(asker, receiver)))
    }

    /// The room of exactly this name as it is now, or none.
    pub(crate) async fn room(&self, name: &str, deadline: Instant) -> Answer {
        let begun = Instant::now();
        let out_of_time = || LiveKitError::out_of_time("ListRooms", begun);
        let (answer, coming) = oneshot::channel();
        let question = RoomQuery {
            name: name.to_owned(),
            deadline,
            answer,
        };
        let waiting = async {
            self.0.send(question).await.ok()?;
            coming.await.ok()
        };
        let answer = timeout_at(deadline, waiting).await;
        answer.ok().flatten().unwrap_or_else(|| Err(out_of_time()))
    }
}

async fn run(asks: Arc<Asker>, mut queue: mpsc::Receiver<RoomQuery>) {
    // One that did not fit into the call before.
    let mut left = None;
    loop {
        let first = match left.take() {
            Some(left) => left,
            None => match queue.recv().await {
                Some(asked) => asked,
                None => return,
            },
        };
        if let Some(rate) = &asks.rate {
            rate.turn(Urgency::Urgent).await;
        }
        let mut bytes = first.name.len();
        let mut names = 1;
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            bytes += next.name.len();
            names += 1;
            if names > NAMES_MAX || bytes > NAMES_BYTES_MAX {
                left = Some(next);
                break;
            }
            batch.push(next);
        }
        let (large, small): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|a| asks.is_large(&a.name));
        for alone in large {
            asks.tracker.spawn(Arc::clone(&asks).ask(vec![alone]));
        }
        if !small.is_empty() {
            let call = asks.tracker.spawn(Arc::clone(&asks).ask(small));
            // What comes meanwhile goes together.
            drop(timeout(PACE, call).await);
        }
    }
}

impl Asker {
    fn is_large(&self, name: &str) -> bool {
        let large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        large.contains(name)
    }

    fn note_size(&self, name: &str, bytes: usize) {
        let mut large = self.large.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes < LARGE_BYTES {
            large.remove(name);
        } else {
            if large.len() >= LARGE_MAX {
                large.clear();
            }
            large.insert(name.to_owned());
        }
    }

    fn ask(self: Arc<Self>, batch: Vec<RoomQuery>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.metrics.batch(Batch::Rooms, batch.len());
            let mut by_name: HashMap<String, Vec<oneshot::Sender<Answer>>> = HashMap::new();
            let mut deadline = Instant::now();
            for asked in batch {
                deadline = deadline.max(asked.deadline);
                by_name.entry(asked.name).or_default().push(asked.answer);
            }
            let names: Vec<_> = by_name.keys().cloned().collect();
            match self.livekit.rooms(names, deadline).await {
                Ok(rooms) => {
                    for room in rooms {
                        let Some(answers) = by_name.remove(&room.name) else {
                            continue;
                        };
                        self.note_size(&room.name, room.encoded_len());
                        let room = Arc::new(LiveRoom::from(room));
                        send(answers, &Ok(Some(room)));
                    }
                    for answers in by_name.into_values() {
                        send(answers, &Ok(None));
                    }
                }
                Err(LiveKitError::TooLarge { .. }) if by_name.len() > 1 => {
                    // Each alone: the large ones are found by that.
                    for (name, answers) in by_name {
                        let again = answers.into_iter().map(|answer| RoomQuery {
                            name: name.clone(),
                            deadline,
                            answer,
                        });
                        self.tracker.spawn(Arc::clone(&self).ask(again.collect()));
                    }
                }
                Err(error) => {
                    for answers in by_name.into_values() {
                        send(answers, &Err(error.clone()));
                    }
                }
            }
        })
    }
}

fn send(answers: Vec<oneshot::Sender<Answer>>, with: &Answer) {
    for answer in answers {
        // Whoever asked may have run out of time.
        drop(answer.send(with.clone()));
    }
}
