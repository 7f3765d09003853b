//! The clauses of a policy beside the facts, in words: what it asks for, and what there is.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::compile::{ANY_WORD, CompiledPolicy, Condition, any_glob};
use super::expression::{Reason, SHOWN_CHARS_MAX};
use super::facts::{Fact, Facts, Kind, KindDetail, Source, TrackType};
use super::glob::Glob;
use super::terminal::cut;
use super::tri::Tri;
use super::window::Unmet;

/// A clause of a policy that fails, or depends on what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// The way to it, such as `match.room` or `when`.
    pub clause: String,
    /// What it asks for.
    pub wanted: String,
    /// What there is.
    pub found: String,
    /// Whether it fails (false), or depends on what is not known (unknown).
    pub holds: Tri,
    /// The unknown facts that it depends on, such as `room.metadata`; the texts may be cut.
    #[serde(skip)]
    pub unknown: BTreeSet<Box<str>>,
}

impl Clause {
    /// A clause whose texts are cut: one answer has up to a thousand clauses, and policies and
    /// participants choose how long these texts are.
    pub(super) fn new(clause: &str, wanted: &str, found: &str, holds: Tri) -> Self {
        Self {
            clause: shown(clause),
            wanted: shown(wanted),
            found: shown(found),
            holds,
            unknown: BTreeSet::new(),
        }
    }

    /// The same, hanging on these facts where it is open.
    pub(super) fn hanging_on<'a>(mut self, facts: impl IntoIterator<Item = &'a str>) -> Self {
        if self.holds == Tri::Unknown {
            self.unknown = facts.into_iter().map(Box::from).collect();
        }
        self
    }
}

impl CompiledPolicy {
    /// The first clause that keeps it from being about this track: of those that fail, where there
    /// is one, else of those that depend on what is not known.
    pub(super) fn first_failing(&self, facts: &Facts, now: DateTime<Utc>) -> Option<Clause> {
        let mut clauses = self.match_.clauses("match", facts);
        let schedule = self.schedule.as_deref();
        let unmet = schedule.and_then(|schedule| schedule.explain(facts, now));
        clauses.extend(unmet.map(Clause::from));
        let when = self.when.as_ref().and_then(|when| when.explain(facts));
        clauses.extend(when.map(Clause::from));
        let unless = self.unless.as_deref();
        clauses.extend(unless.and_then(|unless| excepting(unless, facts)));
        let first = |wanted: Tri| clauses.iter().find(|clause| clause.holds == wanted);
        first(Tri::False).or_else(|| first(Tri::Unknown)).cloned()
    }
}

impl From<Unmet> for Clause {
    fn from(unmet: Unmet) -> Self {
        let key = unmet.key();
        let wanted = match &unmet {
            Unmet::NotBefore { .. } => "not_before to have passed".to_owned(),
            Unmet::NotAfter { .. } => "not_after to be in the future".to_owned(),
            Unmet::Active { .. } => "an open window".to_owned(),
            Unmet::First { first, .. } => format!("the first {first} of a room"),
        };
        let text = unmet.to_string();
        let found = text.strip_prefix(key).unwrap_or(&text);
        let found = found.trim_start_matches(": ");
        Self::new(key, &wanted, found, unmet.tri()).hanging_on(["room.created_at"])
    }
}

impl From<Reason> for Clause {
    fn from(reason: Reason) -> Self {
        let found: Vec<_> = reason.found.iter().map(ToString::to_string).collect();
        let unknown = reason.found.iter().filter(|one| one.value.is_unknown());
        Self::new("when", &reason.part, &found.join(", "), reason.holds)
            .hanging_on(unknown.map(|one| fact_in(&one.name)))
    }
}

/// The fact that an expression reads from: `room.metadata` of `size(room.metadata.tags)`.
fn fact_in(name: &str) -> &str {
    let name = name.trim_start_matches("size(");
    let is_end = |c: char| !c.is_ascii_alphabetic() && c != '_';
    let section = name.find('.').map_or(0, |dot| dot + 1);
    let end = name.get(section..).and_then(|key| key.find(is_end));
    end.and_then(|end| name.get(..section + end))
        .unwrap_or(name)
}

