//! What expressions mean: of values, of what is absent, and of what is unknown.

use serde_json::json;

use super::{facts, parse};
use crate::Tri::{self, False, True, Unknown};

fn check(expected: Tri, texts: &[&str]) {
    let facts = facts(|_| ());
    for text in texts {
        assert_eq!(parse(text).holds(&facts), expected, "{text}");
        assert_eq!(
            parse(&format!("!({text})")).holds(&facts),
            !expected,
            "!({text})"
        );
    }
}

#[test]
fn every_field_is_the_one_that_it_says() {
    check(
        True,
        &[
            "room.name == 'webinar-1'",
            "room.sid == 'RM_1'",
            "room.num_participants == 12",
            "room.num_publishers == 3",
            "room.created_at == 1767225600",
            "room.active_recording",
            "room.active_recording == true",
            "participant.identity == 'attendee-1'",
            "participant.sid == 'PA_1'",
            "participant.name == 'Zoë'",
            "participant.kind == 'STANDARD'",
            "'FORWARDED' in participant.kind_details",
            "size(participant.kind_details) == 2",
            "participant.joined_at == 1767225700",
            "participant.is_publisher",
            "!participant.can_publish",
            "participant.attributes.role == 'host'",
            "participant.attributes['role'] == \"host\"",
            "participant.attributes['sip.phoneNumber'] == '+49'",
            "participant.metadata.team == participant.identity",
            "track.sid == 'TR_1'",
            "track.name == 'mic'",
            "track.source == 'MICROPHONE'",
            "track.type == 'AUDIO'",
            "track.mime_type == 'audio/opus'",
            "event.type == 'track_published'",
            "event.created_at == 1767225800",
        ],
    );
}

#[test]
fn kind_details_are_asked_what_is_in_them() {
    let of = |details: Option<&[&str]>, name: Option<&str>| {
        facts(|facts| {
            let participant = facts["participant"].as_object_mut().unwrap();
            participant.remove("kind_details");
            participant.remove("name");
            if let Some(details) = details {
                participant.insert("kind_details".to_owned(), json!(details));
            }
            if let Some(name) = name {
                participant.insert("name".to_owned(), json!(name));
            }
        })
    };
    let twilio = "'CONNECTOR_TWILIO' in participant.kind_details";
    let name = "participant.name in participant.kind_details";
    let some = Some(&["FORWARDED", "CONNECTOR_TWILIO"][..]);
    for (text, details, given, expected) in [
        (twilio, some, None, True),
        (twilio, Some(&["FORWARDED"][..]), None, False),
        (twilio, Some(&[][..]), None, False),
        (twilio, None, None, Unknown),
        (name, some, Some("FORWARDED"), True),
        (name, some, Some("forwarded"), False),
        (name, some, None, Unknown),
        (name, None, Some("FORWARDED"), Unknown),
        // Nothing is in it, whatever the name is.
        (name, Some(&[][..]), None, False),
        // What is no text is no word.
        (
            "room.metadata.level in participant.kind_details",
            None,
            None,
            False,
        ),
        (
            "room.metadata.no in participant.kind_details",
            None,
            None,
            False,
        ),
        ("size(participant.kind_details) > 1", some, None, True),
        (
            "size(participant.kind_details) == 0",
            Some(&[][..]),
            None,
            True,
        ),
        ("size(participant.kind_details) == 0", None, None, Unknown),
    ] {
        let facts = of(details, given);
        assert_eq!(parse(text).holds(&facts), expected, "{text} {details:?}");
    }
}

#[test]
fn operators_are_cels() {
    check(
        True,
        &[
            "room.num_participants > 10 && !participant.identity.startsWith('staff-')",
            "room.num_participants >= 12 && room.num_participants <= 12",
            "room.num_participants < 13 && room.num_participants > 11.5",
            "10 < room.num_participants",
            "room.num_participants == 12.0",
            "room.num_participants in [1, 12.0]",
            "room.name in ['x', 'webinar-1']",
            "!(room.name in ['x'])",
            "track.source in ['MICROPHONE', 'UNKNOWN']",
            "room.name.startsWith('webinar-') && room.name.endsWith('-1') && room.name.contains('nar')",
            "room.name.contains('')",
            "'attendee-12'.startsWith(participant.identity)",
            "room.name < 'x' && room.name > 'webinar-0'",
            "size(participant.name) == 3",
            "size('日本') == 2",
            "size(room.metadata.tags) == 2",
            "size(room.metadata.deep) == 1",
            "size(participant.attributes) == 3",
            "size(participant.attributes.empty) == 0",
            "true || room.name == 'x'",
            "room.name == 'x' || room.name == 'y' || room.name == 'webinar-1'",
            "!!room.active_recording",
            // && binds closer than ||.
            "true || true && false",
            "room.name == 'webinar-1' // as in the calendar\n && true",
            "participant.joined_at > room.created_at",
            "room.metadata.level == participant.metadata.level",
            "room.name == r'webinar-1'",
            "'\\u0041' == 'A' && '''a\nb''' == 'a\\nb'",
            "-1 < room.num_participants && 0x0C == room.num_participants && 1.2e1 == 12",
        ],
    );
}

