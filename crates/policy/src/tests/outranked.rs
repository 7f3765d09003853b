//! Exemptions that rank below every mute that they are about.

use super::meant::{check, told};
use crate::Document;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn exemptions_that_rank_below_their_mutes() {
    const OPERATORS: &str = "owner: this exemption exempts nothing here: m is the operator's, and not `overridable`; write `overridable: true` in m, or let the operator exempt";
    const MUTED: &str = "this exemption exempts nothing here: m mutes the same with the priority 500, this has 100; give it the priority 500 or a higher one";
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
            "{type: AUDIO}, priority: 5",
            "{identity: x}, owner: acme, priority: 9999",
            OPERATORS,
        ),
        (
            "{type: AUDIO}, priority: 5, overridable: true",
            "{identity: x}, owner: acme",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500}\n- {name: n, effect: mute, match: {type: AUDIO}, priority: 5, owner: acme",
            "{identity: x}, owner: acme",
            OPERATORS,
        ),
        // What it cancels another mutes all the same, or part of it.
        (
            "{room: 'x-*'}, priority: 500}\n- {name: n, effect: mute, match: {room: x-1}, priority: 50",
            "{room: 'x-*', identity: y}",
            MUTED,
        ),
        (
            "{room: 'x-*'}, priority: 500}\n- {name: n, effect: mute, match: {room: x-1}, when: room.active_recording, priority: 50",
            "{room: 'x-*', identity: y}",
            MUTED,
        ),
        (
            "{room: 'x-*'}, priority: 500}\n- {name: n, effect: mute, match: {room: 'y-*'}, priority: 50",
            "{room: ['x-*', 'y-*']}",
            "",
        ),
        (
            "{room: 'x-*'}, priority: 500, mode: dry_run}\n- {name: n, effect: mute, match: {room: x-1}, priority: 50",
            "{room: 'x-*', identity: y}",
            "",
        ),
        (
            "{room: 'x-*'}, unless: {identity: z}, priority: 500}\n- {name: n, effect: mute, match: {room: x-1}, priority: 50",
            "{room: 'x-*', identity: y}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500}\n- {name: n, effect: mute, match: {room: '*-x', type: VIDEO}, priority: 50",
            "{room: 'lobby-*'}",
            "",
        ),
        // Words tell nothing of `when`, of time, and of what an exemption leaves out.
        (
            "{type: AUDIO}, when: room.active_recording, priority: 500",
            "{identity: x}",
            "",
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{identity: x}, when: room.active_recording",
            "",
        ),
        (
            "{kind: SIP}, active: {cron: '0 22 * * *', duration: 8h, timezone: UTC}, priority: 500",
            "{kind: SIP}, active: {cron: '0 8 * * *', duration: 8h, timezone: UTC}",
            "",
        ),
        (
            "{kind: SIP}, not_after: 2027-01-01T00:00:00Z, priority: 500",
            "{kind: SIP}",
            "",
        ),
        (
            "{kind: SIP}, priority: 500",
            "{kind: SIP}, not_before: 2027-01-01T00:00:00Z",
            "",
        ),
        ("{room: a}, first: 10m, priority: 500", "{room: a}", ""),
        (
            "{room: a}, priority: 500",
            "{identity: b}, unless: {room: a}",
            "",
        ),
        // They are about other tracks, participants, names.
        (
            "{kind_details: CONNECTOR_TWILIO}, priority: 500",
            "{kind_details: CONNECTOR_WHATSAPP}",
            "",
        ),
        (
            "{kind_details: CONNECTOR_TWILIO}, priority: 500",
            "{kind: SIP}",
            "",
        ),
        (
            "{kind_details: [CONNECTOR_TWILIO, FORWARDED]}, priority: 500",
            "{kind_details: CONNECTOR_TWILIO}",
            says("m", 500),
        ),
        (
            "{type: AUDIO}, priority: 500",
            "{source: CAMERA, identity: x}",
            "",
        ),
        (
            "{source: SCREEN_SHARE_AUDIO}, priority: 500",
            "{type: VIDEO, identity: x}",
            "",
        ),
        (
            "{room: 'webinar-*', type: AUDIO}, unless: {identity: 'host-*'}, priority: 500",
            "{room: 'webinar-*', identity: host-ann}",
            "",
        ),
        (
            "{room: 'webinar-*'}, unless: {room: 'webinar-vip-*'}, priority: 500",
            "{room: 'webinar-vip-a*'}",
            "",
        ),
        (
            "{room: 'webinar-*'}, unless: {room: 'webinar-?'}, priority: 500",
            "{room: 'webinar-*'}",
            says("m", 500),
        ),
        (
            "{room: 'w-*'}, unless: {kind: SIP, attributes: {role: host}}, priority: 500",
            "{room: 'w-*', kind: SIP, attributes: {role: host}}",
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
            MUTED,
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
