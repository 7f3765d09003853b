//! Drafts: policies that are not stored, over those that are. Backtests try one on what was, plans on who is live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Viewer;
use crate::policy_store::{
    ALL_POLICIES_TIMEOUT, changed_fields, list, newest_revision_id, readable,
};
use crate::postgres::Pool;
use quell_policy::glob::GlobError;
use quell_policy::{
    CompiledPolicy, Effect, Mode, Owner, Policy, PolicyKey, PolicyRef, PolicySet, Reads,
    StoredPolicy, TenantId, Unreadable,
};

/// Unreadable policies that are named.
const UNREADABLE_MAX: usize = 20;

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
    /// This version cannot read a stored policy.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A policy of the draft does not compile.
    #[error(transparent)]
    Glob(#[from] GlobError),
}

/// How a policy of the draft differs from what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
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
            live.push(row.read()?.1);
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
            let (policy, compiled) = row.read()?;
            let key = compiled.id.key();
            if let Some(new) = drafted.remove(&key) {
                let fields = changed_field_names(&policy, &new);
                let change = if fields.is_empty() {
                    draft.push(compiled.clone());
                    DraftChange::Unchanged
                } else {
                    let revision = row.revision.saturating_add(1);
                    draft.push(CompiledPolicy::new(&new, revision)?);
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
            draft.push(CompiledPolicy::new(new, 1)?);
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

/// What is stored, as this version can read it.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The newest change of any of the policies.
    pub(crate) snapshot: i64,
    /// Those of an owner with one that cannot be read are those before it, as they are in force.
    pub(crate) policies: Vec<StoredPolicy>,
    unreadable: Vec<Unreadable>,
}

impl Stored {
    /// What `viewer` is told of policies that cannot be read.
    pub(crate) fn warnings(&self, viewer: &Viewer) -> Vec<String> {
        let unreadable = self.unreadable.iter();
        let unreadable: Vec<_> = unreadable
            .filter(|error| viewer.may_read(&error.key.owner))
            .collect();
        let (named, left_off) = unreadable.split_at(unreadable.len().min(UNREADABLE_MAX));
        let mut warnings: Vec<_> = named
            .iter()
            .map(|error| {
                format!(
                    "{error}; its owner's policies before it are in force, and what is applied comes \
                     into force once it is replaced"
                )
            })
            .collect();
        if !left_off.is_empty() {
            warnings.push(format!(
                "policies of {} more owners cannot be read",
                left_off.len()
            ));
        }
        warnings
    }
}

/// All stored policies; with a tenant, those that can apply to its rooms: the operator's and its own.
/// `hold` is dropped only when every thread has ended.
pub(crate) async fn stored(
    hold: &(impl Clone + Send + 'static),
    pool: &Pool,
    tenant: Option<&TenantId>,
) -> Result<Stored, sqlx::Error> {
    let mut tx = pool.within(ALL_POLICIES_TIMEOUT).begin_read_only().await?;
    // All statements see the same.
    sqlx::query!("set transaction isolation level repeatable read")
        .execute(&mut *tx)
        .await?;
    let snapshot = newest_revision_id(&mut *tx).await?;
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
    let rows = rows.into_iter().map(StoredPolicy::from).collect();
    let (policies, unreadable) = readable(hold, pool, rows).await?;
    Ok(Stored {
        snapshot,
        policies,
        unreadable,
    })
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
