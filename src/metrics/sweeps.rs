//! What is counted of sweeps.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Metrics;

/// Why rooms are swept.
pub(super) const CAUSES: [&str; 6] = [
    "start",
    "schedule",
    "edge",
    "policy",
    "missing_webhook",
    "manual",
];
/// What may be too large to be read.
pub(super) const SKIPPED: [&str; 2] = ["room", "participant"];
/// Up to the schedule's own interval, and beyond.
const BUCKETS_SECS: [f64; 10] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Debug)]
pub(super) struct SweepMetrics {
    took: Family<CauseLabel, Histogram>,
    without_webhook: Counter,
    skipped: Family<WhatLabel, Counter>,
    last: Gauge<f64, AtomicU64>,
}

impl SweepMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let took =
            Family::<CauseLabel, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS_SECS));
        for cause in CAUSES {
            drop(took.get_or_create(&CauseLabel { cause }));
        }
        registry.register_with_unit(
            "sweep",
            "Time of each sweep that this process finished, by why it ran",
            Unit::Seconds,
            took.clone(),
        );
        let without_webhook = Counter::default();
        registry.register(
            "sweep_tracks_without_webhook",
            "Tracks that a sweep found and of which no webhook told within 30 s",
            without_webhook.clone(),
        );
        let skipped = Family::<WhatLabel, Counter>::default();
        for what in SKIPPED {
            drop(skipped.get_or_create(&WhatLabel { what }));
        }
        registry.register(
            "sweep_skipped",
            "Rooms and participants that a sweep left out, because more than 4 MiB is said of them",
            skipped.clone(),
        );
        let last = Gauge::<f64, AtomicU64>::default();
        registry.register_with_unit(
            "sweep_last_finished_timestamp",
            "When any process last finished a sweep of all rooms (Unix time); 0 before the first",
            Unit::Seconds,
            last.clone(),
        );
        Self {
            took,
            without_webhook,
            skipped,
            last,
        }
    }
}

impl Metrics {
    /// Counts a sweep that is finished.
    pub(crate) fn swept(&self, cause: &'static str, took: Duration) {
        let of_cause = self.0.sweeps.took.get_or_create(&CauseLabel { cause });
        of_cause.observe(took.as_secs_f64());
    }

    /// Counts tracks that no webhook told of.
    pub(crate) fn without_webhook(&self, tracks: u64) {
        self.0.sweeps.without_webhook.inc_by(tracks);
    }

    /// Counts a room or participant that is too large.
    pub(crate) fn sweep_skipped(&self, what: &'static str) {
        let label = WhatLabel { what };
        self.0.sweeps.skipped.get_or_create(&label).inc();
    }

    /// Says when all rooms were last swept, in Unix seconds.
    pub(crate) fn last_sweep(&self, at: f64) {
        self.0.sweeps.last.set(at);
    }
}
