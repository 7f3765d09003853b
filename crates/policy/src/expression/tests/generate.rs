//! Any expression that fits the schema, and any facts for it, from few names and values, so that
//! they often meet.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

use crate::Facts;
use crate::facts::{Kind, KindDetail, Source, TrackType};

const TEXTS: &[&str] = &[
    "", "a", "b", "ab", "host", "ü", "日本", "🎤", "e\u{301}", "a\"b\\", "SIP",
];
const KEYS: &[&str] = &["a", "b", "c", "two words"];
const ATTRIBUTES: &[&str] = &["role", "a", "sip.x"];
const FLOATS: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    1.0,
    -1.5,
    9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0,
    1e300,
    -1e300,
];

/// A condition, of tests that can be taken apart.
#[derive(Debug, Clone)]
pub(super) enum Spec {
    Test(Test),
    Not(Box<Spec>),
    All(Vec<Spec>),
    Any(Vec<Spec>),
}

/// A test and its operands.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Flag(Term),
    Compare(Term, &'static str, Term),
    In(Term, Vec<Term>),
    Detail(Term),
    Text(Term, &'static str, Term),
    Has(Term),
}

/// An operand.
#[derive(Debug, Clone)]
pub(super) enum Term {
    Literal(Json),
    /// The keys from the facts' root, and whether the last stands in brackets.
    Path(Vec<String>),
    Size(Box<Term>),
}

impl Spec {
    /// In CEL, each test written by `write`.
    pub(super) fn text(&self, write: &mut impl FnMut(&Test) -> String) -> String {
        let mut joined = |parts: &[Self], by: &str| {
            let parts: Vec<_> = parts.iter().map(|part| part.text(write)).collect();
            format!("({})", parts.join(by))
        };
        match self {
            Self::Test(test) => write(test),
            Self::Not(inner) => format!("!({})", inner.text(write)),
            Self::All(parts) => joined(parts, " && "),
            Self::Any(parts) => joined(parts, " || "),
        }
    }
}

impl Test {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Flag(term) => term.text(),
            Self::Compare(left, how, right) => format!("{} {how} {}", left.text(), right.text()),
            Self::In(item, list) => {
                let list: Vec<_> = list.iter().map(Term::text).collect();
                format!("{} in [{}]", item.text(), list.join(", "))
            }
            Self::Detail(item) => format!("{} in participant.kind_details", item.text()),
            Self::Text(text, how, with) => format!("{}.{how}({})", text.text(), with.text()),
            Self::Has(term) => format!("has({})", term.text()),
        }
    }
}

impl Term {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Literal(Json::String(text)) => {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Self::Literal(Json::Number(number)) => match number.as_f64() {
                Some(float) if number.is_f64() => format!("{float:?}"),
                _ => number.to_string(),
            },
            Self::Literal(other) => other.to_string(),
            Self::Path(keys) => keys.iter().fold(String::new(), |path, key| {
                let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                match (path.is_empty(), plain) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}.{key}"),
                    (false, false) => format!("{path}[\"{key}\"]"),
                }
            }),
            Self::Size(inner) => format!("size({})", inner.text()),
        }
    }
}

fn path(text: &str) -> Term {
    Term::Path(text.split('.').map(str::to_owned).collect())
}

fn field(names: &'static [&'static str]) -> impl Strategy<Value = Term> {
    select(names).prop_map(path)
}

fn attribute() -> impl Strategy<Value = Term> {
    select(ATTRIBUTES).prop_map(|key| {
        Term::Path(
            ["participant", "attributes", key]
                .map(str::to_owned)
                .to_vec(),
        )
    })
}

fn metadata() -> impl Strategy<Value = Term> {
    (select(vec!["room", "participant"]), vec(select(KEYS), 1..4)).prop_map(|(whose, keys)| {
        let keys = [whose, "metadata"].into_iter().chain(keys);
        Term::Path(keys.map(str::to_owned).collect())
    })
}

fn text_literal() -> impl Strategy<Value = Term> {
    select(TEXTS).prop_map(|text| Term::Literal(text.into()))
}

fn int() -> impl Strategy<Value = i64> {
    const EXACT: i64 = 1 << 53;
    prop_oneof![
        0_i64..4,
        select(vec![
            -1,
            EXACT - 1,
            EXACT,
            EXACT + 1,
            i64::MAX,
            i64::MIN,
            1_767_225_600
        ]),
    ]
}

