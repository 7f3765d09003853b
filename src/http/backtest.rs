//! `POST /v1/backtest`: what a draft would have done with the tracks in the caller's rooms.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admission;
use super::auth::Scope;
use super::codes;
use super::draft::draft;
use super::openapi::{Operation, Schemas};
use super::problem::{Problem, chain};
use super::request::{ApiRequest, OwnerParam, OwnerQuery, read_json};
use super::state::AppState;
use crate::backtest::{
    self, BacktestError, BacktestRequest, Cursor, Pace, Report, SAMPLES_DEFAULT, SINCE_DEFAULT,
    TimeRange, TimeRangeError,
};
use quell_clock::Clock;
use quell_policy::Policy;

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
            BacktestError::NoEvents(text) => Self::new(codes::NO_EVENTS, text),
            BacktestError::Database(error) => error.into(),
            BacktestError::Broken(_) => failed(&chain(&error)),
        }
    }
}

fn failed(cause: &str) -> Problem {
    Problem::new(codes::BACKTEST_FAILED, "the backtest was broken off").because(cause)
}

impl From<TimeRangeError> for Problem {
    fn from(error: TimeRangeError) -> Self {
        Self::invalid_request(error.to_string())
    }
}

/// What would have been changed, and when.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BacktestDraft")]
struct BacktestBody {
    /// Policies that would have been written.
    #[serde(default)]
    #[schemars(with = "Vec<Policy>")]
    policies: Vec<Value>,
    /// Names of policies that would have been deleted.
    #[serde(default)]
    without: Vec<String>,
    /// Whether all other stored policies would have been deleted.
    #[serde(default)]
    alone: bool,
    /// How long ago it begins (`7d`, `36h`, `1d12h`), or when (`2026-03-01`, `2026-03-01T12:00:00Z`).
    since: Option<String>,
    /// The same for its end.
    until: Option<String>,
    /// `truncated.next` of the answer before, in place of `since`.
    after: Option<String>,
    /// The most example tracks of each kind of change.
    #[schemars(range(max = SAMPLES_MAX))]
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

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<BacktestBody>();
    let asked = json!({
        "since": "7d",
        "policies": [{"name": "quiet", "match": {"room": "webinar-*"}, "effect": "mute"}],
    });
    let example = serde_json::from_str(include_str!("openapi/backtest.json")).unwrap_or_default();
    Operation::of_caller(
        Scope::PoliciesRead,
        "questions",
        "backtest",
        "What a draft would have done with tracks that were published",
    )
    .text("Beside what is stored now, on the recorded facts. Nothing is written.")
    .query::<OwnerQuery>(schemas)
    .body(&body, &[("one more policy", asked)])
    .answer::<Report>(
        schemas,
        StatusCode::OK,
        "Counts, and some tracks of each kind.",
        &example,
    )
    .errors(&[
        codes::INVALID_POLICY,
        codes::NO_EVENTS,
        codes::BACKTEST_BUSY,
        codes::BACKTESTS_BUSY,
        codes::BACKTEST_FAILED,
    ])
}

fn backtest_request(
    request: &ApiRequest,
    clock: &Clock,
) -> Result<(BacktestRequest, Vec<String>), Problem> {
    let body: BacktestBody = read_json(&request.parts.headers, &request.body.bytes)?;
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
    use axum::http::StatusCode;
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
