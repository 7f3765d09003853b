//! The JSON Schemas: what is committed is what the types say, and they say what the reader does.

use proptest::prelude::*;
use serde_json::Value;

use super::{generate, make};
use crate::Document;
use crate::case::{self, CASES_MAX, CaseFile};
use crate::limits::LIST_ITEMS_MAX;
use crate::limits::PRIORITY_MAX;
use crate::node::{self, Node};
use crate::reader::Reader;

/// A compiled schema.
struct Validator(boon::Schemas, boon::SchemaIndex);

impl Validator {
    fn new(schema: Value) -> Self {
        let mut schemas = boon::Schemas::new();
        let mut compiler = boon::Compiler::new();
        compiler.add_resource("schema.json", schema).unwrap();
        let index = compiler.compile("schema.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    fn takes(&self, document: &Value) -> bool {
        self.0.validate(document, self.1).is_ok()
    }
}

fn json(node: &Node) -> Value {
    match &node.value {
        node::NodeValue::Null => Value::Null,
        node::NodeValue::Bool(value) => (*value).into(),
        node::NodeValue::Integer(value) => serde_json::Number::from_i128(*value).into(),
        node::NodeValue::Float(value) => (*value).into(),
        node::NodeValue::Text(text) => text.as_str().into(),
        node::NodeValue::List(items) => items.iter().map(json).collect(),
        node::NodeValue::Map(entries) => entries
            .iter()
            .map(|(key, value)| {
                let node::NodeValue::Text(key) = &key.value else {
                    panic!("JSON has texts for keys");
                };
                (key.clone(), json(value))
            })
            .collect(),
    }
}

fn yaml(text: &str) -> Value {
    json(&Reader::new(None).tree(text).unwrap())
}

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    for (file, schema) in [
        ("schema.json", Document::json_schema()),
        ("test.schema.json", case::json_schema()),
    ] {
        let committed = std::fs::read_to_string(folder().join(file)).unwrap_or_default();
        let generated = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        assert!(
            committed == generated,
            "policies/{file} is not what the types say: run `make schema` and commit it"
        );
    }
}

#[test]
fn the_examples_fit_their_schemas() {
    let (policies, tests) = (
        Validator::new(Document::json_schema()),
        Validator::new(case::json_schema()),
    );
    let (files, files_of_tests) = make::examples();
    assert!(files.len() >= 8);
    assert_eq!(files.len(), files_of_tests.len(), "each has tests");
    for (files, right, wrong) in [
        (files, &policies, &tests),
        (files_of_tests, &tests, &policies),
    ] {
        for (name, text) in files {
            let document = yaml(&text);
            assert!(right.takes(&document), "{name}");
            assert!(!wrong.takes(&document), "{name} fits the other schema");
        }
    }
}

/// Whether the reader and the schema take a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Both,
    Neither,
    /// A schema cannot tell what is wrong with it.
    SchemaOnly,
}

impl By {
    fn of(reader: bool, schema: bool, document: &str) -> Self {
        match (reader, schema) {
            (true, true) => Self::Both,
            (false, false) => Self::Neither,
            (false, true) => Self::SchemaOnly,
            (true, false) => panic!("the schema refuses what the reader takes: {document}"),
        }
    }
}

/// The lines of a table: who takes it, and what.
fn table(text: &str) -> impl Iterator<Item = (By, &str)> {
    text.lines().filter(|line| !line.is_empty()).map(|line| {
        let (by, what) = line.split_once(' ').unwrap();
        let by = match by {
            "both" => By::Both,
            "neither" => By::Neither,
            "schema" => By::SchemaOnly,
            other => panic!("{other}"),
        };
        (by, what.trim_start())
    })
}

/// Files of policies; `;` ends a line.
const FILES: &str = r"
both    policies: []
neither policies: {}
neither policies:
neither {}
neither []
neither policies: []; x: 1
neither policies: [x]
neither policies: [{ match: {}, effect: mute }]
both    policies: [{ name: A-z.0_9, match: {}, effect: mute }]
neither policies: [{ name: '', match: {}, effect: mute }]
neither policies: [{ name: a b, match: {}, effect: mute }]
neither policies: [{ name: a/b, match: {}, effect: mute }]
neither policies: [{ name: ü, match: {}, effect: mute }]
neither policies: [{ name: 5, match: {}, effect: mute }]
schema  policies: [{ name: a, match: {}, effect: mute }, { name: a, match: {}, effect: mute }]
";

