//! regorus: Rego, in two forms: a rule for each of ours, and data that a few rules go through.
//!
//! The first is what one writes who has a policy for each room. The second is what OPA's manual asks for
//! where that gets slow: what can be compared in full is the key of an object, so that most rules
//! are found by one look. It is an index made by hand, and stands apart in the results.

use std::num::NonZeroUsize;

use ::regorus::languages::rego::compiler::Compiler;
use ::regorus::rvm::vm::RegoVM;
use ::regorus::{Engine, PolicyLengthConfig, Rc, Value};
use serde_json::{Map, Value as Json, json};

use super::{Peer, open_hours, quoted};
use crate::mix::{Event, Place, Rule, When};

const ENTRY: &str = "data.quell.matched";

/// How the rules are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One of Rego's for each of ours.
    Rules,
    /// As data, by room and identity where a rule names one.
    Data,
}

/// What runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    Interpreter,
    /// Its virtual machine. A program has at most 65,535 instructions: 10,000 rules do not fit.
    Vm,
}

/// An engine with a module and data.
pub struct Regorus(Runs);

enum Runs {
    Interpreter(Box<Engine>),
    Vm(Box<RegoVM>),
}

impl Regorus {
    pub fn load(ranked: &[Rule], form: Form, machine: Machine) -> Self {
        let (module, data) = match form {
            Form::Rules => (rules(ranked), json!({})),
            Form::Data => (GOES_THROUGH_DATA.to_owned(), data(ranked)),
        };
        let data = value(&data);
        let mut engine = Engine::new();
        // What 10,000 rules are is more than it takes by itself.
        engine.set_policy_length_config(PolicyLengthConfig {
            max_file_bytes: NonZeroUsize::MAX,
            max_lines: NonZeroUsize::MAX,
            ..PolicyLengthConfig::default()
        });
        engine.add_policy("quell.rego".to_owned(), module).unwrap();
        if machine == Machine::Interpreter {
            engine.add_data(data).unwrap();
            return Self(Runs::Interpreter(Box::new(engine)));
        }
        let entry: Rc<str> = ENTRY.into();
        let compiled = engine.compile_with_entrypoint(&entry).unwrap();
        let program = Compiler::compile_from_policy(&compiled, &[ENTRY]).unwrap();
        let mut vm = RegoVM::new();
        vm.load_program(program);
        vm.set_max_instructions(usize::MAX);
        vm.set_data(data).unwrap();
        Self(Runs::Vm(Box::new(vm)))
    }
}

impl Regorus {
    /// Has an engine do what it puts off until it is first asked.
    pub fn warm_up(&mut self) {
        self.first(&value(&json!({})));
    }
}

impl Peer for Regorus {
    type Asked = Value;

    fn prepare(&self, event: &Event) -> Self::Asked {
        let mut input = json!({
            "room": event.room, "num_participants": event.num_participants,
            "num_publishers": event.num_publishers, "recording": event.recording,
            "room_age_seconds": event.room_age_seconds, "metadata": { "plan": event.plan },
            "identity": event.identity, "name": event.participant_name, "kind": event.kind(),
            "attributes": { "role": event.role, "region": event.region },
            "source": event.source(), "type": "AUDIO", "track": event.track_name,
            "mime_type": event.mime_type, "open": open_hours().collect::<Vec<_>>(),
        });
        if let Some(level) = event.level {
            input["metadata"]["class"] = json!({ "level": level });
        }
        if event.watched {
            input["attributes"]["watched"] = json!("yes");
        }
        value(&input)
    }

    fn first(&mut self, asked: &Self::Asked) -> Option<usize> {
        let matched = match &mut self.0 {
            Runs::Interpreter(engine) => {
                engine.set_input(asked.clone());
                engine.eval_rule(ENTRY.to_owned()).unwrap()
            }
            Runs::Vm(vm) => {
                vm.set_input(asked.clone());
                vm.execute().unwrap()
            }
        };
        let ranks = matched.as_set().unwrap().iter();
        ranks
            .map(|rank| usize::try_from(rank.as_u64().unwrap()).unwrap())
            .min()
    }
}

fn value(json: &Json) -> Value {
    Value::from_json_str(&json.to_string()).unwrap()
}

/// A rule of Rego for each of ours.
fn rules(ranked: &[Rule]) -> String {
    let mut module = "package quell\nimport rego.v1\n".to_owned();
    for (rank, rule) in ranked.iter().enumerate() {
        let mut all = match &rule.place {
            Place::Room(room) => format!("input.room == {}", quoted(room)),
            Place::RoomStart(start) => format!("startswith(input.room, {})", quoted(start)),
            Place::RoomEnd(end) => format!("endswith(input.room, {})", quoted(end)),
            Place::RoomInside(text) => format!("contains(input.room, {})", quoted(text)),
            Place::RoomEnds(start, end) => format!(
                "startswith(input.room, {}); endswith(input.room, {}); count(input.room) >= {}",
                quoted(start),
                quoted(end),
                start.chars().count() + end.chars().count(),
            ),
            Place::Identity(identity) => format!("input.identity == {}", quoted(identity)),
            Place::Callers(region) => format!(
                r#"input.attributes.region == {}; input.kind == "SIP""#,
                quoted(region)
            ),
        };
        all += r#"; input.type == "AUDIO""#;
        if rule.microphones {
            all += r#"; input.source in {"UNKNOWN", "MICROPHONE"}"#;
        }
        if rule.exempts_hosts {
            all += r#"; not input.attributes.role in {"host", "moderator"}"#;
        }
        if let Some(hours) = rule.hours {
            all += &format!("; {} in input.open", quoted(hours.name));
        }
        if let Some(minutes) = rule.first_minutes {
            all += &format!("; input.room_age_seconds < {}", minutes * 60);
        }
        // Rego has no `or` within a rule: two of the forms are two rules.
        for when in rule.when.map_or(vec![String::new()], when) {
            module += &format!("matched contains {rank} if {{ {all}{when} }}\n");
        }
    }
    module
}

