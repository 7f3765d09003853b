//! Passes that needles share find what a search for each of them finds, and no more is read than is counted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::{Needles, TextFact, TextLimit, TextRead, TextReader, TextWork};
use crate::limits::TEXT_WORK_BYTES_MAX;
use crate::tests::make::{facts, now, owner, set};
use crate::{CompiledPolicy, Fact, Facts, Policy, Tri, decide, decide_inline, explain};

/// Every literal of `needles` in `text`, by a reader that makes passes from the start.
fn found(text: &str, needles: &[String]) -> Vec<Option<bool>> {
    let of_all = Needles::new(needles.iter().map(|needle| (TextFact::Names, &**needle)));
    let mut reader = TextReader::new(&of_all, TextLimit::Unlimited);
    // What is read directly is used up.
    let padding = "x".repeat(1 << 16);
    assert_eq!(reader.contains(&padding, "y"), Some(false));
    needles
        .iter()
        .map(|needle| reader.contains(text, needle))
        .collect()
}

fn check(text: &str, needles: &[String]) {
    let expected: Vec<_> = needles
        .iter()
        .map(|needle| Some(text.contains(&**needle)))
        .collect();
    assert_eq!(found(text, needles), expected, "{text:?} {needles:?}");
}

#[test]
fn all_needles_of_a_length_are_found_in_one_pass() {
    let text = "the quick brown fox jumps over the lazy dog, and the dog does not mind: ééé ☃☃";
    assert!(text.len() > 64);
    let texts = |needles: &[&str]| {
        needles
            .iter()
            .map(|it| (*it).to_owned())
            .collect::<Vec<_>>()
    };
    check(
        text,
        &texts(&["fox", "dog", "cat", "the", "the", "☃", "é☃", "éé", "ée"]),
    );
    check(
        text,
        &texts(&["t", "☃☃", text, &text[1..], "a", "not mind", "not mint"]),
    );
    check(
        &"a".repeat(500),
        &texts(&["a", "b", "aa", "ab", "ba", "aaa"]),
    );
}

fn letters(lengths: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let letter = prop::sample::select(vec!["a", "b", "é", "☃", "\u{1F600}", "\0"]);
    prop::collection::vec(letter, lengths).prop_map(|letters| letters.concat())
}

proptest! {
    #[test]
    fn passes_find_what_a_search_finds(
        text in letters(40..400),
        needles in prop::collection::vec(letters(1..6), 1..60),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..90), 0..20),
    ) {
        let mut needles = needles;
        // Parts of the text, of which some are long.
        let starts: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        for (start, chars) in cuts {
            let part: String = text[*start.get(&starts)..].chars().take(chars).collect();
            needles.push(part);
        }
        check(&text, &needles);
    }
}

fn policy(name: &str, tenant: Option<&str>, effect: &str, when: &str) -> Policy {
    let document = json!({"name": name, "effect": effect, "match": {}, "when": when});
    Policy::from_stored(&document, &owner(tenant)).unwrap_or_else(|problems| panic!("{problems}"))
}

fn with_attribute(value: &str) -> Facts {
    let mut facts = facts();
    facts.room.tenant = Fact::Known(Some(crate::tests::make::tenant("acme")));
    let attributes = [("a".to_owned(), value.to_owned())];
    facts.participant.attributes = Fact::Known(BTreeMap::from(attributes));
    facts
}

/// Conditions that look for ten texts of some lengths each.
fn looking(policies: usize, lengths: usize) -> Vec<Policy> {
    let needle = |number: usize| format!("<{number:0>width$}>", width = 5 + number % lengths);
    (0..policies)
        .map(|number| {
            let tests: Vec<_> = (number * 10..number * 10 + 10)
                .map(|number| format!("participant.attributes.a.contains(\"{}\")", needle(number)))
                .collect();
            policy(
                &format!("p{number:05}"),
                Some("acme"),
                "mute",
                &tests.join(" || "),
            )
        })
        .collect()
}

fn work<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> TextWork {
    let mut work = TextWork::default();
    policies
        .into_iter()
        .for_each(|policy| work.extend(policy.text_work()));
    work
}

#[test]
fn what_is_read_is_what_was_counted() {
    let policies = looking(300, 7);
    let work = work(&policies);
    assert_eq!(work.bytes(), 7 * TextFact::Attributes.bytes_max());
    assert_eq!(work.refusal(), None);
    let set = set(&policies);
    let long = with_attribute(&"-".repeat(60_000));
    let mut reader = set.text_reader(&policies[0].owner);
    for policy in &policies {
        let policy = CompiledPolicy::new(policy, 1).unwrap();
        // Another policy's literals are at other places, and are looked for by themselves.
        assert_eq!(policy.ask(&long, now()).matched, Tri::False);
    }
    for (policy, _) in set.visible(&long) {
        assert_eq!(
            policy.ask_with(&long, now(), &mut reader).matched,
            Tri::False
        );
    }
    let direct = 1 << 16;
    assert!(
        reader.read_bytes() <= work.bytes() + direct,
        "{}",
        reader.read_bytes()
    );
    let decision = decide(&set, &long, now());
    assert!(!decision.text_limit_exceeded);
    assert!(!decision.is_indeterminate());
    assert_eq!(decide_inline(&set, &long, now()), None);
    let short = with_attribute("a short one");
    assert_eq!(
        decide_inline(&set, &short, now()),
        Some(decide(&set, &short, now()))
    );
}

