//! A policy made ready to be asked: globs compiled, words as sets of bits.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::expression::Expression;
use super::facts::{Fact, Facts, Kind, KindDetail, Source, TrackType};
use super::glob::{Glob, GlobError};
use super::owner::{Owner, PolicyKey};
use super::policy::{Effect, Match, Mode, Policy};
use super::reads::Reads;
use super::text::TextReader;
use super::tri::Tri;
use super::window::Schedule;

/// One revision of a policy, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: Box<str>,
    /// Which revision.
    pub revision: i32,
    /// Its rank among its owner's.
    pub priority: u16,
    /// Whether a tenant's exemption cancels it.
    pub overridable: bool,
}

impl PolicyRef {
    /// What names it, without its revision.
    #[must_use]
    pub fn key(&self) -> PolicyKey {
        PolicyKey {
            owner: self.owner.clone(),
            name: self.name.to_string(),
        }
    }
}

/// What a policy says of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// Whether its `match` and the conditions beside it hold.
    pub matched: Tri,
    /// Whether its `unless` holds; false where it has none.
    pub unless: Tri,
}

impl PolicyAnswer {
    /// Whether the policy applies: its `match` and not its `unless`.
    #[must_use]
    pub fn applies(self) -> Tri {
        self.matched.and(!self.unless)
    }

    /// Whether the policy is about the track and leaves it alone by its `unless`.
    #[must_use]
    pub fn exempt(self) -> Tri {
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
    /// What decisions name it by; shared with them.
    pub id: Arc<PolicyRef>,
    /// What it does.
    pub effect: Effect,
    /// Whether it acts.
    pub mode: Mode,
    /// Why.
    pub reason: Option<Arc<str>>,
    pub(super) match_: Condition,
    pub(super) unless: Option<Box<Condition>>,
    pub(super) when: Option<Expression>,
    /// None where it is always in force.
    pub(super) schedule: Option<Box<Schedule>>,
}

impl CompiledPolicy {
    /// Compiles one revision of a policy.
    pub fn new(policy: &Policy, revision: i32) -> Result<Self, GlobError> {
        let unless = policy.unless.as_ref().map(Condition::new).transpose()?;
        Ok(Self {
            id: Arc::new(PolicyRef {
                owner: policy.owner.clone(),
                name: policy.name.as_str().into(),
                revision,
                priority: policy.priority,
                overridable: policy.overridable,
            }),
            effect: policy.effect,
            mode: policy.mode,
            reason: policy.reason.as_deref().map(Arc::from),
            match_: Condition::new(&policy.match_)?,
            unless: unless.map(Box::new),
            when: policy.when.clone(),
            schedule: Some(policy.schedule())
                .filter(|schedule| !schedule.is_always())
                .map(Box::new),
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.id.owner
    }

    /// What orders policies: who is named first where several mute. Owners of tenants come last so
    /// that the order is total; only one tenant's policies ever act in a room.
    pub(super) fn rank(&self) -> (bool, Reverse<u16>, &str, &Owner) {
        let owner = self.owner();
        (
            !owner.is_operator(),
            Reverse(self.id.priority),
            &self.id.name,
            owner,
        )
    }

    /// Whether it is in force at this time, in rooms of any age.
    #[must_use]
    pub fn is_in_time(&self, now: DateTime<Utc>) -> bool {
        let schedule = self.schedule.as_ref();
        schedule.is_none_or(|schedule| schedule.is_in_time(now))
    }

    /// The first instant after `now` at which time alone makes it forbid more: a mute comes into force, an
    /// exemption goes out of it.
    #[must_use]
    pub fn forbids_more_at(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let schedule = self.schedule.as_ref()?;
        schedule.next_change(now, self.effect == Effect::Mute)
    }

    /// For how long from the making of a room it exempts there, where it does not for ever: then it forbids more.
    #[must_use]
    pub fn exempts_first(&self) -> Option<TimeDelta> {
        let first = self.schedule.as_ref()?.first()?;
        (self.effect == Effect::Exempt).then(|| first.delta())
    }

    /// Whether it is about rooms of this name.
    #[must_use]
    pub fn is_about_room(&self, name: &str) -> bool {
        let rooms = &self.match_.room;
        rooms.is_empty() || rooms.iter().any(|glob| glob.is_match(name))
    }

    /// What it says of this track at this time.
    #[must_use]
    pub fn ask(&self, facts: &Facts, now: DateTime<Utc>) -> PolicyAnswer {
        self.ask_with(facts, now, &mut TextReader::default())
    }

    /// The same, with the facts' texts read by `texts`. Where that was too much, its `when` is unknown.
    pub(super) fn ask_with(
        &self,
        facts: &Facts,
        now: DateTime<Utc>,
        texts: &mut TextReader<'_>,
    ) -> PolicyAnswer {
        let matched = self
            .match_
            .holds(facts)
            .and_then(|| match &self.schedule {
                Some(schedule) => schedule.holds(facts, now),
                None => Tri::True,
            })
            .and_then(|| match &self.when {
                Some(_) if texts.is_exceeded() => Tri::Unknown,
                Some(when) => when.holds_with(facts, texts),
                None => Tri::True,
            });
        let unless = match &self.unless {
            // Most policies are about other tracks: those are not asked any further.
            Some(unless) if matched != Tri::False => unless.holds(facts),
            _ => Tri::False,
        };
        PolicyAnswer { matched, unless }
    }
}

impl CompiledPolicy {
    /// The facts that it reads, of those that a webhook does not hold.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let unless = self.unless.as_deref().map(Condition::reads);
        let when = self.when.as_ref().map(Expression::reads);
        let tenant = self.owner().tenant().map(|_| Reads::named("room.tenant"));
        let schedule = self.schedule.as_deref().map(Schedule::reads);
        [unless, when, tenant, schedule]
            .into_iter()
            .flatten()
            .fold(self.match_.reads(), Reads::or)
    }
}

/// A set of words that leaves none out.
pub(super) const ANY_WORD: u8 = u8::MAX;

/// The globs of one name. Most conditions have one, which is not worth a visit to another place
/// in memory.
pub(super) type Globs = SmallVec<[Glob; 1]>;

/// A compiled `Match`: a field without values asks for nothing.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    pub(super) room: Globs,
    pub(super) identity: Globs,
    pub(super) source: u8,
    pub(super) type_: u8,
    pub(super) kind: u8,
    pub(super) kind_details: u8,
    pub(super) attributes: Box<[Attribute]>,
}

#[derive(Debug, Clone)]
pub(super) struct Attribute {
    pub(super) key: Box<str>,
    pub(super) allowed: Box<[Box<str>]>,
}

impl Condition {
    fn new(of: &Match) -> Result<Self, GlobError> {
        let globs = |texts: &[String]| -> Result<Globs, GlobError> {
            texts.iter().map(|text| Glob::new(text)).collect()
        };
        let attribute = |(key, allowed): (&String, &Vec<String>)| Attribute {
            key: key.as_str().into(),
            allowed: allowed.iter().map(|value| value.as_str().into()).collect(),
        };
        Ok(Self {
            room: globs(&of.room)?,
            identity: globs(&of.identity)?,
            source: words(of.source.iter().map(Source::bit)),
            type_: words(of.type_.iter().map(TrackType::bit)),
            kind: words(of.kind.iter().map(Kind::bit)),
            kind_details: words(of.kind_details.iter().map(KindDetail::bit)),
            attributes: of.attributes.iter().map(attribute).collect(),
        })
    }

