//! Exemptions that rank below every mute that they are about.

use super::meant::{check, told};
use crate::policy::Document;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn exemptions_that_rank_below_their_mutes() {
    let says = |mute: &str, priority: u16| {
        format!(
            "this exemption cancels no mute here: {mute} has the priority {priority}, this 100; give it the priority {priority} or a higher one"
        )
    };
    let says = |mute, priority| -> &str { says(mute, priority).leak() };
    for (mutes, exemption, expected) in [
        (
            "{room: 'webinar-*'}, priority: 500",
            "{identity: 'host-*'}",
            says("m", 500),
        ),
        (
            "{room: 'webinar-*'}, priority: 101",
            "{room: 'webinar-1'}",
            says("m", 101),
        ),
        (
            "{room: 'webinar-1'}, priority: 101",
            "{room: 'webinar-*'}",
            says("m", 101),
        ),
        (
            "{room: 'web*'}, priority: 101",
            "{room: ['x', 'webinar-*']}",
            says("m", 101),
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{source: MICROPHONE, identity: x}",
            says("m", 500),
        ),
        (
            "{type: AUDIO}, priority: 500, owner: acme",
            "{identity: x}, owner: acme",
            says("m", 500),
        ),
        (
            "{attributes: {role: [a, b]}}, priority: 500",
            "{identity: x, attributes: {role: b}}",
            says("m", 500),
        ),
        // It reaches it, or is about other tracks.
        (
            "{room: 'webinar-*'}, priority: 100",
            "{identity: 'host-*'}",
            "",
        ),
        (
            "{room: 'webinar-*'}, priority: 500",
            "{room: 'lobby-*'}",
            "",
        ),
        (
            "{room: '*-webinar'}, priority: 500",
            "{room: 'lobby-*'}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{type: VIDEO, identity: x}",
            "",
        ),
        ("{kind: SIP}, priority: 500", "{kind: AGENT}", ""),
        (
            "{attributes: {role: a}}, priority: 500",
            "{identity: x, attributes: {role: b}}",
            "",
        ),
        (
            "{type: AUDIO}, unless: {identity: x}, priority: 500",
            "{identity: x}",
            "",
        ),
        (
            "{type: AUDIO}, mode: off, priority: 500",
            "{identity: x}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{identity: x}, mode: off",
            "",
        ),
        // Owners: an operator's reaches all of a tenant's, a tenant's what may be overridden.
        (
            "{type: AUDIO}, priority: 500, owner: acme",
            "{identity: x}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{identity: x}, owner: acme",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500, owner: globex",
            "{identity: x}, owner: acme",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500}\n- {name: n, effect: mute, match: {type: AUDIO}, owner: acme",
            "{identity: x}",
            "",
        ),
        // One of two is what it is for; of two it reaches neither, the lower is named.
        (
            "{type: AUDIO}, priority: 500}\n- {name: n, effect: mute, match: {room: x}",
            "{identity: x}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500}\n- {name: n, effect: mute, match: {room: x}, priority: 300",
            "{identity: x}",
            says("n", 300),
        ),
    ] {
        let yaml = format!(
            "policies:\n- {{name: m, effect: mute, match: {mutes}}}\n- {{name: e, effect: exempt, reason: r, match: {exemption}}}"
        );
        check(&told(&yaml), expected, &yaml);
    }
    // In all files together, and where it stands.
    let mute = "policies: [{name: m, effect: mute, match: {type: AUDIO}, priority: 7}]";
    let exemption =
        "policies:\n- {name: e, effect: exempt, reason: r, match: {identity: x}, priority: 6}";
    let read = Document::load([("a.yaml", exemption), ("b.yaml", mute)]).unwrap();
    let says = "a.yaml:2:3: policies[0].priority: this exemption cancels no mute here: m has the \
                priority 7, this 6; give it the priority 7 or a higher one";
    assert_eq!(read.warnings.len(), 1);
    assert_eq!(read.warnings[0].to_string(), says);
}
