//! `/v1/policies/{name}/revisions` and `/rollback`: what a policy was, and back to it.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{NameParam, stored_name};
use super::{PolicyResponse, not_found, status_of};
use crate::http::auth::Scope;
use crate::http::problem::Problem;
use crate::http::request::{ApiRequest, OwnerParam, OwnerQuery, check_json};
use crate::http::state::AppState;
use crate::policy_store::{
    self, FieldChange, ManagedBy, PAGE_MAX, Revision, Rollback, RollbackError, changed_fields,
};
use quell_policy::Owner;

/// How many revisions are answered where a request does not say.
const LIMIT_DEFAULT: u16 = 20;

type RevisionParam = Result<Path<(String, String)>, PathRejection>;

/// Which revisions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PageQuery {
    owner: Option<String>,
    limit: Option<u16>,
    before: Option<i32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollbackBody {
    to: i32,
}

/// A revision as it is answered.
#[derive(Debug, Serialize)]
struct RevisionResponse {
    owner: Owner,
    name: String,
    revision: i32,
    change: String,
    restored_from: Option<i32>,
    managed_by: String,
    created_at: String,
    author: String,
    /// What differs from the revision before.
    changes: Vec<FieldChange>,
}

impl RevisionResponse {
    fn new(revision: Revision) -> Self {
        let changes = changed_fields(revision.previous.as_ref(), revision.document.as_ref());
        Self {
            owner: revision.owner,
            name: revision.name,
            revision: revision.revision,
            change: revision.change,
            restored_from: revision.restored_from,
            managed_by: revision.managed_by,
            created_at: revision.created_at.to_rfc3339(),
            author: revision.author,
            changes,
        }
    }
}

/// Revisions, the newest first.
#[derive(Debug, Serialize)]
struct RevisionsResponse {
    revisions: Vec<RevisionResponse>,
    /// What `before` has to be for the next page; none where this is the last.
    next_before: Option<i32>,
}

/// One revision, with the document that it holds.
#[derive(Debug, Serialize)]
struct WholeRevision {
    #[serde(flatten)]
    revision: RevisionResponse,
    /// None after a deletion.
    policy: Option<Value>,
}

fn no_revision(text: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "REVISION_NOT_FOUND", text)
}

pub(in crate::http) async fn list(
    State(state): State<AppState>,
    name: NameParam,
    query: Result<Query<PageQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (owner, limit, before) = match query {
        Ok(Query(page)) => {
            let owner = OwnerQuery { owner: page.owner };
            (Ok(Query(owner)), page.limit, page.before)
        }
        Err(rejection) => (Err(rejection), None, None),
    };
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesRead).await?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid_request(format!(
            "`limit` is {limit}, but must be 1 to {PAGE_MAX}: ask for older ones with `before`"
        )));
    }
    let (owner, name) = (&request.owner, &stored_name(name)?);
    let page = policy_store::history(&state.pool, owner, name, before, limit).await?;
    if page.revisions.is_empty() {
        // Numbers begin at 1 and have no gaps.
        policy_store::revision(&state.pool, owner, name, 1)
            .await?
            .ok_or_else(not_found)?;
    }
    let next = page.revisions.last().filter(|_| page.is_more);
    let next_before = next.map(|oldest| oldest.revision);
    let revisions = page.revisions.into_iter().map(RevisionResponse::new);
    Ok(Json(RevisionsResponse {
        revisions: revisions.collect(),
        next_before,
    })
    .into_response())
}

pub(in crate::http) async fn show(
    State(state): State<AppState>,
    path: RevisionParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesRead).await?;
    let Path((name, number)) = path.map_err(|_| not_found())?;
    let name = stored_name(Ok(Path(name)))?;
    let missing = || no_revision(format!("there is no revision {number} of this policy"));
    let revision = number.parse().map_err(|_| missing())?;
    let found = policy_store::revision(&state.pool, &request.owner, &name, revision)
        .await?
        .ok_or_else(missing)?;
    let whole = WholeRevision {
        policy: found.document.clone(),
        revision: RevisionResponse::new(found),
    };
    Ok(Json(whole).into_response())
}

pub(in crate::http) async fn rollback(
    State(state): State<AppState>,
    name: NameParam,
    owner: OwnerParam,
    request: Request,
) -> Result<Response, Problem> {
    let request = ApiRequest::read(&state, request, owner, Scope::PoliciesWrite).await?;
    let name = stored_name(name)?;
    check_json(&request.parts.headers)?;
    let RollbackBody { to } = serde_json::from_slice(&request.body.bytes).map_err(|error| {
        Problem::invalid_request(format!(
            "the body must be {{\"to\": 3}}, with the number of the revision that is wanted: {error}"
        ))
    })?;
    let precondition = request.precondition()?;
    let wanted = Rollback {
        owner: &request.owner,
        name: &name,
        to,
        managed_by: Some(ManagedBy::Rest),
        expected: precondition.revision,
    };
    let author = request.author();
    let _slot = request.slot(&state).await?;
    let changed = policy_store::rollback(&state.pool, &author.by(), &wanted).await;
    let changed = changed.map_err(|error| match error {
        RollbackError::Change(error) => precondition.explain(error),
        RollbackError::NoPolicy => not_found(),
        RollbackError::NoRevision { .. } => no_revision(error.to_string()),
        RollbackError::IsDeletion(_) | RollbackError::Unreadable { .. } => Problem::new(
            StatusCode::CONFLICT,
            "REVISION_NOT_RESTORABLE",
            error.to_string(),
        ),
    })?;
    let status = status_of(changed.outcome);
    Ok(PolicyResponse::new(changed.policy, Vec::new()).into_response(status))
}
