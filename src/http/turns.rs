//! Whose turn it is, of callers who ask for what takes long: a few at a time, in the order in which
//! they came, and no caller takes the places of all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// How many take part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// So many have a turn at once.
    pub(super) at_once: usize,
    /// So many more wait, each with its request in memory.
    pub(super) waiting: usize,
    /// So many of these are one caller's.
    pub(super) of_one: usize,
    /// So long does one wait.
    pub(super) wait: Duration,
    /// When to come again, for whom there is no place.
    pub(super) retry_after_secs: u64,
}

/// Who waited in vain is to be in line again before whoever has the turn is done and comes back.
const RETRY_AFTER_WAITING_SECS: u64 = 1;

/// Turns, of one kind of work in this process.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    limits: Limits,
    free: Arc<Semaphore>,
    callers: Callers,
}

/// How many turns each caller has or waits for.
type Callers = Arc<Mutex<HashMap<String, usize>>>;

/// A caller's place among those who have a turn or wait for one.
#[derive(Debug)]
struct Place {
    callers: Callers,
    caller: String,
}

/// The right to work, until all of it is dropped.
#[derive(Debug, Clone)]
pub(super) struct Turn(
    #[expect(dead_code, reason = "it is held")] Arc<(OwnedSemaphorePermit, Place)>,
);

impl Turns {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            free: Arc::new(Semaphore::new(limits.at_once)),
            callers: Callers::default(),
        }
    }

    /// Waits for this caller's turn, for a while.
    pub(super) async fn turn(&self, caller: &str) -> Result<Turn, Busy> {
        let place = self.place(caller)?;
        let turn = Arc::clone(&self.free).acquire_owned();
        let turn = tokio::time::timeout(self.limits.wait, turn).await;
        // None closes it.
        let permit = turn.ok().and_then(Result::ok).ok_or(Busy::Long)?;
        Ok(Turn(Arc::new((permit, place))))
    }

    fn place(&self, caller: &str) -> Result<Place, Busy> {
        let Limits {
            at_once,
            waiting,
            of_one,
            retry_after_secs,
            ..
        } = self.limits;
        let mut taken = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if taken
            .get(caller)
            .is_some_and(|of_caller| *of_caller >= of_one)
        {
            return Err(Busy::Own {
                of_one,
                retry_after_secs,
            });
        }
        if taken.values().sum::<usize>() >= at_once + waiting {
            return Err(Busy::Full { retry_after_secs });
        }
        *taken.entry(caller.to_owned()).or_default() += 1;
        Ok(Place {
            callers: Arc::clone(&self.callers),
            caller: caller.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let left = taken.remove(&self.caller).unwrap_or_default();
        if let Some(left) = left.checked_sub(1).filter(|left| *left > 0) {
            taken.insert(std::mem::take(&mut self.caller), left);
        }
    }
}

/// Why it is not this caller's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Busy {
    /// Its own take all that may be one's.
    #[error("you have {of_one} of these under way or waiting; more come after that")]
    Own {
        of_one: usize,
        retry_after_secs: u64,
    },
    /// All places are taken.
    #[error("too many callers wait for this; try again in some seconds")]
    Full { retry_after_secs: u64 },
    /// It has waited long enough.
    #[error("others are at it still; try again in some seconds")]
    Long,
}

impl Busy {
    pub(super) fn response(self, code: &'static str) -> Response {
        let after = match self {
            Self::Own {
                retry_after_secs, ..
            }
            | Self::Full { retry_after_secs } => retry_after_secs,
            Self::Long => RETRY_AFTER_WAITING_SECS,
        };
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, self.to_string());
        let mut response = problem.into_response();
        let after = HeaderValue::from(after);
        response.headers_mut().insert(RETRY_AFTER, after);
        response
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;
    use crate::threads::spawn_blocking_holding;

    const RETRY_AFTER_SECS: u64 = 10;
    const OWN: Busy = Busy::Own {
        of_one: 2,
        retry_after_secs: RETRY_AFTER_SECS,
    };
    const FULL: Busy = Busy::Full {
        retry_after_secs: RETRY_AFTER_SECS,
    };

    fn turns() -> Turns {
        Turns::new(Limits {
            at_once: 1,
            waiting: 3,
            of_one: 2,
            wait: Duration::from_secs(5),
            retry_after_secs: RETRY_AFTER_SECS,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_takes_no_more_than_its_places() {
        let turns = turns();
        let first = turns.turn("acme").await.unwrap();
        let mut waiting = Box::pin(turns.turn("acme"));
        assert!(poll!(&mut waiting).is_pending());
        let began = tokio::time::Instant::now();
        assert_eq!(turns.turn("acme").await.unwrap_err(), OWN);
        assert_eq!(began.elapsed(), Duration::ZERO);
        let mut other = Box::pin(turns.turn("globex"));
        assert!(poll!(&mut other).is_pending());
        // Whoever does not wait any more has no place.
        drop(waiting);
        let mut waiting = Box::pin(turns.turn("acme"));
        assert!(poll!(&mut waiting).is_pending());
        drop(first);
        drop(other.await.unwrap());
        drop(waiting.await.unwrap());
        assert!(turns.callers.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn callers_have_their_turns_in_the_order_in_which_they_came_for_a_while() {
        let turns = turns();
        let first = turns.turn("acme").await.unwrap();
        let mut waiting: Vec<_> = ["a", "b", "c"]
            .map(|caller| Box::pin(turns.turn(caller)))
            .into();
        for turn in &mut waiting {
            assert!(poll!(turn).is_pending());
        }
        // Who comes now is told so at once.
        assert_eq!(turns.turn("one-more").await.unwrap_err(), FULL);
        // The one that had the turn and comes again is behind those who wait.
        drop(first);
        let mut again = Box::pin(turns.turn("acme"));
        assert!(poll!(&mut again).is_pending());
        let second = waiting.remove(0).await.unwrap();
        assert_eq!(waiting.remove(0).await.unwrap_err(), Busy::Long);
        drop(second);
    }

    #[tokio::test]
    async fn work_whose_client_is_gone_keeps_the_turn() {
        let turns = turns();
        let turn = turns.turn("acme").await.unwrap();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let mut working = Box::pin(spawn_blocking_holding(&turn, move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        assert!(poll!(&mut working).is_pending());
        has_begun.await.unwrap();
        drop(working);
        drop(turn);
        let mut next = Box::pin(turns.turn("globex"));
        assert!(poll!(&mut next).is_pending());
        go_on.send(()).unwrap();
        assert!(next.await.is_ok());
    }

    #[tokio::test]
    async fn who_is_refused_is_told_when_to_come_again() {
        for (busy, after) in [(OWN, "10"), (FULL, "10"), (Busy::Long, "1")] {
            let response = busy.response("SOME_BUSY");
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), after);
        }
    }
}
