//! cedar-policy: a policy set, rooms and participants as entities, the rest in the context.
//!
//! All rules are permits, exemptions as well: a forbid that holds would hide the permits that do from
//! the answer's reasons, and Cedar has no priorities. The first of the reasons decides.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicyId,
    PolicySet, Request, RestrictedExpression,
};

use super::{Peer, open_hours, quoted};
use crate::mix::{Event, Place, Rule, When};

/// A policy set.
pub struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
}

impl Cedar {
    pub fn load(ranked: &[Rule]) -> Self {
        let parse = |(rank, rule): (usize, &Rule)| {
            let text = policy(rule);
            let id = PolicyId::new(rank.to_string());
            Policy::parse(Some(id), &text).unwrap_or_else(|e| panic!("{text}: {e}"))
        };
        Self {
            authorizer: Authorizer::new(),
            policies: PolicySet::from_policies(ranked.iter().enumerate().map(parse)).unwrap(),
        }
    }
}

impl Peer for Cedar {
    type Asked = (Request, Entities);

    fn prepare(&self, event: &Event) -> Self::Asked {
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let number = RestrictedExpression::new_long;
        let truth = RestrictedExpression::new_bool;
        let record = |fields| RestrictedExpression::new_record(fields).unwrap();

        let mut attributes = vec![
            ("role".to_owned(), text(event.role)),
            ("region".to_owned(), text(&event.region)),
        ];
        if event.watched {
            attributes.push(("watched".to_owned(), text("yes")));
        }
        let participant = entity(
            "Participant",
            &event.identity,
            [
                ("identity", text(&event.identity)),
                ("name", text(event.participant_name)),
                ("kind", text(event.kind())),
                ("attributes", record(attributes)),
            ],
        );
        let mut metadata = vec![("plan".to_owned(), text(event.plan))];
        if let Some(level) = event.level {
            let class = record(vec![("level".to_owned(), number(level))]);
            metadata.push(("class".to_owned(), class));
        }
        let room = entity(
            "Room",
            &event.room,
            [
                ("name", text(&event.room)),
                ("num_participants", number(event.num_participants)),
                ("num_publishers", number(event.num_publishers)),
                ("recording", truth(event.recording)),
                ("age_seconds", number(event.room_age_seconds)),
                ("metadata", record(metadata)),
            ],
        );
        let context = Context::from_pairs([
            ("source".to_owned(), text(event.source())),
            ("type".to_owned(), text("AUDIO")),
            ("track".to_owned(), text(event.track_name)),
            ("mime_type".to_owned(), text(event.mime_type)),
            (
                "open".to_owned(),
                RestrictedExpression::new_set(open_hours().map(text)),
            ),
        ])
        .unwrap();
        let request = Request::new(
            participant.uid(),
            uid("Action", "publish"),
            room.uid(),
            context,
            None,
        );
        let entities = Entities::from_entities([participant, room], None);
        (request.unwrap(), entities.unwrap())
    }

    fn first(&mut self, (request, entities): &Self::Asked) -> Option<usize> {
        let response = self
            .authorizer
            .is_authorized(request, &self.policies, entities);
        let diagnostics = response.diagnostics();
        assert!(diagnostics.errors().next().is_none());
        let rank = |id: &PolicyId| -> usize { AsRef::<str>::as_ref(id).parse().unwrap() };
        diagnostics.reason().map(rank).min()
    }
}

fn uid(type_: &str, id: &str) -> EntityUid {
    let type_: EntityTypeName = type_.parse().unwrap();
    EntityUid::from_type_name_and_id(type_, EntityId::new(id))
}

fn entity<const N: usize>(
    type_: &str,
    id: &str,
    attributes: [(&str, RestrictedExpression); N],
) -> Entity {
    let attributes: HashMap<String, _> = attributes
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Entity::new(uid(type_, id), attributes, HashSet::new()).unwrap()
}

/// Rooms and identities that are named in full stand in the scope; the rest are conditions.
fn policy(rule: &Rule) -> String {
    let (mut principal, mut resource) = ("principal".to_owned(), "resource".to_owned());
    let mut all = Vec::new();
    let mut like = |glob: String| all.push(format!("resource.name like {}", quoted(&glob)));
    match &rule.place {
        Place::Room(room) => resource += &format!(" == Room::{}", quoted(room)),
        Place::RoomStart(start) => like(format!("{start}*")),
        Place::RoomEnd(end) => like(format!("*{end}")),
        Place::RoomInside(text) => like(format!("*{text}*")),
        Place::RoomEnds(start, end) => like(format!("{start}*{end}")),
        Place::Identity(identity) => {
            principal += &format!(" == Participant::{}", quoted(identity));
        }
        Place::Callers(region) => all.push(format!(
            r#"principal.kind == "SIP" && principal.attributes has region && principal.attributes.region == {}"#,
            quoted(region)
        )),
    }
    all.push(r#"context.type == "AUDIO""#.to_owned());
    if rule.microphones {
        all.push(r#"["UNKNOWN", "MICROPHONE"].contains(context.source)"#.to_owned());
    }
    if let Some(hours) = rule.hours {
        all.push(format!("context.open.contains({})", quoted(hours.name)));
    }
    if let Some(minutes) = rule.first_minutes {
        all.push(format!("resource.age_seconds < {}", minutes * 60));
    }
    if let Some(when) = rule.when {
        all.push(format!("({})", self::when(when)));
    }
    let unless = if rule.exempts_hosts {
        r#" unless { principal.attributes has role && ["host", "moderator"].contains(principal.attributes.role) }"#
    } else {
        ""
    };
    let all = all.join(" && ");
    format!(
        r#"permit({principal}, action == Action::"publish", {resource}) when {{ {all} }}{unless};"#
    )
}

fn when(when: When) -> String {
    match when {
        When::Crowded(n) => format!("resource.num_participants > {n}"),
        When::NotStaff => r#"!(principal.identity like "staff-*")"#.to_owned(),
        When::Plan => r#"resource.metadata has plan && ["free", "trial"].contains(resource.metadata.plan) && !resource.recording"#.to_owned(),
        When::Level(n) => format!(
            r#"resource.metadata has class.level && resource.metadata.class.level >= {n} || principal.name == """#
        ),
        When::Publishers(n) => {
            format!(r#"resource.num_publishers >= {n} && context.mime_type != "audio/red""#)
        }
        When::Watched => {
            r#"context.track like "*screen*" || principal.attributes has watched"#.to_owned()
        }
    }
}
