//! All policies, grouped by owner, with an index of each owner's live ones.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::compile::{CompiledPolicy, PolicyAnswer};
use super::facts::{Fact, Facts};
use super::glob::GlobError;
use super::index::{Index, Probe};
use super::owner::{Owner, PolicyKey, TenantId};
use super::policy::{Mode, Policy};
use super::problem::Problems;
use super::text::{Needles, TextLimit, TextReader};
use super::tri::Tri;

mod effort;
mod rooms;

pub(super) use effort::Effort;
use effort::TEXT_BYTES_MAX;

/// A policy as it is stored: a row of the table `policy`.
#[derive(Debug, Clone)]
pub struct StoredPolicy {
    /// Whose it is, and its name.
    pub key: PolicyKey,
    /// Its current revision.
    pub revision: i32,
    /// The canonical form, [`Policy::to_json`].
    pub document: serde_json::Value,
}

impl StoredPolicy {
    /// A policy as its first revision is stored.
    #[must_use]
    pub fn first_revision(policy: &Policy) -> Self {
        Self {
            key: policy.key(),
            revision: 1,
            document: policy.to_json(),
        }
    }

    /// Reads and compiles it.
    pub fn read(&self) -> Result<(Policy, CompiledPolicy), Unreadable> {
        let policy = Policy::from_stored(&self.document, &self.key.owner);
        let policy = policy.map_err(|problems| self.unreadable(problems.into()))?;
        if policy.name != self.key.name {
            return Err(self.unreadable(UnreadableCause::Name(policy.name)));
        }
        match CompiledPolicy::new(&policy, self.revision) {
            Ok(compiled) => Ok((policy, compiled)),
            Err(error) => Err(self.unreadable(error.into())),
        }
    }

    fn unreadable(&self, cause: UnreadableCause) -> Unreadable {
        Unreadable {
            key: self.key.clone(),
            revision: self.revision,
            cause,
        }
    }
}

/// A stored policy that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("revision {revision} of policy {} of {} cannot be read: {cause}", .key.name, owner_for_people(&.key.owner))]
pub struct Unreadable {
    /// Whose it is, and its name.
    pub key: PolicyKey,
    /// Its revision.
    pub revision: i32,
    /// Why.
    pub cause: UnreadableCause,
}

/// Why a stored policy cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableCause {
    /// This version cannot read its document.
    #[error("{0}")]
    Document(#[from] Problems),
    /// Its document has another name than its row.
    #[error("its document has the name {0}")]
    Name(String),
    /// One of its globs does not compile.
    #[error("{0}")]
    Glob(#[from] GlobError),
}

fn owner_for_people(owner: &Owner) -> String {
    match owner {
        Owner::Tenant(tenant) => format!("tenant {tenant:?}"),
        Owner::Operator => "the operator".to_owned(),
    }
}

/// What a change leaves of one policy.
#[derive(Debug, Clone)]
pub struct Change {
    /// Whose it is, and its name.
    pub key: PolicyKey,
    /// What is stored of it now; none where it was removed.
    pub stored: Option<StoredPolicy>,
}

/// All policies of all owners. A set never changes: a change makes a new set, which shares the owners
/// that stayed the same.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    /// The hasher of its owners' indexes; sets that are made from this one share it.
    hash: RandomState,
    operator: Arc<OwnerPolicies>,
    tenants: HashMap<TenantId, Arc<OwnerPolicies>, RandomState>,
    as_of: i64,
    live: usize,
    live_tenants: usize,
}

/// One owner's policies.
#[derive(Debug, Default)]
struct OwnerPolicies {
    /// Those that are not `off`, in the order of their rank.
    live: Box<[Arc<CompiledPolicy>]>,
    /// Those that are `off`.
    off: Box<[Arc<CompiledPolicy>]>,
    index: Index,
    /// What the live ones look for in texts.
    needles: Needles,
    /// The positions of the live ones that name no rooms.
    everywhere: Box<[u32]>,
}

