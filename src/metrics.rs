//! Where the time goes and what came of it, for `/metrics`.

mod auth_failure;
mod connections;
mod labels;
mod policies;
mod sweeps;
mod text;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use auth_failure::AuthFailure;
use connections::ConnectionMetrics;
pub use labels::{Batch, Step};
use labels::{
    BatchLabel, ChoreLabel, ReasonLabel, RequestLabels, ResultLabel, RunLabels, StepLabel,
};
use policies::PolicyMetrics;
use sweeps::SweepMetrics;
pub use text::TextFormat;
use webhooks::WebhookMetrics;

/// What a job comes to.
const SETTLEMENTS: &[&str] = &[
    "muted",
    "nothing",
    "refused",
    "stale",
    "gone",
    "superseded",
    "undecided",
    "dead_letter",
];
/// What a chore comes to.
const OK: &str = "ok";
const ERROR: &str = "error";
/// What any route may answer.
const STATUSES: [u16; 16] = [
    200, 201, 204, 400, 401, 403, 404, 405, 409, 412, 413, 428, 429, 500, 502, 503,
];

/// The process's metrics; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<MetricsInner>);

#[derive(Debug)]
struct MetricsInner {
    registry: Registry,
    steps: Family<StepLabel, Histogram>,
    batches: Family<BatchLabel, Histogram>,
    webhooks: WebhookMetrics,
    ready: Gauge,
    settled: Family<ResultLabel, Counter>,
    requests: Family<RequestLabels, Counter>,
    auth_failures: Family<ReasonLabel, Counter>,
    queued: Gauge,
    oldest_queued: Gauge<f64, AtomicU64>,
    policies: PolicyMetrics,
    text_limit_exceeded: Counter,
    maintenance_runs: Family<RunLabels, Counter>,
    maintenance_last_success: Family<ChoreLabel, Gauge>,
    sweeps: SweepMetrics,
    connections: ConnectionMetrics,
}

// From a tenth of a millisecond (verify, decide) to the seconds of a LiveKit that hangs; dense
// around the 40 ms within which a microphone is never heard.
const STEP_BUCKETS_SECS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.04, 0.1, 0.5,
    1.0, 5.0,
];

const BATCH_BUCKETS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that all stand at zero, and are there: what is not cannot be seen to grow.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("quell");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program's version", version);
        let ready = Gauge::default();
        registry.register(
            "ready",
            "Whether /readyz is 200 (1) or 503 (0), as it was found within the last 6 seconds",
            ready.clone(),
        );
        let steps = Family::<StepLabel, Histogram>::new_with_constructor(|| {
            Histogram::new(STEP_BUCKETS_SECS)
        });
        let settled = Family::<ResultLabel, Counter>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let auth_failures = Family::<ReasonLabel, Counter>::default();
        for step in Step::ALL {
            drop(steps.get_or_create(&StepLabel { step }));
        }
        for result in SETTLEMENTS {
            let result = (*result).to_owned();
            drop(settled.get_or_create(&ResultLabel { result }));
        }
        for reason in AuthFailure::ALL {
            let reason = reason.as_str();
            drop(auth_failures.get_or_create(&ReasonLabel { reason }));
        }
        let queued = Gauge::default();
        registry.register(
            "queue_jobs",
            "Jobs in this process that wait for their turn, or for time",
            queued.clone(),
        );
        let oldest_queued = Gauge::<f64, AtomicU64>::default();
        registry.register_with_unit(
            "queue_oldest",
            "Since when the oldest of them waits, from its webhook's arrival; 0 where none does",
            Unit::Seconds,
            oldest_queued.clone(),
        );
        registry.register_with_unit(
            "step",
            "Time of each step: Verify (signature), Commit (event and job), Queue (from the webhook's arrival until it is the job's turn), \
             Facts (asked of LiveKit), Decide, Intent (lease and audit row), Call (LiveKit's mute), Outcome \
             (a person's audit row), Settle (the audit row and the job's end); WebhookToMute is from the webhook's arrival to LiveKit's answer",
            Unit::Seconds,
            steps.clone(),
        );
        let batches = batches(&mut registry);
        registry.register("settled", "Jobs settled, by how", settled.clone());
        registry.register(
            "http_requests",
            "HTTP requests answered, by the route's template and the status",
            requests.clone(),
        );
        registry.register(
            "auth_failures",
            "Requests answered 401, by why",
            auth_failures.clone(),
        );
        let maintenance_runs = Family::<RunLabels, Counter>::default();
        registry.register(
            "maintenance_runs",
            "Runs of the chores that this process does from time to time, by result (ok, error)",
            maintenance_runs.clone(),
        );
        let maintenance_last_success = Family::<ChoreLabel, Gauge>::default();
        registry.register_with_unit(
            "maintenance_last_success_timestamp",
            "When this process last did the chore (Unix time); 0 before the first time",
            Unit::Seconds,
            maintenance_last_success.clone(),
        );
        Self(Arc::new(MetricsInner {
            steps,
            batches,
            ready,
            webhooks: WebhookMetrics::register(&mut registry),
            settled,
            requests,
            auth_failures,
            queued,
            oldest_queued,
            policies: PolicyMetrics::register(&mut registry),
            text_limit_exceeded: text_limit_exceeded(&mut registry),
            maintenance_runs,
            sweeps: SweepMetrics::register(&mut registry),
            connections: ConnectionMetrics::register(&mut registry),
            maintenance_last_success,
            registry,
        }))
    }

    /// Counts `took` for `step`.
    pub fn observe(&self, step: Step, took: Duration) {
        self.0
            .steps
            .get_or_create(&StepLabel { step })
            .observe(took.as_secs_f64());
    }

    /// Counts a batch of `count`.
    pub(crate) fn batch(&self, batch: Batch, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let batches = self.0.batches.get_or_create(&BatchLabel { batch });
        batches.observe(f64::from(count));
    }

    /// Counts a settled job.
    pub fn settled(&self, how: &str) {
        let label = ResultLabel {
            result: how.to_owned(),
        };
        self.0.settled.get_or_create(&label).inc();
    }

    /// Makes the counters of a route's answers.
    pub fn route(&self, route: &str) {
        for status in STATUSES {
            let route = route.to_owned();
            drop(
                self.0
                    .requests
                    .get_or_create(&RequestLabels { route, status }),
            );
        }
    }

    /// Counts an answer of a route.
    pub fn request(&self, route: &str, status: u16) {
        let route = route.to_owned();
        let label = RequestLabels { route, status };
        self.0.requests.get_or_create(&label).inc();
    }

    /// Counts a request whose caller is not believed.
    pub fn auth_failure(&self, reason: AuthFailure) {
        let reason = reason.as_str();
        let label = ReasonLabel { reason };
        self.0.auth_failures.get_or_create(&label).inc();
    }

    /// Says whether this process is ready.
    pub fn ready(&self, is_ready: bool) {
        self.0.ready.set(i64::from(is_ready));
    }

    /// Says how many jobs wait, and for how long the oldest of them has.
    pub(crate) fn queue(&self, jobs: usize, oldest: Duration) {
        self.0.queued.set(i64::try_from(jobs).unwrap_or(i64::MAX));
        self.0.oldest_queued.set(oldest.as_secs_f64());
    }

    /// Counts a decision in which texts were not read to the end.
    pub(crate) fn text_limit_exceeded(&self) {
        self.0.text_limit_exceeded.inc();
    }

    /// Makes the metrics of a chore.
    pub fn chore(&self, chore: &'static str) {
        for result in [OK, ERROR] {
            let label = RunLabels { chore, result };
            drop(self.0.maintenance_runs.get_or_create(&label));
        }
        let last = &self.0.maintenance_last_success;
        drop(last.get_or_create(&ChoreLabel { chore }));
    }

    /// Counts a chore that is done, at `unix_seconds`.
    pub fn chore_succeeded(&self, chore: &'static str, unix_seconds: i64) {
        let result = OK;
        let label = RunLabels { chore, result };
        self.0.maintenance_runs.get_or_create(&label).inc();
        let last = &self.0.maintenance_last_success;
        last.get_or_create(&ChoreLabel { chore }).set(unix_seconds);
    }

    /// Counts a chore that failed.
    pub fn chore_failed(&self, chore: &'static str) {
        let result = ERROR;
        let label = RunLabels { chore, result };
        self.0.maintenance_runs.get_or_create(&label).inc();
    }

    /// All of them, as a scraper reads them.
    #[must_use]
    pub fn text_as(&self, format: TextFormat) -> String {
        format.text(&self.0.registry)
    }

    /// All of them in the Prometheus text format.
    #[must_use]
    pub fn text(&self) -> String {
        self.text_as(TextFormat::Prometheus)
    }
}

