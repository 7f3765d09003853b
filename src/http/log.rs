//! Counts every answer, and writes one line to the log for each refusal or failure, inside a span that
//! says which request it was.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

use super::codes;
use super::log_lines::RateLimit;
use super::problem::Problem;
use crate::metrics::Metrics;
use crate::traces;

/// The `route` of paths that are no route: strangers can make up any number of them.
pub(super) const NO_ROUTE: &str = "none";
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LEN_MAX: usize = 128;
/// The length at which texts are cut that callers choose, or that quote what they sent.
const SHOWN_CHARS_MAX: usize = 300;

/// What finds a request in the log, and its row in the audit.
#[derive(Debug, Clone)]
pub(super) struct RequestId(String);

impl RequestId {
    /// The client's own `X-Request-Id` where it is one, else a new one.
    fn new(headers: &HeaderMap) -> Self {
        let sent = headers
            .get(X_REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| !id.is_empty() && id.len() <= REQUEST_ID_LEN_MAX);
        Self(sent.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }

    /// The id of a request that came through here.
    pub(super) fn of(parts: &Parts) -> String {
        let id = parts.extensions.get::<Self>().cloned();
        id.unwrap_or_else(|| Self::new(&parts.headers)).0
    }
}

/// Marks an answer to a webhook of LiveKit that LiveKit will not send again: it takes a 4xx for success.
#[derive(Debug, Clone)]
pub(super) struct Lost;

/// Where answers are counted and written.
#[derive(Debug, Clone)]
pub(super) struct RequestLog {
    metrics: Metrics,
    refused: Arc<RateLimit>,
    failed: Arc<RateLimit>,
    lost: Arc<RateLimit>,
}

impl RequestLog {
    pub(super) fn new(metrics: Metrics, tracker: TaskTracker) -> Self {
        Self {
            metrics,
            refused: Arc::new(RateLimit::new("refused", tracker.clone())),
            failed: Arc::new(RateLimit::new("failed", tracker.clone())),
            lost: Arc::new(RateLimit::new("lost", tracker)),
        }
    }

    /// Counts the answer to a request, and logs it.
    pub(super) async fn answered<F: Future<Output = Response>>(
        &self,
        mut request: Request,
        next: impl FnOnce(Request) -> F,
    ) -> Response {
        let extensions = request.extensions();
        let route = extensions.get::<MatchedPath>().cloned();
        let peer = extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0);
        let matched = route.as_ref().map(MatchedPath::as_str);
        let route = matched.unwrap_or(NO_ROUTE);
        let id = RequestId::new(request.headers());
        let traced = traces::request(request.method(), matched, &id.0, request.headers());
        // At the level `error`, so that every line is inside it, whatever the filter is.
        let span = tracing::error_span!(
            "request",
            method = shown(request.method().as_str()),
            route,
            path = field::Empty,
            request_id = id.0,
            caller = field::Empty,
            event_id = field::Empty,
            room = field::Empty,
            participant = field::Empty,
            track = field::Empty,
        );
        // Never the query, which may hold what should not be logged.
        let path = request.uri().path();
        if path != route {
            span.record("path", shown(path));
        }
        // Whoever sent one that no header can hold has none of theirs.
        let header = HeaderValue::try_from(&id.0).ok();
        request.extensions_mut().insert(id);
        let mut response = next(request)
            .instrument(span.clone())
            .instrument(traced.clone())
            .await;
        traces::answered(&traced, response.status().as_u16());
        if let Some(id) = header {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        self.metrics.request(route, response.status().as_u16());
        span.in_scope(|| self.write(&response, peer));
        response
    }

    fn write(&self, response: &Response, peer: Option<SocketAddr>) {
        let status = response.status().as_u16();
        let problem = response.extensions().get::<Problem>();
        if let Some(reason) = problem.and_then(|problem| problem.reason) {
            self.metrics.auth_failure(reason);
        }
        let code = problem.map(|problem| problem.code.code);
        let error = problem.map(|problem| shown(&problem.error));
        let cause = problem
            .and_then(|problem| problem.cause.as_deref())
            .map(shown);
        let reason = problem.and_then(|problem| Some(problem.reason?.as_str()));
        let peer = peer.map(field::display);
        match status {
            // Strangers cannot cause this line, so it has a rate limit of its own.
            _ if response.extensions().get::<Lost>().is_some() => {
                if self.lost.may_write() {
                    tracing::warn!(status, code, cause, "a webhook of LiveKit is lost");
                }
            }
            500.. => {
                if self.failed.may_write() {
                    tracing::error!(status, code, cause = cause.or(error), "a request failed");
                }
            }
            401 => {
                if self.refused.may_write() {
                    tracing::warn!(status, reason, error, peer, "a caller was not let in");
                }
            }
            403 => {
                if self.refused.may_write() {
                    tracing::info!(status, code, error, "a request was refused");
                }
            }
            // There is a cause that the caller is not told.
            400..500 if cause.is_some() => {
                if self.refused.may_write() {
                    tracing::warn!(status, code, cause, "a request was refused");
                }
            }
            _ => tracing::debug!(status, code, error, "answered"),
        }
    }
}

/// Answers for a handler that panicked, which would else end the connection without a word.
pub(super) async fn unbroken(handled: impl Future<Output = Response>) -> Response {
    let handled = AssertUnwindSafe(handled).catch_unwind();
    handled.await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let cause = text.unwrap_or_else(|| "a panic".to_owned());
        let problem = Problem::new(codes::INTERNAL_ERROR, "quell failed; its log says why");
        problem.because(cause).into_response()
    })
}

/// Records the caller in the request's span.
pub(super) fn caller(id: &str) {
    Span::current().record("caller", id);
}

/// Says in the log which event it brings.
pub(super) fn event(id: &str) {
    Span::current().record("event_id", shown(id));
}

/// Says in the log which track it is about, or what is known of it.
pub(super) fn track(room: &str, participant: &str, track: &str) {
    let known = |text| Some(shown(text)).filter(|text| !text.is_empty());
    tracing::record_all!(
        Span::current(),
        room = known(room),
        participant = known(participant),
        track = known(track),
    );
}

fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(SHOWN_CHARS_MAX);
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::State;
    use axum::middleware::{Next, from_fn_with_state};
    use axum::routing::post;
    use tokio_util::task::AbortOnDropHandle;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_and_counted() {
        crate::install_crypto();
        let (metrics, tracker) = (Metrics::new(), TaskTracker::new());
        let panics = async || -> axum::http::StatusCode { panic!("as a bug would") };
        let log = RequestLog::new(metrics.clone(), tracker.clone());
        let around = async |State(log): State<RequestLog>, request, next: Next| {
            log.answered(request, |request| unbroken(next.run(request)))
                .await
        };
        let routes = Router::new()
            .route("/a/{name}", post(panics))
            .layer(from_fn_with_state(log, around));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/a/b", listener.local_addr().unwrap());
        let serve = async move { axum::serve(listener, routes).await.unwrap() };
        let _task = AbortOnDropHandle::new(tracker.spawn(serve));
        let answer = reqwest::Client::new().post(url).send().await.unwrap();
        assert_eq!(answer.status(), 500);
        let body = answer.text().await.unwrap();
        let expect = r#"{"error":"quell failed; its log says why","code":"INTERNAL_ERROR"}"#;
        assert_eq!(body, expect);
        let sample = r#"quell_http_requests_total{route="/a/{name}",status="500"} 1"#;
        assert!(metrics.text().contains(sample), "{}", metrics.text());
    }
}
