//! What is counted of webhooks.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;
use super::labels::ResultLabel;

/// What a webhook comes to.
pub(super) const RESULTS: &[&str] = &[
    STORED,
    DUPLICATE,
    "not_committed",
    "no_body",
    "not_configured",
    "bad_signature",
    "no_event",
    "too_large",
    "wrong_path",
];
const STORED: &str = "stored";
const DUPLICATE: &str = "duplicate";

#[derive(Debug)]
pub(super) struct WebhookMetrics {
    received: Family<ResultLabel, Counter>,
    last_accepted: Gauge,
}

impl WebhookMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let received = Family::<ResultLabel, Counter>::default();
        for result in RESULTS {
            let result = (*result).to_owned();
            drop(received.get_or_create(&ResultLabel { result }));
        }
        registry.register("webhooks", "Webhooks received, by result", received.clone());
        let last_accepted = Gauge::default();
        registry.register_with_unit(
            "webhook_last_accepted_timestamp",
            "When this process last answered a webhook 200 (Unix time); 0 before the first",
            Unit::Seconds,
            last_accepted.clone(),
        );
        Self {
            received,
            last_accepted,
        }
    }
}

impl Metrics {
    /// Counts a webhook that is not accepted.
    pub fn webhook(&self, result: &str) {
        let result = result.to_owned();
        let received = &self.0.webhooks.received;
        received.get_or_create(&ResultLabel { result }).inc();
    }

    /// Counts a webhook that is accepted, at `unix_seconds`: it is new, or it was stored before.
    pub fn webhook_accepted(&self, is_new: bool, unix_seconds: i64) {
        self.webhook(if is_new { STORED } else { DUPLICATE });
        self.0.webhooks.last_accepted.set(unix_seconds);
    }
}
