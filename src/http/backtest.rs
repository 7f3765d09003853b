//! `POST /v1/backtest`: what a draft would have done with the tracks in the caller's rooms.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::auth::Scope;
use super::mute::check_json;
use super::policies::{self, Asked, OwnerParam};
use super::problem::Problem;
use crate::app::App;
use crate::backtest::{
    self, BacktestError, Cursor, Draft, DraftError, Pace, Question, Range, RangeError,
    SAMPLES_DEFAULT, SINCE_DEFAULT,
};
use crate::clock::Clock;
use crate::policy::document::POLICIES_MAX;
use crate::policy::problem::PROBLEMS_MAX;
use crate::policy::{Policy, PolicyKey, Problems};

const BODY_BYTES_MAX: usize = 1 << 20;
/// So many samples of each kind of change: an answer stays below a megabyte.
const SAMPLES_MAX: usize = 100;
const PACE: Pace = Pace::Gentle {
    tracks_max: 200_000,
    time_max: Duration::from_secs(20),
};
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
    clock: Clock,
    stop: CancellationToken,
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
struct Turn {
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
    async fn turn(&self, caller: &str) -> Result<Arc<Turn>, Error> {
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
pub(super) enum Busy {
    #[error("a backtest of yours is under way or waits already: one at a time")]
    Own,
    #[error("too many callers wait for a backtest; try again in some seconds")]
    Full,
    #[error("another backtest is under way; try again in some seconds")]
    Long,
}

impl Busy {
    fn retry_after_secs(self) -> u64 {
        match self {
            Self::Own | Self::Full => RETRY_AFTER_SECS,
            Self::Long => RETRY_AFTER_WAITING_SECS,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Asked(#[from] policies::Error),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Range(#[from] RangeError),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("quell is being stopped")]
    Stopping,
    #[error(transparent)]
    Backtest(#[from] BacktestError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let problem = match self {
            Self::Asked(error) => return error.into_response(),
            Self::Invalid(_) | Self::Range(_) => Problem::invalid_request(text),
            Self::Busy(busy) => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "BACKTEST_BUSY", text);
                let mut response = problem.into_response();
                let after = HeaderValue::from(busy.retry_after_secs());
                response.headers_mut().insert(RETRY_AFTER, after);
                return response;
            }
            Self::Stopping => Problem::unavailable(text),
            Self::Backtest(error) => of_backtest(&error),
        };
        problem.into_response()
    }
}

fn of_backtest(error: &BacktestError) -> Problem {
    match error {
        // What is wrong with it may be another's.
        BacktestError::Draft(DraftError::Unreadable(..)) => {
            tracing::error!(%error, "a backtest is not possible");
            Problem::unavailable("a stored policy cannot be read by this version")
        }
        BacktestError::Draft(error) => Problem::invalid_request(error.to_string()),
        BacktestError::NoEvents(text) => Problem::new(StatusCode::NOT_FOUND, "NO_EVENTS", text),
        BacktestError::Database(_) => {
            tracing::error!(%error, "a backtest failed");
            Problem::unavailable("the database does not answer")
        }
        BacktestError::Broken(_) => {
            tracing::error!(%error, "a backtest was broken off");
            let failed = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(failed, "BACKTEST_FAILED", "the backtest was broken off")
        }
    }
}

/// The body of a request; `policies` as at `/v1/policies`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    policies: Vec<Box<RawValue>>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    alone: bool,
    since: Option<String>,
    until: Option<String>,
    after: Option<String>,
    samples: Option<usize>,
}

pub(super) async fn handler(
    State(app): State<App>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Error> {
    let scope = Scope::PoliciesRead;
    let asked = Asked::read_up_to(&app, request, owner, scope, BODY_BYTES_MAX).await?;
    // Before the policies are checked: thousands of them take their time.
    let caller = asked.caller.id().unwrap_or_default();
    let turn = app.backtests.turn(caller).await?;
    let clock = app.backtests.clock.clone();
    let checked = on_a_thread(turn, move || question(&asked, &clock)).await?;
    let (turn, (question, warnings)) = (checked.0, checked.1?);
    // Work that goes on where its client is gone keeps the turn.
    let running = Box::pin(backtest::run_holding(
        turn,
        &app.pool,
        question,
        PACE,
        |_| (),
    ));
    let done = app.backtests.stop.run_until_cancelled(running).await;
    let mut report = done.ok_or(Error::Stopping)??;
    report.warnings = warnings;
    Ok(Json(report).into_response())
}

/// Does `work` where no webhook waits for the thread; the turn is kept until it is done.
async fn on_a_thread<T: Send + 'static>(
    turn: Arc<Turn>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(Arc<Turn>, T), Error> {
    let done = spawn_blocking(move || {
        let done = work();
        (turn, done)
    });
    Ok(done.await.map_err(BacktestError::Broken)?)
}

fn question(asked: &Asked, clock: &Clock) -> Result<(Question, Vec<String>), Error> {
    check_json(&asked.parts.headers).map_err(Error::Invalid)?;
    let is_tenants_own = !asked.caller.is_operator();
    if is_tenants_own && asked.owner.is_none() {
        // None is all rooms, and those are an operator's to see.
        return Err(policies::Error::OtherOwner.into());
    }
    let body: Body = serde_json::from_slice(&asked.body)
        .map_err(|error| Error::Invalid(format!("the body cannot be read: {error}")))?;
    let samples_max = body.samples.unwrap_or(SAMPLES_DEFAULT);
    if samples_max > SAMPLES_MAX {
        return Err(Error::Invalid(format!(
            "`samples` is at most {SAMPLES_MAX}"
        )));
    }
    if body.alone && (body.policies.is_empty() || !body.without.is_empty()) {
        return Err(Error::Invalid(
            "`alone` is for `policies`, and leaves nothing for `without`".to_owned(),
        ));
    }
    let after = match (&body.after, &body.since) {
        (Some(_), Some(_)) => {
            return Err(Error::Invalid(
                "`after` says from when on: leave `since` out".to_owned(),
            ));
        }
        (Some(after), None) => {
            let after: Result<Cursor, _> = after.parse();
            Some(after.map_err(|error| Error::Invalid(error.to_string()))?)
        }
        (None, _) => None,
    };
    let (until, now) = (body.until.as_deref(), clock.now());
    let range = match &after {
        Some(after) => Range::since(after.at(), until, now)?,
        None => Range::read(body.since.as_deref().unwrap_or(SINCE_DEFAULT), until, now)?,
    };
    let (policies, warnings) = drafted(&body.policies, asked.owner())?;
    let without = body.without.into_iter().map(|name| PolicyKey {
        owner: asked.owner.clone(),
        name,
    });
    let question = Question {
        draft: Draft {
            policies,
            without: without.collect(),
            alone: body.alone,
        },
        range,
        after,
        tenant: asked.owner.clone(),
        is_tenants_own,
        samples_max,
    };
    Ok((question, warnings))
}

/// The policies of a body, or everything that is wrong with any of them.
fn drafted(
    texts: &[Box<RawValue>],
    owner: Option<&str>,
) -> Result<(Vec<Policy>, Vec<String>), Error> {
    if texts.len() > POLICIES_MAX {
        return Err(Error::Invalid(format!(
            "`policies` holds at most {POLICIES_MAX}"
        )));
    }
    let (mut policies, mut warnings) = (Vec::new(), Vec::new());
    let mut refused = Problems {
        problems: Vec::new(),
        left_off: 0,
    };
    for (index, text) in texts.iter().enumerate() {
        let located = |mut problem: crate::policy::Problem| {
            let dot = if problem.path.is_empty() { "" } else { "." };
            problem.path = format!("policies[{index}]{dot}{}", problem.path);
            problem
        };
        match Policy::from_json(text.get().as_bytes(), owner) {
            Ok(checked) => {
                policies.push(checked.value);
                let doubts = checked.warnings.into_iter().map(located);
                warnings.extend(doubts.map(|warning| warning.to_string()));
            }
            Err(problems) => {
                refused.left_off += problems.left_off;
                refused
                    .problems
                    .extend(problems.problems.into_iter().map(located));
            }
        }
    }
    if refused.problems.is_empty() {
        return Ok((policies, warnings));
    }
    refused.left_off += refused.problems.len().saturating_sub(PROBLEMS_MAX);
    refused.problems.truncate(PROBLEMS_MAX);
    Err(policies::Error::Policy(refused).into())
}

#[cfg(test)]
mod tests {
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
