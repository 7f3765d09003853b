//! The HTTP interface: every route on this page.

mod admission;
pub mod auth;
mod backtest;
mod body;
mod caller_limits;
mod connection_io;
mod connections;
mod draft;
mod explain;
mod health;
mod log;
mod log_lines;
mod mute;
mod pace;
mod plan;
mod policies;
mod precondition;
pub mod problem;
mod request;
mod state;
mod unread;
mod uri;
mod webhook;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tower::util::MapRequest;

use crate::metrics::Metrics;
pub use admission::AdmissionQueues;
pub use caller_limits::CallerLimits;
pub(crate) use connections::{ConnectionLimits, Connections, serve};
use log::RequestLog;
use problem::Problem;
pub use state::{AppParts, AppState};

/// What serves requests.
pub type Service = MapRequest<Router, fn(Request) -> Request>;

/// Every route; of `/metrics`, where it has no listener of its own.
#[must_use]
pub fn router(state: AppState, has_metrics: bool) -> Service {
    let mut routes = Routes::new(&state.metrics)
        .route("/livekit/participant/mute", post(mute::handler))
        .route(webhook::PATH, post(webhook::handler))
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
        .route("/v1/plan", post(plan::handler))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready));
    if has_metrics {
        routes = routes.route("/metrics", get(health::metrics));
    }
    around_all(routes.router, state)
}

/// `/metrics` alone, for a listener of its own.
#[must_use]
pub fn metrics_router(state: AppState) -> Service {
    let routes = Routes::new(&state.metrics).route("/metrics", get(health::metrics));
    around_all(routes.router, state)
}

fn around_all(routes: Router<AppState>, state: AppState) -> Service {
    let (metrics, tracker) = (state.metrics.clone(), state.tracker.clone());
    let tidy: fn(Request) -> Request = uri::tidy;
    let routes = routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state.clone())
        // One layer for all: each would copy all those below it, for every request.
        .layer(middleware::from_fn_with_state(
            (RequestLog::new(metrics, tracker), state),
            around,
        ));
    MapRequest::new(routes, tidy)
}

/// What happens around every handler.
async fn around(
    State((log, state)): State<(RequestLog, AppState)>,
    request: Request,
    next: Next,
) -> Response {
    let handled = |request| log::unbroken(next.run(request));
    let handled = |request| webhook::astray(&state, request, handled);
    let handled = |request| unread::close(&state.tracker, request, handled);
    log.answered(request, handled).await
}

/// Routes whose answers are counted, from zero on.
struct Routes<'a> {
    router: Router<AppState>,
    metrics: &'a Metrics,
}

impl<'a> Routes<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.route(log::NO_ROUTE);
        Self {
            router: Router::new(),
            metrics,
        }
    }

    fn route(self, path: &str, methods: MethodRouter<AppState>) -> Self {
        self.metrics.route(path);
        Self {
            router: self.router.route(path, methods),
            ..self
        }
    }
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
