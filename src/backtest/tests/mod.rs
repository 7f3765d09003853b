//! Backtests without a database: drafts, laws of the numbers, and the report.

mod drafts;
mod laws;
mod report;
mod work;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::events::Published;
use super::replay::{RecordedFacts, replay};
use super::tally::{Tally, Totals};
use crate::draft::{ComparedSets, Draft};
use crate::test_data::{tenant, viewer};
use quell_policy::{Owner, Policy, PolicyKey, StoredPolicy};

fn now() -> DateTime<Utc> {
    "2026-03-08T12:00:00Z".parse().unwrap()
}

/// A policy of the owner before the `/` in `name`, with these other fields.
fn policy(name: &str, fields: &Value) -> Policy {
    let key = key(name);
    let mut document = json!({"name": key.name, "match": {}, "effect": "mute", "reason": "so"});
    document
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    Policy::from_stored(&document, &key.owner).unwrap_or_else(|error| panic!("{error}"))
}

fn key(name: &str) -> PolicyKey {
    let (owner, name) = match name.split_once('/') {
        Some((owner, name)) => (Owner::Tenant(tenant(owner)), name),
        None => (Owner::Operator, name),
    };
    PolicyKey {
        owner,
        name: name.to_owned(),
    }
}

fn stored(policies: &[Policy]) -> Vec<StoredPolicy> {
    let row = |policy: &Policy| StoredPolicy {
        key: policy.key(),
        revision: 3,
        document: policy.to_json(),
    };
    policies.iter().map(row).collect()
}

/// A microphone of `identity` in `room`, published `number` minutes ago and left alone then.
/// `tenant`, `kind` and `attributes` in `known` are what LiveKit said.
fn track(number: i64, room: &str, identity: &str, known: &Value) -> Published {
    let mut facts = json!({
        "room": {"name": room, "sid": format!("RM_{room}")},
        "participant": {"identity": identity, "sid": "PA"},
        "track": {"sid": format!("TR_{number}"), "source": "MICROPHONE", "type": "AUDIO"},
        "event": {"type": "track_published", "created_at": 0},
    });
    for (of, name) in [
        ("room", "tenant"),
        ("participant", "kind"),
        ("participant", "attributes"),
    ] {
        if let Some(value) = known.get(name) {
            facts[of][name] = value.clone();
        }
    }
    let at = now() - TimeDelta::minutes(number);
    Published {
        created_at: at,
        received_at: at,
        event_id: format!("EV_{number}"),
        room_sid: Some(format!("RM_{room}")),
        room_name: Some(room.to_owned()),
        identity: Some(identity.to_owned()),
        track_sid: Some(format!("TR_{number}")),
        settlement: Some("nothing".to_owned()),
        facts: Some(facts.to_string()),
        decision: Some(json!({"at": at}).to_string()),
    }
}

fn sets(live: &[Policy], draft: Draft) -> ComparedSets {
    draft
        .over(stored(live), None)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn totals(sets: &ComparedSets, tracks: &[Published], samples_max: usize) -> Totals {
    totals_for(None, sets, tracks, samples_max)
}

fn totals_for(
    reader: Option<&str>,
    sets: &ComparedSets,
    tracks: &[Published],
    samples_max: usize,
) -> Totals {
    let own = viewer(reader);
    let mut tally = Tally::new(samples_max, viewer(reader));
    for event in tracks {
        let replayed = replay(event, RecordedFacts::of(event), sets, own.tenant(), &own);
        tally.add(event, &replayed);
    }
    tally.finish()
}
