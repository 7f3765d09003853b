//! For the ones who run quell: is it alive, can it work, where does the time go.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::problem::{Problem, chain};
use crate::app::App;

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> StatusCode {
    StatusCode::OK
}

/// `GET /readyz`: every part runs and the database answers, so that webhooks can be committed.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if app.broken.is_cancelled() {
        return Problem::unavailable("a part of quell has ended: start it anew").into_response();
    }
    let asked = sqlx::query!("select 1 as one").fetch_one(&app.pool);
    match asked.await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => {
            let problem = Problem::unavailable("the database does not answer");
            problem.because(chain(&error)).into_response()
        }
    }
}

/// `GET /metrics`: `OpenMetrics` text.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], app.metrics.text()).into_response()
}
