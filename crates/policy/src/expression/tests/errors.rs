//! What is refused, with a caret under it and what to write instead.

use crate::{Document, Expression, Policy};

fn refused(text: &str) -> String {
    match Expression::parse(text) {
        Ok(_) => format!("{text}\n    FINE"),
        Err(problem) => problem.to_string(),
    }
}

fn all(texts: &[&str]) -> String {
    let seen: Vec<_> = texts.iter().map(|text| refused(text)).collect();
    seen.join("\n\n")
}

#[test]
fn names_that_are_none() {
    let seen = all(&[
        "room.nme == 'x'",
        "rom.name == 'x'",
        "num_participants > 10",
        "room.numParticipants > 10",
        "name == 'x'",
        "metadata.theme == 'x'",
        "foo == 'x'",
        "staff == participant.identity",
        ".room.name == 'x'",
        "room == 'x'",
        "track.muted == true",
        "track.colour == 'red'",
        "room['name'] == 'x'",
        "room.name.first == 'x'",
        "room.metadata == 'x'",
        "room.metadata.tags[0] == 'x'",
        "room.metadata[room.name] == 'x'",
        "participant.attributes == 'x'",
        "participant.attributes.sip.phoneNumber == '+49'",
        "participant.attribute.role == 'host'",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn types_that_do_not_fit() {
    let seen = all(&[
        "room.num_participants > '10'",
        "room.num_participants == 'ten'",
        "room.created_at > '2026-01-01'",
        "room.name == 5",
        "participant.attributes.level > 5",
        "room.active_recording == 'true'",
        "room.active_recording < true",
        "room.active_recording == 1",
        "track.source == 'MICROFONE'",
        "'telephone' == participant.kind",
        "participant.kind == 'CONNECTOR_TWILIO'",
        "track.type in ['AUDIO', 'SOUND']",
        "track.source < 'MICROPHONE'",
        "track.source == track.type",
        "track.source.startsWith('SCREEN')",
        "participant.kind == 5",
        "room.name in ['x', 5]",
        "room.num_participants in []",
        "room.name in [participant.name]",
        "room.name in room.metadata.names",
        "'role' in participant.attributes",
        "participant.attributes in ['x']",
        "room.num_participants.startsWith('1')",
        "room.name.startsWith(5)",
        "room.name.startsWith(room.created_at)",
        "size(room.num_participants) > 1",
        "size(size(room.name)) > 1",
        "size(track.source) > 1",
        "size(room.metadata) > 1",
        "size(room.name) > 'x'",
        "participant.kind_details == 'CONNECTOR_TWILIO'",
        "participant.kind_details in ['CONNECTOR_TWILIO']",
        "participant.kind_details < participant.kind_details",
        "participant.kind_details.contains('CONNECTOR_TWILIO')",
        "participant.kind_details[0] == 'CONNECTOR_TWILIO'",
        "participant.kind_details.first == 'CONNECTOR_TWILIO'",
        "'CONECTOR_TWILIO' in participant.kind_details",
        "'SIP' in participant.kind_details",
        "'CONNECTOR_TWILIO' in participant.kind_detail",
        "'CONNECTOR_TWILIO' in participant.kind",
        "3 in participant.kind_details",
        "participant.kind in participant.kind_details",
        "participant.kind_details in participant.kind_details",
        "!'CONNECTOR_TWILIO' in participant.kind_details",
        "has(participant.kind_details)",
        "has(room.name)",
        "has(participant.attributes)",
        "has(room.metadata)",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn results_that_are_not_true_or_false() {
    let seen = all(&[
        "room.num_participants",
        "'text'",
        "5",
        "room.metadata.open",
        "!room.metadata.open",
        "room.active_recording && participant.name",
        "participant.attributes",
        "participant.kind_details",
        "track.source || room.active_recording",
        "size(room.name)",
        "(room.name == 'x') == true",
        "has(room.metadata.x) == true",
        "!room.active_recording == room.active_recording",
        "room.name == 'a' == true",
        "1 < room.num_participants < 10",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn parts_of_cel_that_policies_do_not_have() {
    let seen = all(&[
        "room.num_participants + 1 > 10",
        "room.num_participants > 5 * 2",
        "-room.num_participants < 0",
        "room.name == 'a' + 'b'",
        "--room.num_participants > 5 && - -5 < 5",
        "room.active_recording ? true : room.name == 'x'",
        "participant.identity.matches('^staff-')",
        "room.metadata.tags.exists(tag, tag == 'x') && room.active_recording",
        "room.active_recording && room.metadata.tags.all(tag, tag.startsWith('x'))",
        "participant.kind_details.exists(detail, detail == 'CONNECTOR_TWILIO')",
        "size(room.metadata.tags.filter(tag, tag == 'x')) > 0",
        "timestamp('2026-01-01T00:00:00Z') < timestamp(room.created_at)",
        "string(room.num_participants) == '10'",
        "room.name.lowerAscii() == 'x'",
        "room.name == null",
        "room.num_participants > 10u",
        "room.name == b'x'",
        "[room.name] == ['x']",
        "{'a': 1} == room.metadata.map",
        "Room{name: 'x'} == room.metadata.map",
        "startswith(room.name, 'x')",
        "room.name.startswith('x')",
        "room.name.startsWith('x', 'y')",
        "startsWith(room.name, 'x')",
        "room.name.size() > 5",
        "size() > 5",
        "has(room.metadata.x, room.metadata.y)",
        "has(room.metadata['x y'])",
        "has(room)",
        "lookup(room.name) == 'x'",
        "room.metadata.list.map(x, x) == 'x'",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn texts_that_are_no_expression() {
    let long = format!("room.name == '{}'", "x".repeat(1024));
    let nodes = ["room.active_recording"; 40].join(" && ");
    let seen = all(&[
        "",
        " \n ",
        "room.name = 'x'",
        "room.name == 'x' & room.active_recording",
        "room.name == 'x' | room.active_recording",
        "room.name == 'x' and room.active_recording",
        "room.name == 'x' OR room.active_recording",
        "not room.active_recording",
        "room.name is 'x'",
        "room.name == 'x",
        "room.name == \"x'",
        "room.name == 'x\ny'",
        "room.name == “x”",
        "room.name == é",
        "room.name == 'x' # a comment",
        "(room.name == 'x'",
        "room.name == 'x')",
        "room.name in ['x')",
        "room.name ==",
        "room.name == 'x' &&",
        "&& room.name == 'x'",
        "room.name == 'x' room.active_recording",
        "room..name == 'x'",
        "room.name == 'x';",
        "room.name == '\\q'",
        "room.num_participants > 99999999999999999999",
        "room.num_participants > 10px",
        "room.?name == 'x'",
        "room.`name` == 'x'",
        "room.if == 'x' && if == 'y'",
        "room.name == 'x' // a comment",
        "room.name == 'a\u{7}'",
        &long,
        &nodes,
    ]);
    insta::assert_snapshot!(seen);
}

/// The whole of what is wrong has carets, also where the parser tells of an operator only.
#[test]
fn carets_are_under_the_whole_fault() {
    let seen = all(&[
        "room.active_recording && (room.num_participants + room.num_publishers) * 2 > 10",
        "room.name == 'x' && participant.identity.matches('(a|b)') && room.active_recording",
        "!(room.name == 'x' || room.nme == 'y')",
        "room.name == 'x' &&\n  track.source == 'MICROFONE' &&\n  room.active_recording",
        "room.name == 'x' &&\n\troom.metadata.a\t> b",
        "room.name == '日本語 🎤 é' && room.nme == 'x'",
        "room.name in ['a', 'b', 5] && room.active_recording",
        "room.name == (\n  'a' +\n  'b'\n)",
        &format!(
            "{0}room.nme == 'x' && {0}true",
            "room.name != 'bbbbbbbbbbbbbbbbbbbb' && ".repeat(4)
        ),
        "room.metadata['a b'].c[0] == 5",
        "-5 < -room.num_participants",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn a_document_says_where_the_expression_stands() {
    let yaml = "
policies:
  - name: fine
    match: {}
    when: room.name == 'x'
    effect: mute
  - name: misspelt
    match: { type: AUDIO }
    when: 'room.nme == \"x\"'
    effect: mute
  - name: block
    match: { type: AUDIO }
    when: |
      room.name == 'x' &&
        track.source == 'MICROFONE'
    effect: mute
  - { name: number, match: {}, when: 5, effect: mute }
  - { name: flag, match: {}, when: true, effect: mute }
  - { name: blank, match: {}, when: '', effect: mute }
  - { name: nothing, match: {}, when: , effect: mute }
";
    let problems = Document::load([("p.yaml", yaml)]).unwrap_err();
    let seen = problems.to_string();
    insta::assert_snapshot!(seen);
    let json = br#"{"name": "p", "match": {}, "effect": "mute", "when": "room.nme == 'x'"}"#;
    let problems = Policy::from_json(json, &crate::Owner::Operator).unwrap_err();
    let seen = problems.to_string();
    insta::assert_snapshot!("in_json", seen);
}

#[test]
fn what_is_written_is_what_is_kept() {
    let json = br#"{"name": "p", "match": {}, "effect": "mute", "when": "\n room.name == 'x' &&\n true\n"}"#;
    let policy = Policy::from_json(json, &crate::Owner::Operator)
        .unwrap()
        .value;
    assert_eq!(policy.to_json()["when"], "room.name == 'x' &&\n true");
    let again = Policy::from_stored(&policy.to_json(), &crate::Owner::Operator).unwrap();
    assert_eq!(again, policy);
    let document = Document {
        policies: vec![policy],
    };
    let yaml = document.to_yaml().unwrap();
    let back = Document::load([("p.yaml", yaml.as_str())]).unwrap().value;
    assert_eq!(back, document, "{yaml}");
}

#[test]
fn slips_are_told_what_to_write() {
    let seen = all(&[
        "startsWith(room.name, 'a')",
        "room.name.startsWith()",
        "room.name.contains('a', 'b')",
        "!room.name in ['a']",
        "!room.name == 'a'",
        "room.metadata.a-b == 1",
        "participant.attributes.a-b-c == 'x'",
        "event.created_at - room.created_at < 600",
        "room.num_participants - 1 > 5",
        "room.name <> 'x'",
        "room..name == 'x'",
        "room.num_participants > 10.",
        "event.type == 'track_publish'",
        "event.type in ['track_published', 'room_started']",
        "event.type == 'track_published'",
    ]);
    insta::assert_snapshot!(seen);
}

#[test]
fn text_with_nul_is_refused() {
    let seen = all(&[
        r#"room.name == "a\u0000b""#,
        r"room.name.contains('\x00')",
        r"participant.attributes.a in ['x', '\000']",
        r"size('\U00000000') > 0",
        r"has(room.metadata['a\u0000'].b)",
        r"participant.attributes['\u0000'] == 'x'",
        // Another letter, and a raw text without any.
        r"room.name == '\u0001'",
        r"room.name == r'\u0000'",
    ]);
    insta::assert_snapshot!(seen);
}