#[test]
fn a_padded_attribute_is_found_all_the_same() {
    let policies = looking(300, 7);
    let set = set(&policies);
    let padded = with_attribute(&format!("{}<00002999>", "-".repeat(65_000)));
    let decision = decide(&set, &padded, now());
    assert_eq!(&*decision.enforced.mute().unwrap().name, "p00299");
    let explained = explain(&set, &padded, now());
    assert_eq!(explained.decision, decision);
    let applies = |explained: &&crate::Explained| explained.applies == Tri::True;
    assert_eq!(explained.candidates.iter().filter(applies).count(), 1);
}

/// Policies that may be stored, and a text far longer than LiveKit's.
fn beyond() -> (Vec<Policy>, Facts) {
    let policies = looking(60, 40);
    assert_eq!(work(&policies).refusal(), None);
    (policies, with_attribute(&"-".repeat(1 << 20)))
}

#[test]
fn beyond_the_limit_the_rest_is_unknown() {
    let (policies, long) = beyond();
    let decision = decide(&set(&policies), &long, now());
    assert!(decision.text_limit_exceeded);
    assert!(decision.enforced.is_indeterminate());
    let json = serde_json::to_value(&decision).unwrap();
    assert_eq!(json["text_limit_exceeded"], true);
    assert_eq!(
        serde_json::from_value::<crate::Decision>(json).unwrap(),
        decision
    );
    let usual = serde_json::to_value(decide(&set(&policies), &facts(), now())).unwrap();
    assert_eq!(usual.get("text_limit_exceeded"), None);
}

#[test]
fn beyond_the_limit_the_operators_mute_stands() {
    let (mut policies, long) = beyond();
    let attendees = "participant.attributes.a.contains(\"--\")";
    policies.push(policy("quiet", None, "mute", attendees));
    let decision = decide(&set(&policies), &long, now());
    assert!(decision.text_limit_exceeded);
    assert_eq!(&*decision.enforced.mute().unwrap().name, "quiet");
}

#[test]
fn where_the_tenant_is_unknown_all_tenants_share_a_limit_and_nobody_is_to_blame() {
    let (policies, mut long) = beyond();
    long.room.tenant = Fact::Unknown;
    let decision = decide(&set(&policies), &long, now());
    assert!(!decision.text_limit_exceeded);
    assert!(decision.enforced.is_indeterminate());
}

#[test]
fn reads_are_stored_as_text() {
    for (when, stored) in [
        (
            "room.metadata.a.contains(\"abc\")",
            &["contains room.metadata 3"][..],
        ),
        ("room.metadata.a.contains(\"\")", &[]),
        (
            "participant.identity.contains(\"é\")",
            &["contains names 2"],
        ),
        (
            "track.name.contains(\"a\") && track.name.contains(\"b\")",
            &["contains track.name 1"],
        ),
        (
            "size(participant.attributes.a) > 3",
            &["size participant.attributes"],
        ),
        ("size(participant.attributes) > 3", &[]),
        (
            "size(participant.name) > size(participant.metadata.x)",
            &["size names", "size participant.metadata"],
        ),
        (
            "participant.attributes.a == room.metadata.b",
            &["pair participant.attributes Equal participant.attributes.a room.metadata.b"],
        ),
        (
            "room.metadata.b.contains(participant.attributes.a)",
            &["pair room.metadata Contains room.metadata.b participant.attributes.a"],
        ),
        ("participant.attributes.a == participant.identity", &[]),
        ("participant.attributes.a.startsWith(\"abc\")", &[]),
        ("participant.attributes.a == \"abc\"", &[]),
        ("participant.attributes.a in [\"abc\"]", &[]),
        ("\"abc\".contains(participant.attributes.a)", &[]),
    ] {
        let policy = policy("p", None, "mute", when);
        let work = policy.text_work();
        let mut texts: Vec<_> = work.to_stored().collect();
        let read_back = TextWork::from_stored(texts.iter().map(String::as_str));
        assert_eq!(read_back, work, "{when}");
        texts.sort();
        assert_eq!(texts, stored, "{when}");
        let off = Policy {
            mode: crate::Mode::Off,
            ..policy
        };
        assert!(off.text_work().is_empty());
    }
    for unknown in [
        "",
        "contains",
        "contains x 3",
        "contains names",
        "contains names x",
        "count names",
        "size names x",
    ] {
        assert!(unknown.parse::<TextRead>().is_err(), "{unknown}");
    }
}

#[test]
fn a_refusal_says_how_much_of_what() {
    let lengths = TEXT_WORK_BYTES_MAX / TextFact::Attributes.bytes_max();
    let of = |lengths: u64| -> TextWork {
        let lengths = 1..=u16::try_from(lengths).unwrap();
        let each = lengths.map(|bytes| TextRead::Needles {
            of: TextFact::Attributes,
            bytes,
        });
        each.collect()
    };
    assert_eq!(of(lengths).refusal(), None);
    let mut more = of(lengths);
    more.extend([TextRead::Size {
        of: TextFact::RoomMetadata,
    }]);
    insta::assert_snapshot!(more.refusal().unwrap());
    assert!(more.has_more_than(&of(lengths)) && !of(lengths).has_more_than(&more));
}
