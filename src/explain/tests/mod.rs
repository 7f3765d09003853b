//! Tests of explanations: given facts, answers, and what a tenant may see.

mod answers;
mod facts;
mod tenants;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::answer::{TrackAnswer, answer};
use super::track_question::{RecordedEvent, TrackQuestion};
use super::{PolicySource, given, sources};
use crate::test_data::viewer;
use quell_policy::{CompiledPolicy, Decision, Document, Facts, PolicySet};

/// Policies of the operator and of two tenants; acme may not see any text with `secret`.
const POLICIES: &str = r#"
policies:
  - { name: op-mutes, match: { room: "webinar-*" }, effect: mute, overridable: true }
  - { name: op-vip, match: { attributes: { vip-secret: gold-secret } }, effect: exempt, reason: x, priority: 50 }
  - { name: op-kind-secret, match: { kind: SIP }, effect: mute }
  - { name: op-exempts-secret, match: {}, unless: { identity: ann }, effect: mute }
  - { name: op-off-secret, match: {}, effect: mute, mode: "off" }
  - { name: op-trial, match: {}, effect: mute, mode: dry_run }
  - { name: mutes, owner: acme, match: { identity: "a*" }, effect: mute }
  - { name: exempts, owner: acme, match: { identity: "b*" }, effect: exempt, reason: x }
  - { name: draft, owner: acme, match: {}, effect: mute, mode: "off" }
  - { name: globex-secret, owner: globex, match: {}, effect: mute }
"#;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_357_717, 0).unwrap()
}

/// Every fact, known.
fn everything() -> Value {
    json!({
        "room": {"name": "webinar-1", "sid": "RM_1", "tenant": "acme",
                 "metadata": {"auth_id": "acme"}, "num_participants": 3, "num_publishers": 2,
                 "created_at": 1_795_357_000, "active_recording": false},
        "participant": {"identity": "ann", "sid": "PA_1", "name": "Ann", "kind": "STANDARD",
                        "kind_details": [],
                        "joined_at": 1_795_357_100, "attributes": {"role": "guest"},
                        "metadata": null, "is_publisher": true, "can_publish": true,
                        "can_update_metadata": false},
        "track": {"sid": "TR_1", "name": "mic", "source": "MICROPHONE", "type": "AUDIO",
                  "mime_type": "audio/opus", "muted": false},
        "event": {"type": "track_published", "created_at": 1_795_357_717},
    })
}

fn set(yaml: &str) -> PolicySet {
    let document = Document::load([("test.yaml", yaml)]).unwrap().value;
    let compiled = document.policies.iter();
    PolicySet::new(compiled.map(|policy| CompiledPolicy::new(policy, 1).unwrap()))
}

fn explained(policies: &PolicySet, facts: &Value, tenant: Option<&str>) -> TrackAnswer {
    let track = given::read(facts, &viewer(tenant), now()).unwrap();
    answer(policies, PolicySource::Now, track, &viewer(tenant))
}

/// A settled event with this decision.
fn event(decision: Decision) -> RecordedEvent {
    RecordedEvent {
        id: "EV_1".to_owned(),
        created_at: now(),
        received_at: now(),
        settlement: Some("nothing".to_owned()),
        settled_at: Some(now()),
        decision: Some(decision),
        snapshot: None,
        policies_then: None,
    }
}

fn track_question(facts: Facts, event: Option<RecordedEvent>) -> TrackQuestion {
    TrackQuestion {
        sources: sources::of_event(&facts),
        facts,
        at: now(),
        event,
        warnings: Vec::new(),
    }
}

/// `facts` without those at these paths.
fn without(mut facts: Value, paths: &[&str]) -> Value {
    for path in paths {
        let (section, key) = path.split_once('.').unwrap();
        facts[section].as_object_mut().unwrap().remove(key).unwrap();
    }
    facts
}
