//! A policy, checked, with its defaults filled in: what everything that reads, compiles or judges
//! policies works on.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::facts::{Kind, KindDetail, Source, TrackType};
use super::glob::GLOB_CHARS_MAX;
use super::limits::{PRIORITY_DEFAULT, PRIORITY_MAX};
use super::owner::{Owner, PolicyKey};
use super::schema::{self, AttributeConditions, Line, OneOrMany, PolicyName, Prose, Tenant};
use super::text::TextWork;
use super::window::{Length, Schedule, Window};

/// What a policy does to the tracks that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Mutes them.
    Mute,
    /// Cancels mutes of its own priority or lower.
    Exempt,
}

impl Effect {
    /// Its words.
    pub const WORDS: &[&str] = &["mute", "exempt"];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Exempt => "exempt",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether a policy acts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It does not; what it would have done is recorded.
    DryRun,
    /// It is as if it were not there.
    Off,
}

impl Mode {
    /// Its words.
    pub const WORDS: &[&str] = &["enforce", "dry_run", "off"];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::DryRun => "dry_run",
            Self::Off => "off",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One policy, checked, with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("allOf" = schema::rules()))]
pub struct Policy {
    /// The tenant it belongs to; none is the operator.
    #[serde(skip_serializing_if = "Owner::is_operator")]
    #[schemars(with = "Tenant", default)]
    pub owner: Owner,
    /// Its name, unique for its owner: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    #[schemars(with = "PolicyName")]
    pub name: String,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Prose", default)]
    pub description: Option<String>,
    /// The tracks it is about.
    #[serde(rename = "match")]
    pub match_: Match,
    /// The tracks among them that it leaves alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Match", default, extend("minProperties" = 1))]
    pub unless: Option<Match>,
    /// What must hold besides `match`, as an expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "schema::Condition", default)]
    pub when: Option<Expression>,
    /// When it is in force: whenever any of these is open; without any, at any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<schema::Window>", default)]
    pub active: Vec<Window>,
    /// From when on it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "schema::Instant", default)]
    pub not_before: Option<DateTime<Utc>>,
    /// Until when it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "schema::Instant", default)]
    pub not_after: Option<DateTime<Utc>>,
    /// For how long from the making of a room it is in force there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "schema::Duration", default)]
    pub first: Option<Length>,
    /// What it does to them.
    pub effect: Effect,
    /// Whether it acts.
    #[schemars(default)]
    pub mode: Mode,
    /// Its rank among its owner's, 0 to 9999; the highest wins.
    #[schemars(default = "priority_default", range(max = PRIORITY_MAX))]
    pub priority: u16,
    /// Whether a tenant's exemption cancels it; the operator's mutes only.
    #[schemars(default)]
    pub overridable: bool,
    /// Why; an exemption always says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Prose", default)]
    pub reason: Option<String>,
}

/// Conditions on a track: all of the fields that are not empty, any value within one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Match {
    /// Globs of the room's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Line<1, GLOB_CHARS_MAX>>", default)]
    pub room: Vec<String>,
    /// Globs of the participant's identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Line<1, GLOB_CHARS_MAX>>", default)]
    pub identity: Vec<String>,
    /// Sources of the track.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Source>", default)]
    pub source: Vec<Source>,
    /// Types of the track.
    #[serde(rename = "type", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<TrackType>", default)]
    pub type_: Vec<TrackType>,
    /// Kinds of the participant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<Kind>", default)]
    pub kind: Vec<Kind>,
    /// Kind details, of which the participant has any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMany<KindDetail>", default)]
    pub kind_details: Vec<KindDetail>,
    /// The participant's attributes and their allowed values, compared exactly.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "AttributeConditions", default)]
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Match {
    /// Whether it asks for nothing, and so matches every track.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn priority_default() -> u16 {
    PRIORITY_DEFAULT
}

impl Policy {
    /// When it is in force.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule::new(
            self.active.clone(),
            self.not_before,
            self.not_after,
            self.first.clone(),
        )
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> PolicyKey {
        PolicyKey {
            owner: self.owner.clone(),
            name: self.name.clone(),
        }
    }

    /// What it reads of texts for a track; nothing while it is off.
    #[must_use]
    pub fn text_work(&self) -> TextWork {
        let when = self.when.as_ref().filter(|_| self.mode != Mode::Off);
        let mut work = TextWork::default();
        if let Some(when) = when {
            when.text_reads(&mut |read| work.extend([read]));
        }
        work
    }

    /// The canonical form: what is stored, compared for "unchanged" and answered over REST.
    /// Lists are lists, defaults are filled in, and the owner, which is no part of it, is not.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // A policy is texts, lists and numbers: it always has a JSON form.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("owner");
        }
        value
    }
}
