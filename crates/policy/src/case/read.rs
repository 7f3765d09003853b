//! Reads a file of cases and reports everything that is wrong with it at once.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};

use super::facts::{are_too_much, merged};
use super::{AT_DEFAULT_UNIX_SECS, CASES_MAX, Case, CaseFile, Expected, Name};
use crate::facts::catalog::{FIELDS, Field};
use crate::given::Form;
use crate::invisible;
use crate::keys::{CASE_KEYS, OUTCOME_KEYS};
use crate::node::{Node, NodeValue};
use crate::problem::Problems;
use crate::reader::{Fields, Reader, join};
use crate::terminal::quoted;

pub(super) const FILE_KEYS: &[&str] = &["policies", "defaults", "tests"];
pub(super) const NAME_CHARS_MAX: usize = 200;
/// `OWNER/NAME`, or a path.
pub(super) const REFERENCE_CHARS_MAX: usize = 1_000;
const OUTCOMES: &str = "nothing, indeterminate, { mute: POLICY } or { exempted_by: POLICY }";

impl CaseFile {
    /// Reads a file's text. All that is wrong with it is reported.
    pub fn read(file: &str, text: &str) -> Result<Self, Problems> {
        let mut reader = Reader::new(Some(file));
        let root = reader.tree(text);
        let read = root.and_then(|root| reader.case_file(&root));
        match read {
            Some((policies, cases)) if reader.problems.is_empty() => Ok(Self {
                file: file.to_owned(),
                policies,
                cases,
            }),
            _ => {
                reader
                    .problems
                    .sort_by_key(|problem| (problem.line, problem.column));
                Err(reader.into_problems())
            }
        }
    }
}

