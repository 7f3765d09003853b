//! What a decision costs whose policies read long texts: `cargo run --release -p quell-policy --example texts`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that prints what it measures"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use quell_policy::{
    CompiledPolicy, Decision, EventFacts, Fact, Facts, Owner, ParticipantFacts, Policy, PolicySet,
    RoomFacts, Source, TenantId, TextWork, TrackFacts, TrackType, decide,
};
use serde_json::{Value, json};

const POLICIES: usize = 9_000;

fn main() {
    let now = DateTime::from_timestamp(1_795_357_717, 0).expect("it is a time");
    println!(
        "{:64} {:>9} {:>11} {:>11}",
        "", "MiB", "each alone", "a decision"
    );
    let dashes = || attribute(&"-".repeat(60_000));
    measure(
        "10 needles each, of 20 lengths; 60 KB of dashes",
        &looking(10, 20, 90_000, ""),
        &dashes(),
        now,
    );
    measure(
        "10 needles each, of 40 lengths; 60 KB of dashes",
        &looking(10, 40, 90_000, ""),
        &dashes(),
        now,
    );
    let zeros = attribute(&"0".repeat(60_000));
    measure(
        "the same; 60 KB of zeros",
        &looking(10, 40, 90_000, ""),
        &zeros,
        now,
    );
    let short = attribute("attendee");
    measure(
        "the same; 8 bytes",
        &looking(10, 40, 90_000, ""),
        &short,
        now,
    );
    // Every window of the text is a needle, for as many lengths as may be stored.
    for (lengths, policies) in [(32, 9), (128, 4)] {
        let (policies, period) = windows(lengths, policies);
        let text: String = period.chars().cycle().take(65_000).collect();
        let name = format!("{lengths} lengths; every window of the 64 KiB is a needle");
        measure(&name, &policies, &attribute(&text), now);
        let dashes = attribute(&"-".repeat(65_000));
        measure(
            &format!("{lengths} lengths; 64 KiB of dashes"),
            &policies,
            &dashes,
            now,
        );
        let mut many = attribute("");
        let text: String = period.chars().cycle().take(1_000).collect();
        many.participant.attributes = Fact::Known(
            (0..64)
                .map(|number| (format!("a{number}"), text.clone()))
                .collect(),
        );
        let spread = spread(&policies);
        let name = format!("{lengths} lengths; the same with 64 texts of 1 KiB");
        measure(&name, &spread, &many, now);
    }
    let (policies, period) = windows(16, 9);
    let policies: Vec<_> = policies
        .iter()
        .map(|when| when.replace("participant.attributes", "participant.metadata"))
        .collect();
    let text: String = period.chars().cycle().take(512 << 10).collect();
    let mut facts = attribute("");
    facts.participant.metadata = Fact::Known(json!({ "a": text }));
    measure(
        "16 lengths; every window of 512 KiB of metadata is a needle",
        &policies,
        &facts,
        now,
    );
    let mut dashes = attribute("");
    dashes.participant.metadata = Fact::Known(json!({ "a": "-".repeat(512 << 10) }));
    measure("the same; 512 KiB of dashes", &policies, &dashes, now);
}

/// Conditions that look for needles of so many lengths.
fn looking(each: usize, lengths: usize, needles: usize, before: &str) -> Vec<String> {
    let needle = |number: usize| {
        let number = number % needles;
        format!("{before}{number:0>width$}", width = 6 + number % lengths)
    };
    (0..POLICIES)
        .map(|policy| {
            let tests: Vec<_> = (policy * each..(policy + 1) * each)
                .map(|number| format!("participant.attributes.a.contains(\"{}\")", needle(number)))
                .collect();
            tests.join(" || ")
        })
        .collect()
}

/// Conditions whose needles are the windows of a text with a period, and that text.
fn windows(lengths: usize, each: usize) -> (Vec<String>, String) {
    let all = POLICIES * each;
    let period = (all / lengths).min(900);
    let mut state = 1_u64;
    let letters: Vec<char> = (0..period)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'a' + u8::try_from((state >> 40) % 26).expect("it is small"))
        })
        .collect();
    let needles: Vec<String> = (0..all)
        .map(|number| {
            let (length, start) = (number % lengths + 4, number / lengths);
            let window = letters.iter().cycle().skip(start % period).take(length);
            // One of each length is not there, or the search would end.
            if start == 0 {
                "-".repeat(length)
            } else {
                window.collect()
            }
        })
        .collect();
    let policies = needles.chunks(each).map(|needles| {
        let tests: Vec<_> = needles
            .iter()
            .map(|needle| format!("!participant.attributes.a.contains(\"{needle}\")"))
            .collect();
        tests.join(" && ")
    });
    (policies.collect(), letters.into_iter().collect())
}

/// The same conditions on 64 attributes instead of one.
fn spread(policies: &[String]) -> Vec<String> {
    let each = policies.iter().enumerate();
    each.map(|(number, when)| {
        let key = format!("participant.attributes.a{}.", number / 4 % 64);
        when.replace("participant.attributes.a.", &key)
    })
    .collect()
}

fn attribute(text: &str) -> Facts {
    let attributes = BTreeMap::from([("a".to_owned(), text.to_owned())]);
    Facts {
        room: RoomFacts {
            name: "webinar-1".to_owned(),
            tenant: Fact::Known(TenantId::new("acme").ok()),
            ..RoomFacts::default()
        },
        participant: ParticipantFacts {
            attributes: Fact::Known(attributes),
            ..ParticipantFacts::default()
        },
        track: TrackFacts {
            sid: "TR_1".to_owned(),
            name: String::new(),
            source: Source::Microphone,
            type_: TrackType::Audio,
            mime_type: "audio/opus".to_owned(),
            muted: Fact::Unknown,
        },
        event: EventFacts::default(),
    }
}

fn measure(name: &str, conditions: &[String], facts: &Facts, now: DateTime<Utc>) {
    let owner = Owner::from(TenantId::new("acme").ok());
    let policies: Vec<Policy> = conditions
        .iter()
        .enumerate()
        .map(|(number, when)| {
            let document: Value =
                json!({"name": format!("p{number:05}"), "effect": "mute", "match": {}, "when": when});
            Policy::from_stored(&document, &owner).expect("it is a policy")
        })
        .collect();
    let mut work = TextWork::default();
    for policy in &policies {
        work.extend(policy.text_work());
    }
    let compiled: Vec<_> = policies
        .iter()
        .map(|policy| CompiledPolicy::new(policy, 1).expect("it has no glob"))
        .collect();
    let begun = Instant::now();
    let alone = compiled.iter().map(|policy| policy.ask(facts, now).matched);
    black_box(alone.collect::<Vec<_>>());
    let alone = begun.elapsed();
    let set = PolicySet::new(compiled);
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..25 {
        let begun = Instant::now();
        let decision: Decision = black_box(decide(&set, facts, now));
        took.push(begun.elapsed());
        if decision.text_limit_exceeded {
            println!("(beyond the limit)");
        }
    }
    // Others run on the machine as well.
    let least = took.into_iter().min().unwrap_or_default();
    let mebibytes = work.bytes() >> 20;
    println!("{name:64} {mebibytes:>9} {alone:>8.1?} {least:>8.1?}");
}
