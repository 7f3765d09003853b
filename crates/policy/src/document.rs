//! Policies as people write them: YAML in files, JSON over REST, one canonical JSON in Postgres.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::invisible;
use super::limits::{DOCUMENT_BYTES_MAX, POLICIES_MAX};
use super::lint::outranked::outranked;
use super::node::{self, Place};
use super::owner::{Owner, PolicyKey};
use super::policy::Policy;
use super::problem::{Problem, Problems};
use super::read::OwnerKey;
use super::reader::{Reader, join};
use super::schema;

/// What was read, and the warnings about it.
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
    /// The JSON Schema of policy files, for editors: what people write, not what is stored.
    #[must_use]
    pub fn json_schema() -> serde_json::Value {
        schema::generator()
            .into_root_schema_for::<Self>()
            .to_value()
    }

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
            .map(|line| invisible::with_visible_owner(line) + "\n")
            .collect())
    }
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
}