fn number_literal() -> impl Strategy<Value = Term> {
    prop_oneof![
        2 => int().prop_map(|number| Term::Literal(number.into())),
        1 => select(FLOATS).prop_map(|number| Term::Literal(number.into())),
    ]
}

fn flag_literal() -> impl Strategy<Value = Term> {
    any::<bool>().prop_map(|flag| Term::Literal(flag.into()))
}

const TEXT_FIELDS: &[&str] = &[
    "room.name",
    "room.sid",
    "participant.identity",
    "participant.sid",
    "participant.name",
    "track.sid",
    "track.name",
    "track.mime_type",
    "event.type",
];
const NUMBER_FIELDS: &[&str] = &[
    "room.num_participants",
    "room.num_publishers",
    "room.created_at",
    "participant.joined_at",
    "event.created_at",
];
const FLAG_FIELDS: &[&str] = &[
    "room.active_recording",
    "participant.is_publisher",
    "participant.can_publish",
    "participant.can_update_metadata",
];

fn text() -> impl Strategy<Value = Term> {
    prop_oneof![2 => field(TEXT_FIELDS), 2 => attribute(), 3 => metadata(), 3 => text_literal()]
}

fn number() -> impl Strategy<Value = Term> {
    let sized = prop_oneof![
        field(TEXT_FIELDS),
        attribute(),
        metadata(),
        Just(path("participant.attributes")),
        Just(path("participant.kind_details")),
    ];
    prop_oneof![
        2 => field(NUMBER_FIELDS),
        3 => metadata(),
        3 => number_literal(),
        2 => sized.prop_map(|inner| Term::Size(Box::new(inner))),
    ]
}

fn words() -> impl Strategy<Value = Test> {
    select(vec![
        ("participant.kind", Kind::WORDS),
        ("track.source", Source::WORDS),
        ("track.type", TrackType::WORDS),
    ])
    .prop_flat_map(|(name, words)| {
        let word = || select(words).prop_map(|word| Term::Literal(word.into()));
        let sides =
            prop_oneof![3 => word().boxed(), 1 => metadata().boxed(), 1 => attribute().boxed()];
        prop_oneof![
            (select(vec!["==", "!="]), sides).prop_map(move |(how, with)| Test::Compare(
                path(name),
                how,
                with
            )),
            vec(word(), 1..3).prop_map(move |list| Test::In(path(name), list)),
        ]
    })
}

fn detail() -> impl Strategy<Value = Test> {
    let literal = select(KindDetail::WORDS).prop_map(|word| Term::Literal(word.into()));
    prop_oneof![4 => literal, 1 => attribute(), 1 => metadata(), 1 => field(TEXT_FIELDS)]
        .prop_map(Test::Detail)
}

pub(super) fn test() -> impl Strategy<Value = Test> {
    let how = || select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let flag = || prop_oneof![field(FLAG_FIELDS), metadata(), flag_literal()];
    let literal = || prop_oneof![text_literal(), number_literal(), flag_literal()];
    prop_oneof![
        4 => (text(), how(), text()).prop_map(|(l, how, r)| Test::Compare(l, how, r)),
        5 => (number(), how(), number()).prop_map(|(l, how, r)| Test::Compare(l, how, r)),
        1 => (flag(), select(vec!["==", "!="]), flag()).prop_map(|(l, how, r)| Test::Compare(l, how, r)),
        1 => (metadata(), select(vec!["==", "!="]), metadata()).prop_map(|(l, how, r)| Test::Compare(l, how, r)),
        2 => words(),
        2 => detail(),
        1 => (text(), vec(text_literal(), 1..4)).prop_map(|(item, list)| Test::In(item, list)),
        1 => (number(), vec(number_literal(), 1..4)).prop_map(|(item, list)| Test::In(item, list)),
        1 => (metadata(), vec(literal(), 1..4)).prop_map(|(item, list)| Test::In(item, list)),
        3 => (text(), select(vec!["startsWith", "endsWith", "contains"]), text())
            .prop_map(|(text, how, with)| Test::Text(text, how, with)),
        1 => field(FLAG_FIELDS).prop_map(Test::Flag),
        2 => prop_oneof![attribute(), metadata()]
            .prop_filter("has() takes a name after a dot", |term| !term.text().ends_with(']'))
            .prop_map(Test::Has),
    ]
}