    fn reads(&self) -> Reads {
        [
            ("participant.kind", self.kind != ANY_WORD),
            ("participant.kind_details", self.kind_details != ANY_WORD),
            ("participant.attributes", !self.attributes.is_empty()),
        ]
        .into_iter()
        .filter(|(_, asked)| *asked)
        .fold(Reads::default(), |reads, (name, _)| {
            reads.or(Reads::named(name))
        })
    }

    /// The cheap and always known first: what is false there is false whatever is unknown.
    fn holds(&self, facts: &Facts) -> Tri {
        let known = self.type_ & facts.track.type_.bit() != 0
            && self.source & facts.track.source.bit() != 0
            && any_glob(&self.room, &facts.room.name)
            && any_glob(&self.identity, &facts.participant.identity);
        Tri::from(known)
            .and_then(|| self.kind_holds(facts))
            .and_then(|| self.kind_details_hold(facts))
            .and_then(|| {
                let mut all = Tri::True;
                for attribute in &self.attributes {
                    all = all.and_then(|| attribute.holds(facts));
                }
                all
            })
    }

    pub(super) fn kind_holds(&self, facts: &Facts) -> Tri {
        match &facts.participant.kind {
            _ if self.kind == ANY_WORD => Tri::True,
            Fact::Known(kind) => Tri::from(self.kind & kind.bit() != 0),
            Fact::Unknown => Tri::Unknown,
        }
    }

    /// Any of the participant's details is one of those that are named.
    pub(super) fn kind_details_hold(&self, facts: &Facts) -> Tri {
        match &facts.participant.kind_details {
            _ if self.kind_details == ANY_WORD => Tri::True,
            Fact::Known(details) => {
                let named = |detail: &KindDetail| self.kind_details & detail.bit() != 0;
                Tri::from(details.iter().any(named))
            }
            Fact::Unknown => Tri::Unknown,
        }
    }
}

impl Attribute {
    /// An attribute that is not there is a known fact: it equals nothing.
    pub(super) fn holds(&self, facts: &Facts) -> Tri {
        match facts.participant.attribute(&self.key) {
            Fact::Known(value) => {
                let is_allowed =
                    |value: &str| self.allowed.iter().any(|allowed| **allowed == *value);
                Tri::from(value.is_some_and(is_allowed))
            }
            Fact::Unknown => Tri::Unknown,
        }
    }
}

/// The set of these words; none asks for nothing, which is any.
fn words(bits: impl Iterator<Item = u8>) -> u8 {
    match bits.fold(0, |set, bit| set | bit) {
        0 => ANY_WORD,
        set => set,
    }
}

pub(super) fn any_glob(globs: &[Glob], name: &str) -> bool {
    globs.is_empty() || globs.iter().any(|glob| glob.is_match(name))
}
