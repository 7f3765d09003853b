//! Changes policies: the document, its revision and its audit row in one transaction.

use serde_json::Value;
use sqlx::{PgConnection, PgPool};

use super::read::{OwnerFilter, Stored, get, list};
use crate::audit::{self, Entry, Origin, PolicyId, Verb};
use crate::policy::Policy;
use crate::policy::document::POLICIES_MAX;

/// Changes are written one after the other (`policy_revision.id` is then commit order); the
/// number is any that nothing else in the database uses.
const CHANGE_LOCK: i64 = 0x7175_656c_6c01;

/// Who changes something.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// Where it comes from.
    pub origin: Origin,
    /// Their id.
    pub id: &'a str,
    /// The request that asked for it.
    pub request_id: Option<&'a str>,
}

/// What keeps a policy: `apply --prune` removes only what `apply` wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManagedBy {
    /// Files, through `quell policy apply`.
    Apply,
    /// Requests to `/v1/policies`.
    Rest,
}

impl ManagedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rest => "rest",
        }
    }
}

/// What must be true for a change to be made (`If-Match`, `If-None-Match`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// A policy of any revision.
    Exists,
    /// A policy of this revision.
    Revision(i32),
    /// No policy.
    Absent,
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new policy.
    Created,
    /// A new revision.
    Updated,
    /// The same as before: no new revision.
    Unchanged,
    /// Removed.
    Deleted,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// A policy after its change.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// What it came to.
    pub outcome: Outcome,
    /// The policy; after a deletion, what it was.
    pub policy: Stored,
}

/// One line of what `apply` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The tenant; none is the operator.
    pub owner: Option<String>,
    /// The policy's name.
    pub name: String,
    /// Its revision.
    pub revision: i32,
    /// What was done.
    pub outcome: Outcome,
}

/// Whose policies `apply` removes that are in no file any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune<'a> {
    /// Nobody's.
    Nothing,
    /// This owner's; none is the operator.
    Owner(Option<&'a str>),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is a policy where none was expected.
    #[error("there is a policy of this name already, at revision {0}")]
    Exists(i32),
    /// There is no policy where one was expected.
    #[error("there is no policy of this name")]
    Missing,
    /// It is another revision than expected.
    #[error("the policy is at revision {0}: read it again and repeat the change")]
    Stale(i32),
    /// The owner has as many policies as one may have.
    #[error(
        "this owner has {POLICIES_MAX} policies, which is the limit: remove one first, or say the same with fewer (a list takes several values)"
    )]
    TooMany,
    /// The database.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Creates or replaces one policy.
pub async fn put(
    pool: &PgPool,
    by: &Author<'_>,
    policy: &Policy,
    managed_by: ManagedBy,
    expected: Expected,
) -> Result<Changed, ChangeError> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    let changed = put_locked(&mut tx, by, policy, managed_by, expected).await?;
    tx.commit().await?;
    Ok(changed)
}

/// Removes one policy; its revisions stay.
pub async fn delete(
    pool: &PgPool,
    by: &Author<'_>,
    owner: Option<&str>,
    name: &str,
    expected: Expected,
) -> Result<Changed, ChangeError> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    let before = get(&mut *tx, owner, name).await?;
    check(expected, before.as_ref())?;
    let before = before.ok_or(ChangeError::Missing)?;
    let changed = delete_locked(&mut tx, by, before, ManagedBy::Rest).await?;
    tx.commit().await?;
    Ok(changed)
}

/// Writes all of `policies`, and removes what `prune` says, in one transaction.
pub async fn apply(
    pool: &PgPool,
    by: &Author<'_>,
    policies: &[Policy],
    prune: Prune<'_>,
) -> Result<Vec<Applied>, ChangeError> {
    let mut tx = pool.begin().await?;
    lock(&mut tx).await?;
    let mut applied = Vec::new();
    for policy in policies {
        let changed = put_locked(&mut tx, by, policy, ManagedBy::Apply, Expected::Anything).await?;
        applied.push(line(changed));
    }
    if let Prune::Owner(owner) = prune {
        for stored in list(&mut *tx, OwnerFilter::Is(owner)).await? {
            let is_kept = policies
                .iter()
                .any(|policy| policy.owner == stored.owner && policy.name == stored.name);
            if !is_kept && stored.managed_by == ManagedBy::Apply.as_str() {
                applied.push(line(
                    delete_locked(&mut tx, by, stored, ManagedBy::Apply).await?,
                ));
            }
        }
    }
    tx.commit().await?;
    Ok(applied)
}

fn line(changed: Changed) -> Applied {
    Applied {
        owner: changed.policy.owner,
        name: changed.policy.name,
        revision: changed.policy.revision,
        outcome: changed.outcome,
    }
}

async fn lock(tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!("select pg_advisory_xact_lock($1)", CHANGE_LOCK)
        .execute(tx)
        .await?;
    Ok(())
}