impl OwnerPolicies {
    fn new(policies: Vec<Arc<CompiledPolicy>>, hash: &RandomState) -> Self {
        let is_live = |policy: &Arc<CompiledPolicy>| policy.mode != Mode::Off;
        let (mut live, off): (Vec<_>, Vec<_>) = policies.into_iter().partition(is_live);
        live.sort_by(|one, other| one.rank().cmp(&other.rank()));
        let everywhere = (0_u32..).zip(&live);
        Self {
            everywhere: everywhere
                .filter(|(_, policy)| policy.match_.room.is_empty())
                .map(|(position, _)| position)
                .collect(),
            index: Index::new(live.iter().map(|policy| &**policy), hash),
            needles: needles(&live),
            live: live.into(),
            off: off.into(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<CompiledPolicy>> {
        self.live.iter().chain(&self.off)
    }

    fn at(&self, position: u32) -> Option<&Arc<CompiledPolicy>> {
        self.live.get(usize::try_from(position).ok()?)
    }

    /// Adds to `matched` the policies whose `match` is not known to fail, by their rank; none where that is too
    /// much effort.
    fn ask<'a>(
        &'a self,
        query: &IndexQuery<'_>,
        seen: Tri,
        effort: &mut Effort,
        matched: &mut MatchedPolicies<'a>,
    ) -> Option<()> {
        if self.live.is_empty() {
            return Some(());
        }
        // Few policies match, and nothing is allocated for them.
        let mut positions = SmallVec::<[u32; 32]>::new();
        self.index
            .find(&query.probe, |position| positions.push(position));
        // The index can return a policy once for each of its globs; it is asked once.
        positions.sort_unstable();
        positions.dedup();
        effort.policies = effort.policies.checked_sub(positions.len())?;
        let mut texts = TextReader::new(&self.needles, effort.text_limit(seen));
        for position in positions {
            let Some(policy) = self.at(position) else {
                continue;
            };
            let answer = policy.ask_with(query.facts, query.now, &mut texts);
            let answer = answer.if_seen(seen);
            if answer.matched != Tri::False {
                matched.policies.push(Matched { policy, answer });
            }
        }
        matched.text_limit_exceeded |= texts.is_exceeded() && seen == Tri::True;
        effort.pay(seen, &texts)
    }
}

/// The facts and the time that a set is asked about.
struct IndexQuery<'a> {
    facts: &'a Facts,
    now: DateTime<Utc>,
    probe: Probe<'a>,
}

/// A policy whose `match` is not known to fail, and what it says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matched<'a> {
    pub(super) policy: &'a CompiledPolicy,
    pub(super) answer: PolicyAnswer,
}

/// Policies that match.
#[derive(Debug, Default)]
pub(super) struct MatchedPolicies<'a> {
    /// Mostly few.
    pub(super) policies: SmallVec<[Matched<'a>; 4]>,
    /// Whether some of them were not asked in full, as they read too much of texts.
    pub(super) text_limit_exceeded: bool,
}

impl PolicySet {
    /// Builds a set of everything stored. One that cannot be read is an error: a set without it
    /// would decide otherwise than its author wants, and nobody would notice.
    pub fn from_stored(rows: impl IntoIterator<Item = StoredPolicy>) -> Result<Self, Unreadable> {
        let compiled: Result<Vec<_>, _> = rows.into_iter().map(|row| compile(&row)).collect();
        Ok(Self::new(compiled?))
    }

    /// Builds a set of compiled policies.
    pub fn new(policies: impl IntoIterator<Item = CompiledPolicy>) -> Self {
        Self::of_shared(policies.into_iter().map(Arc::new))
    }

    /// Builds a set of policies that other sets have too.
    pub fn of_shared(policies: impl IntoIterator<Item = Arc<CompiledPolicy>>) -> Self {
        let mut by_owner: HashMap<Owner, Vec<_>, RandomState> = HashMap::default();
        for policy in policies {
            let of_owner = by_owner.entry(policy.id.owner.clone()).or_default();
            of_owner.push(policy);
        }
        let mut set = Self::default();
        for (owner, policies) in by_owner {
            set.put(&owner, policies);
        }
        set
    }

    /// The set after `changes`, and what of them cannot be read. Only the policies that changed are compiled, and
    /// only their owners are indexed anew. An owner with a policy that cannot be read keeps all that it had:
    /// a part of its changes could say the opposite of the whole.
    #[must_use]
    pub fn with_changes(
        &self,
        changes: impl IntoIterator<Item = Change>,
    ) -> (Self, Vec<Unreadable>) {
        let mut by_owner: HashMap<Owner, Result<HashMap<String, _>, Unreadable>> = HashMap::new();
        for change in changes {
            let of_owner = by_owner.entry(change.key.owner);
            let of_owner = of_owner.or_insert_with(|| Ok(HashMap::new()));
            let Ok(policies) = of_owner else { continue };
            match change.stored.map(|row| compile(&row)).transpose() {
                Ok(compiled) => {
                    policies.insert(change.key.name, compiled.map(Arc::new));
                }
                Err(error) => *of_owner = Err(error),
            }
        }
        let (mut set, mut unreadable) = (self.clone(), Vec::new());
        for (owner, changes) in by_owner {
            let mut changes = match changes {
                Ok(changes) => changes,
                Err(error) => {
                    unreadable.push(error);
                    continue;
                }
            };
            let before = self.of(&owner);
            let kept = before.into_iter().flat_map(OwnerPolicies::all);
            let mut policies: Vec<_> = kept
                .filter(|policy| !changes.contains_key(&*policy.id.name))
                .cloned()
                .collect();
            policies.extend(changes.drain().filter_map(|(_, policy)| policy));
            set.put(&owner, policies);
        }
        (set, unreadable)
    }

