//! Spans for OpenTelemetry. Where no collector is set, or without the feature `otlp`, nothing listens, and none is made.
//!
//! ```text
//! POST /livekit/webhook -> accept event -> handle job -> facts, decide, intent, call, outcome
//! POST /livekit/participant/mute -> answer -> call, intent, outcome
//! sweep -> call, intent, outcome
//! ```
//!
//! Attributes are ids, fixed words and numbers, under OpenTelemetry's conventional names or `quell.*`. No name or text of
//! a tenant is in them.

#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod otlp;

use axum::http::{HeaderMap, Method};
use tracing::{Span, field};
use uuid::Uuid;

use crate::audit::Origin;
#[cfg(not(feature = "otlp"))]
pub(crate) use none::{Parent, finish, layer};
#[cfg(feature = "otlp")]
pub(crate) use otlp::{Parent, finish, layer};

/// The target of all spans.
pub(crate) const TARGET: &str = "otel";
/// What asks whether quell is well would be most of all requests.
const PROBES: [&str; 3] = ["/healthz", "/metrics", "/readyz"];
/// Methods that a span may name: whoever sends a request can make others up.
const METHODS: [Method; 7] = [
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
];

/// A request, in the trace of whoever sends it, where that is said. `route` is none where its path is none of ours.
pub(crate) fn request(method: &Method, route: Option<&str>, id: &str, headers: &HeaderMap) -> Span {
    if route.is_some_and(|route| PROBES.contains(&route)) {
        return Span::none();
    }
    let is_known = METHODS.contains(method);
    let span = tracing::trace_span!(
        target: TARGET,
        "request",
        otel.name = %format_args!(
            "{}{}{}",
            if is_known { method.as_str() } else { "HTTP" },
            route.map_or("", |_| " "),
            route.unwrap_or_default()
        ),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = if is_known { method.as_str() } else { "_OTHER" },
        http.route = route,
        http.response.status_code = field::Empty,
        quell.request.id = id,
    );
    if !span.is_disabled() {
        Parent::sent_in(headers).adopt(&span);
    }
    span
}

/// The answer to a request.
pub(crate) fn answered(span: &Span, status: u16) {
    // OpenTelemetry has no unsigned numbers.
    span.record("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// What goes on in a task of its own, in the trace of its request: the log's span is the one that a task takes along.
pub(crate) fn answer() -> Span {
    tracing::trace_span!(target: TARGET, "answer")
}

/// An event that is to be committed.
pub(crate) fn accept(event_id: &str, event_name: &str) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "accept event",
        quell.event.id = event_id,
        quell.event.name = event_name,
    )
}

/// A job that is worked on, once more perhaps.
pub(crate) fn job(event_id: &str, attempt: i32, parent: &Parent) -> Span {
    let span = tracing::trace_span!(
        target: TARGET,
        parent: None,
        "handle job",
        otel.kind = "consumer",
        quell.event.id = event_id,
        quell.job.attempt = attempt,
        quell.job.settlement = field::Empty,
    );
    if !span.is_disabled() {
        parent.adopt(&span);
    }
    span
}

/// Records in the current job's span how the job ends.
pub(crate) fn settled(settlement: &'static str) {
    Span::current().record("quell.job.settlement", settlement);
}

/// What is asked of LiveKit on a track.
pub(crate) fn facts() -> Span {
    tracing::trace_span!(target: TARGET, "facts")
}

/// A decision. Sweeps have none: they decide on thousands of tracks, and spans tell of those that they change.
pub(crate) fn decide(origin: Origin) -> Span {
    if origin == Origin::Sweep {
        return Span::none();
    }
    tracing::trace_span!(target: TARGET, "decide")
}

/// An action's turn, lease and intent.
pub(crate) fn intent() -> Span {
    tracing::trace_span!(target: TARGET, "intent")
}

/// An action's outcome, or a job's end, or both.
pub(crate) fn outcome(action_id: Option<Uuid>) -> Span {
    let action_id = action_id.map(field::display);
    tracing::trace_span!(target: TARGET, "outcome", quell.action.id = action_id)
}

/// A call of LiveKit's `RoomService`.
pub(crate) fn call(method: &'static str) -> Span {
    tracing::trace_span!(
        target: TARGET,
        "call",
        otel.name = %format_args!("livekit.RoomService/{method}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        rpc.system.name = "twirp",
        rpc.method = %format_args!("livekit.RoomService/{method}"),
        error.type = field::Empty,
    )
}

/// Why a call failed.
pub(crate) fn call_failed(span: &Span, error_type: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", error_type);
}

/// A sweep.
pub(crate) fn sweep(id: Uuid, cause: &'static str) -> Span {
    tracing::trace_span!(
        target: TARGET,
        parent: None,
        "sweep",
        quell.sweep.id = %id,
        quell.sweep.cause = cause,
    )
}
