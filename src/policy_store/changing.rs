//! One transaction of changes: behind the lock it writes documents, revisions and audit rows.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::author::{Author, ChangeError, ChangeOutcome, Changed, ManagedBy, OWNER_BYTES_MAX};
use super::owner::PgOwner;
use super::read::{PolicyRecord, get, list};
use crate::audit::{self, Action, Entry, PolicyRevision};
use crate::postgres::{Connection, Pool, Transaction};
use quell_policy::limits::POLICIES_MAX;
use quell_policy::{Owner, TextWork};

/// Changes are written one after the other (`policy_revision.id` is then commit order); the
/// number is any that nothing else in the database uses.
const CHANGE_LOCK: i64 = 0x7175_656c_6c01;
/// A change waits 5 s for the one before it (`lock_timeout`), and is written down within as much again.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same of all that files say, which may be tens of thousands of policies.
pub(super) const APPLY_TIMEOUT: Duration = Duration::from_mins(5);

/// A transaction that holds the lock; dropped, it has changed nothing.
pub(super) struct Changing<'a> {
    tx: Transaction,
    by: &'a Author<'a>,
    at: DateTime<Utc>,
    /// Whose policies changed.
    changed: HashSet<Owner>,
    bytes_max: i64,
    /// What owners' policies read of texts that were written.
    pub(super) text_work: HashMap<Owner, TextWork>,
}

/// What a policy is to be from now on.
pub(super) struct Write<'a> {
    pub(super) owner: &'a Owner,
    pub(super) name: &'a str,
    pub(super) document: Value,
    /// What it reads of texts.
    pub(super) text_work: TextWork,
    /// `apply` or `rest`.
    pub(super) managed_by: &'a str,
    /// The revision that it is a copy of.
    pub(super) restored_from: Option<i32>,
}

/// A row of `policy_revision`.
struct NewRevision<'a> {
    owner: &'a Owner,
    name: &'a str,
    change: &'static str,
    document: Option<&'a Value>,
    managed_by: &'a str,
    restored_from: Option<i32>,
}

