//! Every condition and rule of a policy, from YAML to what LiveKit was asked to do.

use std::fmt::Write;

use livekit_double::{Join, Publish};
use livekit_protocol::TrackSource;
use livekit_protocol::participant_info::Kind;

use crate::support::TestApp;

struct Case {
    what: &'static str,
    /// Policies, one a line; `ROOM` stands for the case's own room, so that no case meets another.
    policies: &'static [&'static str],
    tenant: Option<&'static str>,
    join: Join,
    publish: Publish,
    /// The policy that mutes, as the audit names it; none where nobody is muted.
    by: Option<&'static str>,
}

fn case(
    what: &'static str,
    policies: &'static [&'static str],
    join: Join,
    by: Option<&'static str>,
) -> Case {
    Case {
        what,
        policies,
        tenant: Some("acme"),
        join,
        publish: Publish::microphone(),
        by,
    }
}

impl Case {
    fn of(self, source: TrackSource) -> Self {
        Self {
            publish: Publish::new(source),
            ..self
        }
    }

    fn in_room_of(self, tenant: Option<&'static str>) -> Self {
        Self { tenant, ..self }
    }
}

const M: Option<&str> = Some("ROOM-m@1");
const ALL: &str = "{ name: ROOM-m, match: { room: [ROOM] }, effect: mute }";
const ACMES: &str = "{ name: ROOM-a, owner: acme, match: { room: [ROOM] }, effect: mute }";
const OVERRIDABLE: &str =
    "{ name: ROOM-m, match: { room: [ROOM] }, effect: mute, overridable: true }";

fn ann() -> Join {
    Join::new("ann")
}

fn conditions() -> Vec<Case> {
    const OTHER_ROOM: &[&str] = &["{ name: ROOM-m, match: { room: [\"ROOM?*\"] }, effect: mute }"];
    const GUESTS: &[&str] =
        &["{ name: ROOM-m, match: { room: [ROOM], identity: [\"guest-*\"] }, effect: mute }"];
    const SCREENS: &[&str] = &[
        "{ name: ROOM-m, match: { room: [ROOM], source: [SCREEN_SHARE_AUDIO, UNKNOWN] }, effect: mute }",
    ];
    const VIDEO: &[&str] =
        &["{ name: ROOM-m, match: { room: [ROOM], type: [VIDEO] }, effect: mute }"];
    const PHONES: &[&str] =
        &["{ name: ROOM-m, match: { room: [ROOM], kind: [SIP, AGENT] }, effect: mute }"];
    const ROLES: &[&str] = &[
        "{ name: ROOM-m, match: { room: [ROOM], attributes: { role: [guest, visitor], floor: \"2\" } }, effect: mute }",
    ];
    const ALL_FIELDS: &[&str] = &[
        "{ name: ROOM-m, match: { room: [ROOM], identity: [ann], source: [MICROPHONE], type: [AUDIO], kind: [SIP] }, effect: mute }",
    ];
    let role = |role: &str, floor: &str| ann().attribute("role", role).attribute("floor", floor);
    vec![
        case("the room", &[ALL], ann(), M),
        case("another room", OTHER_ROOM, ann(), None),
        case("the identity", GUESTS, Join::new("guest-7"), M),
        case("another identity", GUESTS, ann(), None),
        case("the second source", SCREENS, ann(), M).of(TrackSource::Unknown),
        case("the first source", SCREENS, ann(), M).of(TrackSource::ScreenShareAudio),
        case("another source", SCREENS, ann(), None),
        case("the type", VIDEO, ann(), M).of(TrackSource::Camera),
        case("another type", VIDEO, ann(), None),
        case("the kind", PHONES, ann().kind(Kind::Sip), M),
        case("the other kind", PHONES, ann().kind(Kind::Agent), M),
        case("no such kind", PHONES, ann(), None),
        case("both attributes", ROLES, role("visitor", "2"), M),
        case("one attribute", ROLES, role("guest", "3"), None),
        case("another value", ROLES, role("host", "2"), None),
        case("no attributes", ROLES, ann(), None),
        case("every field", ALL_FIELDS, ann().kind(Kind::Sip), M),
        case("every field but one", ALL_FIELDS, ann(), None),
    ]
}

