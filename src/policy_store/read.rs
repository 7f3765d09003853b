//! Reads the policies that are live.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use crate::postgres::failed_query;
use quell_policy::set::Unreadable;
use quell_policy::{Change, StoredPolicy};

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The tenant that owns it; none is the operator.
    pub owner: Option<String>,
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

/// Whose policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerFilter<'a> {
    /// Everybody's.
    All,
    /// One owner's; none is the operator.
    Is(Option<&'a str>),
}

impl<'a> OwnerFilter<'a> {
    /// Whether it is everybody's, and else whose: for SQL.
    pub(super) const fn columns(self) -> (bool, Option<&'a str>) {
        match self {
            Self::All => (true, None),
            Self::Is(owner) => (false, owner),
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

/// The policies of `filter`, the operator's first, by name.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: OwnerFilter<'_>,
) -> Result<Vec<Stored>, sqlx::Error> {
    let (all, owner) = filter.columns();
    sqlx::query_as!(
        Stored,
        "select owner, name, revision, document, managed_by, updated_at, updated_by
         from policy
         where $1 or owner is not distinct from $2
         order by owner nulls first, name",
        all,
        owner,
    )
    .fetch_all(db)
    .await
}

/// One policy.
pub async fn get(
    db: impl PgExecutor<'_>,
    owner: Option<&str>,
    name: &str,
) -> Result<Option<Stored>, sqlx::Error> {
    sqlx::query_as!(
        Stored,
        "select owner, name, revision, document, managed_by, updated_at, updated_by
         from policy
         where owner is not distinct from $1 and name = $2",
        owner,
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

/// What became of the policies since a look.
pub(super) enum Since {
    /// These changed, and no others.
    Changed(Newest, Vec<Change>),
    /// What was seen is no part of what is stored: the database was put back to an earlier state.
    AnotherHistory,
}

/// The newest revision of all, and every policy with it: one look, so that both belong together.
pub(super) async fn everything(
    db: impl PgExecutor<'_>,
) -> Result<(Newest, Vec<StoredPolicy>), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select newest.id as "newest?", newest.created_at as "newest_at?", policy.owner,
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
            owner: row.owner,
            name: row.name?,
            revision: row.revision?,
            document: row.document?,
        })
    });
    Ok((newest, policies.collect()))
}

/// The newest revision of all, and what is stored now of every policy with a revision after
/// `seen`: one look, so that both belong together.
pub(super) async fn changes_since(
    db: impl PgExecutor<'_>,
    seen: Newest,
) -> Result<Since, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select newest.id as "newest?", newest.created_at as "newest_at?",
                  $1 = 0 or exists (
                      select from policy_revision where id = $1 and created_at = $2
                  ) as "is_known!",
                  changed.owner, changed.name as "name?",
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
        let (owner, name) = (row.owner, row.name?);
        let stored = row.revision.zip(row.document);
        Some(Change {
            stored: stored.map(|(revision, document)| StoredPolicy {
                owner: owner.clone(),
                name: name.clone(),
                revision,
                document,
            }),
            owner,
            name,
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
