//! Facts as they are given, where they come from, and what is told to whom.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::answer::{Answer, answer};
use super::sources::{self, FACTS, Source, Told};
use super::{Case, ExplainError, Which, given};
use crate::policy::{CompiledPolicy, Decision, Document, Fact, Facts, PolicySet};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_357_717, 0).unwrap()
}

/// Every fact, known.
fn everything() -> Value {
    json!({
        "room": {"name": "webinar-1", "sid": "RM_1", "tenant": "acme",
                 "metadata": {"auth_id": "acme"}, "num_participants": 3, "num_publishers": 2,
                 "created_at": 1_795_357_000, "active_recording": false},
        "participant": {"identity": "ann", "sid": "PA_1", "name": "Ann", "kind": "STANDARD",
                        "joined_at": 1_795_357_100, "attributes": {"role": "guest"},
                        "metadata": null, "is_publisher": true, "can_publish": true},
        "track": {"sid": "TR_1", "name": "mic", "source": "MICROPHONE", "type": "AUDIO",
                  "mime_type": "audio/opus", "muted": false},
        "event": {"type": "track_published", "created_at": 1_795_357_717},
    })
}

fn set(yaml: &str) -> PolicySet {
    let document = Document::load([("test.yaml", yaml)]).unwrap().value;
    let compiled = document.policies.iter();
    PolicySet::new(compiled.map(|policy| CompiledPolicy::new(policy, 1).unwrap()))
}

fn explained(policies: &PolicySet, facts: Value, tenant: Option<&str>) -> Answer {
    let case = given::read(facts, tenant, now()).unwrap();
    answer(policies, Which::Now, case, tenant)
}

/// The facts at these paths are taken out.
fn without(mut facts: Value, paths: &[&str]) -> Value {
    for path in paths {
        let (section, key) = path.split_once('.').unwrap();
        facts[section].as_object_mut().unwrap().remove(key).unwrap();
    }
    facts
}

#[test]
fn the_table_of_facts_is_all_that_facts_have() {
    let facts: Facts = serde_json::from_value(everything()).unwrap();
    let stored = serde_json::to_value(&facts).unwrap();
    assert_eq!(stored, everything());
    let mut found = BTreeSet::new();
    for (section, fields) in stored.as_object().unwrap() {
        let keys = fields.as_object().unwrap().keys();
        found.extend(keys.map(|key| format!("{section}.{key}")));
    }
    let table: BTreeSet<_> = FACTS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(table, found);
    assert_eq!(table.len(), FACTS.len());
    // What webhooks always tell is what is there without an answer of LiveKit's.
    let told = json!({
        "room": {"name": "", "sid": ""}, "participant": {"identity": "", "sid": ""},
        "track": {"sid": "", "source": "", "type": ""}, "event": {"type": "", "created_at": 0},
    });
    let told: Facts = serde_json::from_value(told).unwrap();
    let told = serde_json::to_value(told).unwrap();
    for (path, by) in FACTS {
        assert_eq!(
            sources::is_known(&told, path),
            *by == Told::Always,
            "{path}"
        );
    }
}

#[test]
fn facts_of_an_answer_can_be_asked_about_again() {
    let case = given::read(everything(), None, now()).unwrap();
    assert_eq!(serde_json::to_value(&case.facts).unwrap(), everything());
    assert!(case.warnings.is_empty());
    let not_asked = case.sources.values().find(|one| **one != Source::Request);
    assert_eq!(not_asked, None);
}

#[test]
fn what_a_webhook_always_tells_is_assumed_and_the_rest_is_unknown() {
    let least = json!({"room": {"name": "r"}, "participant": {"identity": "p"}});
    let case = given::read(least, None, now()).unwrap();
    assert_eq!(
        serde_json::to_value(&case.facts).unwrap(),
        json!({
            "room": {"name": "r", "sid": ""}, "participant": {"identity": "p", "sid": ""},
            "track": {"sid": "", "name": "", "source": "UNKNOWN", "type": "AUDIO", "mime_type": ""},
            "event": {"type": "track_published", "created_at": now().timestamp()},
        })
    );
    for (path, told) in FACTS {
        let expect = match (*path, told) {
            ("room.name" | "participant.identity", _) => Source::Request,
            (_, Told::Always) => Source::Assumed,
            _ => Source::Unknown,
        };
        assert_eq!(case.sources[path], expect, "{path}");
    }
}