fn check(expected: Expected, before: Option<&Stored>) -> Result<(), ChangeError> {
    match (expected, before) {
        (Expected::Anything, _) | (Expected::Exists, Some(_)) | (Expected::Absent, None) => Ok(()),
        (Expected::Exists | Expected::Revision(_), None) => Err(ChangeError::Missing),
        (Expected::Absent, Some(before)) => Err(ChangeError::Exists(before.revision)),
        (Expected::Revision(revision), Some(before)) if before.revision == revision => Ok(()),
        (Expected::Revision(_), Some(before)) => Err(ChangeError::Stale(before.revision)),
    }
}

async fn put_locked(
    tx: &mut PgConnection,
    by: &Author<'_>,
    policy: &Policy,
    managed_by: ManagedBy,
    expected: Expected,
) -> Result<Changed, ChangeError> {
    let owner = policy.owner.as_deref();
    let before = get(&mut *tx, owner, &policy.name).await?;
    check(expected, before.as_ref())?;
    let document = policy.to_json();
    if let Some(before) = &before
        && before.document == document
        && before.managed_by == managed_by.as_str()
    {
        return Ok(Changed {
            outcome: Outcome::Unchanged,
            policy: before.clone(),
        });
    }
    if before.is_none() {
        check_count(tx, owner).await?;
    }
    let (outcome, verb, change) = match before {
        Some(_) => (Outcome::Updated, Verb::PolicyUpdate, "update"),
        None => (Outcome::Created, Verb::PolicyCreate, "create"),
    };
    let revision = revise(
        tx,
        by,
        owner,
        &policy.name,
        change,
        Some(&document),
        managed_by,
    )
    .await?;
    let stored = sqlx::query_as!(
        Stored,
        "insert into policy (id, owner, name, revision, document, managed_by, updated_by)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (owner, name) do update
         set revision = excluded.revision, document = excluded.document,
             managed_by = excluded.managed_by, updated_by = excluded.updated_by,
             updated_at = clock_timestamp()
         returning owner, name, revision, document, managed_by, updated_at, updated_by",
        uuid::Uuid::now_v7(),
        owner,
        policy.name,
        revision,
        document,
        managed_by.as_str(),
        by.id,
    )
    .fetch_one(&mut *tx)
    .await?;
    let before = before.map(|before| before.document);
    record(tx, by, verb, &stored, before, Some(document)).await?;
    Ok(Changed {
        outcome,
        policy: stored,
    })
}

async fn check_count(tx: &mut PgConnection, owner: Option<&str>) -> Result<(), ChangeError> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from policy where owner is not distinct from $1"#,
        owner,
    )
    .fetch_one(tx)
    .await?;
    if usize::try_from(count).is_ok_and(|count| count < POLICIES_MAX) {
        Ok(())
    } else {
        Err(ChangeError::TooMany)
    }
}

async fn delete_locked(
    tx: &mut PgConnection,
    by: &Author<'_>,
    mut stored: Stored,
    managed_by: ManagedBy,
) -> Result<Changed, ChangeError> {
    let owner = stored.owner.as_deref();
    let revision = revise(tx, by, owner, &stored.name, "delete", None, managed_by).await?;
    sqlx::query!(
        "delete from policy where owner is not distinct from $1 and name = $2",
        owner,
        stored.name,
    )
    .execute(&mut *tx)
    .await?;
    stored.revision = revision;
    let before = Some(stored.document.clone());
    record(tx, by, Verb::PolicyDelete, &stored, before, None).await?;
    Ok(Changed {
        outcome: Outcome::Deleted,
        policy: stored,
    })
}

/// Writes the next revision; numbers go on where a deleted policy of the name left off, so that
/// owner, name and revision name one document for ever.
async fn revise(
    tx: &mut PgConnection,
    by: &Author<'_>,
    owner: Option<&str>,
    name: &str,
    change: &str,
    document: Option<&Value>,
    managed_by: ManagedBy,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into policy_revision (owner, name, revision, change, document, author, managed_by)
         select $1, $2, coalesce(max(revision), 0) + 1, $3, $4, $5, $6
         from policy_revision
         where owner is not distinct from $1 and name = $2
         returning revision",
        owner,
        name,
        change,
        document,
        by.id,
        managed_by.as_str(),
    )
    .fetch_one(tx)
    .await
}

async fn record(
    tx: &mut PgConnection,
    by: &Author<'_>,
    verb: Verb,
    stored: &Stored,
    before: Option<Value>,
    after: Option<Value>,
) -> Result<(), sqlx::Error> {
    let owner = stored.owner.as_deref();
    let entry = Entry {
        actor: Some(by.id),
        tenant: owner,
        policy: Some(PolicyId {
            owner,
            name: &stored.name,
            revision: stored.revision,
        }),
        request_id: by.request_id,
        before,
        after,
        ..Entry::new(by.origin, verb)
    };
    audit::record(tx, &entry, audit::Outcome::Done, None).await
}
