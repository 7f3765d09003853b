//! What unit tests share: tenants, and what a real LiveKit server sent.

use chrono::{DateTime, TimeDelta, Utc};
use quell_policy::TenantId;
use serde::Deserialize;

use crate::access::Viewer;

pub(crate) const CAPTURED_KEY: &str = "devkey";
pub(crate) const CAPTURED_SECRET: &str = "secret-that-is-long-enough-for-livekit-0123";

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

/// The eyes of this tenant, or else of the operator.
pub(crate) fn viewer(tenant: Option<&str>) -> Viewer {
    tenant.map_or(Viewer::Operator, |id| Viewer::Tenant(self::tenant(id)))
}

pub(crate) struct Captured {
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

#[derive(Deserialize)]
struct Line {
    received_unix: f64,
    headers: std::collections::BTreeMap<String, String>,
    body: String,
}

pub(crate) fn captured_webhooks() -> Vec<Captured> {
    include_str!("../tests/fixtures/livekit/webhooks-1.13.5.jsonl")
        .lines()
        .map(|line| {
            let line: Line = serde_json::from_str(line).unwrap();
            Captured {
                received_at: DateTime::UNIX_EPOCH
                    + TimeDelta::from_std(std::time::Duration::from_secs_f64(line.received_unix))
                        .unwrap(),
                authorization: line.headers["authorization"].clone(),
                body: line.body,
            }
        })
        .collect()
}
