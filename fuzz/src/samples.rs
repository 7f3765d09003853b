//! Some facts, known and hidden, and a time: what input is asked about once it is read.

use chrono::{DateTime, Utc};
use serde_json::json;

use quell_policy::facts::{Fact, Facts};

/// How many of the facts can be unknown.
const HIDEABLE: u32 = 15;

/// A Monday in January, 12:00 UTC.
#[must_use]
pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_614_400, 0).unwrap_or_default()
}

/// Facts that are all known.
#[must_use]
pub fn known() -> Vec<Facts> {
    let webinar = json!({
        "room": {
            "name": "webinar-1", "sid": "RM_1", "tenant": "acme", "num_participants": 12,
            "num_publishers": 3, "created_at": 1_767_614_000, "active_recording": true,
            "metadata": {"auth_id": "acme", "theme": "dark", "level": 3, "ratio": 0.5, "open": true,
                         "none": null, "tags": ["a", "b"], "deep": {"er": "x"}, "two words": 1},
        },
        "participant": {
            "identity": "attendee-1", "sid": "PA_1", "name": "Zoë", "kind": "STANDARD",
            "kind_details": ["FORWARDED"],
            "joined_at": 1_767_614_100, "is_publisher": true, "can_publish": false,
            "attributes": {"role": "host", "sip.phoneNumber": "+49", "empty": ""},
            "metadata": {"level": 3.0, "team": "attendee-1"},
        },
        "track": {"sid": "TR_1", "name": "mic", "source": "MICROPHONE", "type": "AUDIO",
                  "mime_type": "audio/opus", "muted": false},
        "event": {"type": "track_published", "created_at": 1_767_614_400},
    });
    let stage = json!({
        "room": {
            "name": "🎤 stage/2", "sid": "RM_2", "tenant": null, "num_participants": 0,
            "num_publishers": 0, "created_at": 0, "active_recording": false, "metadata": null,
        },
        "participant": {
            "identity": "", "sid": "PA_2", "name": "", "kind": "AGENT", "joined_at": -1,
            "kind_details": ["HOLOGRAM", "CONNECTOR_TWILIO"],
            "is_publisher": false, "can_publish": true, "attributes": {}, "metadata": "text",
        },
        "track": {"sid": "TR_2", "name": "", "source": "HOLOGRAM", "type": "VIDEO",
                  "mime_type": "", "muted": true},
        "event": {"type": "", "created_at": i64::MAX},
    });
    [webinar, stage]
        .into_iter()
        .map(|facts| serde_json::from_value(facts).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// The same facts without those whose bit is set.
#[must_use]
pub fn hidden(facts: &Facts, bits: u32) -> Facts {
    let mut facts = facts.clone();
    let mut bit = 0;
    let Facts {
        room,
        participant,
        track,
        event: _,
    } = &mut facts;
    hide(&mut room.tenant, bits, &mut bit);
    hide(&mut room.metadata, bits, &mut bit);
    hide(&mut room.num_participants, bits, &mut bit);
    hide(&mut room.num_publishers, bits, &mut bit);
    hide(&mut room.created_at, bits, &mut bit);
    hide(&mut room.active_recording, bits, &mut bit);
    hide(&mut participant.name, bits, &mut bit);
    hide(&mut participant.kind, bits, &mut bit);
    hide(&mut participant.kind_details, bits, &mut bit);
    hide(&mut participant.joined_at, bits, &mut bit);
    hide(&mut participant.attributes, bits, &mut bit);
    hide(&mut participant.metadata, bits, &mut bit);
    hide(&mut participant.is_publisher, bits, &mut bit);
    hide(&mut participant.can_publish, bits, &mut bit);
    hide(&mut participant.can_update_metadata, bits, &mut bit);
    hide(&mut track.muted, bits, &mut bit);
    facts
}

fn hide<T>(fact: &mut Fact<T>, bits: u32, bit: &mut u32) {
    if bits >> *bit & 1 == 1 {
        *fact = Fact::Unknown;
    }
    *bit += 1;
}

/// Facts with less and less known, to none; each with a number of bits more hidden than the one before, in
/// an order that the input decides.
#[must_use]
pub fn fading(facts: &Facts, input: &[u8]) -> Vec<Facts> {
    // FNV-1a: what matters is that the same input always gives the same.
    let mut seed = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bits = 0;
    let mut faded = Vec::new();
    for _ in 0..4 {
        seed = seed.wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        bits |= u32::try_from(seed & ((1 << HIDEABLE) - 1)).unwrap_or(0);
        faded.push(hidden(facts, bits));
    }
    faded.push(hidden(facts, u32::MAX));
    faded
}
