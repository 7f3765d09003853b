//! Reads the policies that are live.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use super::owner::PgOwner;
use crate::postgres::failed_query;
use quell_policy::set::Unreadable;
use quell_policy::{Change, Owner, PolicyKey, StoredPolicy};

/// Reading all policies takes long over a slow link, where there are many.
pub const ALL_POLICIES_TIMEOUT: Duration = Duration::from_secs(30);

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRecord {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: i32,
    /// Its canonical form.
    pub document: Value,
    /// `apply` or `rest`: who wrote it last.
    pub managed_by: String,
    /// When.
    pub updated_at: DateTime<Utc>,
    /// Who.
    pub updated_by: String,
}

/// An owner to select by, as SQL takes it: whether all owners are meant, and else which.
pub(super) fn columns(owner: Option<&Owner>) -> (bool, Option<&str>) {
    (owner.is_none(), owner.and_then(Owner::as_str))
}

impl PolicyRecord {
    /// What names it.
    #[must_use]
    pub fn key(&self) -> PolicyKey {
        PolicyKey {
            owner: self.owner.clone(),
            name: self.name.clone(),
        }
    }
}

impl From<PolicyRecord> for StoredPolicy {
    fn from(stored: PolicyRecord) -> Self {
        Self {
            key: PolicyKey {
                owner: stored.owner,
                name: stored.name,
            },
            revision: stored.revision,
            document: stored.document,
        }
    }
}

/// Why the policies in force cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// A stored policy that this version cannot read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The policies of `owner` (none: everybody's), the operator's first, by name.
pub async fn list(
    db: impl PgExecutor<'_>,
    owner: Option<&Owner>,
) -> Result<Vec<PolicyRecord>, sqlx::Error> {
    let (all, owner) = columns(owner);
    sqlx::query_as!(
        PolicyRecord,
        r#"select owner as "owner!: PgOwner", name, revision, document, managed_by, updated_at, updated_by
         from policy
         where $1 or owner is not distinct from $2
         order by owner nulls first, name"#,
        all,
        owner,
    )
    .fetch_all(db)
    .await
}

/// One policy.
pub async fn get(
    db: impl PgExecutor<'_>,
    owner: &Owner,
    name: &str,
) -> Result<Option<PolicyRecord>, sqlx::Error> {
    sqlx::query_as!(
        PolicyRecord,
        r#"select owner as "owner!: PgOwner", name, revision, document, managed_by, updated_at, updated_by
         from policy
         where owner is not distinct from $1 and name = $2"#,
        owner.as_str(),
        name,
    )
    .fetch_optional(db)
    .await
}

/// The newest revision of all, as a replica remembers what it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Newest {
    /// 0 where there is none.
    pub(super) id: i64,
    /// When it was written. Databases that are put back give an id again, but not at the same time.
    pub(super) at: Option<DateTime<Utc>>,
}

/// The newest revision of all: of every change, whether there is one.
pub(super) async fn newest_revision(db: impl PgExecutor<'_>) -> Result<Newest, sqlx::Error> {
    let row = sqlx::query!("select id, created_at from policy_revision order by id desc limit 1");
    let row = row.fetch_optional(db).await?;
    Ok(newest(row.map(|row| (Some(row.id), Some(row.created_at)))))
}

/// The id of the newest revision of all; 0 before the first.
pub(crate) async fn newest_revision_id(db: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    Ok(newest_revision(db).await?.id)
}

/// How the policies have changed since a read.
pub(super) enum Since {
    /// These changed, and no others.
    Changed(Newest, Vec<Change>),
    /// The revision that was read last is not stored any more: the database was put back to an earlier state.
    AnotherHistory,
}

/// The newest revision of all, and every policy with it, read at once, so that both belong together.
pub(super) async fn everything(
    db: impl PgExecutor<'_>,
) -> Result<(Newest, Vec<StoredPolicy>), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select newest.id as "newest?", newest.created_at as "newest_at?", policy.owner as "owner!: PgOwner",
                  policy.name as "name?", policy.revision as "revision?",
                  policy.document as "document?"
           from (select) as one
           left join (select id, created_at from policy_revision order by id desc limit 1) as newest
               on true
           left join policy on true"#,
    )
    .fetch_all(db)
    .await?;
    let newest = newest(rows.first().map(|row| (row.newest, row.newest_at)));
    let policies = rows.into_iter().filter_map(|row| {
        Some(StoredPolicy {
            key: PolicyKey {
                owner: row.owner.into(),
                name: row.name?,
            },
            revision: row.revision?,
            document: row.document?,
        })
    });
    Ok((newest, policies.collect()))
}

/// The newest revision of all, and what is stored now of every policy with a revision after
/// `seen`, read at once, so that both belong together.
pub(super) async fn changes_since(
    db: impl PgExecutor<'_>,
    seen: Newest,
) -> Result<Since, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select newest.id as "newest?", newest.created_at as "newest_at?",
                  $1 = 0 or exists (
                      select from policy_revision where id = $1 and created_at = $2
                  ) as "is_known!",
                  changed.owner as "owner!: PgOwner", changed.name as "name?",
                  policy.revision as "revision?", policy.document as "document?"
           from (select) as one
           left join (select id, created_at from policy_revision order by id desc limit 1) as newest
               on true
           left join (select distinct owner, name from policy_revision where id > $1) as changed
               on true
           left join policy
               on policy.name = changed.name and policy.owner is not distinct from changed.owner"#,
        seen.id,
        seen.at,
    )
    .fetch_all(db)
    .await?;
    if rows.first().is_some_and(|row| !row.is_known) {
        return Ok(Since::AnotherHistory);
    }
    let newest = newest(rows.first().map(|row| (row.newest, row.newest_at)));
    let changes = rows.into_iter().filter_map(|row| {
        let key = PolicyKey {
            owner: row.owner.into(),
            name: row.name?,
        };
        let stored = row.revision.zip(row.document);
        Some(Change {
            stored: stored.map(|(revision, document)| StoredPolicy {
                key: key.clone(),
                revision,
                document,
            }),
            key,
        })
    });
    Ok(Since::Changed(newest, changes.collect()))
}

fn newest(row: Option<(Option<i64>, Option<DateTime<Utc>>)>) -> Newest {
    let (id, at) = row.unwrap_or_default();
    Newest {
        id: id.unwrap_or(0),
        at,
    }
}