impl<'a> Changing<'a> {
    /// Waits for the lock. All is over within `timeout`, with the wait.
    pub(super) async fn begin(
        pool: &Pool,
        by: &'a Author<'a>,
        timeout: Duration,
    ) -> Result<Self, sqlx::Error> {
        let mut tx = pool.within(timeout).begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", CHANGE_LOCK)
            .execute(&mut *tx)
            .await?;
        // One time for all of it, taken behind the lock: later transactions have later ones.
        let at = sqlx::query_scalar!(r#"select clock_timestamp() as "at!""#)
            .fetch_one(&mut *tx)
            .await?;
        Ok(Self {
            tx,
            by,
            at,
            changed: HashSet::new(),
            bytes_max: pool.policies_bytes_max(),
            text_work: HashMap::new(),
        })
    }

    /// Commits, unless an owner, or all together, would have more than they may: every replica holds all of it. Who has
    /// too much may still make it less.
    pub(super) async fn commit(mut self) -> Result<(), ChangeError> {
        self.bound_text_work().await?;
        let mut usages = Vec::new();
        for owner in &self.changed {
            let usage = sqlx::query!(
                r#"insert into policy_usage as usage (owner, policies, bytes)
                   select $1, count(*), coalesce(sum(bytes), 0) from policy where coalesce(owner, '') = $1
                   on conflict (owner) do update set policies = excluded.policies, bytes = excluded.bytes
                   returning policies, bytes,
                       -- These see what was before.
                       coalesce((select b.policies from policy_usage b where b.owner = $1), 0) as "policies_before!",
                       coalesce((select b.bytes from policy_usage b where b.owner = $1), 0) as "bytes_before!""#,
                owner.as_str().unwrap_or_default(),
            );
            usages.push(usage.fetch_one(&mut *self.tx).await?);
        }
        let policies_max = i64::try_from(POLICIES_MAX).unwrap_or(i64::MAX);
        let (mut before, mut after) = (0, 0);
        for usage in usages {
            if usage.policies > usage.policies_before.max(policies_max) {
                return Err(ChangeError::TooMany);
            }
            if usage.bytes > usage.bytes_before.max(OWNER_BYTES_MAX) {
                return Err(ChangeError::TooMuch);
            }
            before += usage.bytes_before;
            after += usage.bytes;
        }
        if after > before {
            let all = sqlx::query_scalar!(
                r#"select coalesce(sum(bytes), 0)::bigint as "all!" from policy_usage"#
            );
            if all.fetch_one(&mut *self.tx).await? > self.bytes_max {
                return Err(ChangeError::TooMuchInAll(self.bytes_max));
            }
        }
        Ok(self.tx.commit().await?)
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.tx
    }

    pub(super) async fn get(
        &mut self,
        owner: &Owner,
        name: &str,
    ) -> Result<Option<PolicyRecord>, sqlx::Error> {
        get(&mut *self.tx, owner, name).await
    }

    pub(super) async fn list(&mut self, owner: &Owner) -> Result<Vec<PolicyRecord>, sqlx::Error> {
        list(&mut *self.tx, Some(owner)).await
    }

    /// Writes a new revision over `before`, which is what is there.
    pub(super) async fn write(
        &mut self,
        write: Write<'_>,
        before: Option<PolicyRecord>,
    ) -> Result<Changed, ChangeError> {
        self.changed.insert(write.owner.clone());
        let (outcome, action, change) = match before {
            Some(_) => (ChangeOutcome::Updated, Action::PolicyUpdate, "update"),
            None => (ChangeOutcome::Created, Action::PolicyCreate, "create"),
        };
        let row = NewRevision {
            owner: write.owner,
            name: write.name,
            change,
            document: Some(&write.document),
            managed_by: write.managed_by,
            restored_from: write.restored_from,
        };
        let revision = self.revise(&row).await?;
        let policy = sqlx::query_as!(
            PolicyRecord,
            r#"insert into policy (id, owner, name, revision, document, managed_by, updated_at,
                                 updated_by, text_reads, text_reads_of)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $4)
             on conflict (owner, name) do update
             set revision = excluded.revision, document = excluded.document,
                 managed_by = excluded.managed_by, updated_at = excluded.updated_at,
                 updated_by = excluded.updated_by, text_reads = excluded.text_reads,
                 text_reads_of = excluded.text_reads_of
             returning owner as "owner!: PgOwner", name, revision, document, managed_by, updated_at, updated_by"#,
            uuid::Uuid::now_v7(),
            write.owner.as_str(),
            write.name,
            revision,
            write.document,
            write.managed_by,
            self.at,
            self.by.id(),
            &write.text_work.to_stored().collect::<Vec<_>>(),
        )
        .fetch_one(&mut *self.tx)
        .await?;
        if !write.text_work.is_empty() {
            let of_owner = self.text_work.entry(write.owner.clone()).or_default();
            of_owner.extend(write.text_work);
        }
        let documents = (before.map(|before| before.document), Some(write.document));
        self.record(action, &policy, write.restored_from, documents)
            .await?;
        Ok(Changed { outcome, policy })
    }

    /// Removes what is there.
    pub(super) async fn delete(
        &mut self,
        mut stored: PolicyRecord,
        managed_by: ManagedBy,
    ) -> Result<Changed, ChangeError> {
        self.changed.insert(stored.owner.clone());
        let row = NewRevision {
            owner: &stored.owner,
            name: &stored.name,
            change: "delete",
            document: None,
            managed_by: managed_by.as_str(),
            restored_from: None,
        };
        let revision = self.revise(&row).await?;
        sqlx::query!(
            "delete from policy where owner is not distinct from $1 and name = $2",
            stored.owner.as_str(),
            stored.name,
        )
        .execute(&mut *self.tx)
        .await?;
        stored.revision = revision;
        let documents = (Some(stored.document.clone()), None);
        self.record(Action::PolicyDelete, &stored, None, documents)
            .await?;
        Ok(Changed {
            outcome: ChangeOutcome::Deleted,
            policy: stored,
        })
    }

    /// Writes the next revision; numbers go on where a deleted policy of the name left off, so
    /// that owner, name and revision name one document for ever.
    async fn revise(&mut self, row: &NewRevision<'_>) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            "insert into policy_revision
                (owner, name, revision, change, document, author, managed_by, restored_from,
                 created_at)
             select $1, $2, coalesce(max(revision), 0) + 1, $3, $4, $5, $6, $7, $8
             from policy_revision
             where owner is not distinct from $1 and name = $2
             returning revision",
            row.owner.as_str(),
            row.name,
            row.change,
            row.document,
            self.by.id(),
            row.managed_by,
            row.restored_from,
            self.at,
        )
        .fetch_one(&mut *self.tx)
        .await
    }

    async fn record(
        &mut self,
        action: Action,
        stored: &PolicyRecord,
        restored_from: Option<i32>,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Result<(), sqlx::Error> {
        let entry = Entry {
            tenant: stored.owner.tenant().cloned(),
            policy: Some(PolicyRevision {
                key: stored.key(),
                revision: stored.revision,
            }),
            restored_from,
            request: self.by.request.cloned(),
            before,
            after,
            ..Entry::new(self.by.origin, self.by.actor.clone(), action)
        };
        audit::record(&mut *self.tx, &entry, audit::Outcome::Done, None).await
    }
}
