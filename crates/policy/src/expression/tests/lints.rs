//! What is always or never so is told of.

use super::parse;
use crate::{Document, Problem};

fn lints(text: &str) -> String {
    let lints = parse(text).constant_conditions(&[]);
    let lints: Vec<_> = lints.iter().map(ToString::to_string).collect();
    lints.join("\n")
}

#[test]
fn what_is_always_or_never_so() {
    let seen: Vec<_> = [
        "participant.kind == 'SIP' && participant.kind == 'AGENT'",
        "participant.kind == 'SIP' && !(participant.kind in ['SIP', 'AGENT'])",
        "participant.kind != 'SIP' || participant.kind != 'AGENT'",
        "size(room.name) < 0",
        "room.num_participants >= 0",
        "room.num_participants > 4294967295",
        "room.num_participants == 1.5",
        "room.num_participants > 10 && room.num_participants < 5",
        "room.num_participants > 3 && room.num_participants < 4",
        "room.num_participants > 10 || room.num_participants <= 10",
        "room.name == 'a' && room.name > 'b'",
        "room.name < ''",
        "room.name >= ''",
        "room.name == 'webinar' && room.name.startsWith('lobby')",
        "participant.attributes.role == 'host' && !has(participant.attributes.role)",
        "room.metadata.x == 'a' && room.metadata.x == 5",
        "room.metadata.x > 5 && room.metadata.x == 'a'",
        "room.active_recording && !room.active_recording",
        "room.active_recording == true || room.active_recording == false",
        "room.name == participant.name || room.name != 'x' || room.name == 'x'",
        "'FORWARDED' in participant.kind_details || size(participant.kind_details) >= 0",
        "true",
        "'a' == 'b' || 5 in [5]",
        "room.name == 'x' && size(room.name) < 0",
        "room.name == 'x' && (room.num_participants >= 0 || room.active_recording)",
        "!(track.source == 'CAMERA' && track.source == 'MICROPHONE') && room.name == 'x'",
        // Beside much that has nothing to do with it.
        "room.num_participants > 10 && room.num_participants < 5 && room.metadata.a == 'x' && room.metadata.b == 'x' && room.metadata.c == 'x' && room.metadata.d == 'x'",
        "room.num_participants > 10 || room.num_participants < 15 || room.metadata.a == 'x' || room.metadata.b == 'x' || room.metadata.c == 'x' || room.metadata.d == 'x'",
        "room.num_participants > 10 && room.num_participants < 5 && (room.num_participants == 7 || room.metadata.a == 5 || room.metadata.b == 5 || room.metadata.c == 5 || room.metadata.d == 5 || room.metadata.e == 5)",
        // Beside many tests of a text.
        "room.num_participants > 10 && room.num_participants < 5 && !(participant.identity.startsWith('a-') || participant.identity.startsWith('b-') || participant.identity.startsWith('c-') || participant.identity.startsWith('d-') || participant.identity.startsWith('e-') || participant.identity.startsWith('f-') || participant.identity.startsWith('g-'))",
        "room.name == 'x' && room.name == 'y' && !(room.name.contains('a') || room.name.contains('b') || room.name.contains('c') || room.name.contains('d') || room.name.contains('e') || room.name.contains('f') || room.name.contains('g'))",
        // What any text answers.
        "room.name.startsWith('')",
        "participant.name.contains('') && track.name.endsWith('')",
        // One thing twice.
        "room.name == room.name",
        "participant.kind != participant.kind",
        "room.num_participants < room.num_participants",
        "room.num_participants <= room.num_participants",
        "room.metadata.x > room.metadata.x",
        "participant.name.contains(participant.name)",
        "size(participant.attributes) == size(participant.attributes)",
        "size('abc') > 2",
        "size('日本') == 3",
    ]
    .iter()
    .map(|text| lints(text))
    .collect();
    let seen = seen.join("\n\n");
    insta::assert_snapshot!(seen);
}

