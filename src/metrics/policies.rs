//! What is measured of the policies in force.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Metrics;

#[derive(Debug)]
pub(super) struct PolicyMetrics {
    in_force: Gauge,
    newest_revision: Gauge,
    owners_left_behind: Gauge,
}

impl PolicyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut gauge = |name, help| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            in_force: gauge("policies", "Policies in force in this process"),
            newest_revision: gauge(
                "newest_policy_revision",
                "The newest change of policies that is in force in this process (policy_revision.id)",
            ),
            owners_left_behind: gauge(
                "policy_owners_left_behind",
                "Owners with a stored policy that this version cannot read: in force are the policies before it",
            ),
        }
    }
}

impl Metrics {
    /// Says how many policies are in force, up to which change of them, and how many owners have one that cannot be read.
    pub fn policies(&self, count: usize, newest_revision: i64, owners_left_behind: usize) {
        let metrics = &self.0.policies;
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.in_force.set(number(count));
        metrics.newest_revision.set(newest_revision);
        metrics.owners_left_behind.set(number(owners_left_behind));
    }
}
