//! Where the time goes and what came of it, for `/metrics` (`OpenMetrics` text).

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// A step on the way from a webhook to a mute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is explained in the metric's help text")]
pub enum Step {
    Verify,
    Commit,
    Queue,
    Facts,
    Decide,
    Intent,
    Call,
    Outcome,
    Settle,
    WebhookToMute,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: String,
}

/// The process's metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    steps: Family<StepLabel, Histogram>,
    webhooks: Family<ResultLabel, Counter>,
    settled: Family<ResultLabel, Counter>,
    policies: Gauge,
    newest_revision: Gauge,
}

// From a tenth of a millisecond (verify, decide) to the seconds of a LiveKit that hangs; dense
// around the 40 ms within which a microphone is never heard.
const STEP_BUCKETS_SECS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.04, 0.1, 0.5,
    1.0, 5.0,
];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("quell");
        let steps = Family::<StepLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(STEP_BUCKETS_SECS)
        });
        let webhooks = Family::<ResultLabel, Counter>::default();
        let settled = Family::<ResultLabel, Counter>::default();
        let policies = Gauge::default();
        let newest_revision = Gauge::default();
        registry.register_with_unit(
            "step",
            "Time of each step: Verify (signature), Commit (event and job), Queue (until a worker begins), \
             Facts (asked of LiveKit), Decide, Intent (lease and audit row), Call (LiveKit's mute), Outcome \
             (audit row), Settle; WebhookToMute is from the webhook's arrival to LiveKit's answer",
            Unit::Seconds,
            steps.clone(),
        );
        registry.register("webhooks", "Webhooks received, by result", webhooks.clone());
        registry.register("settled", "Jobs settled, by how", settled.clone());
        registry.register(
            "policies",
            "Policies in force in this process",
            policies.clone(),
        );
        registry.register(
            "newest_policy_revision",
            "The newest change of policies that is in force in this process (policy_revision.id)",
            newest_revision.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            steps,
            webhooks,
            settled,
            policies,
            newest_revision,
        }))
    }

    /// Counts `took` for `step`.
    pub fn observe(&self, step: Step, took: Duration) {
        self.0
            .steps
            .get_or_create(&StepLabel { step })
            .observe(took.as_secs_f64());
    }

    /// Counts a webhook.
    pub fn webhook(&self, result: &str) {
        let label = ResultLabel {
            result: result.to_owned(),
        };
        self.0.webhooks.get_or_create(&label).inc();
    }

    /// Counts a settled job.
    pub fn settled(&self, how: &str) {
        let label = ResultLabel {
            result: how.to_owned(),
        };
        self.0.settled.get_or_create(&label).inc();
    }

    /// Says how many policies are in force, and up to which change of them.
    pub fn policies(&self, count: usize, newest_revision: i64) {
        self.0
            .policies
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        self.0.newest_revision.set(newest_revision);
    }

    /// The text that a scraper reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        encode(&mut text, &self.0.registry).unwrap_or_default();
        text
    }
}
