//! `GET /v1/audit/export`: all rows that fit, as a file, in as much memory as a page.

use std::io;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::json;

use super::super::auth::Scope;
use super::super::codes;
use super::super::openapi::{Operation, Schemas};
use super::super::problem::Problem;
use super::super::request::QueryParam;
use super::super::state::AppState;
use super::described::{TAG, example};
use super::query::{ExportQuery, asked};
use crate::audit::export::{ExportFormat, Exporter};

pub(in crate::http) async fn export(
    State(state): State<AppState>,
    query: QueryParam<ExportQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (request, query, filter) = asked(&state, query, request).await?;
    let format: ExportFormat = query
        .format
        .as_deref()
        .unwrap_or("ndjson")
        .parse()
        .map_err(Problem::invalid_request)?;
    let caller = request.caller_id.as_str();
    let slot = state.queues.export.admit_until(&state.stop, caller).await?;
    let exporter = Exporter::new(filter, format, request.principal.viewer());
    let (pool, stop) = (state.pool.clone(), state.stop.clone());
    let parts = stream::try_unfold(
        (exporter, request, slot),
        move |(mut exporter, request, slot)| {
            let (pool, stop) = (pool.clone(), stop.clone());
            async move {
                let next = stop.run_until_cancelled(exporter.next(&pool)).await;
                // A file that ends early must not look whole: the connection breaks.
                let next = next.ok_or_else(|| io::Error::other("quell is being stopped"))?;
                let part = next.map_err(|error| {
                    tracing::warn!(%error, "an export of the audit was broken off");
                    io::Error::other(error)
                })?;
                Ok::<_, io::Error>(part.map(|part| (Bytes::from(part), (exporter, request, slot))))
            }
        },
    );
    let name = format!("attachment; filename=\"audit.{}\"", format.extension());
    let headers = [
        (CONTENT_TYPE, format.content_type().to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

pub(in crate::http) fn operation(schemas: &mut Schemas) -> Operation {
    let content = json!({
        ExportFormat::Ndjson.content_type(): {"schema": {"type": "string"}, "example": format!("{}\n", example())},
        ExportFormat::Csv.content_type(): {"schema": {"type": "string"}, "example": "started_at,action_id,...\r\n"},
    });
    Operation::of_caller(Scope::AuditRead, TAG, "exportActions", "All actions that fit, as a file")
        .text("The newest first. Rows that are written meanwhile are not in it. A file that cannot be written to its end breaks the connection.")
        .query::<ExportQuery>(schemas)
        .answer_of(StatusCode::OK, "The file.", &content)
        .answers_header(&CONTENT_DISPOSITION, "Its name.", &json!({"type": "string"}), "attachment; filename=\"audit.ndjson\"")
        .errors(&[codes::EXPORT_BUSY, codes::EXPORTS_BUSY])
}