fn exceptions() -> Vec<Case> {
    const UNLESS_HOST: &[&str] = &[
        "{ name: ROOM-m, match: { room: [ROOM] }, unless: { attributes: { role: host } }, effect: mute }",
    ];
    const UNLESS_BOTH: &[&str] = &[
        "{ name: ROOM-m, match: { room: [ROOM] }, unless: { identity: [\"staff-*\"], kind: [AGENT] }, effect: mute }",
    ];
    const EXEMPT: &str = "{ name: ROOM-e, match: { room: [ROOM], identity: [ann] }, effect: exempt, priority: 100, reason: r }";
    const EXEMPT_LOW: &str = "{ name: ROOM-e, match: { room: [ROOM], identity: [ann] }, effect: exempt, priority: 99, reason: r }";
    const EXEMPT_ACME: &str = "{ name: ROOM-e, owner: acme, match: { room: [ROOM] }, effect: exempt, priority: 9999, reason: r }";
    const ONLY_OVERRIDABLE_LEFT: &[&str] = &[
        OVERRIDABLE,
        "{ name: ROOM-z, match: { room: [ROOM] }, effect: mute, priority: 1 }",
        EXEMPT_ACME,
    ];
    let host = ann().attribute("role", "host");
    let staff = Join::new("staff-1");
    let staff_agent = Join::new("staff-1").kind(Kind::Agent);
    vec![
        case("who unless names", UNLESS_HOST, host, None),
        case("who unless does not name", UNLESS_HOST, ann(), M),
        case("unless asks for both", UNLESS_BOTH, staff, M),
        case("unless has both", UNLESS_BOTH, staff_agent, None),
        case("exempt at the priority", &[ALL, EXEMPT], ann(), None),
        case("exempt below it", &[ALL, EXEMPT_LOW], ann(), M),
        case("another is exempt", &[ALL, EXEMPT], Join::new("bob"), M),
        case("operator exempts", &[ACMES, EXEMPT_LOW], ann(), None),
        case("tenant cannot", &[ALL, EXEMPT_ACME], ann(), M),
        case("tenant may", &[OVERRIDABLE, EXEMPT_ACME], ann(), None),
        case(
            "what is left",
            ONLY_OVERRIDABLE_LEFT,
            ann(),
            Some("ROOM-z@1"),
        ),
        case(
            "another tenant's exempt",
            &[OVERRIDABLE, EXEMPT_ACME],
            ann(),
            M,
        )
        .in_room_of(Some("globex")),
    ]
}

fn owners() -> Vec<Case> {
    const FIRST: &[&str] = &[
        ACMES,
        "{ name: ROOM-y, match: { room: [ROOM] }, effect: mute, priority: 50 }",
        "{ name: ROOM-x, match: { room: [ROOM] }, effect: mute, priority: 50 }",
        "{ name: ROOM-a, match: { room: [ROOM] }, effect: mute, priority: 49 }",
    ];
    let acmes = Some("acme/ROOM-a@1");
    vec![
        case("a tenant's own room", &[ACMES], ann(), acmes),
        case("another's room", &[ACMES], ann(), None).in_room_of(Some("globex")),
        case("nobody's room", &[ACMES], ann(), None).in_room_of(None),
        case("a name that is nearly it", &[ACMES], ann(), None).in_room_of(Some("acme ")),
        case("operator, another's", &[ALL], ann(), M).in_room_of(Some("globex")),
        case("operator, nobody's", &[ALL], ann(), M).in_room_of(None),
        case("who is named", FIRST, ann(), Some("ROOM-x@1")),
    ]
}

#[tokio::test]
async fn each_condition_exception_and_owner_decides_as_it_says() {
    let app = TestApp::new().await;
    let cases: Vec<Case> = [conditions(), exceptions(), owners()]
        .into_iter()
        .flatten()
        .collect();
    let room_of = |number: usize| format!("room{number:02}");
    let mut yaml = "policies:\n".to_owned();
    for (number, case) in cases.iter().enumerate() {
        for policy in case.policies {
            let line = policy.replace("ROOM", &room_of(number));
            writeln!(yaml, "  - {line}").unwrap();
        }
    }
    app.apply(&yaml).await;
    let mut published = Vec::new();
    for (number, case) in cases.into_iter().enumerate() {
        let room = room_of(number);
        match case.tenant {
            Some(tenant) => app.room(&room, tenant),
            None => drop(app.simulator.create_room(&room, None)),
        }
        let identity = case.join.identity.clone();
        let sid = app.publish(&room, case.join, case.publish).sid;
        published.push((case.what, case.by, room, identity, sid));
    }
    app.settle().await;
    for (what, by, room, identity, sid) in published {
        let by = by.map(|by| by.replace("ROOM", &room));
        assert_eq!(app.is_muted(&room, &identity, &sid), by.is_some(), "{what}");
        let settlement = app.settlement(&sid).await.unwrap();
        let expected = if by.is_some() { "muted" } else { "nothing" };
        assert_eq!(settlement, expected, "{what}");
        let lines = app
            .lines(&format!("room_name = '{room}' and action = 'mute'"))
            .await;
        let named: Vec<_> = lines.iter().filter_map(|l| l.rsplit(' ').next()).collect();
        assert_eq!(
            named,
            by.as_deref().into_iter().collect::<Vec<_>>(),
            "{what}"
        );
    }
    app.finish().await;
}
