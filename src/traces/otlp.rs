//! The way of spans to a collector: OTLP over HTTP, in batches, from a thread of its own. What it cannot send, it drops.

use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _};
use opentelemetry::{Context, Key, KeyValue, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::config::TracesConfig;

/// How long the end of the process waits for a collector.
const FLUSH_MAX: Duration = Duration::from_secs(3);
/// A collector that is down is a warning as often as this.
const WARNED_EVERY: Duration = Duration::from_mins(1);
const SERVICE_NAME: &str = "service.name";
/// What OpenTelemetry calls a service that has no name.
const NO_NAME: &str = "unknown_service";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// The span that another is in. That one may be sent long before, and be another process's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parent(Option<SpanContext>);

impl Parent {
    pub(crate) fn of(span: &Span) -> Self {
        if span.is_disabled() {
            return Self(None);
        }
        Self::from(&span.context())
    }

    /// What a request's `traceparent` names.
    pub(super) fn sent_in(headers: &HeaderMap) -> Self {
        let headers = HeaderExtractor(headers);
        let sent = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        Self::from(&sent)
    }

    /// Puts `span` into this one, unless it is none.
    pub(super) fn adopt(&self, span: &Span) {
        if let Some(parent) = &self.0 {
            let parent = Context::new().with_remote_span_context(parent.clone());
            // It fails only for a span that is begun already.
            drop(span.set_parent(parent));
        }
    }
}

impl From<&Context> for Parent {
    /// Without `tracestate`, which is a text of whoever sends it, and nobody's here.
    fn from(context: &Context) -> Self {
        let span = context.span();
        let span = span.span_context();
        Self(span.is_valid().then(|| {
            SpanContext::new(
                span.trace_id(),
                span.span_id(),
                span.trace_flags(),
                span.is_remote(),
                TraceState::NONE,
            )
        }))
    }
}

/// What sends spans to a collector. The SDK reads what else there is of OpenTelemetry's variables.
pub(crate) fn layer<S>(config: &TracesConfig) -> anyhow::Result<impl Layer<S> + use<S>>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let timeout = config.timeout;
    let client = move || {
        reqwest::blocking::Client::builder()
            .timeout(timeout)
            // They would carry the collector's token to where nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
    };
    // It has a runtime of its own, which must not be made within another.
    let client = std::thread::spawn(client)
        .join()
        .map_err(|_| anyhow::anyhow!("the HTTP client for traces cannot be set up"))??;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.endpoint.expose_secret())
        .with_timeout(timeout)
        .with_http_client(client)
        .build()?;
    let exporter = Exporter {
        exporter,
        warned_at: Mutex::default(),
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource())
        .build();
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    PROVIDER.get_or_init(|| provider);
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        // Nothing here asks for OpenTelemetry's own current span.
        .with_context_activation(false)
        // What says where in the source a span is made, and by which thread, costs more than it tells.
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    Ok(layer.with_filter(Targets::new().with_target(super::TARGET, LevelFilter::TRACE)))
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = || Resource::builder().with_attribute(version.clone());
    let name = resource().build().get(&Key::new(SERVICE_NAME));
    match name {
        Some(Value::String(name)) if !name.as_str().starts_with(NO_NAME) => resource().build(),
        _ => resource().with_service_name(env!("CARGO_PKG_NAME")).build(),
    }
}

/// Sends what is left, for 3 s at most.
pub(crate) fn finish() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(FLUSH_MAX)
    {
        tracing::warn!(%error, "the last traces may not have reached the collector");
    }
}

/// Says now and then that the collector takes nothing.
struct Exporter {
    exporter: opentelemetry_otlp::SpanExporter,
    warned_at: Mutex<Option<Instant>>,
}

impl fmt::Debug for Exporter {
    /// Without the headers of `OTEL_EXPORTER_OTLP_HEADERS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if let Err(error) = &exported {
            let mut warned_at = self
                .warned_at
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if warned_at.is_none_or(|at| at.elapsed() >= WARNED_EVERY) {
                *warned_at = Some(Instant::now());
                tracing::warn!(%error, spans, "traces cannot be sent to the collector, and are dropped");
            }
        }
        exported
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
