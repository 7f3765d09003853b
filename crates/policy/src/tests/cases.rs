//! Tests beside policies: how they are read, what they report, and how bad ones are refused.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::make::policies;
use crate::case::{AT_DEFAULT_UNIX_SECS, CASES_MAX, CaseFile};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::{Fact, Facts};

fn read(yaml: &str) -> Result<CaseFile, String> {
    CaseFile::read("p.test.yaml", yaml).map_err(|problems| problems.to_string())
}

/// The facts of a file's only case, as JSON.
fn facts(yaml: &str) -> Value {
    let file = read(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    serde_json::to_value(&file.cases[0].facts).unwrap()
}

/// What a file of tests says of some policies: its report with what passed, or why it cannot run.
fn run(policies_yaml: &str, yaml: &str) -> String {
    let file = read(yaml).unwrap_or_else(|problems| panic!("{problems}"));
    match file.run(&policies(policies_yaml)) {
        Ok(report) => {
            let lines: Vec<_> = report.lines(true).collect();
            let (passed, failed) = (report.passed(), report.failed());
            format!("{}\n{passed} passed, {failed} failed", lines.join("\n"))
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn what_a_webhook_always_holds_has_defaults_and_the_rest_is_unknown() {
    insta::assert_json_snapshot!(
        "case_defaults",
        facts("tests: [{ name: a, expect: nothing }]")
    );
    let file = read("tests: [{ name: a, expect: nothing }]").unwrap();
    assert_eq!(file.cases[0].at.to_rfc3339(), "2026-01-05T12:00:00+00:00");
    assert_eq!(file.cases[0].at.timestamp(), AT_DEFAULT_UNIX_SECS);
    assert!(file.policies.is_empty());
    assert!(read("tests: []").unwrap().cases.is_empty());
}

#[test]
fn facts_are_merged_over_the_defaults() {
    let merged = facts(
        "
defaults:
  room: { name: r, metadata: { auth_id: acme, lesson: { level: 1, open: true } }, num_participants: 3 }
  participant: { kind: SIP, attributes: { role: host, team: red }, joined_at: 5 }
  track: { muted: false }
tests:
  - name: a
    at: 2026-03-02T22:30:00+01:00
    unknown: [participant.kind, track.muted]
    facts:
      room: { metadata: { lesson: { level: 2 } }, created_at: 2026-03-02T22:00:00+01:00 }
      participant: { attributes: { role: null, seat: '7' } }
    expect: nothing
",
    );
    assert_eq!(
        merged,
        json!({
            "room": {
                "name": "r", "sid": "RM_test", "tenant": "acme", "num_participants": 3,
                "created_at": 1_772_485_200,
                "metadata": {"auth_id": "acme", "lesson": {"level": 2, "open": true}},
            },
            "participant": {
                "identity": "participant", "sid": "PA_test", "joined_at": 5,
                "attributes": {"team": "red", "seat": "7"},
            },
            "track": {
                "sid": "TR_test", "name": "", "source": "UNKNOWN", "type": "AUDIO", "mime_type": "",
            },
            "event": {"type": "track_published", "created_at": 1_772_487_000},
        })
    );
}

#[test]
fn a_rooms_tenant_is_what_its_metadata_says() {
    let tenant = |room: &str| {
        let yaml = format!("tests: [{{ name: a, facts: {{ room: {room} }}, expect: nothing }}]");
        match read(&yaml) {
            Ok(file) => match &file.cases[0].facts.room.tenant {
                Fact::Known(tenant) => format!("{tenant:?}"),
                Fact::Unknown => "unknown".to_owned(),
            },
            Err(problems) => problems,
        }
    };
    for (room, expected) in [
        ("{}", "unknown"),
        ("{ tenant: acme }", "Some(\"acme\")"),
        ("{ tenant: null }", "None"),
        ("{ metadata: { auth_id: acme } }", "Some(\"acme\")"),
        ("{ metadata: { auth_id: ' ' } }", "None"),
        ("{ metadata: { auth_id: 7 } }", "None"),
        ("{ metadata: null }", "None"),
        ("{ metadata: [auth_id] }", "None"),
        (
            "{ metadata: { auth_id: acme }, tenant: acme }",
            "Some(\"acme\")",
        ),
        (
            "{ metadata: {}, tenant: acme }",
            "p.test.yaml:1:9: tests[0].facts: room.tenant is \"acme\", and `auth_id` in \
             room.metadata makes it null: take one of them out",
        ),
    ] {
        assert_eq!(tenant(room), expected, "{room}");
    }
}

/// By the reader that questions have as well.
#[test]
fn facts_of_tests_are_read_as_strictly_as_those_of_questions() {
    let refused = |facts: &str| {
        read(&format!(
            "tests: [{{ name: a, facts: {facts}, expect: nothing }}]"
        ))
    };
    for (facts, says) in [
        (
            r#"{ room: { metadata: '{"auth_id":"acme"}' } }"#.to_owned(),
            "room.metadata: this is text; write it as a map, without the quotes around it",
        ),
        (
            "{ participant: { kind: null } }".to_owned(),
            "expected a value, found nothing; leave a fact out that is not known",
        ),
        (
            format!("{{ track: {{ name: {} }} }}", "a".repeat(1_025)),
            "is longer than 1024 characters; shorten it",
        ),
    ] {
        let error = refused(&facts).unwrap_err();
        assert!(error.ends_with(says), "{error}");
    }
    let longest = format!("{{ track: {{ name: {} }} }}", "a".repeat(1_024));
    assert!(refused(&longest).is_ok());
}

/// Every field of the facts can be given, and nothing else: a new one must not be forgotten here.
#[test]
fn a_test_can_give_every_fact() {
    let mut facts: Facts = serde_json::from_value(json!({
        "room": {"name": "", "sid": "", "tenant": "t", "metadata": {"auth_id": "t"},
            "num_participants": 1, "num_publishers": 1, "created_at": 1, "active_recording": true},
        "participant": {"identity": "", "sid": "", "name": "n", "kind": "SIP", "joined_at": 1,
            "kind_details": ["CONNECTOR_TWILIO", "FORWARDED"],
            "attributes": {"a": "b"}, "metadata": [1, -1, 0.5, u64::MAX, "x", null, {"k": true}],
            "is_publisher": true, "can_publish": true, "can_update_metadata": true},
        "track": {"sid": "", "name": "", "source": "CAMERA", "type": "VIDEO", "mime_type": "",
            "muted": true},
        "event": {"type": "", "created_at": 1},
    }))
    .unwrap();
    facts.participant.name = Fact::Known("n".to_owned());
    // A fact of which this is not the whole would be left out by either side.
    let whole = serde_json::to_value(&facts).unwrap();
    let yaml = format!("tests: [{{ name: a, facts: {whole}, expect: nothing }}]");
    assert_eq!(super::cases::facts(&yaml), whole);
    let schema = serde_json::to_value(schemars::schema_for!(Facts)).unwrap();
    for (section, name) in [
        ("room", "RoomFacts"),
        ("participant", "ParticipantFacts"),
        ("track", "TrackFacts"),
        ("event", "EventFacts"),
    ] {
        let keys = |object: &Value| -> BTreeSet<String> {
            object.as_object().unwrap().keys().cloned().collect()
        };
        let fields = keys(&schema["$defs"][name]["properties"]);
        assert_eq!(keys(&whole[section]), fields, "{section}");
    }
}

#[test]
fn everything_wrong_with_a_file_of_tests_is_reported_at_once() {
    let refused = read(
        "
policy: x.yaml
policies: []
defaults:
  rooms: { name: x }
  room: { num_participants: -1, created_at: yesterday, active_recording: yes, tenant: ' ' }
  participant: { kind: PHONE, kind_details: [CONNECTOR_TWILIO, TWILIO], attributes: [a], metadata: { a: 1, a: 2 } }
  track: { source: MICROFONE, type: 5, sid: 7 }
tests:
  - nme: a
    expect: nothing
  - name: a
  - name: ''
    expect: mute
  - name: b
    expect: muted
  - name: b2
    expect: { mutes: p }
  - name: b3
    expect: { mute: p, exempted_by: q }
  - name: b4
    expect: {}
  - name: b5
    expect: [nothing]
  - name: c
    at: 2026-03-02 22:30
    unknown: [participant.kin, room.name]
    facts: { participant: { attributes: { level: 5, a: b, a: c }, metadata: { 1: x } } }
    expect: nothing
    dry_run: { mute: 5 }
  - name: d
    expect: nothing
  - name: d
    expect: nothing
  - just text
",
    );
    insta::assert_snapshot!("bad_cases", refused.unwrap_err());
}

#[test]
fn files_of_tests_that_are_none_are_refused() {
    let seen: Vec<_> = [
        "",
        "[]",
        "tests:",
        "tests: {}",
        "policies: [x.yaml]",
        "policies: []\ntests: []",
        "tests: [",
        "tests: []\n---\ntests: []",
    ]
    .iter()
    .map(|yaml| format!("{yaml:?}\n    {}", read(yaml).unwrap_err()))
    .collect();
    insta::assert_snapshot!("no_cases", seen.join("\n"));
    let long = format!("tests: []\n# {}", "x".repeat(DOCUMENT_BYTES_MAX));
    assert_eq!(
        read(&long).unwrap_err(),
        "p.test.yaml: this has more than 1048576 bytes; split it"
    );
    let many = |count: usize| {
        let mut yaml = "tests:\n".to_owned();
        for n in 0..count {
            writeln!(yaml, "- {{ name: t{n}, expect: nothing }}").unwrap();
        }
        read(&yaml)
    };
    assert_eq!(many(CASES_MAX).unwrap().cases.len(), CASES_MAX);
    assert!(
        many(CASES_MAX + 1)
            .unwrap_err()
            .contains("more than 1000 tests")
    );
}

const POLICIES: &str = "
policies:
  - name: mics
    match: { room: 'webinar-*', type: AUDIO, attributes: { role: [guest, attendee] } }
    unless: { identity: 'host-*', kind: STANDARD }
    effect: mute
  - name: agents
    match: { kind: AGENT }
    effect: exempt
    priority: 1000
    reason: r
  - name: trial
    match: { room: 'webinar-*', source: SCREEN_SHARE_AUDIO }
    effect: mute
    mode: dry_run
  - name: later
    match: {}
    effect: mute
    mode: off
  - name: acmes
    owner: acme
    match: { source: CAMERA }
    effect: mute
";

const DEFAULTS: &str = "
defaults:
  room: { name: webinar-1, tenant: acme }
  participant: { identity: ada, kind: STANDARD, attributes: { role: guest } }
";

fn with_defaults(tests: &str) -> String {
    format!("{DEFAULTS}{tests}")
}

#[test]
fn what_is_as_expected_passes() {
    let report = run(
        POLICIES,
        &with_defaults(
            "
tests:
  - { name: muted, expect: { mute: mics }, dry_run: { mute: mics } }
  - { name: exempted, facts: { participant: { kind: AGENT } }, expect: { exempted_by: agents } }
  - { name: exempt, facts: { participant: { identity: host-1 } }, expect: nothing, dry_run: nothing }
  - { name: elsewhere, facts: { room: { name: lobby } }, expect: nothing }
  - { name: in dry run, facts: { track: { source: SCREEN_SHARE_AUDIO }, participant: { attributes: { role: x } } },
      expect: nothing, dry_run: { mute: trial } }
  - { name: open, unknown: participant.attributes, expect: indeterminate, dry_run: indeterminate }
  - { name: a tenant's, facts: { track: { source: CAMERA, type: VIDEO } }, expect: { mute: acmes } }
  - { name: a tenant's by its full name, facts: { track: { source: CAMERA, type: VIDEO } }, expect: { mute: acme/acmes } }
  - { name: the operator's by its full name, expect: { mute: (operator)/mics } }
"
        ),
    );
    assert!(report.ends_with("9 passed, 0 failed"), "{report}");
    assert!(!report.contains("FAILED"), "{report}");
}

#[test]
fn what_is_not_as_expected_is_shown_with_what_the_policies_say() {
    let report = run(
        POLICIES,
        &with_defaults(
            "
tests:
  - { name: wrong room, facts: { room: { name: lobby } }, expect: { mute: mics } }
  - { name: wrong role, facts: { participant: { attributes: { role: host } } }, expect: { mute: mics } }
  - { name: no role, facts: { participant: { attributes: { role: null } } }, expect: { mute: mics } }
  - { name: its own unless, facts: { participant: { identity: host-1 } }, expect: { mute: mics } }
  - { name: muted all the same, expect: nothing }
  - { name: another one, facts: { track: { source: CAMERA, type: VIDEO } }, expect: { mute: mics } }
  - { name: not exempted, expect: { exempted_by: agents } }
  - { name: exempted, facts: { participant: { kind: AGENT } }, expect: { mute: mics } }
  - { name: exempted is not nothing, facts: { participant: { kind: AGENT } }, expect: nothing }
  - { name: not open, expect: indeterminate }
  - { name: open, unknown: [participant.kind, participant.attributes], expect: { mute: mics } }
  - { name: open by its unless, facts: { participant: { identity: host-1 } }, unknown: participant.kind, expect: nothing }
  - { name: whose room, facts: { track: { source: CAMERA, type: VIDEO } }, unknown: room.tenant, expect: { mute: acmes } }
  - { name: not my room, facts: { room: { tenant: globex } }, expect: { mute: acmes } }
  - { name: off, expect: { mute: later } }
  - { name: nothing to exempt from, facts: { room: { name: lobby }, participant: { kind: AGENT } }, expect: { exempted_by: agents } }
  - { name: only in dry run, facts: { track: { source: SCREEN_SHARE_AUDIO }, participant: { attributes: { role: x } } },
      expect: { mute: trial }, dry_run: nothing }
"
        ),
    );
    insta::assert_snapshot!("failed_cases", report);
}

#[test]
fn the_exemption_that_spares_is_the_one_that_is_named() {
    let policies = "
policies:
  - { name: m, match: {}, effect: mute }
  - { name: e, match: {}, effect: exempt, priority: 200, reason: r }
  - { name: f, match: {}, effect: exempt, priority: 300, reason: r }
";
    for (name, passed) in [("e", "0 passed"), ("f", "1 passed")] {
        let tests = format!("tests: [{{ name: a, expect: {{ exempted_by: {name} }} }}]");
        let report = run(policies, &tests);
        assert!(report.contains(passed), "{report}");
    }
}

#[test]
fn a_report_tells_of_ten_policies_at_most() {
    let mut yaml = "policies:\n".to_owned();
    for n in 0..20 {
        writeln!(
            yaml,
            "- {{ name: p{n:02}, match: {{ room: r{n} }}, effect: mute }}"
        )
        .unwrap();
    }
    let report = run(
        &yaml,
        "tests: [{ name: a, facts: { room: { name: x } }, expect: indeterminate }]",
    );
    insta::assert_snapshot!("cut_report", report);
    let long = format!(
        "policies: [{{ name: p, match: {{ room: [{}] }}, effect: mute }}]",
        vec!["ü".repeat(100); 10].join(", ")
    );
    let report = run(&long, "tests: [{ name: a, expect: { mute: p } }]");
    assert!(report.contains("ü...") && report.len() < 1_000, "{report}");
}

#[test]
fn an_expectation_names_a_policy_that_there_is() {
    let policies = "
policies:
  - { name: webinar-mics, match: {}, effect: mute }
  - { name: shared, match: {}, effect: mute }
  - { name: shared, owner: acme, match: {}, effect: mute }
  - { name: films, owner: acme, match: {}, effect: exempt, reason: r }
";
    let seen: Vec<_> = [
        "{ mute: webinar-mic }",
        "{ mute: telephone }",
        "{ mute: shared }",
        "{ mute: globex/shared }",
        "{ mute: acme/shard }",
        "{ mute: acme/webinar-mics }",
        "{ mute: (operator)/films }",
        "{ exempted_by: filmz }",
        "{ exempted_by: webinar-mics }",
        "{ mute: films }",
    ]
    .iter()
    .map(|expect| {
        let report = run(
            policies,
            &format!("tests: [{{ name: a, expect: {expect} }}]"),
        );
        format!("{expect}\n    {report}")
    })
    .collect();
    insta::assert_snapshot!("unknown_names", seen.join("\n"));
    let dry_run = "tests:\n- { name: a, expect: nothing, dry_run: { mute: no } }\n- { name: b, expect: { mute: none } }";
    let report = run(policies, dry_run);
    assert!(
        report.contains("tests[0].dry_run.mute") && report.contains("tests[1].expect.mute"),
        "all of them are told of: {report}"
    );
}

#[test]
fn a_report_says_which_policies_are_tested() {
    let yaml = "tests:
- { name: a, expect: { mute: mics } }
- { name: b, expect: nothing, dry_run: { mute: trial } }
- { name: c, expect: { mute: acmes } }";
    let report = read(yaml).unwrap().run(&policies(POLICIES)).unwrap();
    let named: Vec<_> = report
        .named
        .iter()
        .map(|key| (key.owner.as_str(), key.name.as_str()))
        .collect();
    assert_eq!(
        named,
        [(None, "mics"), (None, "trial"), (Some("acme"), "acmes")]
    );
}
