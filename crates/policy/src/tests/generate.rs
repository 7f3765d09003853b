//! Any policies and any facts, for laws.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use super::make::{self, facts, now};
use crate::{
    Effect, EventFacts, Expression, Fact, Facts, Kind, KindDetail, Length, Match, Mode,
    ParticipantFacts, Policy, RoomFacts, Source, TrackFacts, TrackType, Window,
};

/// One of each kind that the index tells apart, with names that they do and do not match.
const ROOM_GLOBS: &[&str] = &[
    "webinar-*",
    "other",
    "w*",
    "*",
    "*-1",
    "{w,x}*-1",
    "[!o]*",
    "?ther",
    "*nar-[0-9]",
    "übung-1",
    "üb*",
    "*bun?-*",
    "?bung-1",
];
const IDENTITY_GLOBS: &[&str] = &["host-*", "attendee-?", "host-1", "*-1", "*t*"];

/// Some of these, or mostly none: then a condition asks for nothing there, and more policies match.
fn few<T: Clone + std::fmt::Debug + 'static>(
    of: Vec<T>,
    some: u32,
) -> impl Strategy<Value = Vec<T>> {
    prop_oneof![
        10 - some => Just(Vec::new()),
        some => subsequence(of, 1..=2),
    ]
}

fn match_() -> impl Strategy<Value = Match> {
    let texts = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let values = subsequence(texts(&["host", "attendee", "red"]), 1..=3);
    let sources = [Source::Microphone, Source::Unknown, Source::Camera];
    (
        few(texts(ROOM_GLOBS), 3),
        few(texts(IDENTITY_GLOBS), 2),
        few(sources.into(), 2),
        few(vec![TrackType::Audio, TrackType::Video], 1),
        (
            few(vec![Kind::Standard, Kind::Sip], 1),
            few(
                vec![KindDetail::ConnectorTwilio, KindDetail::ConnectorWhatsapp],
                1,
            ),
        ),
        few(texts(&["role", "team"]), 2),
        vec(values, 2),
    )
        .prop_map(
            |(room, identity, source, type_, (kind, kind_details), keys, values)| Match {
                room,
                identity,
                source,
                type_,
                kind,
                kind_details,
                attributes: keys.into_iter().zip(values).collect(),
            },
        )
}

/// Conditions that hold of some of the facts below, that each of the hidden facts can leave open.
fn when() -> impl Strategy<Value = Expression> {
    select(vec![
        "room.num_participants > 10",
        "room.num_participants > 10 || participant.identity == 'host-1'",
        "room.metadata.open == true",
        "has(room.metadata.open) && participant.attributes.role != 'host'",
        "participant.attributes.role == 'attendee' && room.metadata.open != true",
        "participant.kind in ['SIP', 'AGENT'] || !(track.source == 'UNKNOWN')",
        "'CONNECTOR_TWILIO' in participant.kind_details || room.num_participants > 10",
        "!(participant.attributes.role == 'host' && participant.kind == 'STANDARD')",
    ])
    .prop_map(|text| Expression::parse(text).unwrap())
}

/// Times around that at which rooms are made, a Sunday afternoon, in steps that hit every part of an hour.
pub(super) fn times() -> impl Strategy<Value = DateTime<Utc>> {
    (-30_i32..=30).prop_map(|steps| now() + TimeDelta::minutes(7) * steps)
}

fn window() -> impl Strategy<Value = Window> {
    (
        select(vec!["*/20 * * * *", "0 14-16 * * *", "30 15 * * SAT-SUN"]),
        select(vec!["10m", "1h", "90m"]),
        select(vec!["UTC", "Europe/Berlin"]),
    )
        .prop_map(|(cron, duration, timezone)| Window::new(cron, duration, timezone).unwrap())
}

