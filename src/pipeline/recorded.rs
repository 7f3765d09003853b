//! Facts as they are stored with a decision: bounded, since participants say what is in them. What is longer is
//! kept as its length and its digest, and is unknown to whoever reads it later.

use quell_policy::{Fact, Facts};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::postgres::json_text;

/// What a fact may have to be stored, in bytes of JSON.
const FACT_BYTES_MAX: usize = 16 << 10;

/// Facts and what was left out of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecordedFacts {
    #[serde(flatten)]
    pub(crate) facts: Facts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_out: Vec<LeftOut>,
}

/// A fact that is too long to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeftOut {
    /// Its path, such as `participant.attributes`.
    pub(crate) fact: String,
    /// Its length in JSON.
    pub(crate) bytes: usize,
    /// SHA-256 of that JSON, in hexadecimal digits.
    pub(crate) sha256: String,
}

/// The facts as JSON to be stored.
pub(crate) fn facts_text(facts: &Facts) -> String {
    let participant = &facts.participant;
    let attributes = participant.attributes.known();
    let attributes = attributes.is_some_and(|attributes| {
        let bytes = attributes
            .iter()
            .map(|(key, value)| key.len() + value.len());
        bytes.sum::<usize>() > FACT_BYTES_MAX
    });
    let is_long = |metadata: &Fact<Value>| {
        let mut left = FACT_BYTES_MAX;
        metadata
            .known()
            .is_some_and(|metadata| !fits(metadata, &mut left))
    };
    let of_participant = is_long(&participant.metadata);
    let of_room = is_long(&facts.room.metadata);
    if !(attributes || of_participant || of_room) {
        return json_text(facts);
    }
    let mut recorded = RecordedFacts {
        facts: facts.clone(),
        left_out: Vec::new(),
    };
    let RecordedFacts { facts, left_out } = &mut recorded;
    if attributes {
        leave_out(
            "participant.attributes",
            &mut facts.participant.attributes,
            left_out,
        );
    }
    if of_participant {
        leave_out(
            "participant.metadata",
            &mut facts.participant.metadata,
            left_out,
        );
    }
    if of_room {
        leave_out("room.metadata", &mut facts.room.metadata, left_out);
    }
    json_text(&recorded)
}

fn leave_out<T: Serialize>(name: &str, fact: &mut Fact<T>, left_out: &mut Vec<LeftOut>) {
    let json = serde_json::to_vec(fact).unwrap_or_default();
    left_out.push(LeftOut {
        fact: name.to_owned(),
        bytes: json.len(),
        sha256: hex::encode(Sha256::digest(&json)),
    });
    *fact = Fact::Unknown;
}

/// Whether it has at most `left` bytes, or a little more; it is not read beyond them.
fn fits(value: &Value, left: &mut usize) -> bool {
    let (own, parts_fit) = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => (4, true),
        Value::String(text) => (text.len() + 2, true),
        Value::Array(list) => (2, list.iter().all(|part| fits(part, left))),
        Value::Object(fields) => {
            let keys = fields.keys().map(|key| key.len() + 3);
            let keys: usize = keys.sum();
            (keys, fields.values().all(|part| fits(part, left)))
        }
    };
    let remaining = left.checked_sub(own);
    *left = remaining.unwrap_or(0);
    parts_fit && remaining.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(attribute: usize, metadata: &Value) -> Facts {
        let facts = json!({
            "room": {"name": "r", "sid": "RM_1", "tenant": "acme", "metadata": {"auth_id": "acme"}},
            "participant": {"identity": "p", "sid": "PA_1", "attributes": {"bio": "x".repeat(attribute)}, "metadata": metadata},
            "track": {"sid": "TR_1", "source": "MICROPHONE", "type": "AUDIO"},
            "event": {"type": "track_published", "created_at": 1},
        });
        serde_json::from_value(facts).unwrap()
    }

    fn stored(facts: &Facts) -> RecordedFacts {
        let text = facts_text(facts);
        assert!(text.len() < 4 * FACT_BYTES_MAX, "{}", text.len());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_short_is_stored_as_it_is() {
        let short = facts(16_000, &json!({"a": ["b", {"c": 1.5}], "d": null}));
        assert_eq!(facts_text(&short), json_text(&short));
        assert_eq!(stored(&short).facts, short);
    }

    #[test]
    fn what_is_long_is_unknown_and_its_length_and_digest_are_kept() {
        let deep = json!({"list": vec!["y".repeat(100); 200]});
        let long = facts(60_000, &deep);
        let RecordedFacts {
            facts: kept,
            left_out,
        } = stored(&long);
        assert!(kept.participant.attributes.is_unknown());
        assert!(kept.participant.metadata.is_unknown());
        assert_eq!(kept.room, long.room);
        let [attributes, metadata] = &left_out[..] else {
            panic!("{left_out:?}");
        };
        assert_eq!(attributes.fact, "participant.attributes");
        assert_eq!(attributes.bytes, 60_000 + r#"{"bio":""}"#.len());
        let json = format!(r#"{{"bio":"{}"}}"#, "x".repeat(60_000));
        assert_eq!(attributes.sha256, hex::encode(Sha256::digest(json)));
        assert_eq!(metadata.fact, "participant.metadata");
        // Numbers and keys count too.
        for many in [
            json!(vec![1; 5000]),
            json!(
                (0..3000)
                    .map(|n| (n.to_string(), json!(null)))
                    .collect::<serde_json::Map<_, _>>()
            ),
        ] {
            assert_eq!(stored(&facts(1, &many)).left_out.len(), 1);
        }
    }
}
