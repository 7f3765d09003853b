//! casbin: an enforcer with priorities, which stops at the first rule that holds.
//!
//! Rooms and identities are compared in the matcher; what else a rule asks for stands in the rule
//! and is only read (`eval`) where those hold.

use ::casbin::function_map::OperatorFunction;
use ::casbin::rhai::{Dynamic, Map};
use ::casbin::{CoreApi, DefaultModel, Enforcer, MgmtApi};

use super::{Peer, open_hours, quoted};
use crate::mix::{Effect, Event, Place, Rule, When};

const MODEL: &str = r#"
[request_definition]
r = room, identity, facts, open

[policy_definition]
p = room, identity, condition, rank, eft

[policy_effect]
e = priority(p.eft) || deny

[matchers]
m = like(r.room, p.room) && like(r.identity, p.identity) && eval(p.condition)
"#;

/// An enforcer.
pub struct Casbin {
    enforcer: Enforcer,
}

impl Casbin {
    pub fn load(ranked: &[Rule]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let enforcer = runtime.block_on(async {
            let model = DefaultModel::from_str(MODEL).await.unwrap();
            let mut enforcer = Enforcer::new(model, ()).await.unwrap();
            for (name, test) in [("like", like as Test), ("contains", contains)] {
                enforcer.add_function(name, OperatorFunction::Arg2(test));
            }
            let rules = ranked
                .iter()
                .enumerate()
                .map(|(rank, rule)| line(rank, rule))
                .collect();
            enforcer.add_policies(rules).await.unwrap();
            enforcer
        });
        Self { enforcer }
    }
}

impl Peer for Casbin {
    type Asked = Vec<Dynamic>;

    fn prepare(&self, event: &Event) -> Self::Asked {
        let mut facts = Map::new();
        let mut add = |key: &str, value: Dynamic| facts.insert(key.into(), value);
        add("num_participants", number(event.num_participants));
        add("num_publishers", number(event.num_publishers));
        add("recording", event.recording.into());
        add("room_age_seconds", number(event.room_age_seconds));
        add("plan", event.plan.into());
        // rhai answers `()` for a key that is absent, and no number is greater.
        if let Some(level) = event.level {
            add("level", number(level));
        }
        add("name", event.participant_name.into());
        add("kind", event.kind().into());
        add("role", event.role.into());
        add("region", event.region.clone().into());
        add("watched", event.watched.into());
        add("source", event.source().into());
        add("type", "AUDIO".into());
        add("track", event.track_name.into());
        add("mime_type", event.mime_type.into());
        let open: Vec<Dynamic> = open_hours().map(Dynamic::from).collect();
        vec![
            event.room.clone().into(),
            event.identity.clone().into(),
            facts.into(),
            open.into(),
        ]
    }

    fn first(&mut self, asked: &Self::Asked) -> Option<usize> {
        let (_, why) = self.enforcer.enforce_ex(asked.clone()).unwrap();
        why.first().map(|rule| rule[3].parse().unwrap())
    }
}

/// casbin builds rhai with numbers of 32 bits.
fn number(number: i64) -> Dynamic {
    i32::try_from(number).unwrap().into()
}

type Test = fn(Dynamic, Dynamic) -> Dynamic;

/// Whether a name is like a glob that has no special character but `*`; one that is empty asks for
/// nothing.
fn like(name: Dynamic, glob: Dynamic) -> Dynamic {
    let (name, glob) = (
        name.as_immutable_string_ref().unwrap(),
        glob.as_immutable_string_ref().unwrap(),
    );
    let Some((start, rest)) = glob.split_once('*') else {
        return (glob.is_empty() || *name == *glob).into();
    };
    let Some(rest_of_name) = name.strip_prefix(start) else {
        return false.into();
    };
    match rest.strip_suffix('*') {
        Some(inside) => rest_of_name.contains(inside),
        None => rest_of_name.ends_with(rest),
    }
    .into()
}

fn contains(text: Dynamic, part: Dynamic) -> Dynamic {
    let (text, part) = (
        text.as_immutable_string_ref().unwrap(),
        part.as_immutable_string_ref().unwrap(),
    );
    text.contains(part.as_str()).into()
}

fn line(rank: usize, rule: &Rule) -> Vec<String> {
    let (mut room, mut identity) = (String::new(), String::new());
    let mut all = vec![r#"r.facts.type == "AUDIO""#.to_owned()];
    match &rule.place {
        Place::Room(name) => room.clone_from(name),
        Place::RoomStart(start) => room = format!("{start}*"),
        Place::RoomEnd(end) => room = format!("*{end}"),
        Place::RoomInside(text) => room = format!("*{text}*"),
        Place::RoomEnds(start, end) => room = format!("{start}*{end}"),
        Place::Identity(name) => identity.clone_from(name),
        Place::Callers(region) => all.push(format!(
            r#"r.facts.kind == "SIP" && r.facts.region == {}"#,
            quoted(region)
        )),
    }
    if rule.microphones {
        all.push(r#"r.facts.source in ["UNKNOWN", "MICROPHONE"]"#.to_owned());
    }
    if rule.exempts_hosts {
        all.push(r#"!(r.facts.role in ["host", "moderator"])"#.to_owned());
    }
    if let Some(hours) = rule.hours {
        all.push(format!("{} in r.open", quoted(hours.name)));
    }
    if let Some(minutes) = rule.first_minutes {
        all.push(format!("r.facts.room_age_seconds < {}", minutes * 60));
    }
    if let Some(when) = rule.when {
        all.push(format!("({})", self::when(when)));
    }
    let effect = match rule.effect {
        Effect::Mute => "allow",
        Effect::Exempt => "deny",
    };
    vec![
        room,
        identity,
        all.join(" && "),
        rank.to_string(),
        effect.to_owned(),
    ]
}

fn when(when: When) -> String {
    match when {
        When::Crowded(n) => format!("r.facts.num_participants > {n}"),
        When::NotStaff => r#"!like(r.identity, "staff-*")"#.to_owned(),
        When::Plan => r#"r.facts.plan in ["free", "trial"] && !r.facts.recording"#.to_owned(),
        When::Level(n) => format!(r#"r.facts.level >= {n} || r.facts.name == """#),
        When::Publishers(n) => {
            format!(r#"r.facts.num_publishers >= {n} && r.facts.mime_type != "audio/red""#)
        }
        When::Watched => r#"contains(r.facts.track, "screen") || r.facts.watched"#.to_owned(),
    }
}