#[test]
fn metadata_is_what_it_is() {
    check(
        True,
        &[
            "room.metadata.theme == 'dark'",
            "room.metadata.level == 3",
            "room.metadata.level == 3.0",
            "room.metadata.level > 2 && room.metadata.ratio < 1",
            "room.metadata.ratio == 0.5",
            "room.metadata.open == true",
            "room.metadata.theme != 'light'",
            "room.metadata.deep.er.est == 'x'",
            "room.metadata.deep['er']['est'] == 'x'",
            "room.metadata['two words'] == 1",
            "room.metadata.theme in [3, true, 'dark']",
            "room.metadata.theme.startsWith('da')",
            "size(room.metadata.theme) == 4",
            "has(room.metadata.theme)",
            "has(room.metadata.deep.er)",
            "has(participant.attributes.empty)",
            // A null is there, as CEL says.
            "has(room.metadata.none)",
        ],
    );
}

#[test]
fn what_is_absent_or_of_another_type_is_known_to_be_unequal() {
    for operand in [
        "room.metadata.nothing",
        "room.metadata.none",
        "room.metadata.theme.dark",
        "room.metadata.tags",
        "room.metadata.tags.a",
        "room.metadata.deep",
        "room.metadata.deep.er.est.much",
        "participant.attributes.nothing",
        "participant.metadata.nothing",
    ] {
        for test in [
            "== 'x'",
            "in ['x', '']",
            "< 'x'",
            "<= 'x'",
            "> 'x'",
            ">= ''",
            ".startsWith('')",
            ".endsWith('')",
            ".contains('')",
            "== participant.attributes.nothing",
            "== room.metadata.nothing",
            "== room.metadata.tags",
            "== room.metadata.none",
            "< room.metadata.nothing",
            "== participant.identity",
            ".contains(room.name)",
        ] {
            let join = if test.starts_with('.') { "" } else { " " };
            check(False, &[&format!("{operand}{join}{test}")]);
        }
        check(
            True,
            &[
                &format!("{operand} != 'x'"),
                &format!("{operand} != room.metadata.nothing"),
            ],
        );
    }
    check(
        False,
        &[
            "room.metadata.theme == 3",
            "room.metadata.level == '3'",
            "room.metadata.open == 'true'",
            "room.metadata.open == 1",
            "room.metadata.open < room.metadata.open",
            "room.metadata.theme > 3",
            "room.metadata.level.startsWith('3')",
            "'dark'.startsWith(room.metadata.level)",
            "size(room.metadata.nothing) == 0",
            "size(room.metadata.level) >= 0",
            "size(room.metadata.none) >= 0",
            "has(room.metadata.nothing)",
            "has(room.metadata.theme.dark)",
            "has(room.metadata.tags.a)",
            "has(participant.attributes.nothing)",
        ],
    );
    check(
        True,
        &[
            "size(room.metadata.nothing) != 0",
            "room.metadata.level != '3'",
        ],
    );
}

#[test]
fn numbers_are_not_rounded() {
    let exact = 1_u64 << 53;
    for (number, text, expected) in [
        (json!(exact + 1), "== 9007199254740992", False),
        (json!(exact + 1), "== 9007199254740992.0", False),
        (json!(exact + 1), "> 9007199254740992.0", True),
        (json!(exact + 1), "in [9007199254740992.0]", False),
        (json!(u64::MAX), "> 9223372036854775807", True),
        (json!(i64::MIN), "== -9223372036854775808", True),
        (json!(9_007_199_254_740_992.0), "< 9007199254740993", True),
        (json!(1e300), "> 9223372036854775807", True),
        (json!(-0.0), "== 0", True),
        (json!(0.1), "== 0.1", True),
    ] {
        let facts = facts(|facts| facts["room"]["metadata"]["n"] = number.clone());
        let text = format!("room.metadata.n {text}");
        assert_eq!(parse(&text).holds(&facts), expected, "{number}: {text}");
    }
}

