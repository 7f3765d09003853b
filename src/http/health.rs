//! For whoever runs quell: liveness, readiness and metrics.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::AppState;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: every part runs, and webhooks can be committed: something was within the last second.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    if state.broken.is_cancelled() {
        return Problem::unavailable("a part of quell has ended: start it anew").into_response();
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
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], state.metrics.text()).into_response()
}
