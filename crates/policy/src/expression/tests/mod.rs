//! Expressions: what is refused, what they mean, and that they mean what CEL says.

mod errors;
mod explains;
mod generate;
mod hostile;
mod laws;
mod lints;
mod manual;
mod oracle;
mod semantics;

use crate::{Expression, Facts};

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|problem| panic!("{text}\n{problem}"))
}

/// Facts of which all are known, in JSON that can be changed.
fn facts(change: impl FnOnce(&mut serde_json::Value)) -> Facts {
    let mut facts = serde_json::json!({
        "room": {
            "name": "webinar-1", "sid": "RM_1", "tenant": null, "num_participants": 12,
            "num_publishers": 3, "created_at": 1_767_225_600, "active_recording": true,
            "metadata": {
                "theme": "dark", "level": 3, "ratio": 0.5, "open": true, "none": null,
                "tags": ["a", "b"], "deep": {"er": {"est": "x"}}, "two words": 1,
            },
        },
        "participant": {
            "identity": "attendee-1", "sid": "PA_1", "name": "Zoë", "kind": "STANDARD",
            "kind_details": ["FORWARDED", "HOLOGRAM"],
            "joined_at": 1_767_225_700, "is_publisher": true, "can_publish": false,
            "can_update_metadata": true,
            "attributes": {"role": "host", "sip.phoneNumber": "+49", "empty": ""},
            "metadata": {"level": 3.0, "team": "attendee-1"},
        },
        "track": {
            "sid": "TR_1", "name": "mic", "source": "MICROPHONE", "type": "AUDIO",
            "mime_type": "audio/opus", "muted": false,
        },
        "event": {"type": "track_published", "created_at": 1_767_225_800},
    });
    change(&mut facts);
    serde_json::from_value(facts).unwrap()
}