#[test]
fn what_may_be_either_way_is_not_told_of() {
    for text in [
        "room.num_participants > 10 && !participant.identity.startsWith('staff-')",
        "room.num_participants > 3 && room.num_participants < 5",
        "room.created_at > 3 && room.created_at < 5",
        "room.metadata.x > 3 && room.metadata.x < 4",
        "room.metadata.x > 5 || room.metadata.x <= 5",
        "participant.attributes.x != 'a' && participant.attributes.x != ''",
        "participant.attributes.x == 'a' || participant.attributes.x != 'b'",
        "size(room.metadata.x) >= 0",
        "size(participant.attributes.x) >= 0",
        "participant.kind in ['STANDARD', 'INGRESS', 'EGRESS', 'SIP', 'AGENT', 'CONNECTOR', 'BRIDGE']",
        "room.name > 'a' && room.name < 'b'",
        "room.name.startsWith('a') && room.name.endsWith('b')",
        "room.name == participant.name && room.name != 'x'",
        "has(room.metadata.x) && room.metadata.x != 'a'",
        "has(room.metadata.x) && room.metadata.x != true && room.metadata.x != false",
        "room.metadata.x == 'a' || room.metadata.x == 5 || room.metadata.x == true",
        "participant.attributes.x.startsWith('')",
        "room.metadata.x.contains('') || room.metadata.x == 5",
        "room.metadata.x == room.metadata.x",
        "participant.attributes.x != participant.attributes.x",
        "participant.metadata.x <= participant.metadata.x",
        "participant.attributes.x.contains(participant.attributes.x)",
        "size(room.metadata.x) == size(room.metadata.x)",
        "room.name.startsWith('a') && room.name.startsWith('ab')",
        "room.name.endsWith('b') && room.name.endsWith('ab') && !room.name.startsWith('ab')",
        "room.name.contains('a') && room.name.contains('b') && !room.name.contains('ab')",
        "room.name.startsWith('a') && !room.name.endsWith('a')",
        // Contradictions, and too subtle.
        "room.name.startsWith('a') && room.name < 'a'",
        "has(room.metadata.x.y) && !has(room.metadata.x)",
        // Tests of one text that contradict one another, and one test of two operands.
        "room.name.startsWith('a') && !room.name.startsWith('a')",
        "room.name == participant.name && !(room.name == participant.name)",
        "'FORWARDED' in participant.kind_details && !('FORWARDED' in participant.kind_details)",
        "room.name.startsWith('a') && !(room.name.contains('a') || room.name.contains('b') || room.name.contains('c') || room.name.contains('d'))",
        "room.name.startsWith('a') && room.name.startsWith('b')",
        "room.name.endsWith('a') && room.name.endsWith('ba')  && !room.name.contains('ba')",
        "participant.attributes.x.endsWith('a') && participant.attributes.x.endsWith('b')",
        "room.metadata.x.startsWith('ab') && !room.metadata.x.startsWith('a')",
    ] {
        assert_eq!(lints(text), "", "{text}");
    }
    // Several operands that only together leave no choice.
    let many: Vec<_> = (0..5)
        .map(|n| format!("room.metadata.k{n} > {n}"))
        .collect();
    assert_eq!(lints(&format!("{0} && !({0})", many.join(" && "))), "");
}

