//! Rules as quell's policies, events as its facts.

use quell_policy::{CompiledPolicy, Decision, Facts, Owner, Policy, PolicySet, TenantId};
use serde_json::{Value, json};

use crate::mix::{Effect, Event, Hours, Mode, Place, Rule, When, now};

/// The tenant where there is one only.
pub const TENANT: &str = "tenant-0";

/// A rule as one would send it to quell.
pub fn document(rule: &Rule) -> Value {
    let mut wanted = json!({ "type": ["AUDIO"] });
    let mut want = |key: &str, value: String| wanted[key] = json!([value]);
    match &rule.place {
        Place::Room(room) => want("room", room.clone()),
        Place::RoomStart(start) => want("room", format!("{start}*")),
        Place::RoomEnd(end) => want("room", format!("*{end}")),
        Place::RoomInside(text) => want("room", format!("*{text}*")),
        Place::RoomEnds(start, end) => want("room", format!("{start}*{end}")),
        Place::Identity(identity) => want("identity", identity.clone()),
        Place::Callers(region) => {
            want("kind", "SIP".to_owned());
            wanted["attributes"] = json!({ "region": [region] });
        }
    }
    if rule.microphones {
        wanted["source"] = json!(["UNKNOWN", "MICROPHONE"]);
    }
    let mut policy = json!({
        "name": rule.name,
        "match": wanted,
        "effect": match rule.effect { Effect::Mute => "mute", Effect::Exempt => "exempt" },
        "mode": match rule.mode {
            Mode::Enforce => "enforce",
            Mode::DryRun => "dry_run",
            Mode::Off => "off",
        },
        "priority": rule.priority,
        "reason": "as agreed with those who teach here",
    });
    if rule.exempts_hosts {
        policy["unless"] = json!({ "attributes": { "role": ["host", "moderator"] } });
    }
    if let Some(when) = rule.when {
        policy["when"] = json!(self::when(when));
    }
    if let Some(Hours {
        cron,
        duration,
        timezone,
        ..
    }) = rule.hours
    {
        let window = json!({ "cron": cron, "duration": duration, "timezone": timezone });
        policy["active"] = json!([window]);
    }
    if let Some(minutes) = rule.first_minutes {
        policy["first"] = json!(format!("{minutes}m"));
    }
    policy
}

/// A condition as people write it for quell.
pub fn when(when: When) -> String {
    match when {
        When::Crowded(n) => format!("room.num_participants > {n}"),
        When::NotStaff => r#"!participant.identity.startsWith("staff-")"#.to_owned(),
        When::Plan => {
            r#"room.metadata.plan in ["free", "trial"] && !room.active_recording"#.to_owned()
        }
        When::Level(n) => {
            format!(r#"room.metadata.class.level >= {n} || participant.name == """#)
        }
        When::Publishers(n) => {
            format!(r#"room.num_publishers >= {n} && track.mime_type != "audio/red""#)
        }
        When::Watched => {
            r#"track.name.contains("screen") || has(participant.attributes.watched)"#.to_owned()
        }
    }
}

/// A rule, checked.
pub fn policy(rule: &Rule, owner: &str) -> Policy {
    let json = document(rule).to_string();
    let owner = Owner::Tenant(TenantId::new(owner).unwrap());
    match Policy::from_json(json.as_bytes(), &owner) {
        Ok(checked) => checked.value,
        Err(problems) => panic!("{json}: {problems}"),
    }
}

/// These rules, checked, once for each of `tenants` tenants.
pub fn policies(rules: &[Rule], tenants: usize) -> Vec<Policy> {
    (0..tenants)
        .flat_map(|tenant| {
            let owner = format!("tenant-{tenant}");
            rules.iter().map(move |rule| policy(rule, &owner))
        })
        .collect()
}

/// The snapshot that decisions are made from, of checked policies.
pub fn snapshot(policies: &[Policy]) -> PolicySet {
    PolicySet::new(
        policies
            .iter()
            .map(|policy| CompiledPolicy::new(policy, 1).unwrap()),
    )
}

/// An event in a tenant's room.
pub fn facts(event: &Event, tenant: &str) -> Facts {
    let now = now().timestamp();
    let mut metadata = json!({ "auth_id": tenant, "plan": event.plan });
    if let Some(level) = event.level {
        metadata["class"] = json!({ "level": level });
    }
    let mut attributes = json!({ "role": event.role, "region": event.region });
    if event.watched {
        attributes["watched"] = json!("yes");
    }
    let facts = json!({
        "room": {
            "name": event.room, "sid": "RM_1", "tenant": tenant, "metadata": metadata,
            "num_participants": event.num_participants, "num_publishers": event.num_publishers,
            "created_at": now - event.room_age_seconds, "active_recording": event.recording,
        },
        "participant": {
            "identity": event.identity, "sid": "PA_1", "name": event.participant_name,
            "kind": event.kind(), "kind_details": [], "joined_at": now - 60, "attributes": attributes, "metadata": null,
            "is_publisher": true, "can_publish": true, "can_update_metadata": false,
        },
        "track": {
            "sid": "TR_1", "name": event.track_name, "source": event.source(), "type": "AUDIO",
            "mime_type": event.mime_type,
        },
        "event": { "type": "track_published", "created_at": now },
    });
    serde_json::from_value(facts).unwrap()
}

/// The policy that mutes.
pub fn muted_by(decision: &Decision) -> Option<&str> {
    assert!(!decision.is_indeterminate());
    decision.enforced.mute().map(|policy| &*policy.name)
}
