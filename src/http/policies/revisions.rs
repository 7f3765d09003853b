//! `/v1/policies/{name}/revisions` and `/rollback`: what a policy was, and back to it.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{NameParam, stored_name};
use super::{PolicyResponse, not_found, status_of};
use crate::audit::{StillMuted, still_muted};
use crate::http::auth::Scope;
use crate::http::codes;
use crate::http::problem::Problem;
use crate::http::request::{
    ApiRequest, NamesTenant, OwnerParam, QueryParam, page_limit, read_json,
};
use crate::http::state::AppState;
use crate::policy_store::{
    self, ChangeOutcome, Changed, FieldChange, ManagedBy, PAGE_MAX, PolicyRecord, Revision,
    Rollback, RollbackError, changed_fields,
};
use quell_policy::{Owner, Policy, TenantId};

/// How many revisions are answered where a request does not say.
const LIMIT_DEFAULT: u16 = 20;

type RevisionParam = Result<Path<(String, String)>, PathRejection>;

/// Which revisions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PageQuery {
    /// A tenant. Only an operator may name another than itself.
    #[schemars(with = "Option<TenantId>")]
    owner: Option<String>,
    /// The most revisions of a page.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<u16>,
    /// `next_before` of the page before.
    before: Option<i32>,
}

impl NamesTenant for PageQuery {
    fn named(&self) -> (&'static str, Option<&str>) {
        ("owner", self.owner.as_deref())
    }
}

/// Where to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    /// The number of the revision whose document is wanted.
    #[serde(deserialize_with = "whole_number")]
    #[schemars(range(min = 1))]
    to: i32,
}

/// A whole number, which may be written `3.0`: in JSON they are the same.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let number = f64::deserialize(deserializer)?;
    let whole = format!("{number:.0}").parse().ok();
    whole
        .filter(|whole| f64::from(*whole).total_cmp(&number).is_eq())
        .ok_or_else(|| de::Error::custom(format!("{number} is no number of a revision")))
}

/// One revision of a policy.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
pub(crate) struct RevisionResponse {
    /// Whose policy it is: a tenant, or null for the operator.
    owner: Owner,
    /// The policy.
    name: String,
    /// The revision's number, from 1 on.
    revision: i32,
    /// `create`, `update` or `delete`.
    change: String,
    /// Of a rollback: the revision that it went back to.
    restored_from: Option<i32>,
    /// What it was written by: `apply` (files) or `rest`.
    managed_by: String,
    /// When.
    #[schemars(with = "DateTime<Utc>")]
    created_at: String,
    /// Who wrote it.
    author: String,
    /// What differs from the revision before.
    changes: Vec<FieldChange>,
}

impl RevisionResponse {
    pub(crate) fn new(revision: Revision) -> Self {
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RevisionPage")]
pub(super) struct RevisionsResponse {
    /// The revisions, the newest first.
    revisions: Vec<RevisionResponse>,
    /// What `before` has to be for the next page; none where this is the last.
    next_before: Option<i32>,
}

/// One revision, with the document that it holds.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WholeRevision {
    #[serde(flatten)]
    revision: RevisionResponse,
    /// None after a deletion.
    #[schemars(with = "Option<Policy>")]
    policy: Option<Value>,
}

fn no_revision(text: String) -> Problem {
    Problem::new(codes::REVISION_NOT_FOUND, text)
}

pub(in crate::http) async fn list(
    State(state): State<AppState>,
    name: NameParam,
    query: QueryParam<PageQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let scope = Scope::PoliciesRead;
    let (request, query) = ApiRequest::read_query(&state, request, query, scope).await?;
    let limit = page_limit(query.limit, LIMIT_DEFAULT, PAGE_MAX, "before")?;
    let (owner, name) = (&request.owner, &stored_name(name)?);
    let page = policy_store::history(&state.pool, owner, name, query.before, limit).await?;
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
    let RollbackBody { to } = read_json(&request.parts.headers, &request.body.bytes)?;
    let precondition = request.precondition()?;
    let wanted = Rollback {
        owner: &request.owner,
        name: &name,
        to,
        managed_by: Some(ManagedBy::Rest),
        expected: precondition.revision,
    };
    let author = request.author()?;
    let _slot = request.slot(&state).await?;
    let changed = policy_store::rollback(&state.pool, &author.by(), &wanted).await;
    let changed = changed.map_err(|error| match error {
        RollbackError::Change(error) => precondition.explain(error),
        RollbackError::NoPolicy => not_found(),
        RollbackError::NoRevision { .. } => no_revision(error.to_string()),
        RollbackError::IsDeletion(_) | RollbackError::Unreadable { .. } => {
            Problem::new(codes::REVISION_NOT_RESTORABLE, error.to_string())
        }
    })?;
    let status = status_of(changed.outcome);
    let answer = PolicyResponse {
        still_muted: who_stays_muted(&state, &changed).await,
        ..PolicyResponse::new(changed.policy, Vec::new())
    };
    Ok(answer.into_response(status))
}

/// Who stays muted after a change; the change stands also where that cannot be read.
async fn who_stays_muted(state: &AppState, changed: &Changed) -> Option<StillMuted> {
    if changed.outcome == ChangeOutcome::Unchanged {
        return None;
    }
    let PolicyRecord { owner, name, .. } = &changed.policy;
    let read = still_muted(&state.pool, owner, name).await;
    if let Err(error) = &read {
        tracing::warn!(%error, policy = name, "whom a policy has muted cannot be read");
    }
    Some(read.unwrap_or(StillMuted::unknown()))
}