/// Fields of a policy that has a name.
const FIELDS: &str = r#"
both    match: {}, effect: mute
neither match: {}
neither effect: mute
neither match: {}, effect: muted
neither match: {}, effect: [mute]
both    match: {}, effect: mute, mode: dry_run
both    match: {}, effect: mute, mode: off
neither match: {}, effect: mute, mode: dryrun
neither match: {}, effect: mute, mode: null
both    match: {}, effect: mute, priority: 0
neither match: {}, effect: mute, priority: -1
neither match: {}, effect: mute, priority: '1'
neither match: {}, effect: mute, priority: 1.5
schema  match: {}, effect: mute, priority: 1.0
both    match: {}, effect: mute, overridable: true
neither match: {}, effect: mute, overridable: yes
neither match: {}, effect: mute, overridable: true, owner: a
both    match: {}, effect: mute, overridable: false, owner: a
neither match: {}, effect: exempt, overridable: true, reason: r
neither match: {}, effect: exempt
both    match: {}, effect: exempt, reason: r
neither match: {}, effect: exempt, reason: ''
neither match: {}, effect: exempt, reason: ' '
neither match: {}, effect: exempt, reason: null
both    match: {}, effect: exempt, reason: "a\nb\tc"
neither match: {}, effect: exempt, reason: "a\rb"
both    match: {}, effect: mute, owner: acme
neither match: {}, effect: mute, owner: ' '
neither match: {}, effect: mute, owner: ''
neither match: {}, effect: mute, owner: "a\nb"
neither match: {}, effect: mute, owner: 7
neither match: {}, effect: mute, owner: null
neither match: {}, effect: mute, unless: {}
both    match: {}, effect: mute, unless: { kind: SIP }
neither match: {}, effect: mute, unless: { kind: sip }
neither match: {}, effect: mute, unless: null
neither match: {}, effect: mute, whenever: x
both    match: {}, effect: mute, when: 'room.num_participants > 10'
neither match: {}, effect: mute, when: true
neither match: {}, effect: mute, when: ''
neither match: {}, effect: mute, when: ' '
neither match: {}, effect: mute, when: null
schema  match: {}, effect: mute, when: 'room.num_participant > 10'
both    match: {}, effect: mute, active: { cron: '0 22 * * *', duration: 8h, timezone: UTC }
both    match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 1d2h3m, timezone: UTC }]
neither match: {}, effect: mute, active: []
neither match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 8h }]
neither match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 8h, timezone: UTC, zone: UTC }]
neither match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 8 hours, timezone: UTC }]
neither match: {}, effect: mute, active: [{ cron: 22, duration: 8h, timezone: UTC }]
schema  match: {}, effect: mute, active: [{ cron: '0 25 * * *', duration: 8h, timezone: UTC }]
schema  match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 8d, timezone: UTC }]
schema  match: {}, effect: mute, active: [{ cron: '0 22 * * *', duration: 8h, timezone: Mars }]
both    match: {}, effect: mute, not_before: 2026-01-01T00:00:00Z
both    match: {}, effect: mute, not_after: 2026-01-01T00:00:00+01:00
both    match: {}, effect: mute, not_before: 2026-01-01 00:00:00Z
neither match: {}, effect: mute, not_before: 2026-01-01
neither match: {}, effect: mute, not_after: 5
schema  match: {}, effect: mute, not_before: 2026-01-02T00:00:00Z, not_after: 2026-01-01T00:00:00Z
both    match: {}, effect: mute, first: 10m
neither match: {}, effect: mute, first: 10
neither match: {}, effect: mute, first: 10 minutes
neither match: {}, effect: mute, first: 0m
neither match: {}, effect: mute, first: 0d00h0m
both    match: {}, effect: mute, first: 0d1h00m
neither match: [], effect: mute
neither match: { rooms: x }, effect: mute
both    match: { room: x }, effect: mute
both    match: { room: [x, y] }, effect: mute
neither match: { room: [] }, effect: mute
neither match: { room: '' }, effect: mute
neither match: { room: "a\nb" }, effect: mute
neither match: { room: null }, effect: mute
neither match: { room: [5] }, effect: mute
schema  match: { room: '[a' }, effect: mute
both    match: { identity: 'a*' }, effect: mute
both    match: { source: [MICROPHONE, UNKNOWN] }, effect: mute
neither match: { source: MIC }, effect: mute
both    match: { type: AUDIO }, effect: mute
neither match: { type: [AUDIO, SMELL] }, effect: mute
both    match: { kind: [SIP, AGENT] }, effect: mute
both    match: { kind_details: CONNECTOR_TWILIO }, effect: mute
both    match: { kind_details: [CONNECTOR_TWILIO, FORWARDED] }, effect: mute
neither match: { kind_details: [] }, effect: mute
neither match: { kind_details: SIP }, effect: mute
neither match: { attributes: {} }, effect: mute
neither match: { attributes: [role] }, effect: mute
both    match: { attributes: { a: b, c: [d, e] } }, effect: mute
neither match: { attributes: { a: 5 } }, effect: mute
neither match: { attributes: { a: [] } }, effect: mute
both    match: { attributes: { a: '' } }, effect: mute
"#;