#[test]
fn bad_facts_are_refused_with_the_way_to_them() {
    let change = |pointer: &str, value: Value| {
        let mut facts = everything();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        facts.pointer_mut(parent).unwrap()[key] = value;
        facts
    };
    let cases = [
        (json!([]), "`facts` must be an object"),
        (json!("x"), "`facts` must be an object"),
        (
            json!({}),
            "facts.room.name: this is missing\nfacts.participant.identity: this is missing",
        ),
        (
            without(everything(), &["room.name"]),
            "facts.room.name: this is missing",
        ),
        (
            change("/rooms", json!({})),
            r#"facts: there is no "rooms" among the facts; did you mean room?"#,
        ),
        (
            change("/x", json!({})),
            r#"facts: there is no "x" among the facts; there are room, participant, track, event"#,
        ),
        (
            change("/room", json!([])),
            "facts.room: an object is wanted here",
        ),
        (
            change("/track/mimetype", json!("")),
            r#"facts.track: there is no "mimetype" among the facts; did you mean mime_type?"#,
        ),
        (
            change("/room/kind", json!("")),
            r#"facts.room: there is no "kind" among the facts; there are name, sid"#,
        ),
        (
            change("/room/name", json!(7)),
            "facts.room.name: invalid type: integer `7`, expected a string",
        ),
        (
            change("/room/num_participants", json!(-1)),
            "facts.room.num_participants: invalid value: integer `-1`, expected u32",
        ),
        (
            change("/room/created_at", json!("today")),
            r#"facts.room.created_at: invalid type: string "today", expected i64"#,
        ),
        (
            change("/room/active_recording", json!("no")),
            "facts.room.active_recording: ",
        ),
        (
            change("/participant/kind", json!(null)),
            "facts.participant.kind: invalid type: null, expected a string; leave a fact out that is not known",
        ),
        (
            change("/participant/attributes/role", json!(1)),
            "facts.participant.attributes.role: invalid type: integer `1`, expected a string",
        ),
        (change("/track/source", json!(2)), "facts.track.source: "),
        (
            change("/event/created_at", json!(1.5)),
            "facts.event.created_at: ",
        ),
        (
            change("/room/tenant", json!("  ")),
            "facts.room.tenant: it is blank",
        ),
        (
            change("/room/tenant", json!("globex")),
            r#"facts.room.tenant: it is "globex", but `auth_id` in room.metadata makes it "acme""#,
        ),
        (
            change("/room/metadata", json!({})),
            r#"facts.room.tenant: it is "acme", but `auth_id` in room.metadata makes it null"#,
        ),
    ];
    for (facts, expect) in cases {
        let Err(ExplainError::Invalid(error)) = given::read(facts.clone(), None, now()) else {
            panic!("{facts} is taken");
        };
        assert!(error.starts_with(expect), "{error}\nis not\n{expect}");
    }
}

#[test]
fn words_that_no_policy_can_name_are_warned_of() {
    let mut facts = everything();
    facts["track"]["source"] = "microphone".into();
    facts["participant"]["kind"] = "HOLOGRAM".into();
    let case = given::read(facts, None, now()).unwrap();
    assert_eq!(
        case.warnings,
        [
            r#"facts.track.source: "microphone" is a word that no policy can name; did you mean MICROPHONE?"#,
            r#"facts.participant.kind: "HOLOGRAM" is a word that no policy can name; there are STANDARD, INGRESS, EGRESS, SIP, AGENT, CONNECTOR, BRIDGE"#,
        ]
    );
}

