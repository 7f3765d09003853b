//! Reads the policies that are live.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::PgExecutor;

use super::owner::PgOwner;
use crate::postgres::failed_query;
use quell_policy::{Change, Owner, PolicyKey, StoredPolicy};

/// Reading all policies takes long over a slow link, where there are many.
pub const ALL_POLICIES_TIMEOUT: Duration = Duration::from_secs(30);

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRecord<D = Value> {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: String,
    /// Its revision.
    pub revision: i32,
    /// Its canonical form.
    pub document: D,
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

/// Where a page of policies begins: after this owner's policy of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct After(Owner, String);

/// Some policies, the operator's first, by owner and name.
#[derive(Debug)]
pub struct PolicyPage {
    /// The policies, their documents as text.
    pub policies: Vec<PolicyRecord<Box<RawValue>>>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<After>,
}

/// The documents of a page have at most this many bytes together, if it has more than one: whoever reads it slowly
/// keeps no more in memory.
const PAGE_BYTES_MAX: i64 = 256 << 10;

/// A page of at most `limit` policies of `owner` (none: everybody's).
pub async fn page(
    db: impl PgExecutor<'_>,
    owner: Option<&Owner>,
    after: Option<&After>,
    limit: u16,
) -> Result<PolicyPage, sqlx::Error> {
    let (all, owner) = columns(owner);
    let after = after.map(|After(owner, name)| (owner.as_str().unwrap_or_default(), &**name));
    let (after_owner, after_name) = after.unwrap_or_default();
    let rows = sqlx::query!(
        r#"select owner as "owner!: PgOwner", name as "name!", revision as "revision!", document as "document!",
                  managed_by as "managed_by!", updated_at as "updated_at!", updated_by as "updated_by!",
                  is_last as "is_last!"
           from (
               select *, sum(octet_length(document)) over by_name as bytes, row_number() over by_name as place,
                      lead(name) over by_name is null as is_last
               from (
                   select owner, name, revision, document::text as document, managed_by, updated_at, updated_by
                   from policy
                   where ($1 or coalesce(owner, '') = $2) and (coalesce(owner, ''), name) > ($3, $4)
                   order by coalesce(owner, ''), name
                   limit $5
               ) selected
               window by_name as (order by coalesce(owner, ''), name)
           ) counted
           where place = 1 or (place < $5 and bytes <= $6)
           order by place"#,
        all,
        owner.unwrap_or_default(),
        after_owner,
        after_name,
        // One more tells whether there are more.
        i64::from(limit) + 1,
        PAGE_BYTES_MAX,
    )
    .fetch_all(db)
    .await?;
    let is_last = rows.last().is_none_or(|row| row.is_last);
    let mut policies = Vec::with_capacity(rows.len());
    for row in rows {
        policies.push(PolicyRecord {
            owner: row.owner.into(),
            name: row.name,
            revision: row.revision,
            document: RawValue::from_string(row.document)
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            managed_by: row.managed_by,
            updated_at: row.updated_at,
            updated_by: row.updated_by,
        });
    }
    let last = policies.last().filter(|_| !is_last);
    let next = last.map(|last| After(last.owner.clone(), last.name.clone()));
    Ok(PolicyPage { policies, next })
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
pub(crate) struct Newest {
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
pub(crate) async fn everything(
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
