//! Admission queues for expensive requests: a few run at once, some more wait in the order in which
//! they came, and no caller can fill a queue. Admitted requests are parsed, and their answers are
//! written, on threads that webhooks do not need.

mod limits;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use crate::threads::spawn_blocking_holding;
use limits::{BACKTEST, CHANGE, EXPLAIN, EXPORT, Limits, PLAN, ROOMS, STREAM};

/// One admission queue for each kind of expensive request.
#[derive(Debug, Clone)]
pub struct AdmissionQueues {
    pub(super) backtest: AdmissionQueue,
    pub(super) change: AdmissionQueue,
    pub(super) explain: AdmissionQueue,
    pub(super) export: AdmissionQueue,
    pub(super) plan: AdmissionQueue,
    pub(super) rooms: AdmissionQueue,
    pub(super) stream: AdmissionQueue,
}

impl Default for AdmissionQueues {
    fn default() -> Self {
        Self {
            backtest: AdmissionQueue::new(BACKTEST),
            change: AdmissionQueue::new(CHANGE),
            explain: AdmissionQueue::new(EXPLAIN),
            export: AdmissionQueue::new(EXPORT),
            plan: AdmissionQueue::new(PLAN),
            rooms: AdmissionQueue::new(ROOMS),
            stream: AdmissionQueue::new(STREAM),
        }
    }
}

/// `Retry-After` of a request whose wait ended without a slot. It is short, so that this request is in
/// the queue again before a caller that was ahead of it has its answer and asks anew.
const RETRY_AFTER_WAITING_SECS: u64 = 1;

/// The queue of one kind of request in this process. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct AdmissionQueue {
    limits: Limits,
    free: Arc<Semaphore>,
    callers: Callers,
}

/// How many requests each caller has in the queue, running or waiting.
type Callers = Arc<Mutex<HashMap<String, usize>>>;

/// One request's entry in the counts of its caller, until it is dropped.
#[derive(Debug)]
struct QueueEntry {
    callers: Callers,
    caller: String,
}

/// The right to run, until the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct Slot(
    #[expect(dead_code, reason = "it is held")] Arc<(OwnedSemaphorePermit, QueueEntry)>,
);

impl AdmissionQueue {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            free: Arc::new(Semaphore::new(limits.running_max)),
            callers: Callers::default(),
        }
    }

    /// Waits for a slot, at most [`Limits::wait_max`].
    pub(super) async fn admit(&self, caller: &str) -> Result<Slot, Rejected> {
        let entry = self.enter(caller)?;
        let slot = Arc::clone(&self.free).acquire_owned();
        let slot = tokio::time::timeout(self.limits.wait_max, slot).await;
        // Nothing closes the semaphore.
        let permit = slot.ok().and_then(Result::ok);
        let permit = permit.ok_or_else(|| self.rejected(RejectionCause::Timeout))?;
        Ok(Slot(Arc::new((permit, entry))))
    }

    /// The same, at most until `stop`.
    pub(super) async fn admit_until(
        &self,
        stop: &CancellationToken,
        caller: &str,
    ) -> Result<Slot, Problem> {
        let admitted = stop.run_until_cancelled(self.admit(caller)).await;
        Ok(admitted.ok_or_else(Problem::stopping)??)
    }

    fn enter(&self, caller: &str) -> Result<QueueEntry, Rejected> {
        let limits = &self.limits;
        let mut counts = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.get(caller).copied().unwrap_or_default();
        if own >= limits.per_caller_max {
            return Err(self.rejected(RejectionCause::CallerLimit));
        }
        if counts.values().sum::<usize>() >= limits.running_max + limits.waiting_max {
            return Err(self.rejected(RejectionCause::QueueFull));
        }
        counts.insert(caller.to_owned(), own + 1);
        Ok(QueueEntry {
            callers: Arc::clone(&self.callers),
            caller: caller.to_owned(),
        })
    }

    fn rejected(&self, cause: RejectionCause) -> Rejected {
        Rejected {
            cause,
            limits: self.limits,
        }
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        let mut counts = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.remove(&self.caller).unwrap_or_default();
        if let Some(left) = left.checked_sub(1).filter(|left| *left > 0) {
            counts.insert(std::mem::take(&mut self.caller), left);
        }
    }
}

/// A request that was not admitted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejected {
    cause: RejectionCause,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RejectionCause {
    CallerLimit,
    QueueFull,
    Timeout,
}

impl From<Rejected> for Problem {
    fn from(Rejected { cause, limits }: Rejected) -> Self {
        let (code, text, retry_after_secs) = match cause {
            RejectionCause::CallerLimit => (
                limits.caller_busy,
                format!(
                    "you have {} of these requests under way or waiting, which is the most of one caller; try again when one has been answered",
                    limits.per_caller_max
                ),
                limits.retry_after_secs,
            ),
            RejectionCause::QueueFull => (
                limits.others_busy,
                "too many callers wait for this; try again in some seconds".to_owned(),
                limits.retry_after_secs,
            ),
            RejectionCause::Timeout => (
                limits.others_busy,
                "requests of other callers are still running; try again in some seconds".to_owned(),
                RETRY_AFTER_WAITING_SECS,
            ),
        };
        Self {
            retry_after_secs: Some(retry_after_secs),
            ..Self::new(code, text)
        }
    }
}

