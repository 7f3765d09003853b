//! A request to `/v1`, read whole: its caller, the owner that it means, and its body.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request};
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::http::request::Parts;
use serde::Deserialize;

use super::auth::{AuthRequest, Caller, Scope, WITHOUT_ID};
use super::body::{BodyError, RequestBody, WholeBody};
use super::caller_limits::Turn;
use super::connection_io::UntilWritten;
use super::problem::Problem;
use super::state::AppState;
use crate::access::Principal;
use quell_policy::{Owner, TenantId};

/// One policy; a file of many may have more.
const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnerQuery {
    pub(super) owner: Option<String>,
}

/// `?owner=`. Only an operator may name an owner other than itself.
pub(super) type OwnerParam = Result<Query<OwnerQuery>, QueryRejection>;

/// A request whose caller is known and has the scope that it takes.
pub(super) struct ApiRequest {
    pub(super) parts: Parts,
    pub(super) body: WholeBody,
    /// Who asks.
    pub(super) principal: Principal,
    pub(super) caller: Caller,
    pub(super) caller_id: TenantId,
    /// Whose policies are meant: the caller's, or those of the owner that an operator names.
    pub(super) owner: Owner,
    /// Where no connection keeps it until the answer is written.
    _turn: Option<Turn>,
}

impl ApiRequest {
    /// Reads a request whose body holds one policy at most.
    pub(super) async fn read(
        state: &AppState,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
    ) -> Result<Self, Problem> {
        Self::read_up_to(state, request, owner, scope, BODY_BYTES_MAX).await
    }

    /// The same, with a body of at most `bytes_max` bytes.
    pub(super) async fn read_up_to(
        state: &AppState,
        request: Request,
        owner: OwnerParam,
        scope: Scope,
        bytes_max: usize,
    ) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = RequestBody::new(body, bytes_max, state.body_bytes.reservation());
        let caller = state
            .authenticator
            .caller_of_api(
                &AuthRequest {
                    headers: &parts.headers,
                    method: &parts.method,
                    path: parts.uri.path(),
                    // `?api_key=` is for the mute endpoint only.
                    api_key: None,
                    body: &body,
                },
                scope,
            )
            .await?;
        let caller_id = caller.id().cloned().ok_or(WITHOUT_ID)?;
        let mut turn = Some(state.requests.enter(Some(caller_id.as_str()))?);
        // Answers can be large, and clients slow.
        if let Some(written) = parts.extensions.get::<UntilWritten>() {
            written.keep(turn.take());
        }
        let body = body.whole().await?;
        let principal = Principal::Caller {
            id: caller_id.clone(),
            is_operator: caller.is_operator(),
        };
        let owner = principal.owner(named_owner(owner)?);
        let owner = owner.ok_or_else(other_owner)?;
        Ok(Self {
            parts,
            body,
            principal,
            caller,
            caller_id,
            owner,
            _turn: turn,
        })
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::TooLarge { .. } => Self::payload_too_large(text),
            BodyError::Slow | BodyError::Broken => Self::invalid_request(text),
            BodyError::NoRoom => Self::unavailable(text),
        }
    }
}

pub(super) fn other_owner() -> Problem {
    Problem::forbidden("only an operator may name another owner than itself")
}

/// Refuses a body whose content type is not JSON.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type.unwrap_or_default().split(';').next();
    if essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json")) {
        Ok(())
    } else {
        Err(Problem::invalid_request(
            "the content type must be application/json: send the header Content-Type: application/json",
        ))
    }
}

fn named_owner(owner: OwnerParam) -> Result<Owner, Problem> {
    let Query(query) = owner.map_err(|error| Problem::invalid_request(error.body_text()))?;
    Owner::try_from(query.owner).map_err(|why| {
        Problem::invalid_request(format!(
            "`owner` {why}: name a tenant, or leave it out to mean the operator"
        ))
    })
}
