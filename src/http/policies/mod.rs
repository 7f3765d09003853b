//! `/v1/policies`: the caller's stored policies; an operator names another owner by `?owner=`.
//!
//! A policy's `ETag` is its revision. A change of what is there says which revision it was made
//! from (`If-Match`, RFC 9110), so that nobody overwrites what they have not seen.

pub(super) mod operations;
mod request;
pub(super) mod revisions;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::auth::Scope;
use super::codes;
use super::cursor;
use super::precondition;
use super::problem::Problem;
use super::request::{ApiRequest, NamesTenant, OwnerParam, QueryParam, page_limit};
use super::state::AppState;
use crate::audit::StillMuted;
use crate::policy_store::{self, After, ChangeError, ExpectedRevision, PAGE_MAX, PolicyRecord};
use quell_policy::{Owner, Policy, Problems, TenantId};
use request::{NameParam, stored_name};

impl From<Problems> for Problem {
    fn from(error: Problems) -> Self {
        Self::new(codes::INVALID_POLICY, error.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Exists(_) => Self::new(codes::POLICY_EXISTS, text),
            ChangeError::TooMany | ChangeError::TooMuch | ChangeError::TooMuchInAll(_) => {
                Self::new(codes::TOO_MANY_POLICIES, text)
            }
            ChangeError::TooMuchTextWork(_) => Self::new(codes::TOO_MUCH_TEXT_WORK, text),
            ChangeError::Missing | ChangeError::Stale(_) | ChangeError::PlanStale => {
                Self::new(codes::PRECONDITION_FAILED, text)
            }
            ChangeError::Database(error) => error.into(),
        }
    }
}

fn not_found() -> Problem {
    Problem::new(codes::POLICY_NOT_FOUND, "there is no policy of this name")
}

fn no_precondition() -> Problem {
    Problem::new(
        codes::PRECONDITION_REQUIRED,
        "the policy is there already: send If-Match with the ETag of the revision that you change, or * for any",
    )
}

/// A stored policy.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoredPolicy")]
pub(crate) struct PolicyResponse<D = Value> {
    /// Whose it is: a tenant, or null for the operator.
    owner: Owner,
    /// Its name, unique for its owner.
    name: String,
    /// How often it was written.
    revision: i32,
    /// What it was written by last: `apply` (files) or `rest`.
    managed_by: String,
    /// When it was written last.
    #[schemars(with = "DateTime<Utc>")]
    updated_at: String,
    /// Who wrote it last.
    updated_by: String,
    /// The policy itself, with its defaults filled in.
    #[schemars(with = "Policy")]
    policy: D,
    /// What may be a mistake in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    /// After a rollback: who was muted by the policy stays so.
    #[serde(skip_serializing_if = "Option::is_none")]
    still_muted: Option<StillMuted>,
}

impl<D: Serialize> PolicyResponse<D> {
    pub(crate) fn new(stored: PolicyRecord<D>, warnings: Vec<String>) -> Self {
        Self {
            owner: stored.owner,
            name: stored.name,
            revision: stored.revision,
            managed_by: stored.managed_by,
            updated_at: stored.updated_at.to_rfc3339(),
            updated_by: stored.updated_by,
            policy: stored.document,
            warnings,
            still_muted: None,
        }
    }

    fn into_response(self, status: StatusCode) -> Response {
        let etag = format!("\"{}\"", self.revision);
        (status, [(ETAG, etag)], Json(self)).into_response()
    }
}

/// The status of an answer that shows the policy after a change.
const fn status_of(outcome: policy_store::ChangeOutcome) -> StatusCode {
    match outcome {
        policy_store::ChangeOutcome::Created => StatusCode::CREATED,
        policy_store::ChangeOutcome::Updated
        | policy_store::ChangeOutcome::Unchanged
        | policy_store::ChangeOutcome::Deleted => StatusCode::OK,
    }
}

/// Which policies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// A tenant. Only an operator may name another than itself.
    #[schemars(with = "Option<TenantId>")]
    owner: Option<String>,
    /// The most policies of a page.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl NamesTenant for ListQuery {
    fn named(&self) -> (&'static str, Option<&str>) {
        ("owner", self.owner.as_deref())
    }
}

/// A page of policies.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PolicyPage")]
struct ListResponse {
    /// The policies, by owner and name.
    policies: Vec<PolicyResponse<Box<RawValue>>>,
    /// What `cursor` has to be for the next page; none where this is the last.
    next_cursor: Option<String>,
}

pub(super) async fn list(
    State(state): State<AppState>,
    query: QueryParam<ListQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let scope = Scope::PoliciesRead;
    let (request, query) = ApiRequest::read_query(&state, request, query, scope).await?;
    let limit = page_limit(query.limit, PAGE_MAX, PAGE_MAX, "cursor")?;
    let after: Option<After> = query.cursor.as_deref().map(cursor::read).transpose()?;
    // Only an operator comes to mean `Operator`, and then sees all.
    let filter = request.owner.tenant().map(|_| &request.owner);
    let page = policy_store::page(&state.pool, filter, after.as_ref(), limit).await?;
    let policies = page.policies.into_iter();
    let answer = ListResponse {
        policies: policies
            .map(|stored| PolicyResponse::new(stored, Vec::new()))
            .collect(),
        next_cursor: page.next.as_ref().map(cursor::write),
    };
    Ok(Json(answer).into_response())
}

pub(super) async fn show(
    State(state): State<AppState>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesRead).await?;
    let stored = policy_store::get(&state.pool, &request.owner, &stored_name(name)?).await?;
    let stored = stored.ok_or_else(not_found)?;
    Ok(PolicyResponse::new(stored, Vec::new()).into_response(StatusCode::OK))
}

pub(super) async fn create(
    State(state): State<AppState>,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesWrite).await?;
    let (policy, warnings) = request.policy(None)?;
    let changed = request
        .put(&state, &policy, ExpectedRevision::Absent)
        .await??;
    let location = request.location(&policy.name);
    let mut response =
        PolicyResponse::new(changed.policy, warnings).into_response(StatusCode::CREATED);
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

pub(super) async fn replace(
    State(state): State<AppState>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesWrite).await?;
    let (policy, warnings) = request.policy(Some(&stored_name(name)?))?;
    let precondition = request.precondition()?;
    let changed = request.put(&state, &policy, precondition.revision).await?;
    let changed = changed.map_err(|error| precondition.explain(error))?;
    let status = status_of(changed.outcome);
    Ok(PolicyResponse::new(changed.policy, warnings).into_response(status))
}

pub(super) async fn delete(
    State(state): State<AppState>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesWrite).await?;
    let (owner, name) = (&request.owner, &stored_name(name)?);
    let Some(expected) = precondition::if_match(&request.parts.headers)? else {
        let is_there = policy_store::get(&state.pool, owner, name).await?.is_some();
        return Err(if is_there {
            no_precondition()
        } else {
            not_found()
        });
    };
    let author = request.author()?;
    let _slot = request.slot(&state).await?;
    match policy_store::delete(&state.pool, &author.by(), owner, name, expected).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(ChangeError::Missing) => Err(not_found()),
        Err(error) => Err(error.into()),
    }
}
