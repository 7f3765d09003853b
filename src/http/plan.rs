//! `POST /v1/plan`: which live tracks in the caller's rooms a draft would silence, before anything is written.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admission;
use super::auth::{AuthError, Scope};
use super::codes;
use super::draft::draft;
use super::openapi::{Operation, Schemas};
use super::problem::{Problem, chain};
use super::request::{ApiRequest, OwnerParam, OwnerQuery, read_json};
use super::state::AppState;
use crate::plan::{self, Plan, PlanError, PlanRequest};
use quell_policy::Policy;

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
    Problem::new(codes::PLAN_FAILED, "the plan was broken off").because(cause)
}

/// What would be changed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PlanDraft")]
struct PlanBody {
    /// Policies that would be written.
    #[serde(default)]
    #[schemars(with = "Vec<Policy>")]
    policies: Vec<Value>,
    /// Names of policies that would be deleted.
    #[serde(default)]
    without: Vec<String>,
    /// Whether all other stored policies would be deleted.
    #[serde(default)]
    alone: bool,
    /// `next` of the answer before.
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

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<PlanBody>();
    let asked = json!({
        "policies": [{"name": "quiet", "match": {"room": "webinar-*"}, "effect": "mute"}],
    });
    let example = json!({
        "at": "2026-03-02T12:00:00Z",
        "policies": [{"owner": "acme", "name": "quiet", "change": "created", "effect": "mute", "mode": "enforce"}],
        "counts": {
            "rooms": 12, "would_silence": 1, "no_longer_forbidden": 0, "stays_silent": 0, "let_speak": 0,
            "undecided": 0, "failed": 0, "skipped": 0,
        },
        "is_whole": true,
        "rooms": [{"room": "webinar-1", "room_sid": "RM_x", "would_silence": [{
            "identity": "ann", "track_sid": "TR_x", "source": "MICROPHONE", "muted": false,
            "policy": {"owner": "acme", "name": "quiet"},
        }]}],
    });
    Operation::of_caller(
        Scope::PoliciesRead,
        "questions",
        "plan",
        "Which live tracks a draft would silence",
    )
    .text("It shows who is in a room, and needs the scope `mute` as well. Nothing is written.")
    .query::<OwnerQuery>(schemas)
    .body(&body, &[("one more policy", asked)])
    .answer::<Plan>(
        schemas,
        StatusCode::OK,
        "What would change, room by room.",
        &example,
    )
    .errors(&[
        codes::INVALID_POLICY,
        codes::PLAN_BUSY,
        codes::PLANS_BUSY,
        codes::PLAN_FAILED,
        codes::LIVEKIT_FAILED,
        codes::LIVEKIT_UNAVAILABLE,
        codes::LIVEKIT_NOT_CONFIGURED,
    ])
}

fn plan_request(request: ApiRequest) -> Result<(PlanRequest, Vec<String>), Problem> {
    let body: PlanBody = read_json(&request.parts.headers, &request.body.bytes)?;
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