    /// The set where `rows` are all that `owner` has.
    pub fn with_owner(
        &self,
        owner: &Owner,
        rows: impl IntoIterator<Item = StoredPolicy>,
    ) -> Result<Self, Unreadable> {
        let policies: Result<_, _> = rows
            .into_iter()
            .map(|row| compile(&row).map(Arc::new))
            .collect();
        let mut set = self.clone();
        set.put(owner, policies?);
        Ok(set)
    }

    /// The same policies, known to be all that was stored when `revision` was the newest.
    #[must_use]
    pub fn as_of_revision(mut self, revision: i64) -> Self {
        self.as_of = revision;
        self
    }

    /// The newest `policy_revision.id` that the set has seen.
    #[must_use]
    pub fn as_of(&self) -> i64 {
        self.as_of
    }

    fn put(&mut self, owner: &Owner, policies: Vec<Arc<CompiledPolicy>>) {
        let before = self.of(owner).map_or(0, |before| before.live.len());
        let has_none = policies.is_empty();
        let after = Arc::new(OwnerPolicies::new(policies, &self.hash));
        self.live = (self.live + after.live.len()).saturating_sub(before);
        if !owner.is_operator() {
            let is_live = usize::from(!after.live.is_empty());
            self.live_tenants =
                (self.live_tenants + is_live).saturating_sub(usize::from(before > 0));
        }
        match owner {
            Owner::Operator => self.operator = after,
            Owner::Tenant(tenant) if has_none => {
                self.tenants.remove(tenant);
            }
            Owner::Tenant(tenant) => {
                self.tenants.insert(tenant.clone(), after);
            }
        }
    }

    fn of(&self, owner: &Owner) -> Option<&OwnerPolicies> {
        match owner {
            Owner::Operator => Some(&self.operator),
            Owner::Tenant(tenant) => self.tenants.get(tenant).map(|of_tenant| &**of_tenant),
        }
    }

    /// Whether any tenant has a live policy: then a room's tenant must be known to decide.
    #[must_use]
    pub fn any_tenant_live(&self) -> bool {
        self.live_tenants > 0
    }

    /// How many policies are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether none is live.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Every policy that sees the room, also those that are `off`, and whether that is certain. A
    /// tenant's policy sees only the tenant's own rooms; while the room's tenant is unknown, any tenant's
    /// policy may see it.
    pub fn visible(&self, facts: &Facts) -> impl Iterator<Item = (&CompiledPolicy, Tri)> {
        self.seeing(facts)
            .flat_map(|(of_owner, seen)| of_owner.all().map(move |policy| (&**policy, seen)))
    }

    fn seeing(&self, facts: &Facts) -> impl Iterator<Item = (&OwnerPolicies, Tri)> {
        let (theirs, all) = match &facts.room.tenant {
            Fact::Known(tenant) => (
                tenant.as_ref().and_then(|tenant| self.tenants.get(tenant)),
                None,
            ),
            Fact::Unknown => (None, Some(self.tenants.values())),
        };
        let surely = std::iter::once(&*self.operator).chain(theirs.map(|of_tenant| &**of_tenant));
        let maybe = all.into_iter().flatten();
        surely
            .map(|of_owner| (of_owner, Tri::True))
            .chain(maybe.map(|of_tenant| (&**of_tenant, Tri::Unknown)))
    }

    /// The live policies whose `match` is not known to fail, in the order in which they are named.
    /// None where that takes more than `effort`.
    pub(super) fn matched(
        &self,
        facts: &Facts,
        now: DateTime<Utc>,
        mut effort: Effort,
    ) -> Option<MatchedPolicies<'_>> {
        let query = IndexQuery {
            facts,
            now,
            probe: Probe::new(facts, &self.hash),
        };
        let mut matched = MatchedPolicies::default();
        for (of_owner, seen) in self.seeing(facts) {
            of_owner.ask(&query, seen, &mut effort, &mut matched)?;
        }
        if facts.room.tenant.is_unknown() {
            let policies = &mut matched.policies;
            policies.sort_by(|one, other| one.policy.rank().cmp(&other.policy.rank()));
        }
        Some(matched)
    }

    /// Reads the texts of one decision's facts for the live policies of an owner.
    pub(super) fn text_reader(&self, owner: &Owner) -> TextReader<'_> {
        let limit = TextLimit::Bytes(TEXT_BYTES_MAX);
        match self.of(owner) {
            Some(of_owner) => TextReader::new(&of_owner.needles, limit),
            None => TextReader::without_needles(limit),
        }
    }
}

/// What the `when`s of these policies look for in texts.
fn needles(policies: &[Arc<CompiledPolicy>]) -> Needles {
    let mut all = Vec::new();
    for when in policies.iter().filter_map(|policy| policy.when.as_ref()) {
        when.needles(&mut |fact, needle| all.push((fact, needle)));
    }
    Needles::new(all)
}

fn compile(row: &StoredPolicy) -> Result<CompiledPolicy, Unreadable> {
    Ok(row.read()?.1)
}
