//! The HTTP interface: every route on this page.

mod admission;
mod audit;
pub mod auth;
mod backtest;
mod body;
mod caller_limits;
mod codes;
mod connection_io;
mod connections;
mod cursor;
mod docs;
mod draft;
mod explain;
mod header;
mod health;
mod log;
mod log_lines;
mod mute;
mod openapi;
mod pace;
mod plan;
mod policies;
mod precondition;
pub mod problem;
mod reason;
mod request;
mod rooms;
mod state;
mod unread;
mod uri;
mod webhook;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use tower::util::MapRequest;

use crate::metrics::Metrics;
pub use admission::AdmissionQueues;
pub use caller_limits::CallerLimits;
pub(crate) use connections::{ConnectionLimits, Connections, serve};
pub(crate) use health::watch_readiness;
use log::RequestLog;
use openapi::{Operation, Schemas};
pub(crate) use policies::PolicyResponse;
pub(crate) use policies::revisions::RevisionResponse;
use problem::Problem;
pub use state::{AppParts, AppState};

/// What serves requests.
pub type Service = MapRequest<Router, fn(Request) -> Request>;

/// A method of a path: what answers it, and what is said of it.
type Endpoint = (
    &'static str,
    &'static str,
    MethodRouter<AppState>,
    fn(&mut Schemas) -> Operation,
);

/// Every route.
#[rustfmt::skip]
fn endpoints() -> Vec<Endpoint> {
    use policies::{operations, revisions};
    let (one, all) = ("/v1/policies/{name}", "/v1/policies");
    vec![
        (mute::PATH, "post", post(mute::handler), mute::operation),
        ("/v1/rooms", "get", get(rooms::list), rooms::list_operation),
        ("/v1/rooms/{room}", "get", get(rooms::show), rooms::show_operation),
        ("/v1/rooms/{room}/participants/{identity}/mute", "post", post(mute::by_source), mute::by_source_operation),
        (webhook::PATH, "post", post(webhook::handler), webhook::operation),
        (all, "get", get(policies::list), operations::list),
        (all, "post", post(policies::create), operations::create),
        (one, "get", get(policies::show), operations::show),
        (one, "put", put(policies::replace), operations::replace),
        (one, "delete", delete(policies::delete), operations::delete),
        ("/v1/policies/{name}/revisions", "get", get(revisions::list), operations::revisions),
        ("/v1/policies/{name}/revisions/{revision}", "get", get(revisions::show), operations::show_revision),
        ("/v1/policies/{name}/rollback", "post", post(revisions::rollback), operations::rollback),
        ("/v1/audit", "get", get(audit::list), audit::list_operation),
        ("/v1/audit/export", "get", get(audit::export), audit::export_operation),
        ("/v1/audit/stream", "get", get(audit::stream), audit::stream_operation),
        ("/v1/audit/{action_id}", "get", get(audit::show), audit::show_operation),
        ("/v1/backtest", "post", post(backtest::handler), backtest::operation),
        ("/v1/explain", "post", post(explain::handler), explain::operation),
        ("/v1/plan", "post", post(plan::handler), plan::operation),
        ("/healthz", "get", get(health::alive), health::alive_operation),
        ("/readyz", "get", get(health::ready), health::ready_operation),
        (METRICS, "get", get(health::metrics), health::metrics_operation),
        ("/openapi.json", "get", get(openapi::handler), openapi::operation),
    ]
}

const METRICS: &str = "/metrics";

/// The description of all of them, as `/openapi.json` has it.
#[must_use]
pub fn description() -> String {
    let described = endpoints().into_iter();
    let document =
        openapi::document(described.map(|(path, method, _, operation)| (path, method, operation)));
    format!("{document:#}\n")
}

/// Every route; of `/metrics`, where it has no listener of its own.
#[must_use]
pub fn router(state: AppState, has_metrics: bool) -> Service {
    let mut routes = Routes::new(&state.metrics)
        .route("/docs", get(docs::page))
        .route("/docs/rapidoc.js", get(docs::script));
    for (path, _, handler, _) in endpoints() {
        if has_metrics || path != METRICS {
            routes = routes.route(path, handler);
        }
    }
    around_all(routes.router, state)
}

/// `/metrics` alone, for a listener of its own.
#[must_use]
pub fn metrics_router(state: AppState) -> Service {
    let routes = Routes::new(&state.metrics).route(METRICS, get(health::metrics));
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
    Problem::new(codes::NOT_FOUND, "there is nothing at this path").into_response()
}

async fn method_not_allowed() -> Response {
    Problem::new(
        codes::METHOD_NOT_ALLOWED,
        "this path does not take that method",
    )
    .into_response()
}