/// Files of tests; `;` ends a line.
const FILES_OF_TESTS: &str = r"
both    tests: []
neither tests:
neither {}
both    tests: []; policies: x.yaml
both    tests: []; policies: [x.yaml, y.yaml]
neither tests: []; policies: []
neither tests: []; default: {}
both    tests: []; defaults: {}
both    tests: []; defaults: { room: {} }
neither tests: []; defaults: { rooms: {} }
neither tests: [{ name: a }]
neither tests: [{ expect: nothing }]
neither tests: [{ name: a, expect: nothing, x: y }]
schema  tests: [{ name: a, expect: nothing }, { name: a, expect: nothing }]
";

/// Fields of a test that has a name.
const FIELDS_OF_TESTS: &str = r"
both    expect: nothing
both    expect: indeterminate
neither expect: mute
neither expect: null
neither expect: {}
both    expect: { mute: p }
neither expect: { mute: 5 }
both    expect: { exempted_by: acme/p }
neither expect: { mute: p, exempted_by: q }
neither expect: { mutes: p }
both    expect: nothing, dry_run: { mute: p }
neither expect: nothing, dry_run: muted
both    expect: nothing, at: 2026-03-02T22:30:00+01:00
both    expect: nothing, at: 2026-03-02T22:30:00Z
neither expect: nothing, at: 2026-03-02
both    expect: nothing, at: 2026-03-02 22:30:00Z
both    expect: nothing, at: 2026-03-02T22:30:00−01:00
both    expect: nothing, at: 2026-03-02t22:30:00z
both    expect: nothing, at: 2026-12-31T23:59:60Z
both    expect: nothing, at: 2026-03-02T22:30:00.123456789123Z
schema  expect: nothing, at: 2026-02-29T22:30:00Z
schema  expect: nothing, at: 2026-03-02T24:30:00Z
neither expect: nothing, at: 2026-03-02T22:30:00+01
neither expect: nothing, at: 2026-03-02T22:30:00
neither expect: nothing, at: 5
both    expect: nothing, unknown: room.tenant
both    expect: nothing, unknown: [room.tenant, track.muted]
neither expect: nothing, unknown: room.name
neither expect: nothing, unknown: []
both    expect: nothing, facts: { room: { name: x, sid: y } }
neither expect: nothing, facts: { room: { nam: x } }
neither expect: nothing, facts: { room: { name: 5 } }
both    expect: nothing, facts: { room: { tenant: null } }
both    expect: nothing, facts: { room: { tenant: acme } }
neither expect: nothing, facts: { room: { tenant: ' ' } }
both    expect: nothing, facts: { room: { metadata: [1, { a: b }] } }
schema  expect: nothing, facts: { room: { metadata: {}, tenant: a } }
both    expect: nothing, facts: { room: { num_participants: 5 } }
neither expect: nothing, facts: { room: { num_participants: -5 } }
neither expect: nothing, facts: { room: { num_participants: 4294967296 } }
both    expect: nothing, facts: { room: { created_at: 5 } }
neither expect: nothing, facts: { room: { created_at: now } }
both    expect: nothing, facts: { room: { created_at: 2026-03-02T22:30:00Z } }
both    expect: nothing, facts: { room: { active_recording: true } }
neither expect: nothing, facts: { room: { active_recording: 1 } }
both    expect: nothing, facts: { participant: { kind: SIP } }
both    expect: nothing, facts: { participant: { kind_details: [] } }
both    expect: nothing, facts: { participant: { kind_details: CONNECTOR_TWILIO } }
both    expect: nothing, facts: { participant: { kind_details: [CONNECTOR_TWILIO] } }
neither expect: nothing, facts: { participant: { kind_details: [SIP] } }
neither expect: nothing, facts: { participant: { kind: PHONE } }
both    expect: nothing, facts: { participant: { attributes: {} } }
both    expect: nothing, facts: { participant: { attributes: { a: b, c: null } } }
neither expect: nothing, facts: { participant: { attributes: { a: 5 } } }
both    expect: nothing, facts: { track: { source: CAMERA } }
neither expect: nothing, facts: { track: { type: camera } }
both    expect: nothing, facts: { event: { created_at: 5, type: x } }
";

