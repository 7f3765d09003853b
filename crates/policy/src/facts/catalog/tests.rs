//! The catalog is the facts, and the facts are the catalog.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::Reads;

/// Facts of which everything is known, as they are stored.
fn everything() -> Value {
    json!({
        "room": {"name": "r", "sid": "s", "tenant": "t", "metadata": {"auth_id": "t"},
            "num_participants": 1, "num_publishers": 1, "created_at": 1, "active_recording": true},
        "participant": {"identity": "i", "sid": "s", "name": "n", "kind": "SIP",
            "kind_details": ["CONNECTOR_TWILIO"], "joined_at": 1, "attributes": {"a": "b"},
            "metadata": [1], "is_publisher": true, "can_publish": true,
            "can_update_metadata": true},
        "track": {"sid": "s", "name": "n", "source": "CAMERA", "type": "VIDEO",
            "mime_type": "m", "muted": true},
        "event": {"type": "e", "created_at": 1},
    })
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_key_of_stored_facts_is_a_row_and_every_row_is_a_key() {
    let facts: Facts = serde_json::from_value(everything()).unwrap();
    let stored = serde_json::to_value(&facts).unwrap();
    assert_eq!(stored, everything());
    // What the example above forgets, the type itself does not.
    let schema = serde_json::to_value(schemars::schema_for!(Facts)).unwrap();
    let sections: BTreeSet<_> = SECTIONS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(keys(&schema["properties"]), sections);
    assert_eq!(keys(&stored), sections);
    for section in SECTIONS {
        let name = schema["properties"][section]["$ref"].as_str().unwrap();
        let name = name.rsplit('/').next().unwrap();
        let rows: Vec<_> = Field::of_section(section).map(|(key, _)| key).collect();
        let unique: BTreeSet<_> = rows.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(rows.len(), unique.len(), "{section}");
        assert_eq!(keys(&stored[section]), unique, "{section}");
        assert_eq!(keys(&schema["$defs"][name]["properties"]), unique);
    }
    let in_sections: usize = SECTIONS
        .iter()
        .map(|of| Field::of_section(of).count())
        .sum();
    assert_eq!(in_sections, FIELDS.len());
}

/// JSON without a fact is JSON of which that fact alone is unknown, or none.
#[test]
fn every_row_reads_its_own_fact() {
    let full: Facts = serde_json::from_value(everything()).unwrap();
    for field in FIELDS {
        assert!(!field.is_unknown(&full), "{}", field.name);
        let (section, key) = field.section_and_key();
        let mut json = everything();
        json[section].as_object_mut().unwrap().remove(key).unwrap();
        let read = serde_json::from_value::<Facts>(json);
        if !field.may_be_unknown() {
            if let Ok(facts) = read {
                assert!(!field.is_unknown(&facts), "{}", field.name);
            }
            assert!(Reads::named(field.name).is_empty());
            continue;
        }
        let facts = read.unwrap();
        for other in FIELDS {
            let is_it = other.name == field.name;
            assert_eq!(other.is_unknown(&facts), is_it, "{}", other.name);
        }
        let unknown = Reads::unknown_in(&facts);
        assert_eq!(unknown, Reads::named(field.name));
        assert_eq!(unknown.names(), [field.name]);
    }
}
