//! `POST /v1/backtest`: what a draft would have done with the tracks in the caller's rooms.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admission;
use super::auth::Scope;
use super::draft::draft;
use super::problem::{Problem, chain};
use super::request::{ApiRequest, OwnerParam, check_json};
use super::state::AppState;
use crate::backtest::{
    self, BacktestError, BacktestRequest, Cursor, Pace, SAMPLES_DEFAULT, SINCE_DEFAULT, TimeRange,
    TimeRangeError,
};
use quell_clock::Clock;
const BODY_BYTES_MAX: usize = 1 << 20;
/// Samples of each kind of change: an answer stays below a megabyte.
const SAMPLES_MAX: usize = 100;
const PACE: Pace = Pace::Gentle {
    tracks_max: 200_000,
    time_max: Duration::from_secs(20),
};

impl From<BacktestError> for Problem {
    fn from(error: BacktestError) -> Self {
        match error {
            BacktestError::Draft(error) => error.into(),
            BacktestError::NoEvents(text) => Self::new(StatusCode::NOT_FOUND, "NO_EVENTS", text),
            BacktestError::Database(error) => error.into(),
            BacktestError::Broken(_) => failed(&chain(&error)),
        }
    }
}

fn failed(cause: &str) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "BACKTEST_FAILED", "the backtest was broken off").because(cause)
}

impl From<TimeRangeError> for Problem {
    fn from(error: TimeRangeError) -> Self {
        Self::invalid_request(error.to_string())
    }
}

/// The body of a request; `policies` as at `/v1/policies`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BacktestBody {
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
    State(state): State<AppState>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let (pool, clock, stop) = (state.pool.clone(), state.clock.clone(), state.stop.clone());
    let scope = Scope::PoliciesRead;
    let request = ApiRequest::read_up_to(&state, request, owner, scope, BODY_BYTES_MAX).await?;
    let caller = request.caller_id.as_str();
    let slot = state.queues.backtest.admit_until(&stop, caller).await?;
    let parse = move || backtest_request(&request, &clock);
    admission::answer(
        slot,
        failed,
        parse,
        async |slot, (backtest_request, warnings)| {
            // Dropped, because the client is gone or the server stops, it ends soon.
            let running = backtest::run_holding(slot, &pool, backtest_request, PACE, |_| ());
            let done = stop.run_until_cancelled(Box::pin(running)).await;
            let mut report = done.ok_or_else(Problem::stopping)??;
            report.warnings.extend(warnings);
            Ok(report)
        },
    )
    .await
}

fn backtest_request(
    request: &ApiRequest,
    clock: &Clock,
) -> Result<(BacktestRequest, Vec<String>), Problem> {
    check_json(&request.parts.headers)?;
    let body: BacktestBody = serde_json::from_slice(&request.body.bytes)
        .map_err(|error| Problem::invalid_request(format!("the body cannot be read: {error}")))?;
    let samples_max = body.samples.unwrap_or(SAMPLES_DEFAULT);
    if samples_max > SAMPLES_MAX {
        return Err(Problem::invalid_request(format!(
            "`samples` is at most {SAMPLES_MAX}"
        )));
    }
    let after = match (&body.after, &body.since) {
        (Some(_), Some(_)) => {
            return Err(Problem::invalid_request(
                "`after` says from when on: leave `since` out",
            ));
        }
        (Some(after), None) => {
            let after: Result<Cursor, _> = after.parse();
            Some(after.map_err(|error| Problem::invalid_request(error.to_string()))?)
        }
        (None, _) => None,
    };
    let (until, now) = (body.until.as_deref(), clock.now());
    let range = match &after {
        Some(after) => TimeRange::since(after.at(), until, now)?,
        None => TimeRange::read(body.since.as_deref().unwrap_or(SINCE_DEFAULT), until, now)?,
    };
    let (draft, warnings) = draft(&body.policies, body.without, body.alone, &request.owner)?;
    let backtest_request = BacktestRequest {
        draft,
        range,
        after,
        tenant: request.owner.clone().into(),
        viewer: request.principal.viewer(),
        samples_max,
    };
    Ok((backtest_request, warnings))
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_failure_of_ours() {
        let panicked = tokio::task::spawn_blocking(|| panic!("as a bug would")).await;
        let error = BacktestError::Broken(panicked.unwrap_err());
        let response = Problem::from(error).into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1_000)
            .await
            .unwrap();
        let expected = r#"{"error":"the backtest was broken off","code":"BACKTEST_FAILED"}"#;
        assert_eq!(body, expected);
    }
}