#[test]
fn a_tenant_gives_facts_of_its_own_rooms_alone() {
    let of = |room: Value| {
        let facts = json!({"room": room, "participant": {"identity": "p"}});
        match given::read(facts, Some("acme"), now()) {
            Ok(case) => {
                assert_eq!(case.facts.room.tenant, Fact::Known(Some("acme".to_owned())));
                format!("{:?}", case.sources["room.tenant"])
            }
            Err(ExplainError::OtherTenant(error)) => error,
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(of(json!({"name": "r"})), "Caller");
    assert_eq!(of(json!({"name": "r", "tenant": "acme"})), "Request");
    assert_eq!(
        of(json!({"name": "r", "metadata": {"auth_id": "acme"}})),
        "Request"
    );
    for (room, expect) in [
        (json!({"name": "r", "tenant": "globex"}), "another tenant's"),
        (json!({"name": "r", "tenant": "Acme"}), "another tenant's"),
        (
            json!({"name": "r", "metadata": {"auth_id": "globex"}}),
            "another tenant's",
        ),
        (json!({"name": "r", "tenant": null}), "of no tenant"),
        (json!({"name": "r", "metadata": null}), "of no tenant"),
        (
            json!({"name": "r", "metadata": {"auth_id": ""}}),
            "of no tenant",
        ),
    ] {
        let error = of(room.clone());
        assert!(error.contains(expect), "{room}: {error}");
    }
}

const POLICIES: &str = r#"
policies:
  - { name: op-mutes, match: { room: "webinar-*" }, effect: mute, overridable: true }
  - { name: op-vip, match: { attributes: { vip-secret: gold-secret } }, effect: exempt, reason: x, priority: 50 }
  - { name: op-kind-secret, match: { kind: SIP }, effect: mute }
  - { name: op-excepts-secret, match: {}, unless: { identity: ann }, effect: mute }
  - { name: op-off-secret, match: {}, effect: mute, mode: "off" }
  - { name: op-trial, match: {}, effect: mute, mode: dry_run }
  - { name: mutes, owner: acme, match: { identity: "a*" }, effect: mute }
  - { name: exempts, owner: acme, match: { identity: "b*" }, effect: exempt, reason: x }
  - { name: draft, owner: acme, match: {}, effect: mute, mode: "off" }
  - { name: globex-secret, owner: globex, match: {}, effect: mute }
"#;

fn lines(answer: &Answer) -> Vec<String> {
    let candidates = answer.candidates.iter();
    candidates
        .map(|one| {
            let failed = one.failed.as_ref().map(|failed| {
                format!(
                    " {} {} {}",
                    failed.clause,
                    failed.wanted.as_deref().unwrap_or("-"),
                    failed.found.as_deref().unwrap_or("-")
                )
            });
            format!(
                "{} {:?}{}",
                one.policy.name,
                one.part,
                failed.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn a_tenant_is_told_of_the_operators_policies_only_where_they_may_apply() {
    let policies = set(POLICIES);
    let facts = without(everything(), &["participant.attributes"]);
    let all = explained(&policies, facts.clone(), None);
    assert_eq!(
        lines(&all),
        [
            "op-mutes Mutes",
            "op-off-secret Off",
            "op-trial OnTrial",
            "draft Off",
            "mutes AlsoMutes",
            r#"op-vip Depends match.attributes.vip-secret "gold-secret" participant.attributes are unknown"#,
            r#"op-excepts-secret DoesNotApply unless not all of: identity "ann" "ann""#,
            "op-kind-secret DoesNotApply match.kind SIP STANDARD",
            r#"exempts DoesNotApply match.identity "b*" "ann""#,
        ]
    );
    let acmes = explained(&policies, facts, Some("acme"));
    assert_eq!(
        lines(&acmes),
        [
            "op-mutes Mutes",
            "op-trial OnTrial",
            "draft Off",
            "mutes AlsoMutes",
            "op-vip Depends match.attributes - -",
            r#"exempts DoesNotApply match.identity "b*" "ann""#,
        ]
    );
    let json = serde_json::to_string(&acmes).unwrap();
    assert!(!json.contains("secret"), "{json}");
    assert_eq!(acmes.left_off, 0);
    // Nothing else is different.
    assert_eq!(acmes.decision, all.decision);
    assert_eq!(acmes.in_words, all.in_words);
    assert_eq!(acmes.asked.wanted, ["participant.attributes"]);
}

#[test]
fn a_tenants_own_policies_are_told_of_before_any_is_left_off() {
    let many = (0..1_200).map(|n| {
        format!("  - {{ name: op-{n}, match: {{ room: x-{n} }}, effect: mute, priority: 500 }}\n")
    });
    let yaml = format!("policies:\n{}", many.collect::<String>());
    let yaml =
        format!("{yaml}  - {{ name: own, owner: acme, match: {{ room: y }}, effect: mute }}\n");
    let policies = set(&yaml);
    let acmes = explained(&policies, everything(), Some("acme"));
    assert_eq!(
        lines(&acmes),
        [r#"own DoesNotApply match.room "y" "webinar-1""#]
    );
    assert_eq!(acmes.left_off, 0);
    let all = explained(&policies, everything(), None);
    assert_eq!((all.candidates.len(), all.left_off), (1_000, 201));
}

#[test]
fn decisions_are_said_in_a_sentence() {
    let one = "  - { name: mics, match: {}, effect: mute }\n";
    let more = "  - { name: b, match: {}, effect: mute, priority: 5 }\n";
    let third = "  - { name: c, match: {}, effect: mute, priority: 4 }\n";
    let exempt = "  - { name: agents, owner: acme, match: { kind: [STANDARD, AGENT] }, effect: exempt, reason: they speak }\n";
    let soft = "  - { name: mics, match: {}, effect: mute, overridable: true }\n";
    let unless = "  - { name: mics, match: {}, unless: { identity: ann }, effect: mute }\n";
    let trial = "  - { name: trial, match: {}, effect: mute, mode: dry_run }\n";
    let sip = "  - { name: sip, owner: acme, match: { kind: SIP }, effect: mute }\n";
    let say = |yaml: &[&str], unknown: &[&str]| {
        let policies = set(&format!("policies:\n{}", yaml.concat()));
        let answer = explained(&policies, without(everything(), unknown), None);
        let names = |names: &[std::sync::Arc<crate::policy::PolicyRef>]| {
            let names: Vec<_> = names.iter().map(|name| &*name.name).collect();
            names.join(" ")
        };
        let winner: Vec<_> = answer.winner.clone().into_iter().collect();
        let (winner, losers) = (names(&winner), names(&answer.losers));
        let shadow = answer.shadow_in_words.unwrap_or_else(|| "-".to_owned());
        format!(
            "{}\n    on trial: {shadow}\n    {winner} > {losers}",
            answer.in_words
        )
    };
    let said = [
        say(
            &["  - { name: x, match: { room: x }, effect: mute }\n"],
            &[],
        ),
        say(&[one], &[]),
        say(&[one, more], &[]),
        say(&[one, more, third], &[]),
        say(&[one, exempt], &[]),
        say(&[soft, exempt], &[]),
        say(&[soft, exempt, trial], &[]),
        say(&[unless], &[]),
        say(&[trial], &[]),
        say(&[sip], &["participant.kind"]),
        say(
            &[sip],
            &["participant.kind", "room.tenant", "room.metadata"],
        ),
        say(&[soft, exempt], &["participant.kind"]),
    ];
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_was_recorded_is_compared_with_what_is_decided_now() {
    let at = now();
    let recorded = |yaml: &str, settlement: &str, tenant: Option<&str>| {
        let facts: Facts = serde_json::from_value(everything()).unwrap();
        let then = crate::policy::decide(&set(yaml), &facts, at);
        // As it comes back from the database.
        let text = serde_json::to_string(&then).unwrap();
        let decision: Decision = serde_json::from_str(&text).unwrap();
        let case = Case {
            sources: sources::of_event(&facts),
            facts,
            at: at + chrono::TimeDelta::hours(1),
            event: Some(super::event::Event {
                event_id: "EV_1".to_owned(),
                created_at: at,
                received_at: at,
                settlement: Some(settlement.to_owned()),
                settled_at: Some(at),
                decision: Some(decision),
                snapshot: None,
            }),
            warnings: Vec::new(),
        };
        let answer = answer(&set(POLICIES), Which::Now, case, tenant);
        let recorded = answer.recorded.unwrap();
        assert_eq!(recorded.same_as_recorded, Some(recorded.differs.is_empty()));
        recorded.differs.join("\n")
    };
    assert_eq!(recorded(POLICIES, "muted", None), "");
    let other = POLICIES.replace("ann }, effect: mute", "bob }, effect: mute");
    insta::assert_snapshot!(recorded(&other, "muted", None));
    // The operator's policy that does not apply now is not the tenant's to know of now.
    insta::assert_snapshot!(
        "recorded_of_tenant",
        recorded(&other, "muted", Some("acme"))
    );
    let excepted = POLICIES.replace("{}, unless: { identity: ann }", "{ identity: bob }");
    let seen = recorded(&excepted, "muted", None);
    assert!(
        seen.contains("op-excepts-secret: then not about it"),
        "{seen}"
    );
    assert_eq!(recorded(&excepted, "muted", Some("acme")), "");
    let late = recorded(&excepted, "gone", None);
    assert!(late.contains("LiveKit was asked after that"), "{late}");
}