fn when(when: When) -> Vec<String> {
    match when {
        When::Crowded(n) => vec![format!("; input.num_participants > {n}")],
        When::NotStaff => vec![r#"; not startswith(input.identity, "staff-")"#.to_owned()],
        When::Plan => {
            vec![r#"; input.metadata.plan in {"free", "trial"}; not input.recording"#.to_owned()]
        }
        When::Level(n) => vec![
            format!("; input.metadata.class.level >= {n}"),
            r#"; input.name == """#.to_owned(),
        ],
        When::Publishers(n) => {
            vec![format!(
                r#"; input.num_publishers >= {n}; input.mime_type != "audio/red""#
            )]
        }
        When::Watched => vec![
            r#"; contains(input.track, "screen")"#.to_owned(),
            "; input.attributes.watched".to_owned(),
        ],
    }
}

/// The rules as data: objects by what is compared in full, lists of the others.
fn data(ranked: &[Rule]) -> Json {
    let mut data = json!({
        "rooms": {}, "identities": {}, "regions": {},
        "starts": [], "ends": [], "insides": [], "both": [],
    });
    for (rank, rule) in ranked.iter().enumerate() {
        let mut row = Map::new();
        let mut add = |key: &str, value: Json| row.insert(key.to_owned(), value);
        add("rank", json!(rank));
        add("microphones", json!(rule.microphones));
        add("exempts_hosts", json!(rule.exempts_hosts));
        if let Some(hours) = rule.hours {
            add("hours", json!(hours.name));
        }
        if let Some(minutes) = rule.first_minutes {
            add("first_seconds", json!(minutes * 60));
        }
        if let Some(when) = rule.when {
            add(
                "when",
                match when {
                    When::Crowded(n) => json!({ "form": "crowded", "n": n }),
                    When::NotStaff => json!({ "form": "not_staff" }),
                    When::Plan => json!({ "form": "plan" }),
                    When::Level(n) => json!({ "form": "level", "n": n }),
                    When::Publishers(n) => json!({ "form": "publishers", "n": n }),
                    When::Watched => json!({ "form": "watched" }),
                },
            );
        }
        let (list, key) = match &rule.place {
            Place::Room(room) => ("rooms", Some(room)),
            Place::Identity(identity) => ("identities", Some(identity)),
            Place::Callers(region) => ("regions", Some(region)),
            Place::RoomStart(start) => {
                add("start", json!(start));
                ("starts", None)
            }
            Place::RoomEnd(end) => {
                add("end", json!(end));
                ("ends", None)
            }
            Place::RoomInside(text) => {
                add("text", json!(text));
                ("insides", None)
            }
            Place::RoomEnds(start, end) => {
                add("start", json!(start));
                add("end", json!(end));
                add("chars", json!(start.chars().count() + end.chars().count()));
                ("both", None)
            }
        };
        let mut rows = &mut data[list];
        if let Some(key) = key {
            rows = &mut rows[key];
        }
        match rows {
            Json::Array(rows) => rows.push(row.into()),
            none => *none = json!([row]),
        }
    }
    data
}

const GOES_THROUGH_DATA: &str = r#"
package quell
import rego.v1

matched contains rule.rank if { some rule in data.rooms[input.room]; holds(rule) }
matched contains rule.rank if { some rule in data.identities[input.identity]; holds(rule) }
matched contains rule.rank if {
    input.kind == "SIP"
    some rule in data.regions[input.attributes.region]
    holds(rule)
}
matched contains rule.rank if {
    some rule in data.starts
    startswith(input.room, rule.start)
    holds(rule)
}
matched contains rule.rank if {
    some rule in data.ends
    endswith(input.room, rule.end)
    holds(rule)
}
matched contains rule.rank if {
    some rule in data.insides
    contains(input.room, rule.text)
    holds(rule)
}
matched contains rule.rank if {
    some rule in data.both
    startswith(input.room, rule.start)
    endswith(input.room, rule.end)
    count(input.room) >= rule.chars
    holds(rule)
}

holds(rule) if {
    input.type == "AUDIO"
    of_source(rule)
    not exempted(rule)
    in_hours(rule)
    in_time(rule)
    condition(rule)
}

of_source(rule) if not rule.microphones
of_source(rule) if input.source in {"UNKNOWN", "MICROPHONE"}

exempted(rule) if { rule.exempts_hosts; input.attributes.role in {"host", "moderator"} }

in_hours(rule) if not rule.hours
in_hours(rule) if rule.hours in input.open

in_time(rule) if not rule.first_seconds
in_time(rule) if input.room_age_seconds < rule.first_seconds

condition(rule) if not rule.when
condition(rule) if { rule.when.form == "crowded"; input.num_participants > rule.when.n }
condition(rule) if { rule.when.form == "not_staff"; not startswith(input.identity, "staff-") }
condition(rule) if {
    rule.when.form == "plan"
    input.metadata.plan in {"free", "trial"}
    not input.recording
}
condition(rule) if { rule.when.form == "level"; input.metadata.class.level >= rule.when.n }
condition(rule) if { rule.when.form == "level"; input.name == "" }
condition(rule) if {
    rule.when.form == "publishers"
    input.num_publishers >= rule.when.n
    input.mime_type != "audio/red"
}
condition(rule) if { rule.when.form == "watched"; contains(input.track, "screen") }
condition(rule) if { rule.when.form == "watched"; input.attributes.watched }
"#;