/// Why a track is left alone by an `unless`: all that it names holds, or may.
fn excepting(unless: &Condition, facts: &Facts) -> Option<Clause> {
    let clauses = unless.clauses("unless", facts);
    if clauses.iter().any(|clause| clause.holds == Tri::False) {
        return None;
    }
    let open = clauses.iter().find(|clause| clause.holds == Tri::Unknown);
    let wanted: Vec<_> = clauses
        .iter()
        .map(|clause| {
            let key = clause
                .clause
                .strip_prefix("unless.")
                .unwrap_or(&clause.clause);
            format!("{key} {}", clause.wanted)
        })
        .collect();
    let found: Vec<_> = clauses.iter().map(|clause| clause.found.as_str()).collect();
    let wanted = format!("not all of: {}", wanted.join("; "));
    Some(match open {
        Some(open) => Clause::new("unless", &wanted, &open.found, Tri::Unknown)
            .hanging_on(open.unknown.iter().map(|fact| &**fact)),
        None => Clause::new("unless", &wanted, &found.join("; "), Tri::False),
    })
}

impl Condition {
    /// Each of its fields that asks for something.
    fn clauses(&self, path: &str, facts: &Facts) -> Vec<Clause> {
        let mut clauses = Vec::new();
        let mut add = |key: &str, wanted: String, found: String, holds: Tri| {
            let clause = Clause::new(&format!("{path}.{key}"), &wanted, &found, holds);
            let section = key.split('.').next().unwrap_or(key);
            clauses.push(clause.hanging_on([&*format!("participant.{section}")]));
        };
        let track = &facts.track;
        if self.type_ != ANY_WORD {
            let holds = Tri::from(self.type_ & track.type_.bit() != 0);
            let wanted = words(
                TrackType::WORDS,
                |word| TrackType::from(word).bit(),
                self.type_,
            );
            add("type", wanted, track.type_.to_string(), holds);
        }
        if self.source != ANY_WORD {
            let holds = Tri::from(self.source & track.source.bit() != 0);
            let wanted = words(Source::WORDS, |word| Source::from(word).bit(), self.source);
            add("source", wanted, track.source.to_string(), holds);
        }
        for (key, globs, name) in [
            ("room", &self.room, &facts.room.name),
            ("identity", &self.identity, &facts.participant.identity),
        ] {
            if !globs.is_empty() {
                let holds = Tri::from(any_glob(globs, name));
                add(
                    key,
                    one_of(globs.iter().map(Glob::text)),
                    quoted(name),
                    holds,
                );
            }
        }
        if self.kind != ANY_WORD {
            let wanted = words(Kind::WORDS, |word| Kind::from(word).bit(), self.kind);
            let found = match &facts.participant.kind {
                Fact::Known(kind) => kind.to_string(),
                Fact::Unknown => "participant.kind is unknown".to_owned(),
            };
            add("kind", wanted, found, self.kind_holds(facts));
        }
        if self.kind_details != ANY_WORD {
            let bit = |word: &str| KindDetail::from(word).bit();
            let wanted = words(KindDetail::WORDS, bit, self.kind_details);
            let found = match &facts.participant.kind_details {
                Fact::Known(details) if details.is_empty() => "none".to_owned(),
                Fact::Known(details) => {
                    let words: Vec<_> = details.iter().map(KindDetail::as_str).collect();
                    words.join(", ")
                }
                Fact::Unknown => "participant.kind_details are unknown".to_owned(),
            };
            add("kind_details", wanted, found, self.kind_details_hold(facts));
        }
        for attribute in &self.attributes {
            let key = format!("attributes.{}", attribute.key);
            let found = match &facts.participant.attributes {
                Fact::Known(attributes) => match attributes.get(&*attribute.key) {
                    Some(value) => quoted(value),
                    None => "no such attribute".to_owned(),
                },
                Fact::Unknown => "participant.attributes are unknown".to_owned(),
            };
            let allowed = attribute.allowed.iter().map(|value| &**value);
            add(&key, one_of(allowed), found, attribute.holds(facts));
        }
        clauses
    }
}

fn shown(text: &str) -> String {
    cut(text, SHOWN_CHARS_MAX).into_owned()
}

/// Cuts before it quotes: escaping all of a long text of which little is shown would take long.
fn quoted(text: &str) -> String {
    format!("{:?}", cut(text, SHOWN_CHARS_MAX))
}

fn one_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let values: Vec<_> = values.map(|value| format!("{value:?}")).collect();
    match values.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", values.join(", ")),
    }
}

fn words(all: &[&str], bit: impl Fn(&str) -> u8, set: u8) -> String {
    let words: Vec<_> = all
        .iter()
        .copied()
        .filter(|word| bit(word) & set != 0)
        .collect();
    match words.as_slice() {
        [only] => (*only).to_owned(),
        _ => format!("one of {}", words.join(", ")),
    }
}
