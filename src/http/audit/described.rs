//! What the descriptions of all requests to the audit share.

use serde_json::{Value, json};

pub(super) const TAG: &str = "audit";

/// An action, as examples have it.
pub(super) fn example() -> Value {
    json!({
        "started_at": "2026-03-02T21:30:00.441047Z", "action_id": "01a22498-5e90-7240-8ffb-3f6820b4cf03",
        "origin": "webhook", "actor": null, "tenant": "acme", "action": "mute", "outcome": "done", "error": null,
        "room_name": "webinar-1", "room_sid": "RM_Metu4HnC3bVa", "identity": "ann", "track_sid": "TR_AMxq3LXQ9vYbzE",
        "source": "MICROPHONE", "policy_owner": "acme", "policy_name": "webinar-mics", "policy_revision": 3,
        "restored_from": null, "event_id": "EV_4sQWBKxkXCUN", "request_id": null, "before": {"muted": false},
        "after": {"muted": true}, "changed": true, "latency_ms": 5.2, "settled_at": "2026-03-02T21:30:00.446365Z",
        "on_behalf_of": null, "reason": null,
    })
}
