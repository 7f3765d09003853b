//! Two sets of policies to compare: what is stored, and what would be with a draft put over it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::access::Viewer;
use crate::policy_store::changed_fields;
use quell_policy::{
    CompiledPolicy, Effect, Mode, Owner, Policy, PolicyKey, PolicyRef, PolicySet, Reads,
    StoredPolicy, TenantId,
};

/// What is to be tried.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Policies that take the place of the stored ones of their owner and name, or are new.
    pub policies: Vec<Policy>,
    /// Stored policies that are left out.
    pub without: Vec<PolicyKey>,
    /// Nothing else of what is stored is in it.
    pub alone: bool,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Neither policies nor a removal.
    #[error("there is no draft: name policies to try, or one to try without")]
    Empty,
    /// One policy twice.
    #[error("{0} stands in the draft twice: keep one")]
    Twice(PolicyKey),
    /// A policy in the draft and to be left out.
    #[error("{0} is in the draft and to be left out of it: take one of the two away")]
    InAndOut(PolicyKey),
    /// Nothing to leave out.
    #[error("there is no stored policy {0} to try without: `quell policy list` shows all")]
    NotStored(PolicyKey),
    /// A policy that is about other rooms.
    #[error("{0} is another tenant's policy: it is never about {1}'s rooms")]
    OtherTenant(PolicyKey, TenantId),
    /// A stored policy that this version cannot use.
    #[error("the stored policy {0} cannot be read by this version: {1}")]
    Unreadable(PolicyKey, String),
}

/// How a policy of the draft stands to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// There is none of its name.
    Created,
    /// The stored one is another.
    Updated,
    /// The stored one is left out.
    Removed,
    /// The stored one is the same.
    Unchanged,
}

impl Change {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Removed => "removed",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One policy of the draft.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Which.
    #[serde(flatten)]
    pub policy: PolicyKey,
    /// How it stands to what is stored.
    pub change: Change,
    /// What it does; of a removed one, what it did.
    pub effect: Effect,
    /// Whether it acts; of a removed one, whether it did.
    pub mode: Mode,
    /// The fields of an updated one that differ, such as `match.room`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Policies that decide together.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) set: PolicySet,
    /// Those whose policies are in dry run.
    pub(super) dry_run: BTreeSet<Owner>,
    /// Of those that ask for more than a webhook's own facts.
    reads: HashMap<PolicyKey, Reads>,
}

/// Live and draft.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) live: Side,
    pub(super) draft: Side,
    /// The draft's policies, what changes first.
    pub(super) changes: Vec<Changed>,
    /// The stored policies that neither the draft holds nor `without` names.
    pub(super) others: Vec<PolicyKey>,
}

impl Sides {
    /// Whether any policy that `viewer` may read is in dry run.
    pub(super) fn any_dry_run(&self, viewer: &Viewer) -> bool {
        let mut owners = self.live.dry_run.iter().chain(&self.draft.dry_run);
        owners.any(|owner| viewer.may_read(owner))
    }
}

impl Side {
    /// What a policy of it reads.
    pub(super) fn reads(&self, policy: &PolicyRef) -> Reads {
        self.reads.get(&policy.key()).copied().unwrap_or_default()
    }

    fn new(policies: Vec<CompiledPolicy>) -> Self {
        let reads = policies
            .iter()
            .map(|policy| (policy.id.key(), policy.reads()))
            .filter(|(_, reads)| !reads.is_empty())
            .collect();
        Self {
            reads,
            dry_run: policies
                .iter()
                .filter(|policy| policy.mode == Mode::DryRun)
                .map(|policy| policy.id.owner.clone())
                .collect(),
            set: PolicySet::new(policies),
        }
    }
}

impl Draft {
    /// Puts the draft over what is stored. With a tenant, all is about that tenant's rooms.
    pub(super) fn over(
        self,
        stored: impl IntoIterator<Item = StoredPolicy>,
        tenant: Option<&TenantId>,
    ) -> Result<Sides, DraftError> {
        if self.policies.is_empty() && self.without.is_empty() {
            return Err(DraftError::Empty);
        }
        let mut without: BTreeSet<_> = self.without.into_iter().collect();
        let mut drafted = by_key(self.policies, &without, tenant)?;
        let (mut live, mut draft) = (Vec::new(), Vec::new());
        let (mut changes, mut others) = (Vec::new(), Vec::new());
        for row in stored {
            let (policy, compiled) = read(&row)?;
            let key = compiled.id.key();
            if let Some(new) = drafted.remove(&key) {
                let fields = changed_names(&policy, &new);
                let change = if fields.is_empty() {
                    draft.push(compiled.clone());
                    Change::Unchanged
                } else {
                    draft.push(compile(&new, row.revision.saturating_add(1))?);
                    Change::Updated
                };
                changes.push(changed(&new, change, fields));
            } else if without.remove(&key) {
                changes.push(changed(&policy, Change::Removed, Vec::new()));
            } else {
                if !self.alone {
                    draft.push(compiled.clone());
                }
                others.push(key);
            }
            live.push(compiled);
        }
        if let Some(key) = without.first() {
            return Err(DraftError::NotStored(key.clone()));
        }
        for new in drafted.values() {
            draft.push(compile(new, 1)?);
            changes.push(changed(new, Change::Created, Vec::new()));
        }
        changes.sort_by(|a, b| (a.change, &a.policy).cmp(&(b.change, &b.policy)));
        Ok(Sides {
            live: Side::new(live),
            draft: Side::new(draft),
            changes,
            others,
        })
    }
}

fn by_key(
    policies: Vec<Policy>,
    without: &BTreeSet<PolicyKey>,
    tenant: Option<&TenantId>,
) -> Result<BTreeMap<PolicyKey, Policy>, DraftError> {
    let mut drafted = BTreeMap::new();
    for policy in policies {
        let key = policy.key();
        if let (Some(tenant), Some(owner)) = (tenant, key.owner.tenant())
            && tenant != owner
        {
            return Err(DraftError::OtherTenant(key, tenant.clone()));
        }
        if without.contains(&key) {
            return Err(DraftError::InAndOut(key));
        }
        if drafted.insert(key.clone(), policy).is_some() {
            return Err(DraftError::Twice(key));
        }
    }
    Ok(drafted)
}

fn read(row: &StoredPolicy) -> Result<(Policy, CompiledPolicy), DraftError> {
    let unreadable = |why: String| DraftError::Unreadable(row.key.clone(), why);
    let policy = Policy::from_stored(&row.document, &row.key.owner)
        .map_err(|problems| unreadable(problems.to_string()))?;
    if policy.name != row.key.name {
        return Err(unreadable(format!(
            "its document has the name {}",
            policy.name
        )));
    }
    let compiled = compile(&policy, row.revision)?;
    Ok((policy, compiled))
}

fn compile(policy: &Policy, revision: i32) -> Result<CompiledPolicy, DraftError> {
    CompiledPolicy::new(policy, revision)
        .map_err(|error| DraftError::Unreadable(policy.key(), error.to_string()))
}

fn changed(policy: &Policy, change: Change, fields: Vec<String>) -> Changed {
    Changed {
        policy: policy.key(),
        change,
        effect: policy.effect,
        mode: policy.mode,
        fields,
    }
}

/// The fields in which two policies differ, such as `mode` or `match.room`.
fn changed_names(old: &Policy, new: &Policy) -> Vec<String> {
    let changes = changed_fields(Some(&old.to_json()), Some(&new.to_json()));
    changes.into_iter().map(|change| change.field).collect()
}
