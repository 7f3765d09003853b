//! Policies as people write them: YAML in files, JSON over REST, one canonical JSON in Postgres.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::facts::{Kind, KindDetail, Source, TrackType};
use super::glob::GLOB_CHARS_MAX;
use super::node::{self, Place};
use super::outranked::outranked;
use super::owner::{Owner, PolicyKey};
use super::problem::{Problem, Problems};
use super::read::OwnerKey;
use super::reader::{Reader, join};
use super::schema::{self, AttributeConditions, Line, OneOrMany, PolicyName, Prose, Tenant};
use super::unseen;
use super::window::{Length, Window};

/// A file or a request may have this many bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// So many policies may be loaded at once.
pub const POLICIES_MAX: usize = 10_000;
/// The largest priority; the smallest is 0.
pub const PRIORITY_MAX: u16 = 9_999;
/// The priority of a policy that names none.
pub const PRIORITY_DEFAULT: u16 = 100;

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

/// What was read, and what is doubtful about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked<T> {
    /// What was read.
    pub value: T,
    /// What is allowed and probably not meant.
    pub warnings: Vec<Problem>,
}

/// Policies in the order of their files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(title = "Policies", deny_unknown_fields)]
pub struct Document {
    /// The policies.
    #[schemars(length(max = POLICIES_MAX))]
    pub policies: Vec<Policy>,
}

impl Document {
    /// Reads YAML files, given as (name, text). All that is wrong in any of them is reported.
    pub fn load<'a>(
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Checked<Self>, Problems> {
        let mut problems = Vec::new();
        let mut problems_left_off = 0;
        let mut warnings = Vec::new();
        let mut policies: Vec<Policy> = Vec::new();
        let mut places: Vec<(&str, Place, String)> = Vec::new();
        let mut defined_at: HashMap<PolicyKey, String> = HashMap::new();
        for (file, text) in files {
            let mut reader = Reader::new(Some(file));
            for (policy, place, path) in reader.yaml(text) {
                let key = policy.key();
                if let Some(first) = defined_at.get(&key) {
                    reader.refuse(
                        place,
                        &format!("{path}.name"),
                        format!("there is a policy {} already, at {first}", policy.name),
                        "a name stands once for each owner; rename one",
                    );
                    continue;
                }
                defined_at.insert(key, at(file, place));
                policies.push(policy);
                places.push((file, place, path.clone()));
                if policies.len() == POLICIES_MAX + 1 {
                    reader.refuse(
                        place,
                        &path,
                        format!("more than {POLICIES_MAX} policies"),
                        "say the same with fewer: a list takes several values",
                    );
                }
            }
            problems.append(&mut reader.problems);
            problems_left_off += reader.problems_left_off;
            warnings.append(&mut reader.warnings);
        }
        if !problems.is_empty() {
            return Err(Problems::new(problems, problems_left_off));
        }
        for (index, why) in outranked(&policies) {
            let exempts = policies
                .get(index)
                .map_or(0, |exemption| exemption.priority);
            let (key, message, hint) = why.in_words(exempts);
            if let Some((file, place, path)) = places.get(index) {
                let path = join(path, key);
                warnings.push(Reader::new(Some(file)).problem(*place, &path, message, hint));
            }
        }
        Ok(Checked {
            value: Self { policies },
            warnings,
        })
    }

    /// As YAML that [`Document::load`] reads back to the same policies.
    pub fn to_yaml(&self) -> Result<String, serde_saphyr::SerializeError> {
        // Long lines stay as they are: no text is folded in a way that `load` refuses.
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        let yaml = serde_saphyr::to_string_with_options(self, options)?;
        Ok(yaml
            .lines()
            .map(|line| unseen::shown(line) + "\n")
            .collect())
    }
}

fn priority_default() -> u16 {
    PRIORITY_DEFAULT
}

fn at(file: &str, place: Place) -> String {
    match place.line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

impl Policy {
    /// Reads one policy from a request's JSON, which does not name the owner: the caller is it.
    pub fn from_json(text: &[u8], owner: &Owner) -> Result<Checked<Self>, Problems> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let mut reader = Reader::new(None);
            reader.too_long();
            return Err(reader.into_problems());
        }
        Self::from_node(Reader::new(None), node::from_json(text), owner)
    }

    /// Reads one policy as Postgres keeps it ([`Policy::to_json`]).
    pub fn from_stored(document: &serde_json::Value, owner: &Owner) -> Result<Self, Problems> {
        Self::from_node(Reader::of_stored(), node::from_value(document), owner)
            .map(|checked| checked.value)
    }

    fn from_node(
        mut reader: Reader<'_>,
        node: Result<node::Node, String>,
        owner: &Owner,
    ) -> Result<Checked<Self>, Problems> {
        let policy = match node {
            Ok(node) => reader.policy(&node, "", OwnerKey::Given(owner)),
            Err(malformed) => {
                reader.malformed(&malformed);
                None
            }
        };
        match policy {
            Some(value) if reader.problems.is_empty() => Ok(Checked {
                value,
                warnings: reader.warnings,
            }),
            _ => Err(reader.into_problems()),
        }
    }

    /// What names it.
    #[must_use]
    pub fn key(&self) -> PolicyKey {
        PolicyKey {
            owner: self.owner.clone(),
            name: self.name.clone(),
        }
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
