//! For whoever runs quell: liveness, readiness and metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::codes;
use super::openapi::{Operation, Schemas, Security};
use super::problem::Problem;
use super::state::AppState;

const KIND_OF_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: every part runs, and webhooks can be committed: something was within the last second.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    if state.broken.is_cancelled() {
        return Problem::unavailable("a part of quell has ended: start it anew").into_response();
    }
    if state.leaving.is_cancelled() {
        return Problem::stopping().into_response();
    }
    match state.inbox.ready().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => Problem::unavailable(error.to_string())
            .because(error.cause)
            .into_response(),
    }
}

/// `GET /metrics`: `OpenMetrics` text.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    ([(CONTENT_TYPE, KIND_OF_METRICS)], state.metrics.text()).into_response()
}

pub(super) fn alive_operation(_: &mut Schemas) -> Operation {
    Operation::new(
        Security::Nobody,
        "operation",
        "isAlive",
        "Whether the process answers",
    )
    .answer_of(StatusCode::OK, "It does.", &Value::Null)
}

pub(super) fn ready_operation(_: &mut Schemas) -> Operation {
    Operation::new(
        Security::Nobody,
        "operation",
        "isReady",
        "Whether webhooks can be committed",
    )
    .answer_of(
        StatusCode::OK,
        "Something was within the last second, and nobody has told it to stop.",
        &Value::Null,
    )
    .errors(&[codes::UNAVAILABLE])
}

pub(super) fn metrics_operation(_: &mut Schemas) -> Operation {
    let content = json!({KIND_OF_METRICS: {"schema": {"type": "string"}, "example": "# EOF\n"}});
    Operation::new(Security::Nobody, "operation", "getMetrics", "Metrics")
        .text("At `QUELL_METRICS_LISTEN` alone, where that is set.")
        .answer_of(StatusCode::OK, "OpenMetrics text.", &content)
}
