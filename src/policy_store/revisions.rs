//! Reads what policies were: a policy's revisions, and all policies as they stood at one point.
//!
//! ```text
//! policy_revision   id ... 7 ........ 8 ........ 9 ........ 10
//!                          a@1        b@1        a@2        b@2 (deletion)
//! as of snapshot 9: a@2, b@1;  as of snapshot 10: a@2
//! ```

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgExecutor;

use super::owner::PgOwner;
use super::read::{ALL_POLICIES_TIMEOUT, columns};
use crate::postgres::Pool;
use quell_policy::{Owner, PolicyKey, StoredPolicy, TenantId};

/// At most this many revisions are read at once.
pub const PAGE_MAX: u16 = 100;

/// A revision of a policy, which never changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Its number among all changes of all policies: what a snapshot is named by.
    pub id: i64,
    /// Whose the policy was.
    pub owner: Owner,
    /// The policy's name.
    pub name: String,
    /// The revision's number.
    pub revision: i32,
    /// `create`, `update` or `delete`.
    pub change: String,
    /// The document from then on; none after a deletion.
    pub document: Option<Value>,
    /// The document before; none where there was no policy.
    pub previous: Option<Value>,
    /// The revision that a rollback brought back.
    pub restored_from: Option<i32>,
    /// Who made the change.
    pub author: String,
    /// `apply` or `rest`: who kept the policy from then on.
    pub managed_by: String,
    /// When. All changes of one transaction have the same time.
    pub created_at: DateTime<Utc>,
    /// Whether an older one is on the next page.
    has_older: bool,
}

/// Some revisions, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionPage {
    /// The revisions.
    pub revisions: Vec<Revision>,
    /// Whether there are older ones.
    pub is_more: bool,
}

impl RevisionPage {
    fn new(revisions: Vec<Revision>) -> Self {
        let is_more = revisions.last().is_some_and(|last| last.has_older);
        Self { revisions, is_more }
    }
}

/// Documents of a page, and those before them, have at most this many bytes together, if it has more than one.
const PAGE_BYTES_MAX: i64 = 1 << 20;

/// One more than is shown tells whether there are older ones.
fn asked_for(limit: u16) -> i64 {
    i64::from(limit) + 1
}

/// A point in the history of all policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the change of this number, [`Revision::id`].
    Snapshot(i64),
    /// At this time, by the clock of Postgres.
    Time(DateTime<Utc>),
}

/// The revisions of one policy, also of a deleted one: those below `before`, at most [`PAGE_MAX`].
pub async fn history(
    db: impl PgExecutor<'_>,
    owner: &Owner,
    name: &str,
    before: Option<i32>,
    limit: u16,
) -> Result<RevisionPage, sqlx::Error> {
    let limit = limit.min(PAGE_MAX);
    let revisions = sqlx::query_as!(
        Revision,
        r#"select id as "id!", owner as "owner!: PgOwner", name as "name!", revision as "revision!",
                  change as "change!", document, previous, restored_from, author as "author!",
                  managed_by as "managed_by!", created_at as "created_at!", has_older as "has_older!"
           from (
               select *, lead(id) over newest is not null as has_older, row_number() over newest as place,
                      sum(coalesce(octet_length(document::text), 0) + coalesce(octet_length(previous::text), 0))
                          over newest as bytes
               from (
                   select * from policy_history
                   where name = $1 and owner is not distinct from $2
                     and revision < coalesce($3, 2147483647)
                   order by revision desc
                   limit $4
               ) selected
               window newest as (order by revision desc)
           ) counted
           where place = 1 or (place < $4 and bytes <= $5)
           order by place"#,
        name,
        owner.as_str(),
        before,
        asked_for(limit),
        PAGE_BYTES_MAX,
    )
    .fetch_all(db)
    .await?;
    Ok(RevisionPage::new(revisions))
}

