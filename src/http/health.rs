//! For whoever runs quell: liveness, readiness and metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::codes;
use super::openapi::{Operation, Schemas, Security};
use super::problem::Problem;
use super::state::AppState;
use crate::metrics::TextFormat;

/// How old the metric of readiness may get.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: every part runs, and webhooks can be committed: something was within the last second.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
    let readiness = readiness(&state).await;
    state.metrics.ready(readiness.is_ok());
    match readiness {
        Ok(()) => StatusCode::OK.into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Keeps the metric of readiness, until the server stops. A scrape does not ask: where Postgres hangs, it would hang too.
pub(crate) async fn watch_readiness(state: AppState) {
    let watching = async {
        loop {
            state.metrics.ready(readiness(&state).await.is_ok());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    state.stop.run_until_cancelled(watching).await;
}

async fn readiness(state: &AppState) -> Result<(), Problem> {
    if state.broken.is_cancelled() {
        return Err(Problem::unavailable(
            "a part of quell has ended: start it anew",
        ));
    }
    if state.leaving.is_cancelled() {
        return Err(Problem::stopping());
    }
    let ready = state.inbox.ready().await;
    ready.map_err(|error| Problem::unavailable(error.to_string()).because(error.cause))
}

/// `GET /metrics`: as the scraper asks for them.
pub(super) async fn metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).into_iter();
    let format = TextFormat::accepted(accept.filter_map(|value| value.to_str().ok()));
    let text = state.metrics.text_as(format);
    ([(CONTENT_TYPE, format.media_type())], text).into_response()
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
    let sample = "quell_ready 1\n";
    let content = json!({
        TextFormat::Prometheus.media_type(): {"schema": {"type": "string"}, "example": sample},
        TextFormat::OpenMetrics.media_type(): {"schema": {"type": "string"}, "example": format!("{sample}# EOF\n")},
    });
    Operation::new(Security::Nobody, "operation", "getMetrics", "Metrics")
        .text("At `QUELL_METRICS_LISTEN` alone, where that is set.")
        .answer_of(
            StatusCode::OK,
            "The Prometheus text format, or OpenMetrics where `Accept` names it.",
            &content,
        )
}