fn text_limit_exceeded(registry: &mut Registry) -> Counter {
    let exceeded = Counter::default();
    registry.register(
        "text_limit_exceeded",
        "Decisions in which policies of one owner would have read more of texts than they may, and were not asked",
        exceeded.clone(),
    );
    exceeded
}

fn batches(registry: &mut Registry) -> Family<BatchLabel, Histogram> {
    let batches =
        Family::<BatchLabel, Histogram>::new_with_constructor(|| Histogram::new(BATCH_BUCKETS));
    for batch in Batch::ALL {
        drop(batches.get_or_create(&BatchLabel { batch }));
    }
    registry.register(
        "batch_size",
        "How many went together in one statement: Events (stored), Intents (begun), Ends (outcomes and \
         settled jobs); Rooms: questions that one ListRooms answered",
        batches.clone(),
    );
    batches
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn all_is_there_from_the_start_and_in_the_manual() {
        let metrics = Metrics::new();
        metrics.route("/a");
        let text = metrics.text();
        let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        let manual = include_str!("../docs/OPERATIONS.md");
        for reason in AuthFailure::ALL {
            let reason = reason.as_str();
            let sample = format!("quell_auth_failures_total{{reason=\"{reason}\"}} 0\n");
            assert!(text.contains(&sample), "{sample} is not in:\n{text}");
            metrics.auth_failure(AuthFailure::ALL[0]);
        }
        for word in webhooks::RESULTS.iter().chain(SETTLEMENTS) {
            assert!(
                text.contains(&format!("{{result=\"{word}\"}} 0\n")),
                "{word}"
            );
        }
        for status in STATUSES {
            let sample = format!("{{route=\"/a\",status=\"{status}\"}} 0\n");
            assert!(text.contains(&sample), "{sample} is not in:\n{text}");
            metrics.request("/a", status);
        }
        for step in Step::ALL {
            metrics.observe(step, Duration::ZERO);
        }
        assert_eq!(series(&metrics.text()), series(&text));

        let words = AuthFailure::ALL.map(AuthFailure::as_str);
        let words = words
            .into_iter()
            .chain(webhooks::RESULTS.iter().copied())
            .chain(SETTLEMENTS.iter().copied());
        let named: BTreeSet<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
            .collect();
        for word in words {
            assert!(manual.contains(&format!("`{word}`")), "{word}");
        }
        for name in named {
            assert!(manual.contains(name), "{name}");
        }
    }
}