#[track_caller]
fn check_policies(validator: &Validator, document: &str, expected: By) {
    let read = Document::load([("p.yaml", document)]).is_ok();
    let takes = validator.takes(&yaml(document));
    assert_eq!(By::of(read, takes, document), expected, "{document}");
}

#[test]
fn the_schema_of_policies_takes_what_the_reader_takes() {
    let validator = Validator::new(Document::json_schema());
    let check = |document: &str, expected| check_policies(&validator, document, expected);
    for (by, lines) in table(FILES) {
        check(&lines.replace("; ", "\n"), by);
    }
    for (by, fields) in table(FIELDS) {
        check(&format!("policies: [{{ name: p, {fields} }}]"), by);
    }
}

/// A value of this size.
type Counted<'a> = &'a dyn Fn(usize) -> String;

/// What is allowed, one more than that, and how it stands in a policy.
#[test]
fn the_schema_of_policies_has_the_readers_limits() {
    let validator = Validator::new(Document::json_schema());
    let text = |count: usize| "ü".repeat(count);
    let list = |count: usize| vec!["x"; count].join(", ");
    let names = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("a{n}: x")).collect();
        names.join(", ")
    };
    let priority = |number: usize| number.to_string();
    let ascii = |count: usize| "a".repeat(count);
    let cases: [(usize, Counted<'_>, &str); 10] = [
        (128, &ascii, "name: @, match: {}"),
        (256, &text, "name: p, match: {}, owner: @"),
        (2_000, &text, "name: p, match: {}, description: @"),
        (2_000, &text, "name: p, match: {}, reason: @"),
        (
            PRIORITY_MAX.into(),
            &priority,
            "name: p, match: {}, priority: @",
        ),
        (256, &text, "name: p, match: { room: @ }"),
        (LIST_ITEMS_MAX, &list, "name: p, match: { room: [@] }"),
        (1_000, &text, "name: p, match: { attributes: { a: @ } }"),
        (1_000, &text, "name: p, match: { attributes: { @: x } }"),
        (
            LIST_ITEMS_MAX,
            &names,
            "name: p, match: { attributes: { @ } }",
        ),
    ];
    for (limit, value, fields) in cases {
        for (count, by) in [(limit, By::Both), (limit + 1, By::Neither)] {
            let fields = fields.replace('@', &value(count));
            let document = format!("policies: [{{ {fields}, effect: mute }}]");
            check_policies(&validator, &document, by);
        }
    }
}

#[test]
fn the_schema_of_tests_takes_what_the_reader_takes() {
    let validator = Validator::new(case::json_schema());
    let check = |document: &str, expected| {
        let read = CaseFile::read("p.test.yaml", document).is_ok();
        let takes = validator.takes(&yaml(document));
        assert_eq!(By::of(read, takes, document), expected, "{document}");
    };
    for (by, lines) in table(FILES_OF_TESTS) {
        check(&lines.replace("; ", "\n"), by);
    }
    for (by, fields) in table(FIELDS_OF_TESTS) {
        check(&format!("tests: [{{ name: a, {fields} }}]"), by);
    }
    let tests = |count: usize| {
        let tests: Vec<_> = (0..count)
            .map(|n| format!("{{ name: t{n}, expect: nothing }}"))
            .collect();
        format!("tests: [{}]", tests.join(", "))
    };
    check(&tests(CASES_MAX), By::Both);
    check(&tests(CASES_MAX + 1), By::Neither);
}

/// The canonical form is one of the forms that people can write.
#[test]
fn what_is_shown_and_stored_fits_the_schema() {
    let validator = Validator::new(Document::json_schema());
    proptest!(|(policies in generate::policies())| {
        let document = serde_json::to_value(Document { policies }).unwrap();
        prop_assert!(validator.takes(&document), "{document}");
    });
}
