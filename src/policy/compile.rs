//! A policy made ready to be asked: globs compiled, values in the form that facts have.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::document::{Effect, Match, Mode, Policy};
use super::facts::{Fact, Facts, Kind, Source, TrackType};
use super::glob::{Glob, GlobError};
use super::tri::Tri;
use super::window::Schedule;

/// What names a policy: an owner and a name. Orders as the audit does: the operator's first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyKey {
    /// The tenant; none is the operator.
    pub owner: Option<String>,
    /// The name.
    pub name: String,
}

/// Which facts beyond a webhook's own a policy asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// The participant's kind.
    pub kind: bool,
    /// The participant's attributes.
    pub attributes: bool,
    /// What the room is, beyond its name and SID.
    pub room: bool,
}

impl Needs {
    /// What either asks for.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            kind: self.kind || other.kind,
            attributes: self.attributes || other.attributes,
            room: self.room || other.room,
        }
    }

    /// Whether it asks for anything.
    #[must_use]
    pub fn any(self) -> bool {
        self.kind || self.attributes || self.room
    }
}

/// What a policy says of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether its `match` holds.
    pub matched: Tri,
    /// Whether its `unless` holds; false where it has none.
    pub unless: Tri,
}

impl Answer {
    /// Whether the policy applies: its `match` and not its `unless`.
    #[must_use]
    pub fn applies(self) -> Tri {
        self.matched.and(!self.unless)
    }

    /// Whether the policy is about the track and leaves it alone by its `unless`.
    #[must_use]
    pub fn excepted(self) -> Tri {
        self.matched.and(self.unless)
    }

    /// The answer of a policy that may not see the room at all.
    #[must_use]
    pub fn if_seen(self, seen: Tri) -> Self {
        Self {
            matched: self.matched.and(seen),
            ..self
        }
    }
}

/// One revision of a policy, ready to be asked.
#[derive(Debug, Clone)]
pub struct CompiledPolicy {
    /// What names it.
    pub key: PolicyKey,
    /// Which revision of it this is.
    pub revision: i32,
    /// What it does.
    pub effect: Effect,
    /// Whether it acts.
    pub mode: Mode,
    /// Its rank among its owner's.
    pub priority: u16,
    /// Whether a tenant's exemption cancels it.
    pub overridable: bool,
    /// Why.
    pub reason: Option<String>,
    match_: Condition,
    unless: Option<Condition>,
    schedule: Schedule,
}

impl CompiledPolicy {
    /// Compiles one revision of a policy.
    pub fn new(policy: &Policy, revision: i32) -> Result<Self, GlobError> {
        Ok(Self {
            key: PolicyKey {
                owner: policy.owner.clone(),
                name: policy.name.clone(),
            },
            revision,
            effect: policy.effect,
            mode: policy.mode,
            priority: policy.priority,
            overridable: policy.overridable,
            reason: policy.reason.clone(),
            match_: Condition::new(&policy.match_)?,
            unless: policy.unless.as_ref().map(Condition::new).transpose()?,
            schedule: Schedule::new(policy),
        })
    }

    /// What it says of this track at this time.
    ///
    /// Further conditions (an expression) are more terms of `matched`.
    #[must_use]
    pub fn ask(&self, facts: &Facts, now: DateTime<Utc>) -> Answer {
        let matched = self.match_.holds(facts);
        let matched = matched.and_then(|| self.schedule.holds(facts, now));
        let unless = match &self.unless {
            // Most policies are about other tracks: those are not asked any further.
            Some(unless) if matched != Tri::False => unless.holds(facts),
            _ => Tri::False,
        };
        Answer { matched, unless }
    }

    /// Which facts beyond a webhook's own it asks for.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let unless = self.unless.as_ref().map(Condition::needs);
        let needs = self.match_.needs().or(unless.unwrap_or_default());
        needs.or(self.schedule.needs())
    }
}

/// A compiled `Match`: a field without values asks for nothing.
#[derive(Debug, Clone)]
struct Condition {
    room: Vec<Glob>,
    identity: Vec<Glob>,
    source: Vec<Source>,
    type_: Vec<TrackType>,
    kind: Vec<Kind>,
    attributes: BTreeMap<String, Vec<String>>,
}

impl Condition {
    fn new(of: &Match) -> Result<Self, GlobError> {
        let globs = |texts: &[String]| {
            texts
                .iter()
                .map(|text| Glob::new(text))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            room: globs(&of.room)?,
            identity: globs(&of.identity)?,
            source: of.source.clone(),
            type_: of.type_.clone(),
            kind: of.kind.clone(),
            attributes: of.attributes.clone(),
        })
    }

    fn needs(&self) -> Needs {
        Needs {
            kind: !self.kind.is_empty(),
            attributes: !self.attributes.is_empty(),
            room: false,
        }
    }

    /// The cheap and always known first: what is false there is false whatever is unknown.
    fn holds(&self, facts: &Facts) -> Tri {
        let known = (self.type_.is_empty() || self.type_.contains(&facts.track.type_))
            && (self.source.is_empty() || self.source.contains(&facts.track.source))
            && any_glob(&self.room, &facts.room.name)
            && any_glob(&self.identity, &facts.participant.identity);
        Tri::from(known)
            .and_then(|| self.kind_holds(&facts.participant.kind))
            .and_then(|| self.attributes_hold(&facts.participant.attributes))
    }

    fn kind_holds(&self, fact: &Fact<Kind>) -> Tri {
        if self.kind.is_empty() {
            return Tri::True;
        }
        match fact {
            Fact::Known(kind) => Tri::from(self.kind.contains(kind)),
            Fact::Unknown => Tri::Unknown,
        }
    }

    /// An attribute that is not there is a known fact: it equals nothing.
    fn attributes_hold(&self, fact: &Fact<BTreeMap<String, String>>) -> Tri {
        if self.attributes.is_empty() {
            return Tri::True;
        }
        match fact {
            Fact::Known(attributes) => Tri::from(self.attributes.iter().all(|(key, allowed)| {
                attributes
                    .get(key)
                    .is_some_and(|value| allowed.contains(value))
            })),
            Fact::Unknown => Tri::Unknown,
        }
    }
}

fn any_glob(globs: &[Glob], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.is_match(name))
}
