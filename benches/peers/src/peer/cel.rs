//! cel: a program for each rule, run one after the other over the same variables.

use std::collections::HashMap;

use ::cel::common::types::CelBool;
use ::cel::{Context, Program, Value};

use super::{Peer, open_hours, quoted};
use crate::mix::{Event, Place, Rule, When};

/// Programs in the order of their rank.
pub struct Cel {
    programs: Vec<Program>,
}

impl Cel {
    pub fn load(ranked: &[Rule]) -> Self {
        let compile = |rule: &Rule| {
            let text = expression(rule);
            Program::compile(&text).unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        Self {
            programs: ranked.iter().map(compile).collect(),
        }
    }
}

impl Peer for Cel {
    type Asked = Context<'static, 'static>;

    fn prepare(&self, event: &Event) -> Self::Asked {
        let mut attributes = HashMap::from([
            ("role", Value::from(event.role)),
            ("region", Value::from(event.region.as_str())),
        ]);
        if event.watched {
            attributes.insert("watched", Value::from("yes"));
        }
        let mut metadata = HashMap::from([("plan", Value::from(event.plan))]);
        if let Some(level) = event.level {
            metadata.insert(
                "class",
                Value::from(HashMap::from([("level", Value::from(level))])),
            );
        }
        let mut facts = Context::default();
        let mut add = |name: &str, value: Value| facts.add_variable_from_value(name, value);
        add("room", event.room.as_str().into());
        add("num_participants", event.num_participants.into());
        add("num_publishers", event.num_publishers.into());
        add("recording", event.recording.into());
        add("room_age_seconds", event.room_age_seconds.into());
        add("metadata", metadata.into());
        add("identity", event.identity.as_str().into());
        add("name", event.participant_name.into());
        add("kind", event.kind().into());
        add("attributes", attributes.into());
        add("source", event.source().into());
        add("type", "AUDIO".into());
        add("track", event.track_name.into());
        add("mime_type", event.mime_type.into());
        add(
            "open",
            open_hours().map(Value::from).collect::<Vec<_>>().into(),
        );
        facts
    }

    fn first(&mut self, asked: &Self::Asked) -> Option<usize> {
        self.programs.iter().position(|program| {
            let holds = Value::resolve_val(program.expression(), asked).unwrap();
            *holds.downcast_ref::<CelBool>().unwrap().inner()
        })
    }
}

/// What leaves most rules out first.
fn expression(rule: &Rule) -> String {
    let mut all = vec![place(&rule.place), r#"type == "AUDIO""#.to_owned()];
    if rule.microphones {
        all.push(r#"source in ["UNKNOWN", "MICROPHONE"]"#.to_owned());
    }
    if rule.exempts_hosts {
        let role = r#"!(has(attributes.role) && attributes.role in ["host", "moderator"])"#;
        all.push(role.to_owned());
    }
    if let Some(hours) = rule.hours {
        all.push(format!("{} in open", quoted(hours.name)));
    }
    if let Some(minutes) = rule.first_minutes {
        all.push(format!("room_age_seconds < {}", minutes * 60));
    }
    if let Some(when) = rule.when {
        all.push(format!("({})", self::when(when)));
    }
    all.join(" && ")
}

fn place(place: &Place) -> String {
    match place {
        Place::Room(room) => format!("room == {}", quoted(room)),
        Place::RoomStart(start) => format!("room.startsWith({})", quoted(start)),
        Place::RoomEnd(end) => format!("room.endsWith({})", quoted(end)),
        Place::RoomInside(text) => format!("room.contains({})", quoted(text)),
        Place::RoomEnds(start, end) => format!(
            "room.startsWith({}) && room.endsWith({}) && size(room) >= {}",
            quoted(start),
            quoted(end),
            start.chars().count() + end.chars().count(),
        ),
        Place::Identity(identity) => format!("identity == {}", quoted(identity)),
        Place::Callers(region) => format!(
            r#"kind == "SIP" && has(attributes.region) && attributes.region == {}"#,
            quoted(region)
        ),
    }
}

/// What is absent is an error to cel, so it is asked for first.
fn when(when: When) -> String {
    match when {
        When::Crowded(n) => format!("num_participants > {n}"),
        When::NotStaff => r#"!identity.startsWith("staff-")"#.to_owned(),
        When::Plan => {
            r#"has(metadata.plan) && metadata.plan in ["free", "trial"] && !recording"#.to_owned()
        }
        When::Level(n) => format!(
            r#"has(metadata.class) && has(metadata.class.level) && metadata.class.level >= {n} || name == """#
        ),
        When::Publishers(n) => format!(r#"num_publishers >= {n} && mime_type != "audio/red""#),
        When::Watched => r#"track.contains("screen") || has(attributes.watched)"#.to_owned(),
    }
}
