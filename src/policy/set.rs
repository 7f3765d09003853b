//! All live policies, and which of them could be about a track.
//!
//! Evaluation asks for candidates and nothing else, so that how they are found (today: all of the
//! operator's and of the room's tenant, one by one) can become an index without touching it.

use std::collections::HashMap;

use super::compile::{CompiledPolicy, Needs};
use super::document::{Mode, Policy};
use super::facts::{Fact, Facts};
use super::glob::GlobError;
use super::problem::Problems;
use super::tri::Tri;

/// A policy as it is stored: a row of the table `policy`.
#[derive(Debug, Clone)]
pub struct StoredPolicy {
    /// The tenant; none is the operator.
    pub owner: Option<String>,
    /// Its name.
    pub name: String,
    /// Its current revision.
    pub revision: i32,
    /// The canonical form, [`Policy::to_json`].
    pub document: serde_json::Value,
}

/// A stored policy that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("revision {revision} of policy {name} of {} cannot be read: {cause}", owner_for_people(.owner.as_deref()))]
pub struct Unreadable {
    /// The tenant; none is the operator.
    pub owner: Option<String>,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: i32,
    /// Why.
    pub cause: Cause,
}

/// Why a stored policy cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// It is no policy of this version.
    #[error("{0}")]
    Document(Problems),
    /// It is another's.
    #[error("its document has the name {0}")]
    Name(String),
    /// A glob of it.
    #[error("{0}")]
    Glob(#[from] GlobError),
}

fn owner_for_people(owner: Option<&str>) -> String {
    match owner {
        Some(tenant) => format!("tenant {tenant:?}"),
        None => "the operator".to_owned(),
    }
}

/// All live policies. One that is `off` is not in it.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    operator: Vec<CompiledPolicy>,
    tenants: HashMap<String, Vec<CompiledPolicy>>,
}

impl PolicySet {
    /// Builds a set of everything stored. One that cannot be read fails the whole: a set without
    /// it would decide otherwise than its author wants, and nobody would notice.
    pub fn from_stored(rows: impl IntoIterator<Item = StoredPolicy>) -> Result<Self, Unreadable> {
        let mut set = Self::default();
        for row in rows {
            set.push(compile(&row).map_err(|cause| Unreadable {
                owner: row.owner,
                name: row.name,
                revision: row.revision,
                cause,
            })?);
        }
        Ok(set)
    }

    /// Builds a set of compiled policies.
    pub fn new(policies: impl IntoIterator<Item = CompiledPolicy>) -> Self {
        let mut set = Self::default();
        for policy in policies {
            set.push(policy);
        }
        set
    }

    fn push(&mut self, policy: CompiledPolicy) {
        if policy.mode == Mode::Off {
            return;
        }
        match &policy.key.owner {
            None => self.operator.push(policy),
            Some(tenant) => {
                let tenant = tenant.clone();
                self.tenants.entry(tenant).or_default().push(policy);
            }
        }
    }

    /// Whether any tenant has a live policy: then a room's tenant must be known to decide.
    #[must_use]
    pub fn any_tenant_live(&self) -> bool {
        !self.tenants.is_empty()
    }

    /// How many policies are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operator.len() + self.tenants.values().map(Vec::len).sum::<usize>()
    }

    /// Whether none is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operator.is_empty() && self.tenants.is_empty()
    }

    /// Every policy that could be about this track, and whether it sees the room at all. A
    /// tenant's sees its own rooms only; while the tenant is unknown, any tenant's might.
    pub fn candidates(&self, facts: &Facts) -> impl Iterator<Item = (&CompiledPolicy, Tri)> {
        let (theirs, all) = match &facts.room.tenant {
            Fact::Known(Some(tenant)) => (self.tenants.get(tenant), None),
            Fact::Known(None) => (None, None),
            Fact::Unknown => (None, Some(self.tenants.values().flatten())),
        };
        let seen = |policy| (policy, Tri::True);
        self.operator
            .iter()
            .chain(theirs.into_iter().flatten())
            .map(seen)
            .chain(
                all.into_iter()
                    .flatten()
                    .map(|policy| (policy, Tri::Unknown)),
            )
    }

    /// Which facts beyond a webhook's own the candidates ask for.
    #[must_use]
    pub fn needs(&self, facts: &Facts) -> Needs {
        self.candidates(facts)
            .fold(Needs::default(), |needs, (policy, _)| {
                needs.or(policy.needs())
            })
    }
}

fn compile(row: &StoredPolicy) -> Result<CompiledPolicy, Cause> {
    let policy =
        Policy::from_stored(&row.document, row.owner.as_deref()).map_err(Cause::Document)?;
    if policy.name != row.name {
        return Err(Cause::Name(policy.name));
    }
    Ok(CompiledPolicy::new(&policy, row.revision)?)
}
