//! `POST /v1/plan`: which live tracks in the caller's rooms a draft would silence, before anything is written.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admission;
use super::auth::{AuthError, Scope};
use super::draft::draft;
use super::problem::{Problem, chain};
use super::request::{ApiRequest, OwnerParam, check_json};
use super::state::AppState;
use crate::plan::{self, PlanError, PlanRequest};

const BODY_BYTES_MAX: usize = 1 << 20;
const TIME_MAX: Duration = Duration::from_secs(20);

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Draft(error) => error.into(),
            PlanError::LiveKit(error) => error.into(),
            PlanError::Database(error) => error.into(),
            PlanError::Broken(_) => failed(&chain(&error)),
        }
    }
}

fn failed(cause: &str) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "PLAN_FAILED", "the plan was broken off").because(cause)
}

/// The body of a request; the draft as at `/v1/backtest`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanBody {
    #[serde(default)]
    policies: Vec<Box<RawValue>>,
    #[serde(default)]
    without: Vec<String>,
    #[serde(default)]
    alone: bool,
    after: Option<String>,
}

pub(super) async fn handler(
    State(state): State<AppState>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let scope = Scope::PoliciesRead;
    let request = ApiRequest::read_up_to(&state, request, owner, scope, BODY_BYTES_MAX).await?;
    // It shows who is in a room, as a moderator sees it.
    if !request.caller.has(Scope::Mute) {
        return Err(AuthError::Forbidden(Scope::Mute).into());
    }
    check_json(&request.parts.headers)?;
    let sweeper = state.sweeper.clone();
    let sweeper = sweeper.ok_or_else(Problem::livekit_not_configured)?;
    let (pool, stop, now) = (state.pool.clone(), state.stop.clone(), state.clock.now());
    let caller = request.caller_id.as_str();
    let slot = state.queues.plan.admit_until(&stop, caller).await?;
    let parse = move || plan_request(request);
    admission::answer(slot, failed, parse, async |slot, (request, warnings)| {
        let making = plan::make(slot, &pool, sweeper.reader(), request, now);
        let made = stop.run_until_cancelled(Box::pin(making)).await;
        let mut plan = made.ok_or_else(Problem::stopping)??;
        plan.warnings.extend(warnings);
        Ok(plan)
    })
    .await
}

fn plan_request(request: ApiRequest) -> Result<(PlanRequest, Vec<String>), Problem> {
    let body: PlanBody = serde_json::from_slice(&request.body.bytes)
        .map_err(|error| Problem::invalid_request(format!("the body cannot be read: {error}")))?;
    let (draft, warnings) = draft(&body.policies, body.without, body.alone, &request.owner)?;
    let viewer = request.principal.viewer();
    let plan_request = PlanRequest {
        draft: Some(draft),
        tenant: request.owner.into(),
        room: None,
        after: body.after,
        viewer,
        time_max: TIME_MAX,
    };
    Ok((plan_request, warnings))
}
