//! What documents are read as, and how bad ones are refused.

use std::fmt::Write;

use super::make::owner;
use crate::limits::{DOCUMENT_BYTES_MAX, POLICIES_MAX};
use crate::{Document, Effect, Kind, Mode, Owner, Policy, Problem, Source, TrackType};

fn load(yaml: &str) -> String {
    match Document::load([("p.yaml", yaml)]) {
        Ok(checked) => {
            let warnings: Vec<_> = checked.warnings.iter().map(Problem::to_string).collect();
            format!("fine\n{}", warnings.join("\n"))
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn defaults_are_filled_in_and_scalars_become_lists() {
    let yaml = "
policies:
  - name: short
    match: { room: webinar-*, type: AUDIO, attributes: { role: [a, b], x: '1' } }
    effect: mute
  - name: long
    owner: acme
    description: |
      Two
      lines
    match: { source: [MICROPHONE, UNKNOWN], identity: ['a*'], kind: SIP }
    unless: { kind: [AGENT] }
    effect: exempt
    mode: off
    priority: 0
    overridable: false
    reason: >
      because of
      this
";
    let policies = Document::load([("p.yaml", yaml)]).unwrap().value.policies;
    let [short, long] = policies.as_slice() else {
        panic!("two policies");
    };
    assert_eq!(
        (short.mode, short.priority, short.overridable),
        (Mode::Enforce, 100, false)
    );
    assert_eq!(
        (&short.owner, short.effect),
        (&Owner::Operator, Effect::Mute)
    );
    assert_eq!(short.match_.room, ["webinar-*"]);
    assert_eq!(short.match_.type_, [TrackType::Audio]);
    assert_eq!(short.match_.attributes["role"], ["a", "b"]);
    assert_eq!(short.match_.attributes["x"], ["1"]);
    assert_eq!(long.owner.as_str(), Some("acme"));
    assert_eq!(long.description.as_deref(), Some("Two\nlines"));
    assert_eq!(long.reason.as_deref(), Some("because of this"));
    assert_eq!(long.match_.source, [Source::Microphone, Source::Unknown]);
    assert_eq!(long.unless.as_ref().unwrap().kind, [Kind::Agent]);
    assert_eq!((long.mode, long.priority), (Mode::Off, 0));

    insta::assert_snapshot!(
        "canonical_json",
        serde_json::to_string_pretty(&long.to_json()).unwrap()
    );
    let document = Document { policies };
    insta::assert_snapshot!("as_yaml", document.to_yaml().unwrap());
}

#[test]
fn the_same_policy_in_other_words_is_unchanged() {
    let form = |text: &str| {
        Policy::from_json(text.as_bytes(), &Owner::Operator)
            .unwrap()
            .value
            .to_json()
    };
    assert_eq!(
        form(r#"{"name": "p", "match": {"room": "x"}, "effect": "mute"}"#),
        form(
            r#"{"effect": "mute", "priority": 100, "mode": "enforce", "overridable": false,
                "match": {"room": ["x"]}, "name": "p"}"#
        )
    );
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let refused = load(
        "
policies:
  - name: misspelt
    matches: { room: 'x' }
    match:
      sources: [MICROPHONE]
      source: [MICROFONE, microphone, TELEPHONE]
      type: Audio
      kind: [SIP, 5, CONNECTOR_TWILIO]
      kind_details: [CONECTOR_TWILIO, SIP]
    effect: muted
    mode: dryrun
    priority: 10000
    overridable: yes
  - name: wrong types
    match: [room]
    effect: [mute]
    priority: '100'
    reason: 5
  - match: { room: [], identity: ['[a', '{x', ''], attributes: { level: 5, role: [], sip.x: 1 } }
    unless: {}
    effect: exempt
    owner: ' '
  - name: later
    match: {}
    effect: mute
    when: 'room.num_participants > 10'
    active: []
    not_before: 2026-01-01
    not_after: 2026-01-01
    first: 10
  - name: twice
    name: twice
    match: { type: AUDIO, type: VIDEO, attributes: { a: b, a: c }, room: }
    effect: exempt
    reason: ''
  - just text
  - name: no-match
    effect: mute
  - name: rights
    match: { kind: SIP }
    effect: exempt
    reason: r
    overridable: true
  - name: rights
    owner: acme
    match: { kind: SIP }
    effect: mute
    overridable: true
  - name: \"nul\\u0000\"
    match: { room: \"a\\nb\" }
    effect: mute
    description: \"\\u0007\"
",
    );
    insta::assert_snapshot!("bad_policies", refused);
}

#[test]
fn documents_that_are_none_are_refused() {
    let deep = format!("policies: {}x", "[".repeat(20_000));
    let rather_deep = format!("policies: {}{}", "[".repeat(20), "]".repeat(20));
    let deep_blocks = "- ".repeat(20_000);
    let seen: Vec<_> = [
        "",
        "# a comment\n",
        "policies:\n",
        "policies: {}\n",
        "- name: x\n",
        "policy: []\n",
        "policies: []\n---\npolicies: []\n",
        "policies: [\n",
        "policies:\n\t- name: x\n",
        "policies: [&a [*a]]\n",
        &deep,
        &rather_deep,
        &deep_blocks,
    ]
    .iter()
    .map(|yaml| {
        let start: String = yaml.chars().take(30).collect();
        format!("{start:?}\n    {}", load(yaml).replace('\n', "\n    "))
    })
    .collect();
    let seen = seen.join("\n");
    insta::assert_snapshot!("no_documents", seen);
    assert_eq!(load("policies: []\n").trim(), "fine");
    let long = format!("policies: []\n# {}", "x".repeat(DOCUMENT_BYTES_MAX));
    assert_eq!(
        load(&long),
        "p.yaml: this has more than 1048576 bytes; split it"
    );
}

#[test]
fn json_is_refused_with_the_way_to_the_fault() {
    let seen: Vec<_> = [
        r#"{"name": "p", "match": {}, "effect": "mute", "owner": "acme"}"#,
        r#"{"name": "p", "match": {"source": ["MIC", "CAMERA"]}, "effect": "mute"}"#,
        r#"{"name": "p", "match": {}, "effect": "mute", "effect": "exempt"}"#,
        r#"{"name": "p", "match": {}, "effect": "mute", "priority": 1.5}"#,
        r#"{"name": "p", "match": {}, "effect": "mute", "priority": -1}"#,
        r#"{"name": "p", "match": {}, "effect": "mute", "priority": 18446744073709551616}"#,
        r#"{"name": "p", "match": {}, "effect": "mute", "mode": null}"#,
        r#"{"policies": []}"#,
        r"[]",
        r#"{"name": "#,
        "\u{0}",
    ]
    .iter()
    .map(|json| {
        let problems = Policy::from_json(json.as_bytes(), &owner(Some("acme"))).unwrap_err();
        format!(
            "{json}\n    {}",
            problems.to_string().replace('\n', "\n    ")
        )
    })
    .collect();
    let seen = seen.join("\n");
    insta::assert_snapshot!("bad_json", seen);
    let deep = "[".repeat(100_000);
    assert!(Policy::from_json(deep.as_bytes(), &Owner::Operator).is_err());
    assert!(Policy::from_json(&vec![b' '; DOCUMENT_BYTES_MAX + 1], &Owner::Operator).is_err());
    assert!(Policy::from_json(b"\xff", &Owner::Operator).is_err());
}

#[test]
fn the_owner_of_json_is_the_caller() {
    let json = br#"{"name": "p", "match": {}, "effect": "mute"}"#;
    for owner in [None, Some("acme")] {
        let policy = Policy::from_json(json, &self::owner(owner)).unwrap().value;
        assert_eq!(policy.owner.as_str(), owner);
        assert_eq!(policy.to_json().get("owner"), None);
    }
}

#[test]
fn a_name_stands_once_for_each_owner_in_all_files() {
    let policy = |name: &str, owner: &str| {
        format!(
            "policies:\n- name: {name}\n  match: {{ type: AUDIO }}\n  effect: mute\n  {owner}\n"
        )
    };
    let load = |files: &[(&str, String)]| {
        Document::load(files.iter().map(|(file, text)| (*file, text.as_str())))
    };
    let others = [
        ("a.yaml", policy("x", "")),
        ("b.yaml", policy("y", "")),
        ("c.yaml", policy("x", "owner: acme")),
    ];
    assert_eq!(load(&others).unwrap().value.policies.len(), 3);
    let again = [("a.yaml", policy("x", "")), ("b.yaml", policy("x", ""))];
    assert_eq!(
        load(&again).unwrap_err().to_string(),
        "b.yaml:2:3: policies[0].name: there is a policy x already, at a.yaml:2; \
         a name stands once for each owner; rename one"
    );
}

#[test]
fn no_more_policies_than_allowed() {
    let file = |from: usize, to: usize| {
        let mut yaml = "policies:\n".to_owned();
        for n in from..to {
            writeln!(
                yaml,
                "- {{name: p{n}, match: {{type: AUDIO}}, effect: mute}}"
            )
            .unwrap();
        }
        yaml
    };
    let (one, two) = (file(0, POLICIES_MAX), file(POLICIES_MAX, POLICIES_MAX + 1));
    assert_eq!(load(&one).trim(), "fine");
    let both = Document::load([("a.yaml", one.as_str()), ("b.yaml", two.as_str())]);
    assert_eq!(
        both.unwrap_err().to_string(),
        "b.yaml:2:3: policies[0]: more than 10000 policies; \
         say the same with fewer: a list takes several values"
    );
    let many_faults = file(0, 150).replace("AUDIO", "SOUND");
    let problems = Document::load([("p.yaml", many_faults.as_str())]).unwrap_err();
    assert_eq!((problems.problems.len(), problems.left_off), (100, 50));
    assert!(problems.to_string().ends_with("\nand 50 more"));
}

#[test]
fn lints_are_warnings() {
    let seen: Vec<_> = [
        "match: { source: [MICROPHONE], type: AUDIO }, effect: mute",
        "match: { source: MICROPHONE }, effect: mute",
        "match: { source: [MICROPHONE, UNKNOWN] }, effect: mute",
        "match: { source: [MICROPHONE], type: VIDEO }, effect: mute",
        "match: { source: CAMERA }, effect: mute",
        "match: {}, effect: mute",
        "match: { type: AUDIO }, unless: { attributes: { role: host } }, effect: mute",
        "match: { type: AUDIO }, unless: { attributes: { role: host }, identity: 'h-*' }, effect: mute",
        "match: { source: MICROPHONE, room: 'x' }, effect: exempt, reason: r",
        "match: { attributes: { a: b }, source: UNKNOWN }, effect: exempt, reason: r",
        "match: { attributes: { a: b }, kind: SIP }, effect: exempt, reason: r",
        "match: { attributes: { a: b }, kind_details: CONNECTOR_TWILIO }, effect: exempt, reason: r",
        "match: { attributes: { a: b } }, when: '\"FORWARDED\" in participant.kind_details', effect: exempt, reason: r",
        "match: { attributes: { a: b } }, when: '0 < size(participant.kind_details)', effect: exempt, reason: r",
        "match: { attributes: { a: b } }, when: 'size(participant.kind_details) < 2', effect: exempt, reason: r",
        "match: { attributes: { a: b } }, when: '!(\"FORWARDED\" in participant.kind_details)', effect: exempt, reason: r",
        "match: { kind_details: [CONNECTOR_TWILIO, FORWARDED] }, unless: { kind_details: CONNECTOR_TWILIO }, effect: mute",
        "match: { kind_details: CONNECTOR_TWILIO }, unless: { kind_details: [CONNECTOR_TWILIO, FORWARDED] }, effect: mute",
        "match: { attributes: { role: 'ho*' } }, effect: mute",
        "match: { room: '*' }, effect: mute",
        "match: { attributes: { a: b }, identity: ['*'] }, effect: exempt, reason: r",
        "match: { type: VIDEO, source: [CAMERA, MICROPHONE] }, effect: mute",
        "match: { kind: AGENT }, unless: { kind: AGENT }, effect: mute",
        "match: { kind: [AGENT, SIP] }, unless: { kind: AGENT }, effect: mute",
        "match: { kind: AGENT, room: 'a*' }, unless: { kind: [AGENT, SIP], room: '*' }, effect: mute",
    ]
    .iter()
    .map(|policy| {
        let seen = load(&format!("policies: [ {{ name: p, {policy} }} ]"));
        format!("{policy}\n    {}", seen.replace('\n', "\n    "))
    })
    .collect();
    let seen = seen.join("\n");
    insta::assert_snapshot!("warnings", seen);
}

#[test]
fn globs_that_cost_much_to_match_are_refused() {
    let yaml = |globs: &str| {
        format!("policies: [{{ name: p, match: {{ room: [{globs}] }}, effect: mute }}]")
    };
    let check = |globs: &str| Document::load([("p.yaml", yaml(globs).as_str())]);
    let many = |glob: &str, count| vec![glob; count].join(", ");
    // Whole names and starts of names are looked up, and cost nothing.
    for cheap in [
        many("'webinar-long-name-*'", 100),
        many("'*-12345678901234'", 32),
    ] {
        assert!(check(&cheap).is_ok(), "{cheap}");
    }
    let refused = check(&many("'*-12345678901234'", 33))
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "p.yaml:1:30: policies[0].match: the globs have more than 512 characters after what is \
         plain in them; name rooms and identities in full or with one `*` at the end, which are \
         not counted, or split the policy"
    );
}
