//! Whose turn it is to try a draft: one backtest works at a time, and each caller has one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::backtest::BacktestError;
use crate::clock::Clock;

/// So many callers may wait for their turn.
const WAITING_MAX: usize = 4;
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// Half of what one may take.
const RETRY_AFTER_SECS: u64 = 10;
/// Who waited in vain is to be in line again before whoever has the turn is done and comes back.
const RETRY_AFTER_WAITING_SECS: u64 = 1;

/// One backtest at a time in this process, in the order in which callers came, and none beyond its end.
#[derive(Debug, Clone)]
pub(crate) struct Backtests {
    turn: Arc<Semaphore>,
    callers: Callers,
    pub(super) clock: Clock,
    pub(super) stop: CancellationToken,
}

/// Who has the turn or waits for it: each caller once.
type Callers = Arc<Mutex<BTreeSet<String>>>;

/// A caller's place among those who have the turn or wait for it.
#[derive(Debug)]
struct Place {
    callers: Callers,
    caller: String,
}

/// The right to work, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _place: Place,
}

impl Place {
    fn take(callers: &Callers, caller: &str) -> Result<Self, Busy> {
        let mut taken = callers.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains(caller) {
            return Err(Busy::Own);
        }
        // One of them has the turn.
        if taken.len() > WAITING_MAX {
            return Err(Busy::Full);
        }
        taken.insert(caller.to_owned());
        Ok(Self {
            callers: Arc::clone(callers),
            caller: caller.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.caller);
    }
}

impl Backtests {
    pub(crate) fn new(clock: Clock, stop: CancellationToken) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            callers: Callers::default(),
            clock,
            stop,
        }
    }

    /// Waits for this caller's turn, for a while.
    pub(super) async fn turn(&self, caller: &str) -> Result<Arc<Turn>, Error> {
        let place = Place::take(&self.callers, caller)?;
        let turn = Arc::clone(&self.turn).acquire_owned();
        let turn = tokio::time::timeout(TURN_TIMEOUT, turn);
        let turn = self.stop.run_until_cancelled(turn).await;
        let turn = turn.ok_or(Error::Stopping)?.map_err(|_| Busy::Long)?;
        Ok(Arc::new(Turn {
            _permit: turn.map_err(|_| Error::Stopping)?,
            _place: place,
        }))
    }
}

/// Why it is not this caller's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum Busy {
    #[error("a backtest of yours is under way or waits already: one at a time")]
    Own,
    #[error("too many callers wait for a backtest; try again in some seconds")]
    Full,
    #[error("another backtest is under way; try again in some seconds")]
    Long,
}

impl Busy {
    pub(super) fn retry_after_secs(self) -> u64 {
        match self {
            Self::Own | Self::Full => RETRY_AFTER_SECS,
            Self::Long => RETRY_AFTER_WAITING_SECS,
        }
    }
}

/// Does `work` where no webhook waits for the thread; the turn is kept until it is done.
pub(super) async fn on_a_thread<T: Send + 'static>(
    turn: Arc<Turn>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(Arc<Turn>, T), Error> {
    let done = spawn_blocking(move || {
        let done = work();
        (turn, done)
    });
    Ok(done.await.map_err(BacktestError::Broken)?)
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse as _;

    use super::*;

    fn backtests() -> Backtests {
        Backtests::new(Clock::system(), CancellationToken::new())
    }

    fn busy(turn: &Result<Arc<Turn>, Error>) -> (&'static str, u64) {
        let &Err(Error::Busy(busy)) = turn else {
            panic!("{turn:?}");
        };
        let response = Error::from(busy).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let after = response.headers().get(RETRY_AFTER).unwrap();
        let which = match busy {
            Busy::Own => "own",
            Busy::Full => "full",
            Busy::Long => "long",
        };
        (which, after.to_str().unwrap().parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_one_backtest_running_or_waiting() {
        let backtests = backtests();
        let first = backtests.turn("acme").await.unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(busy(&backtests.turn("acme").await), ("own", 10));
        let mut waiting = Box::pin(backtests.turn("globex"));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(busy(&backtests.turn("globex").await), ("own", 10));
        assert_eq!(began.elapsed(), Duration::ZERO);
        // Whoever does not wait any more has no place.
        drop(waiting);
        let mut waiting = Box::pin(backtests.turn("globex"));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(first);
        let second = waiting.await.unwrap();
        drop(second);
        assert!(backtests.turn("acme").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_have_their_turns_in_the_order_in_which_they_came_for_a_while() {
        let backtests = backtests();
        let first = backtests.turn("acme").await.unwrap();
        let mut waiting = Vec::new();
        for n in 0..WAITING_MAX {
            let backtests = backtests.clone();
            let mut turn = Box::pin(async move { backtests.turn(&format!("tenant-{n}")).await });
            assert!(futures_util::poll!(&mut turn).is_pending());
            waiting.push(turn);
        }
        assert_eq!(busy(&backtests.turn("one-more").await), ("full", 10));
        // The one that had the turn and comes again is behind those who wait.
        drop(first);
        let mut again = Box::pin(backtests.turn("acme"));
        assert!(futures_util::poll!(&mut again).is_pending());
        let second = waiting.remove(0).await.unwrap();
        assert_eq!(busy(&waiting.remove(0).await), ("long", 1));
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_while_quell_is_stopped() {
        let backtests = backtests();
        let _first = backtests.turn("acme").await.unwrap();
        backtests.stop.cancel();
        let stopped = backtests.turn("globex").await.unwrap_err();
        assert!(matches!(stopped, Error::Stopping));
    }

    #[tokio::test]
    async fn work_whose_client_is_gone_keeps_the_turn() {
        let backtests = backtests();
        let turn = backtests.turn("acme").await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let mut working = Box::pin(on_a_thread(turn, move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        assert!(futures_util::poll!(&mut working).is_pending());
        has_begun.await.unwrap();
        drop(working);
        assert_eq!(busy(&backtests.turn("acme").await), ("own", 10));
        let mut next = Box::pin(backtests.turn("globex"));
        assert!(futures_util::poll!(&mut next).is_pending());
        go_on.send(()).unwrap();
        assert!(next.await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_a_failure_of_ours_and_frees_the_turn() {
        let backtests = backtests();
        let turn = backtests.turn("acme").await.unwrap();
        let broken = on_a_thread(turn, || panic!("as a bug would")).await;
        let response = broken.unwrap_err().into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        let expected = r#"{"error":"the backtest was broken off","code":"BACKTEST_FAILED"}"#;
        assert_eq!(body, expected);
        assert!(backtests.turn("acme").await.is_ok());
    }
}
