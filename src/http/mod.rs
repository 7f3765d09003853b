//! The HTTP interface: every route on this page.

pub mod auth;
mod backtest;
mod body;
mod explain;
mod health;
mod mute;
mod policies;
mod precondition;
pub mod problem;
mod query_key;
mod turns;
mod webhook;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::normalize_path::NormalizePath;
use tower_http::trace::TraceLayer;

use crate::app::App;
pub(crate) use backtest::Backtests;
pub(crate) use explain::Explains;
use problem::Problem;

/// Every route. A slash too many, at an end of the path, is none: LiveKit takes a 404 for success,
/// and every event would be lost in silence.
pub fn router(app: App) -> NormalizePath<Router> {
    let routes = Router::new()
        .route("/livekit/participant/mute", post(mute::handler))
        .route("/livekit/webhook", post(webhook::handler))
        .route("/v1/policies", get(policies::list).post(policies::create))
        .route(
            "/v1/policies/{name}",
            get(policies::show)
                .put(policies::replace)
                .delete(policies::delete),
        )
        .route(
            "/v1/policies/{name}/revisions",
            get(policies::revisions::list),
        )
        .route(
            "/v1/policies/{name}/revisions/{revision}",
            get(policies::revisions::show),
        )
        .route(
            "/v1/policies/{name}/rollback",
            post(policies::revisions::rollback),
        )
        .route("/v1/backtest", post(backtest::handler))
        .route("/v1/explain", post(explain::handler))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .layer(TraceLayer::new_for_http().make_span_with(span))
        // Outermost: takes `?api_key=` out of the URL before anything can log it.
        .layer(middleware::map_request(query_key::take));
    NormalizePath::trim_trailing_slash(routes)
}

/// A request in the log: its path only, since a query may hold what should not be logged.
fn span(request: &Request) -> tracing::Span {
    tracing::info_span!("request", method = %request.method(), path = request.uri().path())
}

async fn not_found() -> Response {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "there is nothing at this path",
    )
    .into_response()
}

async fn method_not_allowed() -> Response {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this path does not take that method",
    )
    .into_response()
}