#[test]
fn a_word_of_a_newer_livekit_equals_none_that_can_be_named() {
    let facts = facts(|facts| {
        facts["participant"]["kind"] = "HOLOGRAM".into();
        facts["track"]["source"] = "microphone".into();
        facts["track"]["type"] = "SMELL".into();
    });
    for (field, word) in [
        ("participant.kind", "STANDARD"),
        ("track.source", "MICROPHONE"),
        ("track.type", "AUDIO"),
    ] {
        for (text, expected) in [
            (format!("{field} == '{word}'"), False),
            (format!("{field} != '{word}'"), True),
            (format!("{field} in ['{word}']"), False),
        ] {
            assert_eq!(parse(&text).holds(&facts), expected, "{text}");
        }
    }
}

#[test]
fn what_is_unknown_stays_open_unless_the_rest_decides() {
    let facts = facts(|facts| {
        for (thing, name) in [
            ("room", "metadata"),
            ("room", "num_participants"),
            ("room", "active_recording"),
            ("participant", "attributes"),
            ("participant", "name"),
            ("participant", "kind"),
        ] {
            facts[thing].as_object_mut().unwrap().remove(name).unwrap();
        }
        facts["participant"]["metadata"]["here"] = true.into();
    });
    for (expected, texts) in [
        (
            Unknown,
            [
                "room.num_participants > 10",
                "10 < room.num_participants",
                "room.name == participant.name",
                "room.name != participant.name",
                "room.metadata.theme == 'dark'",
                "room.metadata.theme != 'dark'",
                "has(room.metadata.theme)",
                "size(room.metadata.theme) > 1",
                "size(participant.attributes) > 1",
                "participant.attributes.role == 'host'",
                "has(participant.attributes.role)",
                "participant.kind in ['SIP']",
                "participant.name.startsWith('x')",
                "'x'.startsWith(participant.name)",
                "room.active_recording",
                "!room.active_recording",
                "room.active_recording && room.name == 'webinar-1'",
                "room.active_recording || room.name == 'x'",
                "room.metadata.theme == participant.name",
                "room.metadata.theme == participant.metadata.here",
                "room.metadata.theme < participant.metadata.level",
                "participant.name == participant.metadata.team",
                "room.num_participants == participant.metadata.level",
                "room.active_recording != participant.metadata.here",
                "participant.attributes.role < participant.metadata.team",
            ]
            .as_slice(),
        ),
        (
            False,
            &[
                "room.active_recording && room.name == 'x'",
                "room.name == 'x' && room.active_recording",
                // One side fails whatever the other turns out to be.
                "room.metadata.theme == participant.metadata.nothing",
                "participant.name.startsWith(participant.metadata.level)",
                // One side is never of the other's type.
                "participant.name == participant.metadata.level",
                "participant.metadata.level == participant.name",
                "participant.name < participant.metadata.level",
                "participant.kind == participant.metadata.level",
                "participant.attributes.role == participant.metadata.level",
                "size(participant.attributes) == participant.metadata.team",
                "size(room.metadata.theme) > participant.metadata.team",
                "room.num_participants >= participant.metadata.team",
                "room.num_participants == participant.metadata.here",
                "room.active_recording == participant.metadata.level",
                "participant.metadata.team == room.active_recording",
                "participant.name == participant.metadata.here",
                // True and false have no order.
                "room.metadata.theme < participant.metadata.here",
                "participant.metadata.here >= room.metadata.theme",
                "participant.name <= participant.metadata.here",
            ],
        ),
        (
            True,
            &[
                "room.active_recording || room.name == 'webinar-1'",
                "room.name == 'webinar-1' || room.active_recording",
                "room.metadata.theme != participant.metadata.nothing",
                "participant.name != participant.metadata.level",
                "participant.attributes.role != participant.metadata.here",
                "participant.metadata.team != size(participant.attributes)",
                "room.active_recording != participant.metadata.team",
            ],
        ),
    ] {
        for text in texts {
            assert_eq!(parse(text).holds(&facts), expected, "{text}");
        }
    }
}