/// Answers an admitted request: `parse`s it, `run`s what it asks for, and writes the result as JSON.
/// Where a thread panics, `failed` makes the answer from the cause.
///
/// A parsed body is many times as large as its text, so no body is parsed before its request has a slot.
/// Threads keep the slot until they are done, also where the client is gone and this future is dropped.
/// `run` must do the same with whatever it starts.
pub(super) async fn answer<Q, A: Serialize + Send + 'static>(
    slot: Slot,
    failed: fn(&str) -> Problem,
    parse: impl FnOnce() -> Result<Q, Problem> + Send + 'static,
    run: impl AsyncFnOnce(Slot, Q) -> Result<A, Problem>,
) -> Result<Response, Problem>
where
    Q: Send + 'static,
{
    let broken = |error: JoinError| failed(&error.to_string());
    let question = spawn_blocking_holding(&slot, parse)
        .await
        .map_err(broken)??;
    let answer = run(slot.clone(), question).await?;
    let written = spawn_blocking_holding(&slot, move || serde_json::to_vec(&answer)).await;
    let json = written.map_err(broken)?;
    let json = json.map_err(|error| failed(&format!("the answer cannot be written: {error}")))?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::header::RETRY_AFTER;
    use futures_util::poll;

    use super::super::codes;
    use super::*;

    fn queue() -> AdmissionQueue {
        AdmissionQueue::new(Limits {
            running_max: 1,
            waiting_max: 3,
            per_caller_max: 2,
            wait_max: Duration::from_secs(5),
            retry_after_secs: 10,
            caller_busy: codes::EXPLAIN_BUSY,
            others_busy: codes::EXPLAINS_BUSY,
        })
    }

    async fn rejection(queue: &AdmissionQueue, caller: &str) -> RejectionCause {
        queue.admit(caller).await.unwrap_err().cause
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_no_more_requests_than_the_limit() {
        let queue = queue();
        let first = queue.admit("acme").await.unwrap();
        let mut waiting = Box::pin(queue.admit("acme"));
        assert!(poll!(&mut waiting).is_pending());
        let began = tokio::time::Instant::now();
        assert_eq!(rejection(&queue, "acme").await, RejectionCause::CallerLimit);
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut other = Box::pin(queue.admit("globex"));
        assert!(poll!(&mut other).is_pending());
        // A request that stopped waiting does not count.
        drop(waiting);
        let mut waiting = Box::pin(queue.admit("acme"));
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        drop(other.await.unwrap());
        drop(waiting.await.unwrap());
        assert!(queue.callers.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn slots_are_given_in_the_order_of_arrival_and_the_wait_ends() {
        let queue = queue();
        let first = queue.admit("acme").await.unwrap();
        let mut waiting: Vec<_> = ["a", "b", "c"]
            .map(|caller| Box::pin(queue.admit(caller)))
            .into();
        for admitted in &mut waiting {
            assert!(poll!(admitted).is_pending());
        }
        // One more is rejected at once.
        assert_eq!(
            rejection(&queue, "one-more").await,
            RejectionCause::QueueFull
        );
        // A caller that had the slot and comes again is behind those who wait.
        drop(first);
        let mut again = Box::pin(queue.admit("acme"));
        assert!(poll!(&mut again).is_pending());
        let second = waiting.remove(0).await.unwrap();
        let timeout = waiting.remove(0).await.unwrap_err();
        assert_eq!(timeout.cause, RejectionCause::Timeout);
        drop(second);
    }

    #[tokio::test]
    async fn work_whose_client_is_gone_keeps_the_slot() {
        let queue = queue();
        let slot = queue.admit("acme").await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let mut working = Box::pin(spawn_blocking_holding(&slot, move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        assert!(poll!(&mut working).is_pending());
        has_begun.await.unwrap();
        drop(working);
        drop(slot);
        let mut next = Box::pin(queue.admit("globex"));
        assert!(poll!(&mut next).is_pending());
        go_on.send(()).unwrap();
        assert!(next.await.is_ok());
    }

    #[test]
    fn a_rejection_says_when_to_come_again() {
        for (cause, status, after) in [
            (RejectionCause::CallerLimit, 429, "10"),
            (RejectionCause::QueueFull, 503, "10"),
            (RejectionCause::Timeout, 503, "1"),
        ] {
            let response = Problem::from(queue().rejected(cause)).into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), after);
        }
    }

    async fn answered(
        queue: &AdmissionQueue,
        parse: impl FnOnce() -> Result<u32, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let slot = queue.admit("acme").await.unwrap();
        let failed =
            |cause: &str| Problem::new(codes::PLAN_FAILED, "it was broken off").because(cause);
        answer(slot, failed, parse, async |_, asked| Ok([asked, asked])).await
    }

    #[tokio::test]
    async fn an_answer_is_json_and_a_panic_is_a_failure_of_ours_that_frees_the_slot() {
        let queue = queue();
        let response = answered(&queue, || Ok(7)).await.unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = axum::body::to_bytes(response.into_body(), 100).await;
        assert_eq!(body.unwrap(), "[7,7]");
        let invalid = answered(&queue, || Err(Problem::invalid_request("x"))).await;
        assert_eq!(invalid.unwrap_err().code, codes::INVALID_REQUEST);
        let problem = answered(&queue, || panic!("as a bug would")).await;
        let problem = problem.unwrap_err();
        assert_eq!(problem.code, codes::PLAN_FAILED);
        assert_eq!(problem.error, "it was broken off");
        assert!(problem.cause.unwrap().contains("panicked"));
        assert!(queue.admit("globex").await.is_ok());
    }
}
