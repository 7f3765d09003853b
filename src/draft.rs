//! Drafts: policies that are not stored, over those that are. Backtests try one on what was, plans on who is live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::access::Viewer;
use crate::policy_store::{ALL_POLICIES_TIMEOUT, changed_fields, list, newest_revision_id};
use crate::postgres::Pool;
use quell_policy::{
    CompiledPolicy, Effect, Mode, Owner, Policy, PolicyKey, PolicyRef, PolicySet, Reads,
    StoredPolicy, TenantId,
};

/// The policies to try.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Each replaces the stored policy of its owner and name, or is new.
    pub policies: Vec<Policy>,
    /// Stored policies to leave out.
    pub without: Vec<PolicyKey>,
    /// Leave out every stored policy that is not among `policies`.
    pub alone: bool,
}

/// Why a draft cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Neither policies nor a removal.
    #[error("there is no draft: name policies to try, or one to try without")]
    Empty,
    /// The draft holds one policy twice.
    #[error("{0} stands in the draft twice: keep one")]
    Twice(PolicyKey),
    /// A policy is in the draft and is to be left out.
    #[error("{0} is in the draft and to be left out of it: take one of the two away")]
    InAndOut(PolicyKey),
    /// The policy to leave out is not stored.
    #[error("there is no stored policy {0} to try without: `quell policy list` shows all")]
    NotStored(PolicyKey),
    /// A policy of another tenant: it never applies to this tenant's rooms.
    #[error("{0} is another tenant's policy: it never applies to {1}'s rooms")]
    OtherTenant(PolicyKey, TenantId),
    /// This version cannot read a stored policy; the text says why.
    #[error("the stored policy {0} cannot be read by this version: {1}")]
    Unreadable(PolicyKey, String),
}

/// How a policy of the draft differs from what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DraftChange {
    /// None of its owner and name is stored.
    Created,
    /// The stored one differs.
    Updated,
    /// The stored one is left out.
    Removed,
    /// The stored one is the same.
    Unchanged,
}

impl DraftChange {
    /// As in JSON.
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
pub struct DraftPolicy {
    /// The policy.
    #[serde(flatten)]
    pub policy: PolicyKey,
    /// How it differs from what is stored.
    pub change: DraftChange,
    /// Its effect; of a removed one, the stored effect.
    pub effect: Effect,
    /// Its mode; of a removed one, the stored mode.
    pub mode: Mode,
    /// The fields of an updated one that differ, such as `match.room`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

/// Compiled policies that decide together.
#[derive(Debug, Default)]
pub(crate) struct ComparedSet {
    pub(crate) set: PolicySet,
    /// Owners that have a policy in dry run.
    pub(crate) dry_run: BTreeSet<Owner>,
    /// What each policy reads beyond the event's own facts; policies that read none are left out.
    reads: HashMap<PolicyKey, Reads>,
}

/// The live policies and the draft's.
#[derive(Debug)]
pub(crate) struct ComparedSets {
    pub(crate) live: ComparedSet,
    pub(crate) draft: ComparedSet,
    /// The policies that the draft names; changed ones first.
    pub(crate) changes: Vec<DraftPolicy>,
    /// The stored policies that neither the draft holds nor `without` names.
    pub(crate) others: Vec<PolicyKey>,
}

impl ComparedSets {
    /// What is stored, without a draft.
    pub(crate) fn of_stored(
        stored: impl IntoIterator<Item = StoredPolicy>,
    ) -> Result<Self, DraftError> {
        let mut live = Vec::new();
        for row in stored {
            live.push(read(&row)?.1);
        }
        Ok(Self {
            draft: ComparedSet::new(live.clone()),
            live: ComparedSet::new(live),
            changes: Vec::new(),
            others: Vec::new(),
        })
    }

    /// Whether any policy that `viewer` may read is in dry run.
    pub(crate) fn any_dry_run(&self, viewer: &Viewer) -> bool {
        let mut owners = self.live.dry_run.iter().chain(&self.draft.dry_run);
        owners.any(|owner| viewer.may_read(owner))
    }
}

impl ComparedSet {
    /// What one of its policies reads beyond the event's own facts.
    pub(crate) fn reads(&self, policy: &PolicyRef) -> Reads {
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
    /// Puts the draft over what is stored. With a tenant, other tenants' policies are refused.
    pub(crate) fn over(
        self,
        stored: impl IntoIterator<Item = StoredPolicy>,
        tenant: Option<&TenantId>,
    ) -> Result<ComparedSets, DraftError> {
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
                let fields = changed_field_names(&policy, &new);
                let change = if fields.is_empty() {
                    draft.push(compiled.clone());
                    DraftChange::Unchanged
                } else {
                    draft.push(compile(&new, row.revision.saturating_add(1))?);
                    DraftChange::Updated
                };
                changes.push(draft_policy(&new, change, fields));
            } else if without.remove(&key) {
                changes.push(draft_policy(&policy, DraftChange::Removed, Vec::new()));
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
            changes.push(draft_policy(new, DraftChange::Created, Vec::new()));
        }
        changes.sort_by(|a, b| (a.change, &a.policy).cmp(&(b.change, &b.policy)));
        Ok(ComparedSets {
            live: ComparedSet::new(live),
            draft: ComparedSet::new(draft),
            changes,
            others,
        })
    }
}

/// All stored policies, and the newest change of any of them that they include; with a tenant, those that can apply
/// to its rooms: the operator's and its own.
pub(crate) async fn stored(
    pool: &Pool,
    tenant: Option<&TenantId>,
) -> Result<(i64, Vec<StoredPolicy>), sqlx::Error> {
    let mut tx = pool.within(ALL_POLICIES_TIMEOUT).begin_read_only().await?;
    // All statements see the same.
    sqlx::query!("set transaction isolation level repeatable read")
        .execute(&mut *tx)
        .await?;
    let newest = newest_revision_id(&mut *tx).await?;
    let mut rows = Vec::new();
    match tenant {
        None => rows.extend(list(&mut *tx, None).await?),
        Some(tenant) => {
            for owner in [Owner::Operator, Owner::Tenant(tenant.clone())] {
                rows.extend(list(&mut *tx, Some(&owner)).await?);
            }
        }
    }
    tx.commit().await?;
    Ok((newest, rows.into_iter().map(StoredPolicy::from).collect()))
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

fn draft_policy(policy: &Policy, change: DraftChange, fields: Vec<String>) -> DraftPolicy {
    DraftPolicy {
        policy: policy.key(),
        change,
        effect: policy.effect,
        mode: policy.mode,
        fields,
    }
}

/// The fields in which two policies differ, such as `mode` or `match.room`.
fn changed_field_names(old: &Policy, new: &Policy) -> Vec<String> {
    let changes = changed_fields(Some(&old.to_json()), Some(&new.to_json()));
    changes.into_iter().map(|change| change.field).collect()
}