impl Reader<'_> {
    fn case_file(&mut self, root: &Node) -> Option<(Vec<String>, Vec<Case>)> {
        let hint = "a file of tests has `tests:` and a list below it";
        if matches!(root.value, NodeValue::Null) {
            self.refuse(root.place, "", "there are no tests here", hint);
            return None;
        }
        if matches!(root.value, NodeValue::List(_)) {
            let message = "this is a list without a key";
            self.refuse(root.place, "", message, "put `tests:` on a line above it");
            return None;
        }
        let fields = self.fields(root, "", FILE_KEYS)?;
        let policies = fields.get("policies").map(|node| {
            self.list(node, "policies", |reader, node, path| {
                reader.text(node, path, REFERENCE_CHARS_MAX)
            })
        });
        let defaults = match fields.get("defaults") {
            Some(node) => self.seen_facts(node, "defaults"),
            None => json!({}),
        };
        let tests = self.required(root, fields.get("tests").copied(), "", "tests", hint)?;
        let NodeValue::List(items) = &tests.value else {
            let found = format!("expected a list of tests, found {}", tests.value);
            self.refuse(tests.place, "tests", found, "start each with `- name:`");
            return None;
        };
        if items.len() > CASES_MAX {
            let message = format!("more than {CASES_MAX} tests");
            self.refuse(tests.place, "tests", message, "split the file");
            return None;
        }
        if let Some(node) = fields.get("defaults")
            && are_too_much(&defaults, items.len())
        {
            let message = format!("these facts are too many for each of {} tests", items.len());
            let hint = "give long metadata in the tests that it is for, or split the file";
            self.refuse(node.place, "defaults", message, hint);
            return None;
        }
        let mut cases: Vec<Case> = Vec::new();
        let mut line_of: HashMap<String, Option<u64>> = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("tests[{index}]");
            let Some(case) = self.case(item, &path, &defaults) else {
                continue;
            };
            if let Some(line) = line_of.insert(case.name.clone(), case.place.line) {
                let message = match line {
                    Some(line) => format!("the test at line {line} has this name already"),
                    None => "another test has this name already".to_owned(),
                };
                self.refuse(item.place, &join(&path, "name"), message, "rename one");
            }
            cases.push(case);
        }
        Some((policies.unwrap_or_default(), cases))
    }

    fn case(&mut self, node: &Node, path: &str, defaults: &Json) -> Option<Case> {
        let known = self.problems.len();
        let fields = self.fields(node, path, CASE_KEYS)?;
        let get = |key: &str| fields.get(key).copied();
        let at = |key: &str| join(path, key);

        let hint = "say what the test shows";
        let name = self.required(node, get("name"), path, "name", hint);
        let name = name.and_then(|name| self.text(name, &at("name"), NAME_CHARS_MAX));
        let when = self.at(&fields, &at("at"));
        let own = match get("facts") {
            Some(node) => self.seen_facts(node, &at("facts")),
            None => json!({}),
        };
        let unknown = get("unknown").map_or_else(Vec::new, |node| {
            self.list(node, &at("unknown"), Self::unknown)
        });
        let hint = format!("write {OUTCOMES}");
        let expect = self.required(node, get("expect"), path, "expect", &hint);
        let expect = expect.and_then(|node| self.expected(node, &at("expect")));
        let dry_run = get("dry_run").map(|node| self.expected(node, &at("dry_run")));
        if self.problems.len() > known {
            return None;
        }
        let when = when?;
        let facts = match merged(defaults, own, &unknown, when.timestamp()) {
            Ok(facts) => facts,
            Err(message) => {
                self.refuse(node.place, &at("facts"), message, "");
                return None;
            }
        };
        Some(Case {
            name: name?,
            facts,
            at: when,
            expect: expect?,
            dry_run: dry_run.flatten(),
            place: node.place,
        })
    }

    /// The facts, where they are what they look like: else a test may pass for another reason.
    fn seen_facts(&mut self, node: &Node, path: &str) -> Json {
        self.refuse_unclear(node, path);
        self.facts(node, path, Form::Test)
    }

    fn refuse_unclear(&mut self, node: &Node, path: &str) {
        if let Some(c) = node.invisible {
            let message = format!("a sign in this text is not seen: {}", invisible::named(c));
            let hint = "take it out, or put the text in double quotes and write the sign by its \
                        number, such as `\\u00a0`";
            self.refuse(node.place, path, message, hint);
        }
        match &node.value {
            NodeValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.refuse_unclear(item, &format!("{path}[{index}]"));
                }
            }
            NodeValue::Map(entries) => {
                for (key, value) in entries {
                    self.refuse_unclear(key, path);
                    let path = join(path, key.value.text().unwrap_or_default());
                    self.left_out(key, value, &path);
                    self.refuse_unclear(value, &path);
                }
            }
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::Text(_) => {}
        }
    }

    /// A fact that is to be unknown.
    fn unknown(&mut self, node: &Node, path: &str) -> Option<&'static Field> {
        let field = node.value.text().and_then(Field::named);
        if let Some(field) = field.filter(|field| !field.may_be_unknown()) {
            let message = format!("{} is never unknown: every webhook has it", field.name);
            self.refuse(node.place, path, message, "take it out");
            return None;
        }
        let names = FIELDS.iter().filter(|field| field.may_be_unknown());
        let names: Vec<_> = names.map(|field| field.name).collect();
        self.word(node, path, "fact", &names, Field::named)?
    }

    fn at(&mut self, fields: &Fields<'_>, path: &str) -> Option<DateTime<Utc>> {
        let Some(node) = fields.get("at") else {
            return DateTime::from_timestamp(AT_DEFAULT_UNIX_SECS, 0);
        };
        if let NodeValue::Text(text) = &node.value
            && let Ok(at) = DateTime::parse_from_rfc3339(text)
        {
            return Some(at.to_utc());
        }
        let message = format!("{} is no time", node.value);
        let hint = "write it with its offset, such as 2026-03-02T22:30:00+01:00";
        self.refuse(node.place, path, message, hint);
        None
    }

    fn expected(&mut self, node: &Node, path: &str) -> Option<Expected<Name>> {
        let message = match &node.value {
            NodeValue::Text(word) => match word.as_str() {
                "nothing" => return Some(Expected::Nothing),
                "indeterminate" => return Some(Expected::Indeterminate),
                "mute" | "exempted_by" => {
                    let hint = format!("write {{ {word}: POLICY }}");
                    let message = format!("{word} by which policy is not said");
                    self.refuse(node.place, path, message, hint);
                    return None;
                }
                word => format!("there is no outcome {}", quoted(word)),
            },
            NodeValue::Map(entries) if entries.len() == 1 => return self.by_policy(node, path),
            NodeValue::Map(_) => "expected one outcome".to_owned(),
            other @ (NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Integer(_)
            | NodeValue::Float(_)
            | NodeValue::List(_)) => format!("expected an outcome, found {other}"),
        };
        self.refuse(node.place, path, message, format!("write {OUTCOMES}"));
        None
    }

    fn by_policy(&mut self, node: &Node, path: &str) -> Option<Expected<Name>> {
        let fields = self.fields(node, path, OUTCOME_KEYS)?;
        let (key, node) = fields.into_iter().next()?;
        let path = join(path, key);
        let name = Name {
            text: self.text(node, &path, REFERENCE_CHARS_MAX)?,
            place: node.place,
            path,
        };
        Some(match key {
            "mute" => Expected::Mute(name),
            _ => Expected::ExemptedBy(name),
        })
    }
}