pub(super) fn spec() -> impl Strategy<Value = Spec> {
    test()
        .prop_map(Spec::Test)
        .prop_recursive(3, 5, 3, |inner| {
            prop_oneof![
                inner.clone().prop_map(|inner| Spec::Not(Box::new(inner))),
                vec(inner.clone(), 1..4).prop_map(Spec::All),
                vec(inner, 1..4).prop_map(Spec::Any),
            ]
        })
}

/// An expression within bounds.
pub(super) fn expression() -> impl Strategy<Value = Spec> {
    spec().prop_filter("too many nodes", |spec| {
        crate::Expression::parse(&spec.text(&mut Test::text))
            .map_err(|problem| assert!(problem.to_string().contains("more than 64"), "{problem}"))
            .is_ok()
    })
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        1 => Just(Json::Null),
        1 => any::<bool>().prop_map(Json::from),
        3 => int().prop_map(Json::from),
        1 => Just(Json::from(u64::MAX)),
        2 => select(FLOATS).prop_map(Json::from),
        4 => select(TEXTS).prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..3).prop_map(Json::from),
            4 => btree_map(select(KEYS), inner, 0..4).prop_map(|map| {
                Json::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => select(words), 1 => Just("HOLOGRAM")]
}

/// Facts in JSON of which all are known.
pub(super) fn known() -> impl Strategy<Value = Json> {
    let text = || select(TEXTS);
    let flag = any::<bool>;
    let room = (
        text(),
        text(),
        0_u32..4,
        prop_oneof![0_u32..4, Just(u32::MAX)],
        int(),
        flag(),
        json(),
    )
        .prop_map(
            |(name, sid, participants, publishers, created_at, recording, metadata)| {
                json!({
                    "name": name, "sid": sid, "tenant": null, "num_participants": participants,
                    "num_publishers": publishers, "created_at": created_at,
                    "active_recording": recording, "metadata": metadata,
                })
            },
        );
    let attributes = btree_map(select(ATTRIBUTES), text(), 0..3);
    let participant = (
        (text(), text(), text(), word(Kind::WORDS)),
        (int(), flag(), flag(), attributes, json()),
        vec(word(KindDetail::WORDS), 0..3),
    )
        .prop_map(
            |((identity, sid, name, kind), (joined_at, is, can, attributes, metadata), details)| {
                json!({
                    "identity": identity, "sid": sid, "name": name, "kind": kind,
                    "kind_details": details, "joined_at": joined_at, "is_publisher": is, "can_publish": can,
                    "can_update_metadata": can != is,
                    "attributes": attributes, "metadata": metadata,
                })
            },
        );
    let track = (
        text(),
        text(),
        word(Source::WORDS),
        word(TrackType::WORDS),
        text(),
    )
        .prop_map(|(sid, name, source, type_, mime_type)| {
            json!({
                "sid": sid, "name": name, "source": source, "type": type_,
                "mime_type": mime_type, "muted": false,
            })
        });
    (room, participant, track, text(), int()).prop_map(|(room, participant, track, type_, at)| {
        json!({
            "room": room, "participant": participant, "track": track,
            "event": {"type": type_, "created_at": at},
        })
    })
}

/// What need not be known.
pub(super) const HIDEABLE: [&str; 14] = [
    "/room/metadata",
    "/room/num_participants",
    "/room/num_publishers",
    "/room/created_at",
    "/room/active_recording",
    "/participant/name",
    "/participant/kind",
    "/participant/kind_details",
    "/participant/joined_at",
    "/participant/attributes",
    "/participant/metadata",
    "/participant/is_publisher",
    "/participant/can_publish",
    "/participant/can_update_metadata",
];

/// Facts of which some are taken away.
pub(super) fn hidden(known: &Json, hide: [bool; 13]) -> Facts {
    let mut facts = known.clone();
    for (pointer, hide) in HIDEABLE.iter().zip(hide) {
        let (thing, name) = pointer.rsplit_once('/').unwrap();
        if hide {
            facts
                .pointer_mut(thing)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove(name)
                .unwrap();
        }
    }
    self::facts(&facts)
}

pub(super) fn facts(known: &Json) -> Facts {
    serde_json::from_value(known.clone()).unwrap()
}
