//! `POST /v1/backtest`: what a draft would have done with the tracks in the caller's rooms.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use super::auth::Scope;
use super::mute::check_json;
use super::policies::{self, Asked, OwnerParam};
use super::problem::{Problem, chain};
use super::turns::{Busy, Limits, Turns};
use crate::app::App;
use crate::backtest::{
    self, BacktestError, Cursor, Draft, DraftError, Pace, Question, Range, RangeError,
    SAMPLES_DEFAULT, SINCE_DEFAULT,
};
use crate::threads::apart;
use quell_clock::Clock;
use quell_policy::limits::POLICIES_MAX;
use quell_policy::problem::PROBLEMS_MAX;
use quell_policy::{Policy, PolicyKey, Problems};

const BODY_BYTES_MAX: usize = 1 << 20;
/// So many samples of each kind of change: an answer stays below a megabyte.
const SAMPLES_MAX: usize = 100;
const PACE: Pace = Pace::Gentle {
    tracks_max: 200_000,
    time_max: Duration::from_secs(20),
};
/// One at a time in this process, one of each caller, and none beyond the end.
const LIMITS: Limits = Limits {
    at_once: 1,
    waiting: 4,
    of_one: 1,
    wait: Duration::from_secs(5),
    // Half of what one may take.
    retry_after_secs: 10,
};

/// What backtests need of the process.
#[derive(Debug, Clone)]
pub(crate) struct Backtests {
    turns: Turns,
    clock: Clock,
    stop: CancellationToken,
}

impl Backtests {
    pub(crate) fn new(clock: Clock, stop: CancellationToken) -> Self {
        Self {
            turns: Turns::new(LIMITS),
            clock,
            stop,
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
            Self::Busy(busy) => return busy.response("BACKTEST_BUSY"),
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
            let text = "a stored policy cannot be read by this version";
            Problem::unavailable(text).because(chain(error))
        }
        BacktestError::Draft(error) => Problem::invalid_request(error.to_string()),
        BacktestError::NoEvents(text) => Problem::new(StatusCode::NOT_FOUND, "NO_EVENTS", text),
        BacktestError::Database(_) => {
            Problem::unavailable("the database does not answer").because(chain(error))
        }
        BacktestError::Broken(_) => {
            let failed = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(failed, "BACKTEST_FAILED", "the backtest was broken off")
                .because(chain(error))
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
    let Backtests { turns, clock, stop } = app.backtests.clone();
    let turn = stop.run_until_cancelled(turns.turn(caller)).await;
    let turn = turn.ok_or(Error::Stopping)??;
    let checked = apart(&turn, move || question(&asked, &clock)).await;
    let (question, warnings) = checked.map_err(BacktestError::Broken)??;
    // Work that goes on where its client is gone keeps the turn.
    let running = Box::pin(backtest::run_holding(
        turn,
        &app.pool,
        question,
        PACE,
        |_| (),
    ));
    let done = stop.run_until_cancelled(running).await;
    let mut report = done.ok_or(Error::Stopping)??;
    report.warnings = warnings;
    Ok(Json(report).into_response())
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
        let located = |mut problem: quell_policy::Problem| {
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

    #[tokio::test]
    async fn a_panic_is_a_failure_of_ours_and_frees_the_turn() {
        let turns = Turns::new(LIMITS);
        let turn = turns.turn("acme").await.unwrap();
        let broken = apart(&turn, || panic!("as a bug would")).await;
        let broken = broken.unwrap_err();
        drop(turn);
        let response = Error::from(BacktestError::Broken(broken)).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        let expected = r#"{"error":"the backtest was broken off","code":"BACKTEST_FAILED"}"#;
        assert_eq!(body, expected);
        assert!(turns.turn("acme").await.is_ok());
    }
}
