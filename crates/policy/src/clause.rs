//! The clauses of a policy beside the facts, in words: what it asks for, and what there is.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::compile::{ANY_WORD, CompiledPolicy, Condition, any_glob};
use super::expression::{Reason, SHOWN_CHARS_MAX};
use super::facts::{Fact, Facts, Kind, KindDetail, Source, TrackType};
use super::glob::Glob;
use super::terminal::cut;
use super::text::TextReader;
use super::tri::Tri;
use super::window::Unmet;

/// A clause of a policy that fails, or depends on what is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Clause {
    /// The way to it, such as `match.room` or `when`.
    pub clause: String,
    /// What it asks for; none where that is hidden from whoever asks.
    pub expected: Option<String>,
    /// What there is; none where that would tell what the clause asks for.
    pub actual: Option<String>,
    /// Whether it fails (false), or depends on what is not known (unknown).
    pub holds: Tri,
    /// The unknown facts that it depends on, such as `room.metadata`; the texts may be cut.
    #[serde(skip)]
    pub unknown: BTreeSet<Box<str>>,
}

impl Clause {
    /// A clause in texts that are not longer than anybody reads: one answer has a thousand of them,
    /// and both policies and participants say what is in them.
    pub(super) fn new(clause: &str, expected: &str, actual: &str, holds: Tri) -> Self {
        Self {
            clause: cut(clause, SHOWN_CHARS_MAX),
            expected: Some(cut(expected, SHOWN_CHARS_MAX)),
            actual: Some(cut(actual, SHOWN_CHARS_MAX)),
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
    pub(super) fn first_failing(
        &self,
        facts: &Facts,
        now: DateTime<Utc>,
        texts: &mut TextReader<'_>,
    ) -> Option<Clause> {
        let mut clauses = self.match_.clauses("match", facts);
        let schedule = self.schedule.as_deref();
        let unmet = schedule.and_then(|schedule| schedule.explain(facts, now));
        clauses.extend(unmet.map(Clause::from));
        let when = self.when.as_ref();
        let when = when.and_then(|when| when.explain_with(facts, texts));
        clauses.extend(when.map(Clause::from));
        let unless = self.unless.as_deref();
        clauses.extend(unless.and_then(|unless| excepting(unless, facts)));
        let first = |holds: Tri| clauses.iter().find(|clause| clause.holds == holds);
        first(Tri::False).or_else(|| first(Tri::Unknown)).cloned()
    }
}

impl From<Unmet> for Clause {
    fn from(unmet: Unmet) -> Self {
        let key = unmet.key();
        let expected = match &unmet {
            Unmet::NotBefore { .. } => "not_before to have passed".to_owned(),
            Unmet::NotAfter { .. } => "not_after to be in the future".to_owned(),
            Unmet::Active { .. } => "an open window".to_owned(),
            Unmet::First { first, .. } => format!("the first {first} of a room"),
        };
        let text = unmet.to_string();
        let actual = text.strip_prefix(key).unwrap_or(&text);
        let actual = actual.trim_start_matches(": ");
        Self::new(key, &expected, actual, unmet.tri()).hanging_on(["room.created_at"])
    }
}

impl From<Reason> for Clause {
    fn from(reason: Reason) -> Self {
        let actual: Vec<_> = reason.operands.iter().map(ToString::to_string).collect();
        let unknown = reason.operands.iter().filter(|one| one.value.is_unknown());
        Self::new("when", &reason.part, &actual.join(", "), reason.holds)
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
    let expected: Vec<_> = clauses
        .iter()
        .map(|clause| {
            let key = clause
                .clause
                .strip_prefix("unless.")
                .unwrap_or(&clause.clause);
            format!("{key} {}", clause.expected.as_deref().unwrap_or_default())
        })
        .collect();
    let actual: Vec<_> = clauses
        .iter()
        .filter_map(|clause| clause.actual.as_deref())
        .collect();
    let expected = format!("not all of: {}", expected.join("; "));
    Some(match open {
        Some(open) => Clause::new(
            "unless",
            &expected,
            open.actual.as_deref().unwrap_or_default(),
            Tri::Unknown,
        )
        .hanging_on(open.unknown.iter().map(|fact| &**fact)),
        None => Clause::new("unless", &expected, &actual.join("; "), Tri::False),
    })
}

impl Condition {
    /// Each of its fields that asks for something.
    fn clauses(&self, path: &str, facts: &Facts) -> Vec<Clause> {
        let mut clauses = Vec::new();
        let mut add = |key: &str, expected: String, actual: String, holds: Tri| {
            let clause = Clause::new(&format!("{path}.{key}"), &expected, &actual, holds);
            let section = key.split('.').next().unwrap_or(key);
            clauses.push(clause.hanging_on([&*format!("participant.{section}")]));
        };
        let track = &facts.track;
        if self.type_ != ANY_WORD {
            let holds = Tri::from(self.type_ & track.type_.bit() != 0);
            let expected = words(
                TrackType::WORDS,
                |word| TrackType::from(word).bit(),
                self.type_,
            );
            add("type", expected, track.type_.to_string(), holds);
        }
        if self.source != ANY_WORD {
            let holds = Tri::from(self.source & track.source.bit() != 0);
            let expected = words(Source::WORDS, |word| Source::from(word).bit(), self.source);
            add("source", expected, track.source.to_string(), holds);
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
            let expected = words(Kind::WORDS, |word| Kind::from(word).bit(), self.kind);
            let actual = match &facts.participant.kind {
                Fact::Known(kind) => kind.to_string(),
                Fact::Unknown => "participant.kind is unknown".to_owned(),
            };
            add("kind", expected, actual, self.kind_holds(facts));
        }
        if self.kind_details != ANY_WORD {
            let bit = |word: &str| KindDetail::from(word).bit();
            let expected = words(KindDetail::WORDS, bit, self.kind_details);
            let actual = match &facts.participant.kind_details {
                Fact::Known(details) if details.is_empty() => "none".to_owned(),
                Fact::Known(details) => {
                    let words: Vec<_> = details.iter().map(KindDetail::as_str).collect();
                    words.join(", ")
                }
                Fact::Unknown => "participant.kind_details are unknown".to_owned(),
            };
            add(
                "kind_details",
                expected,
                actual,
                self.kind_details_hold(facts),
            );
        }
        for attribute in &self.attributes {
            let key = format!("attributes.{}", attribute.key);
            let actual = match facts.participant.attribute(&attribute.key) {
                Fact::Known(Some(value)) => quoted(value),
                Fact::Known(None) => "no such attribute".to_owned(),
                Fact::Unknown => "participant.attributes are unknown".to_owned(),
            };
            let allowed = attribute.allowed.iter().map(|value| &**value);
            add(&key, one_of(allowed), actual, attribute.holds(facts));
        }
        clauses
    }
}

/// Cut before it is quoted, so that little is done about a text of which little is shown.
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