#[test]
fn conditions_that_participants_control_and_constant_ones_of_policies() {
    let seen: Vec<_> = [
        // Exemptions by own words, and by who they are.
        "when: \"participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' && participant.kind == 'AGENT'\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' || participant.kind == 'AGENT'\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' && participant.kind != 'SIP'\", effect: exempt, reason: r",
        "when: \"participant.name.startsWith('Host') && room.num_participants < 5\", effect: exempt, reason: r",
        "when: \"participant.metadata.a == 1\", match: { identity: 'h-*' }, effect: exempt, reason: r",
        "when: \"participant.identity.startsWith('h-')\", match: { source: UNKNOWN }, effect: exempt, reason: r",
        "when: \"room.name == 'x'\", match: { source: UNKNOWN }, effect: exempt, reason: r",
        "when: \"room.metadata.open == true\", effect: exempt, reason: r",
        // Mutes that a word of their own gets out of.
        "when: \"participant.attributes.role != 'host'\", effect: mute",
        "when: \"!(track.name == 'music') && room.num_participants > 5\", effect: mute",
        "when: \"!(participant.attributes.role == 'host' && participant.identity.startsWith('h-'))\", effect: mute",
        "when: \"participant.attributes.role == 'guest'\", effect: mute",
        "when: \"!participant.identity.startsWith('staff-')\", effect: mute",
        "when: \"!(participant.attributes.role == 'host') || participant.kind == 'SIP'\", effect: mute",
        "when: \"participant.attributes.role != 'host' && participant.identity != 'x'\", effect: mute",
        "when: \"participant.attributes.a != 'x' && track.name != 'y' && participant.attributes.b != 'z'\", effect: mute",
        // Who cannot write their attributes has them from the token; what tracks are called is their own word.
        "when: \"participant.attributes.role == 'host' && !participant.can_update_metadata\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' && participant.can_update_metadata\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' || !participant.can_update_metadata\", effect: exempt, reason: r",
        "when: \"participant.attributes.role != 'host' || participant.can_update_metadata\", effect: mute",
        "when: \"!(participant.attributes.role == 'host' && (participant.name == 'x' && !participant.can_update_metadata))\", effect: mute",
        "when: \"track.name != 'music' || participant.can_update_metadata\", effect: mute",
        "when: \"participant.attributes.role == 'host' && participant.can_update_metadata == false\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' && true != participant.can_update_metadata\", effect: exempt, reason: r",
        "when: \"participant.attributes.role == 'host' && participant.can_update_metadata == true\", effect: exempt, reason: r",
        "match: { attributes: { role: host } }, when: \"!participant.can_update_metadata\", effect: exempt, reason: r",
        "match: { source: UNKNOWN }, when: \"!participant.can_update_metadata\", effect: exempt, reason: r",
        // Callers have no client to write attributes with. Their headers are their own, and so is what agents call a track.
        "match: { kind: SIP }, unless: { attributes: { 'sip.h.X-Vip': 'yes' } }, effect: mute",
        "match: { kind: SIP }, when: \"participant.attributes.vetted != 'yes'\", effect: mute",
        "match: { kind: AGENT }, unless: { source: UNKNOWN }, effect: mute",
        "match: { kind: [INGRESS, AGENT] }, when: \"track.name != 'music'\", effect: mute",
        "match: { kind: SIP }, unless: { attributes: { vetted: 'yes' } }, effect: mute",
        "match: { kind: [SIP, STANDARD] }, unless: { attributes: { vetted: 'yes' } }, effect: mute",
        // What is so of anybody is no bond.
        "match: { kind: STANDARD, attributes: { role: host } }, effect: exempt, reason: r",
        "match: { kind: [SIP, AGENT], attributes: { role: host } }, effect: exempt, reason: r",
        "match: { identity: '?*', attributes: { role: host } }, effect: exempt, reason: r",
        "match: { identity: 'h?*', attributes: { role: host } }, effect: exempt, reason: r",
        "when: \"participant.kind == 'STANDARD' && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.kind in ['SIP', 'STANDARD'] && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.kind != 'STANDARD' && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"!(participant.kind in ['STANDARD', 'SIP']) && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"size(participant.identity) > 0 && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.identity >= 'a' && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.identity.contains('') && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.identity.endsWith('-h') && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        "when: \"participant.identity == room.metadata.host && participant.attributes.role == 'host'\", effect: exempt, reason: r",
        // Microphones without a name.
        "when: \"track.source == 'MICROPHONE'\", effect: mute",
        "when: \"track.source in ['MICROPHONE', 'UNKNOWN']\", effect: mute",
        "when: \"track.source == 'MICROPHONE' || track.source == 'UNKNOWN'\", effect: mute",
        "when: \"track.source == 'MICROPHONE'\", match: { type: VIDEO }, effect: mute",
        // Always and never.
        "when: \"room.num_participants >= 0\", effect: mute",
        "when: \"room.name == 'x' && size(room.name) < 0\", effect: mute",
        // Beside what `match` says.
        "match: { source: [CAMERA] }, when: \"track.source == 'MICROPHONE'\", effect: mute",
        "match: { type: AUDIO }, when: \"track.type == 'AUDIO' && room.name == 'x'\", effect: mute",
        "match: { kind: [SIP, AGENT] }, when: \"participant.kind == 'SIP' || participant.kind == 'AGENT'\", effect: mute",
        "match: { kind: [SIP, AGENT] }, when: \"participant.kind != 'SIP'\", effect: mute",
        "match: { kind: [SIP] }, when: \"participant.kind == participant.attributes.x\", effect: mute",
        "match: { kind: SIP }, when: \"participant.kind == 'SIP' && participant.kind == 'AGENT' || room.num_participants >= 0\", effect: mute",
    ]
    .iter()
    .map(|policy| {
        let match_ = if policy.contains("match:") { "" } else { "match: {}, " };
        let yaml = format!("policies: [ {{ name: p, {match_}{policy} }} ]");
        let checked = Document::load([("p.yaml", yaml.as_str())])
            .unwrap_or_else(|problems| panic!("{problems}"));
        let warnings: Vec<_> = checked.warnings.iter().map(Problem::to_string).collect();
        format!("{policy}\n    {}", warnings.join("\n").replace('\n', "\n    "))
    })
    .collect();
    let seen = seen.join("\n");
    insta::assert_snapshot!(seen);
}