/// The last changes of all policies of `owner` (none: everybody's): those below the id `before`, at most [`PAGE_MAX`].
pub async fn latest(
    db: impl PgExecutor<'_>,
    owner: Option<&Owner>,
    before: Option<i64>,
    limit: u16,
) -> Result<RevisionPage, sqlx::Error> {
    let limit = limit.min(PAGE_MAX);
    let (all, owner) = columns(owner);
    let revisions = sqlx::query_as!(
        Revision,
        r#"select id as "id!", owner as "owner!: PgOwner", name as "name!", revision as "revision!",
                  change as "change!", document, previous, restored_from, author as "author!",
                  managed_by as "managed_by!", created_at as "created_at!", has_older as "has_older!"
           from (
               select *, lead(id) over newest is not null as has_older, row_number() over newest as place,
                      sum(coalesce(octet_length(document::text), 0) + coalesce(octet_length(previous::text), 0))
                          over newest as bytes
               from (
                   select * from policy_history
                   where ($1 or owner is not distinct from $2)
                     and id < coalesce($3, 9223372036854775807)
                   order by id desc
                   limit $4
               ) selected
               window newest as (order by id desc)
           ) counted
           where place = 1 or (place < $4 and bytes <= $5)
           order by place"#,
        all,
        owner,
        before,
        asked_for(limit),
        PAGE_BYTES_MAX,
    )
    .fetch_all(db)
    .await?;
    Ok(RevisionPage::new(revisions))
}

/// One revision.
pub async fn revision(
    db: impl PgExecutor<'_>,
    owner: &Owner,
    name: &str,
    revision: i32,
) -> Result<Option<Revision>, sqlx::Error> {
    sqlx::query_as!(
        Revision,
        r#"select id as "id!", owner as "owner!: PgOwner", name as "name!", revision as "revision!",
                  change as "change!", document, previous, restored_from, author as "author!",
                  managed_by as "managed_by!", created_at as "created_at!", false as "has_older!"
           from policy_history
           where name = $1 and owner is not distinct from $2 and revision = $3"#,
        name,
        owner.as_str(),
        revision,
    )
    .fetch_optional(db)
    .await
}

/// The snapshot that was in force at a time: the number of the last change until then, 0 before
/// the first.
pub async fn snapshot_at(db: impl PgExecutor<'_>, time: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce(max(id), 0) as "id!" from policy_revision where created_at <= $1"#,
        time,
    )
    .fetch_one(db)
    .await
}

/// Which policies are meant.
#[derive(Debug, Clone, Copy)]
pub enum Seeing<'a> {
    /// All.
    AnyRoom,
    /// Those that see a room of this tenant, or of none: the operator's and the tenant's.
    RoomOf(Option<&'a TenantId>),
}

/// The policies of `owner` as they were before the first of these revisions, by name and number.
pub(super) async fn before_revisions(
    pool: &Pool,
    owner: &Owner,
    revisions: &[(String, i32)],
) -> Result<Vec<StoredPolicy>, sqlx::Error> {
    let (names, numbers): (Vec<_>, Vec<_>) = revisions.iter().cloned().unzip();
    let first = sqlx::query_scalar!(
        "select min(r.id) from policy_revision r
         join unnest($1::text[], $2::int[]) as u(name, revision) on r.name = u.name and r.revision = u.revision
         where r.owner is not distinct from $3",
        &names,
        &numbers,
        owner.as_str(),
    );
    // Whoever restores a part of a database may lose them: then there is nothing before.
    let Some(first) = first.fetch_one(pool).await? else {
        return Ok(Vec::new());
    };
    let at = At::Snapshot(first.saturating_sub(1));
    let mut rows = as_of(pool, at, Seeing::RoomOf(owner.tenant())).await?;
    rows.retain(|row| row.key.owner == *owner);
    Ok(rows)
}

/// Policies as they were at one point, to decide again what was decided then.
pub async fn as_of(
    pool: &Pool,
    at: At,
    seeing: Seeing<'_>,
) -> Result<Vec<StoredPolicy>, sqlx::Error> {
    let mut tx = pool.within(ALL_POLICIES_TIMEOUT).begin_read_only().await?;
    let snapshot = match at {
        At::Snapshot(id) => id,
        At::Time(time) => snapshot_at(&mut *tx, time).await?,
    };
    let (all, tenant) = match seeing {
        Seeing::AnyRoom => (true, None),
        Seeing::RoomOf(tenant) => (false, tenant),
    };
    // In the order of the index (name, owner, revision), backwards, so that nothing is sorted.
    let rows = sqlx::query!(
        r#"select owner as "owner!: PgOwner", name, revision, document as "document!"
           from (
               select distinct on (name, owner) name, owner, revision, document
               from policy_revision
               where id <= $1 and ($2 or owner is null or owner = $3)
               order by name desc, owner desc, revision desc
           ) latest
           where document is not null"#,
        snapshot,
        all,
        tenant.map(TenantId::as_str),
    )
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let policies = rows.into_iter().map(|row| StoredPolicy {
        key: PolicyKey {
            owner: row.owner.into(),
            name: row.name,
        },
        revision: row.revision,
        document: row.document,
    });
    Ok(policies.collect())
}
