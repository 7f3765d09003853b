//! `/v1/audit`: what was requested, by whom, on what, and what came of it. A tenant sees its own rows, an
//! operator all, or those of the tenant that it names.

mod described;
mod export;
mod query;
mod stream;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::auth::Scope;
use super::codes;
use super::cursor;
use super::openapi::{Operation, Schemas};
use super::problem::Problem;
use super::request::{ApiRequest, OwnerQuery, QueryParam, page_limit};
use super::state::AppState;
use crate::audit::history::{self, Behind, HistoryRow, PAGE_MAX};
use crate::explain::{self, ExplainError, RecordedDecision};
use described::{TAG, example};
pub(super) use export::{export, operation as export_operation};
use query::{ListQuery, asked};
pub(super) use stream::{operation as stream_operation, stream};

/// How many actions are answered where a request does not say.
const LIMIT_DEFAULT: u16 = 100;

/// A page of the audit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ActionPage")]
struct PageResponse {
    /// The actions, the newest first.
    actions: Vec<HistoryRow>,
    /// What `cursor` has to be for the next page; none where this is the last.
    next_cursor: Option<String>,
}

pub(super) async fn list(
    State(state): State<AppState>,
    query: QueryParam<ListQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (request, query, filter) = asked(&state, query, request).await?;
    let limit = page_limit(query.limit, LIMIT_DEFAULT, PAGE_MAX, "cursor")?;
    let behind: Option<Behind> = query.cursor.as_deref().map(cursor::read).transpose()?;
    let page = history::page(&state.pool, &filter, behind, limit).await?;
    let viewer = request.principal.viewer();
    let rows = page.rows.into_iter().map(|row| row.shown_to(&viewer));
    Ok(Json(PageResponse {
        actions: rows.collect(),
        next_cursor: page.next.as_ref().map(cursor::write),
    })
    .into_response())
}

/// One action, with what it was decided by.
#[derive(Debug, Serialize, JsonSchema)]
struct WholeAction {
    #[serde(flatten)]
    action: HistoryRow,
    /// What was recorded of the event: the facts, and the decision on them. None where no event led to it, or where
    /// it is not stored any more.
    decided_by: Option<RecordedDecision>,
}

pub(super) async fn show(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let no_owner = Ok(Query(OwnerQuery { owner: None }));
    let request = ApiRequest::read(&state, request, no_owner, Scope::AuditRead).await?;
    let missing = || Problem::new(codes::ACTION_NOT_FOUND, "there is no action with this id");
    let id = id.ok().and_then(|Path(id)| Uuid::parse_str(&id).ok());
    let id = id.ok_or_else(missing)?;
    let viewer = request.principal.viewer();
    let action = history::one(&state.pool, id, viewer.tenant()).await?;
    let action = action.ok_or_else(missing)?;
    let decided_by = match &action.event_id {
        Some(event) => match explain::recorded(&state.pool, event, &viewer).await {
            Ok(decided) => decided,
            Err(ExplainError::Database(error)) => return Err(error.into()),
            // A newer version's, or no event of a track: the row stands all the same.
            Err(_) => None,
        },
        None => None,
    };
    let action = action.shown_to(&viewer);
    Ok(Json(WholeAction { action, decided_by }).into_response())
}

pub(super) fn list_operation(schemas: &mut Schemas) -> Operation {
    let page = json!({"actions": [example()], "next_cursor": null});
    Operation::of_caller(Scope::AuditRead, TAG, "listActions", "Actions, the newest first")
        .text("A tenant sees its own rows; an operator all, or those of one `tenant`. Conditions hold together.")
        .query::<ListQuery>(schemas)
        .answer::<PageResponse>(schemas, StatusCode::OK, "A page of actions.", &page)
}

pub(super) fn show_operation(schemas: &mut Schemas) -> Operation {
    let mut whole = example();
    if let Some(fields) = whole.as_object_mut() {
        fields.insert("decided_by".to_owned(), Value::Null);
    }
    let schema = json!({"type": "string"});
    let id = json!("01a22498-5e90-7240-8ffb-3f6820b4cf03");
    Operation::of_caller(
        Scope::AuditRead,
        TAG,
        "getAction",
        "One action, with the facts and the decision that led to it",
    )
    .path("action_id", "The action's id.", &schema, &id)
    .answer::<WholeAction>(schemas, StatusCode::OK, "The action.", &whole)
    .errors(&[codes::ACTION_NOT_FOUND])
}
