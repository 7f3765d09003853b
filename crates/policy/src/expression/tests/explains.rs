//! Why an expression does not hold.

use super::{facts, parse};
use crate::Facts;

fn why(text: &str, facts: &Facts) -> String {
    match parse(text).explain(facts) {
        Some(reason) => format!("{:?}: {reason}", reason.holds),
        None => "holds".to_owned(),
    }
}

#[test]
fn the_first_part_that_fails_is_told_of_with_what_was_found() {
    let known = facts(|facts| {
        facts["room"]["metadata"]["long"] = "x".repeat(1_000).into();
    });
    let unknown = facts(|facts| {
        for (thing, name) in [
            ("room", "num_participants"),
            ("participant", "attributes"),
            ("participant", "kind_details"),
        ] {
            facts[thing].as_object_mut().unwrap().remove(name).unwrap();
        }
    });
    let texts = [
        "room.num_participants > 10 && room.name == 'webinar-1'",
        "room.num_participants > 10 && room.name == 'x' && room.sid == 'y'",
        "room.num_participants > 10 && !(participant.identity.startsWith('att'))",
        "room.name == 'x' || participant.kind in ['SIP', 'AGENT']",
        "room.name == 'webinar-1' && (room.name == 'x' || room.name == room.metadata.host)",
        "participant.attributes['sip.phoneNumber'] == '+1' || participant.attributes.role == 'x'",
        "has(room.metadata.nothing) && room.name == 'x'",
        "size(room.metadata.tags) > 5",
        "room.metadata['two words'].x == 5",
        "room.metadata.tags == 'a'",
        "room.metadata.none == 'a'",
        "room.metadata.long == 'a'",
        "size(participant.attributes) > 5",
        "'CONNECTOR_TWILIO' in participant.kind_details",
        "size(participant.kind_details) > 5",
        "!room.active_recording",
        "false",
        "room.num_participants > 100 && participant.attributes.role == 'x' && room.name == 'x'",
        "room.num_participants > 100 && participant.attributes.role == 'x'",
        "room.num_participants > 100 || participant.attributes.role == 'x' || room.name == 'x'",
    ];
    let seen: Vec<_> = texts
        .iter()
        .map(|text| {
            format!(
                "{text}\n    {}\n    {}",
                why(text, &known),
                why(text, &unknown)
            )
        })
        .collect();
    let seen = seen.join("\n");
    insta::assert_snapshot!(seen);
    let reason = parse("room.num_participants > 100 && room.metadata.nothing == 5")
        .explain(&facts(|_| ()))
        .unwrap();
    let json = serde_json::to_value(&reason).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "part": "room.num_participants > 100", "holds": "false",
            "operands": [{"name": "room.num_participants", "value": 12}],
        })
    );
}