/// Windows, a first and a last instant, and for how long a room is new.
#[derive(Debug)]
struct Limits {
    active: Vec<Window>,
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
    first: Option<Length>,
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = |time| proptest::option::weighted(0.05, time);
    let first = select(vec!["30m", "1h"]).prop_map(|text| Length::parse(text).unwrap());
    (
        prop_oneof![8 => Just(Vec::new()), 1 => vec(window(), 1..3)],
        some(times()),
        some(times()),
        proptest::option::weighted(0.07, first),
    )
        .prop_map(|(active, not_before, not_after, first)| Limits {
            // What leaves no time, or none with an open window, is refused.
            not_after: not_after.filter(|_| not_before.is_none()),
            active,
            not_before,
            first,
        })
}

fn policy() -> impl Strategy<Value = Policy> {
    (
        (
            select(vec![None, None, Some("acme"), Some("acme"), Some("globex")]),
            "[a-e]",
            match_(),
            proptest::option::weighted(0.2, match_()),
            proptest::option::weighted(0.2, when()),
            limits(),
        ),
        (
            select(vec![Effect::Mute, Effect::Exempt]),
            prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::DryRun), 1 => Just(Mode::Off)],
            select(vec![0_u16, 100, 200]),
            any::<bool>(),
        ),
    )
        .prop_map(
            |((owner, name, match_, unless, when, limits), (effect, mode, priority, flag))| {
                Policy {
                    overridable: flag && owner.is_none() && effect == Effect::Mute,
                    owner: make::owner(owner),
                    name,
                    description: None,
                    match_,
                    unless: unless.filter(|unless| !unless.is_empty()),
                    when,
                    active: limits.active,
                    not_before: limits.not_before,
                    not_after: limits.not_after,
                    first: limits.first,
                    effect,
                    mode,
                    priority,
                    reason: Some("a reason".to_owned()),
                }
            },
        )
}

/// Policies with different keys, as they are stored.
pub(super) fn policies() -> impl Strategy<Value = Vec<Policy>> {
    vec(policy(), 0..10).prop_map(|policies| {
        let by_key: BTreeMap<_, _> = policies
            .into_iter()
            .map(|policy| ((policy.owner.clone(), policy.name.clone()), policy))
            .collect();
        by_key.into_values().collect()
    })
}

/// All facts known; some of them words of a newer LiveKit.
pub(super) fn known_facts() -> impl Strategy<Value = Facts> {
    let attributes = (
        select(vec![None, Some("host"), Some("attendee")]),
        select(vec![None, Some("red"), Some("host")]),
    );
    (
        select(vec!["webinar-1", "other", "übung-1"]),
        select(vec![None, Some("acme"), Some("acme"), Some("globex")]),
        select(vec!["host-1", "attendee-1"]),
        (
            select(vec!["STANDARD", "STANDARD", "SIP", "HOLOGRAM"]),
            subsequence(vec!["CONNECTOR_TWILIO", "FORWARDED", "TELEPATHY"], 0..=2),
        ),
        attributes,
        (
            select(vec![
                "MICROPHONE",
                "MICROPHONE",
                "UNKNOWN",
                "CAMERA",
                "HOLOGRAM",
            ]),
            select(vec!["AUDIO", "AUDIO", "VIDEO", "SMELL"]),
        ),
        select(vec![3_u32, 12]),
        select(vec![
            json!(null),
            json!({"open": true}),
            json!({"open": "yes"}),
        ]),
        times(),
    )
        .prop_map(
            |(
                room,
                tenant,
                identity,
                (kind, details),
                (role, team),
                track,
                participants,
                metadata,
                made,
            )| {
                let mut facts = facts();
                facts.room.name = room.to_owned();
                facts.room.tenant = Fact::Known(make::owner(tenant).into());
                facts.room.created_at = Fact::Known(made.timestamp());
                facts.participant.identity = identity.to_owned();
                facts.participant.kind = Fact::Known(kind.into());
                let details = details.into_iter().map(KindDetail::from).collect();
                facts.participant.kind_details = Fact::Known(details);
                let attributes = [("role", role), ("team", team)].into_iter();
                let there =
                    attributes.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
                facts.participant.attributes = Fact::Known(there.collect());
                facts.track.source = track.0.into();
                facts.track.type_ = track.1.into();
                facts.room.num_participants = Fact::Known(participants);
                facts.room.metadata = Fact::Known(metadata);
                facts
            },
        )
}

