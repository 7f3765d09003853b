//! Given facts, and their sources.

use serde_json::{Value, json};

use super::{everything, now, without};
use crate::explain::{ExplainError, FactSource, given};
use crate::test_data::{tenant, viewer};
use quell_policy::Fact;
use quell_policy::facts::catalog::{FIELDS, Provider};

#[test]
fn everything_is_every_fact() {
    let track = given::read(&everything(), &viewer(None), now()).unwrap();
    for field in FIELDS {
        assert!(!field.is_unknown(&track.facts), "{}", field.name);
        assert_eq!(track.sources[field.name], FactSource::Request);
    }
    assert_eq!(track.sources.len(), FIELDS.len());
}

#[test]
fn facts_of_an_answer_can_be_asked_about_again() {
    let track = given::read(&everything(), &viewer(None), now()).unwrap();
    assert_eq!(serde_json::to_value(&track.facts).unwrap(), everything());
    assert!(track.warnings.is_empty());
    let not_asked = track
        .sources
        .values()
        .find(|one| **one != FactSource::Request);
    assert_eq!(not_asked, None);
}

#[test]
fn what_a_webhook_always_tells_is_assumed_and_the_rest_is_unknown() {
    let least = json!({"room": {"name": "r"}, "participant": {"identity": "p"}});
    let track = given::read(&least, &viewer(None), now()).unwrap();
    assert_eq!(
        serde_json::to_value(&track.facts).unwrap(),
        json!({
            "room": {"name": "r", "sid": ""}, "participant": {"identity": "p", "sid": ""},
            "track": {"sid": "", "name": "", "source": "UNKNOWN", "type": "AUDIO", "mime_type": ""},
            "event": {"type": "track_published", "created_at": now().timestamp()},
        })
    );
    for field in FIELDS {
        let expect = match (field.name, field.provider) {
            ("room.name" | "participant.identity", _) => FactSource::Request,
            (_, Provider::Event) => FactSource::Assumed,
            _ => FactSource::Unknown,
        };
        assert_eq!(track.sources[field.name], expect, "{}", field.name);
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
        (json!([]), "facts: expected a map, found a list"),
        (json!("x"), "facts: expected a map, found the text"),
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
            r#"facts: there is no key "rooms"; did you mean room?"#,
        ),
        (
            change("/x", json!({})),
            r#"facts: there is no key "x"; one of room, participant, track, event"#,
        ),
        (
            change("/room", json!([])),
            "facts.room: expected a map, found a list",
        ),
        (
            change("/track/mimetype", json!("")),
            r#"facts.track: there is no key "mimetype"; did you mean mime_type?"#,
        ),
        (
            change("/room/kind", json!("")),
            r#"facts.room: there is no key "kind"; one of name, sid"#,
        ),
        (
            change("/room/name", json!(7)),
            "facts.room.name: expected text, found the number 7; put it in quotes",
        ),
        (
            change("/room/num_participants", json!(-1)),
            "facts.room.num_participants: expected a whole number from 0, found the number -1",
        ),
        (
            change("/room/created_at", json!("today")),
            r#"facts.room.created_at: the text "today" is no time; write it in Unix seconds"#,
        ),
        (
            change("/room/active_recording", json!("no")),
            "facts.room.active_recording: ",
        ),
        (
            change("/participant/kind_details", json!("CONNECTOR_TWILIO")),
            r#"facts.participant.kind_details: expected a list of words, found the text "CONNECTOR_TWILIO""#,
        ),
        (
            change("/participant/kind_details", json!(vec!["SIP"; 101])),
            "facts.participant.kind_details: expected at most 100 words, found 101",
        ),
        (
            change("/participant/kind_details", json!(["x".repeat(1_025)])),
            r#"facts.participant.kind_details[0]: "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"... is longer than 1024 characters"#,
        ),
        (
            change("/participant/kind", json!(null)),
            "facts.participant.kind: expected a value, found nothing; leave a fact out that is not known",
        ),
        (
            change("/participant/attributes/role", json!(1)),
            "facts.participant.attributes.role: expected text, found the number 1",
        ),
        (change("/track/source", json!(2)), "facts.track.source: "),
        (
            change("/event/created_at", json!(1.5)),
            "facts.event.created_at: ",
        ),
        (
            change("/room/tenant", json!("  ")),
            "facts.room.tenant: the tenant is blank; write null for a room of no tenant",
        ),
        (
            change("/room/tenant", json!("globex")),
            r#"facts.room.tenant: room.tenant is "globex", and `auth_id` in room.metadata makes it "acme": take one of them out"#,
        ),
        (
            change("/room/metadata", json!({})),
            r#"facts.room.tenant: room.tenant is "acme", and `auth_id` in room.metadata makes it null"#,
        ),
    ];
    for (facts, expect) in cases {
        let Err(ExplainError::Invalid(error)) = given::read(&facts, &viewer(None), now()) else {
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
    facts["participant"]["kind_details"] = json!(["CONNECTOR_TWILIO", "CONNECTOR_TWILO"]);
    let track = given::read(&facts, &viewer(None), now()).unwrap();
    assert_eq!(
        track.warnings,
        [
            r#"facts.participant.kind: "HOLOGRAM" is a word that no policy can name; one of STANDARD, INGRESS, EGRESS, SIP, AGENT, CONNECTOR, BRIDGE"#,
            r#"facts.participant.kind_details[1]: "CONNECTOR_TWILO" is a word that no policy can name; did you mean CONNECTOR_TWILIO?"#,
            r#"facts.track.source: "microphone" is a word that no policy can name; did you mean MICROPHONE?"#,
        ]
    );
}

#[test]
fn a_tenant_gives_facts_of_its_own_rooms_alone() {
    let of = |room: Value| {
        let facts = json!({"room": room, "participant": {"identity": "p"}});
        match given::read(&facts, &viewer(Some("acme")), now()) {
            Ok(track) => {
                assert_eq!(track.facts.room.tenant, Fact::Known(Some(tenant("acme"))));
                format!("{:?}", track.sources["room.tenant"])
            }
            Err(ExplainError::OtherTenant(error)) => error,
            Err(error) => panic!("{error:?}"),
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

#[test]
fn texts_are_not_longer_than_any_of_livekits() {
    let long = "a".repeat(1_025);
    let table = FIELDS.iter().map(|field| field.name).filter(|path| {
        let fact = everything()
            .pointer(&format!("/{}", path.replace('.', "/")))
            .cloned();
        fact.is_some_and(|fact| fact.is_string())
    });
    let paths: Vec<_> = table.collect();
    assert_eq!(paths.len(), 13, "{paths:?}");
    for path in paths {
        let (section, key) = path.split_once('.').unwrap();
        let mut facts = everything();
        facts[section][key] = json!(long);
        let Err(ExplainError::Invalid(error)) = given::read(&facts, &viewer(None), now()) else {
            panic!("{path} is taken");
        };
        let shown = "a".repeat(60);
        let expect =
            format!("facts.{path}: {shown:?}... is longer than 1024 characters; shorten it");
        assert_eq!(error, expect);
    }
    let mut facts = everything();
    facts["room"]["name"] = json!("ä".repeat(1_024));
    assert!(given::read(&facts, &viewer(None), now()).is_ok());
}

#[test]
fn metadata_is_a_map_and_not_the_text_of_one() {
    let given = |section: &str, metadata: Value| {
        let facts = without(everything(), &["room.tenant"]);
        let mut facts = without(facts, &["room.metadata"]);
        facts[section]["metadata"] = metadata;
        given::read(&facts, &viewer(None), now())
    };
    for section in ["room", "participant"] {
        let Err(ExplainError::Invalid(error)) = given(section, json!(r#"{"auth_id":"acme"}"#))
        else {
            panic!("{section}.metadata is taken");
        };
        let expect = format!("facts.{section}.metadata: this is text; write it as a map");
        assert!(error.starts_with(&expect), "{error}");
        // LiveKit may hold such metadata, which an answer then shows.
        let warned = given(section, json!("hello")).unwrap().warnings;
        let expect = format!(
            "facts.{section}.metadata: this is text, in which no key is found; write it as a map"
        );
        assert_eq!(warned, [expect]);
    }
    let track = given("room", json!({"auth_id": "acme"})).unwrap();
    assert!(track.warnings.is_empty());
}

#[test]
fn metadata_is_not_nested_deeper_than_a_fact_is() {
    let given = |levels: usize| {
        let mut facts = everything();
        let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        facts["participant"]["metadata"] = serde_json::from_str(&nested).unwrap();
        given::read(&facts, &viewer(None), now())
    };
    assert!(given(64).is_ok());
    let Err(ExplainError::Invalid(error)) = given(65) else {
        panic!("it is taken");
    };
    let expect = "facts.participant.metadata: at most 64 levels are kept of metadata";
    assert!(error.starts_with(expect), "{error}");
}

#[test]
fn however_much_is_wrong_as_much_is_said_as_somebody_reads() {
    let refused = |facts: &Value| match given::read(facts, &viewer(None), now()) {
        Err(ExplainError::Invalid(error)) => error,
        other => panic!("{:?}", other.map(|track| track.facts)),
    };
    let mut facts = everything();
    for n in 0..20_000 {
        facts["track"][format!("k{n}")] = json!(1);
        facts[format!("k{n}")] = json!(1);
    }
    let error = refused(&facts);
    assert_eq!(error.lines().count(), 101);
    assert!(error.ends_with("\nand 39900 more"), "{error}");
    assert!(error.len() < 20_000, "{} bytes", error.len());
    let long = "k".repeat(200_000);
    for (pointer, key) in [
        ("", &*long),
        ("/track", &long),
        ("/participant/attributes", &long),
    ] {
        let mut facts = everything();
        facts.pointer_mut(pointer).unwrap()[key] = json!(1);
        let error = refused(&facts);
        assert!(error.len() < 1_000, "{pointer}: {} bytes", error.len());
    }
    for (pointer, value) in [
        ("/room/created_at", json!(long)),
        ("/room/metadata/auth_id", json!(long)),
    ] {
        let mut facts = everything();
        *facts.pointer_mut(pointer).unwrap() = value;
        let error = refused(&facts);
        assert!(error.len() < 1_000, "{pointer}: {} bytes", error.len());
    }
}
