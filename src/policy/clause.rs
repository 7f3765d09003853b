//! The clauses of a policy beside the facts, in words: what it asks for, and what there is.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::compile::{ANY_WORD, CompiledPolicy, Condition, any_glob};
use super::expression::Reason;
use super::facts::{Fact, Facts, Kind, Source, TrackType};
use super::glob::Glob;
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
            Unmet::NotBefore { .. } => "its first instant to have come",
            Unmet::NotAfter { .. } => "its last instant not to be over",
            Unmet::Active { .. } => "a window that is open",
            Unmet::First { .. } => "a room that is new",
        };
        let text = unmet.to_string();
        Self {
            clause: key.to_owned(),
            wanted: wanted.to_owned(),
            found: text
                .strip_prefix(key)
                .unwrap_or(&text)
                .trim_start_matches(": ")
                .to_owned(),
            holds: unmet.tri(),
        }
    }
}

impl From<Reason> for Clause {
    fn from(reason: Reason) -> Self {
        let found: Vec<_> = reason.found.iter().map(ToString::to_string).collect();
        Self {
            clause: "when".to_owned(),
            wanted: reason.part,
            found: found.join(", "),
            holds: reason.holds,
        }
    }
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
    Some(Clause {
        clause: "unless".to_owned(),
        wanted: format!("not all of: {}", wanted.join("; ")),
        found: open.map_or_else(|| found.join("; "), |open| open.found.clone()),
        holds: match open {
            Some(_) => Tri::Unknown,
            None => Tri::False,
        },
    })
}

impl Condition {
    /// Each of its fields that asks for something.
    fn clauses(&self, path: &str, facts: &Facts) -> Vec<Clause> {
        let mut clauses = Vec::new();
        let mut add = |key: &str, wanted: String, found: String, holds: Tri| {
            clauses.push(Clause {
                clause: format!("{path}.{key}"),
                wanted,
                found,
                holds,
            });
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
                    format!("{name:?}"),
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
        for attribute in &self.attributes {
            let key = format!("attributes.{}", attribute.key);
            let found = match &facts.participant.attributes {
                Fact::Known(attributes) => match attributes.get(&*attribute.key) {
                    Some(value) => format!("{value:?}"),
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
