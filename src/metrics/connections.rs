//! What is counted of HTTP connections.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

/// Why a connection is closed on our side before its time.
pub(super) const REASONS: [&str; 3] = ["evicted", "peer_limit", "too_slow"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabel {
    reason: &'static str,
}

#[derive(Debug)]
pub(super) struct ConnectionMetrics {
    open: Gauge,
    closed: Family<ClosedLabel, Counter>,
}

impl ConnectionMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let open = Gauge::default();
        registry.register(
            "http_connections",
            "HTTP connections that are open in this process",
            open.clone(),
        );
        let closed = Family::<ClosedLabel, Counter>::default();
        for reason in REASONS {
            drop(closed.get_or_create(&ClosedLabel { reason }));
        }
        registry.register(
            "http_connections_closed",
            "HTTP connections that were closed to bound them: evicted (all were taken), peer_limit \
             (the peer had all that it may have), too_slow (a header or the reading of an answer)",
            closed.clone(),
        );
        Self { open, closed }
    }
}

impl Metrics {
    /// Says how many connections are open.
    pub(crate) fn connections(&self, open: usize) {
        let open = i64::try_from(open).unwrap_or(i64::MAX);
        self.0.connections.open.set(open);
    }

    /// Counts a connection that was closed to bound them.
    pub(crate) fn connection_closed(&self, reason: &'static str) {
        let closed = &self.0.connections.closed;
        closed.get_or_create(&ClosedLabel { reason }).inc();
    }
}
