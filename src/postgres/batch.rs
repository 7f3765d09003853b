//! Writes what waits together: one statement for all that came during the last one. What comes alone waits
//! for nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::error::{failed_query, is_about_data};
use super::pool::{Connection, Dedicated, Pool};
use super::trouble::{Told, is_read_only};

/// How many may wait; whoever comes then waits to get into the queue.
const QUEUE_MAX: usize = 1024;
/// A connection that has nothing to do for so long is given back.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// What writes a batch.
pub(crate) trait BatchWrite: Send + Sync + 'static {
    /// What is written.
    type Item: Send + Sync + 'static;
    /// What came of one.
    type Answer: Send + 'static;
    /// What they are, in the log.
    const NAME: &'static str;
    /// The most that are written at once.
    const MAX: usize;
    /// The most bytes of texts that are written at once; one that is larger goes alone.
    const BYTES_MAX: usize = usize::MAX;
    /// The time from one batch's beginning to the next one's, at least: what few wait for may come
    /// together. What comes after a longer quiet waits for nothing.
    const PACE: Duration;

    /// Writes all or nothing; answers in the order of `items`.
    fn write(
        &self,
        connection: &mut Connection,
        items: &[Self::Item],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, sqlx::Error>> + Send;

    /// How long to wait before a batch that could not be written for `error` is tried again; none: it is not. Of
    /// what Postgres refuses (SQLSTATE classes 22, 23, 54) nothing is tried again.
    fn retry_after(&self, error: &sqlx::Error, tries: usize) -> Option<Duration>;

    /// Notes how many went together.
    fn wrote(&self, count: usize);

    /// The bytes of the texts of one that can be long.
    fn bytes_of(_: &Self::Item) -> usize {
        0
    }
}

/// An error that all of a batch share.
pub(crate) type SharedError = Arc<sqlx::Error>;

/// What comes back: the item, and what came of it.
type Answered<W> = (
    <W as BatchWrite>::Item,
    Result<<W as BatchWrite>::Answer, SharedError>,
);
type Answers<W> = oneshot::Sender<Answered<W>>;
type Waiting<W> = (<W as BatchWrite>::Item, Answers<W>);

/// The way to a writer; cheap to clone.
#[derive(Debug)]
pub(crate) struct Batcher<W: BatchWrite>(mpsc::Sender<Waiting<W>>);

impl<W: BatchWrite> Clone for Batcher<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W: BatchWrite> Batcher<W> {
    /// A batcher, and what writes for it until the last one is dropped.
    pub(crate) fn new(pool: &Pool, writer: W) -> (Self, BoxFuture<'static, ()>) {
        let (queue, receiver) = mpsc::channel(QUEUE_MAX);
        (
            Self(queue),
            Box::pin(run(writer, pool.dedicated(), receiver)),
        )
    }

    /// Writes `item`; it comes back with what came of it.
    pub(crate) async fn write(&self, item: W::Item) -> Option<Answered<W>> {
        let (answer, answered) = oneshot::channel();
        self.0.send((item, answer)).await.ok()?;
        answered.await.ok()
    }
}

/// `items` in their order, in batches of at most `bytes_max`; one that is larger goes alone.
pub(crate) fn batches<T>(
    items: Vec<T>,
    bytes_max: usize,
    bytes_of: impl Fn(&T) -> usize,
) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for item in items {
        bytes += bytes_of(&item);
        if bytes > bytes_max && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            bytes = bytes_of(&item);
        }
        batch.push(item);
    }
    batches.push(batch);
    batches
}

async fn run<W: BatchWrite>(
    writer: W,
    mut connection: Dedicated,
    mut queue: mpsc::Receiver<Waiting<W>>,
) {
    let mut batch = Vec::new();
    let mut next = Instant::now();
    let mut told = Told::default();
    loop {
        match timeout(IDLE_MAX, queue.recv_many(&mut batch, W::MAX)).await {
            Ok(0) => return,
            Ok(_) => {
                if Instant::now() < next {
                    tokio::time::sleep_until(next).await;
                    while batch.len() < W::MAX
                        && let Ok(more) = queue.try_recv()
                    {
                        batch.push(more);
                    }
                }
                next = Instant::now() + W::PACE;
                let waiting = std::mem::take(&mut batch);
                for batch in batches(waiting, W::BYTES_MAX, |(item, _)| W::bytes_of(item)) {
                    let (items, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
                    writer.wrote(items.len());
                    write(&writer, &mut connection, items, answers, &mut told).await;
                }
            }
            Err(_) => connection.release(),
        }
    }
}

async fn write<W: BatchWrite>(
    writer: &W,
    connection: &mut Dedicated,
    items: Vec<W::Item>,
    answers: Vec<Answers<W>>,
    told: &mut Told,
) {
    let mut tries = 0;
    let error = loop {
        let written = match connection.get().await {
            Ok(connection) => writer.write(connection, &items).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(written) => {
                if told.is_over() {
                    tracing::info!(batch = W::NAME, "batches can be written again");
                }
                for ((item, answer), written) in items.into_iter().zip(answers).zip(written) {
                    // Whoever asked may have gone; what is written stays.
                    drop(answer.send((item, Ok(written))));
                }
                return;
            }
            Err(error) if is_about_data(&error) => break error,
            Err(error) => {
                connection.release();
                // Nothing was done there. The next connection may lead to the server that is the primary by now.
                let at_once = (tries == 0 && is_read_only(&error)).then_some(Duration::ZERO);
                let pause = at_once.or_else(|| writer.retry_after(&error, tries));
                if told.is_news(&error) {
                    let (error, items) = (failed_query(&error), items.len());
                    tracing::warn!(
                        batch = W::NAME,
                        error,
                        items,
                        "a batch could not be written"
                    );
                }
                let Some(pause) = pause else {
                    break error;
                };
                tokio::time::sleep(pause).await;
                tries += 1;
            }
        }
    };
    if is_about_data(&error) && items.len() > 1 {
        // One that Postgres refuses takes nobody along.
        tracing::warn!(%error, items = items.len(), "a batch was refused; writing one by one");
        for (item, answer) in items.into_iter().zip(answers) {
            Box::pin(write(writer, connection, vec![item], vec![answer], told)).await;
        }
        return;
    }
    let error = Arc::new(error);
    for (item, answer) in items.into_iter().zip(answers) {
        drop(answer.send((item, Err(Arc::clone(&error)))));
    }
}

#[cfg(test)]
mod tests {
    use super::batches;

    #[test]
    fn batches_are_bounded_in_bytes_and_keep_the_order() {
        for (sizes, expected) in [
            (vec![1, 2, 3], vec![vec![1, 2, 3]]),
            (vec![4, 4, 4], vec![vec![4, 4], vec![4]]),
            (vec![8, 1, 8], vec![vec![8], vec![1], vec![8]]),
            (vec![1, 9, 1], vec![vec![1], vec![9], vec![1]]),
            (vec![9], vec![vec![9]]),
        ] {
            assert_eq!(
                batches(sizes.clone(), 8, |size| *size),
                expected,
                "{sizes:?}"
            );
        }
    }
}