/// Which facts are hidden.
pub(super) type Hide = [bool; 7];

/// Few of them, so that some decisions are definite all the same.
pub(super) fn hide() -> impl Strategy<Value = Hide> {
    std::array::from_fn::<_, 7, _>(|_| proptest::bool::weighted(0.2))
}

pub(super) fn hidden(facts: &Facts, hide: Hide) -> Facts {
    let mut facts = facts.clone();
    let [
        tenant,
        kind,
        details,
        attributes,
        participants,
        metadata,
        created_at,
    ] = hide;
    if tenant {
        facts.room.tenant = Fact::Unknown;
    }
    if kind {
        facts.participant.kind = Fact::Unknown;
    }
    if details {
        facts.participant.kind_details = Fact::Unknown;
    }
    if attributes {
        facts.participant.attributes = Fact::Unknown;
    }
    if participants {
        facts.room.num_participants = Fact::Unknown;
    }
    if metadata {
        facts.room.metadata = Fact::Unknown;
    }
    if created_at {
        facts.room.created_at = Fact::Unknown;
    }
    facts
}

/// Facts of which some may be unknown.
pub(super) fn some_facts() -> impl Strategy<Value = Facts> {
    (known_facts(), hide()).prop_map(|(facts, hide)| hidden(&facts, hide))
}

fn fact<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Fact<T>> {
    proptest::option::of(of).prop_map(|value| value.map_or(Fact::Unknown, Fact::Known))
}

fn metadata() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

pub(super) fn any_facts() -> impl Strategy<Value = Facts> {
    let room = (
        any::<String>(),
        fact(
            proptest::option::of("[^\\p{C}]{0,20}x")
                .prop_map(|id| make::owner(id.as_deref()).into()),
        ),
        fact(metadata()),
        fact(any::<u32>()),
        fact(any::<i64>()),
        fact(any::<bool>()),
    );
    let participant = (
        any::<String>(),
        fact(any::<String>()),
        fact(select(Kind::WORDS).prop_map(Kind::from)),
        fact(vec(
            "[A-Z_]{1,12}".prop_map(|word| KindDetail::from(word.as_str())),
            0..3,
        )),
        fact(btree_map(any::<String>(), any::<String>(), 0..3)),
        fact(metadata()),
        fact(any::<bool>()),
    );
    let track = (
        any::<String>(),
        "[A-Z_]{1,12}",
        "[A-Z]{1,6}",
        fact(any::<bool>()),
    );
    (room, participant, track).prop_map(|(room, participant, track)| Facts {
        room: RoomFacts {
            name: room.0,
            sid: "RM".to_owned(),
            tenant: room.1,
            metadata: room.2,
            num_participants: room.3,
            num_publishers: room.3,
            created_at: room.4,
            active_recording: room.5,
        },
        participant: ParticipantFacts {
            identity: participant.0,
            sid: "PA".to_owned(),
            name: participant.1,
            kind: participant.2,
            kind_details: participant.3,
            joined_at: room.4,
            attributes: participant.4,
            metadata: participant.5,
            is_publisher: participant.6,
            can_publish: participant.6,
            can_update_metadata: participant.6,
        },
        track: TrackFacts {
            sid: "TR".to_owned(),
            name: track.0,
            source: Source::from(track.1.as_str()),
            type_: TrackType::from(track.2.as_str()),
            mime_type: String::new(),
            muted: track.3,
        },
        event: EventFacts::default(),
    })
}
