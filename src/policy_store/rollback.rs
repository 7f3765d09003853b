//! Brings an old revision back: its document becomes a new revision, by the way of any change.

use super::author::{Author, ChangeError, Changed, ExpectedRevision, ManagedBy};
use super::changing::{CHANGE_TIMEOUT, Changing, Write};
use super::read::PolicyRecord;
use super::revisions::revision;
use crate::postgres::Pool;
use quell_policy::{Owner, Policy, Problems};

/// What is to be brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollback<'a> {
    /// Whose the policy is.
    pub owner: &'a Owner,
    /// The policy's name.
    pub name: &'a str,
    /// The revision whose document is wanted.
    pub to: i32,
    /// Who keeps the policy from now on; none is who does now, or did until it was deleted.
    pub managed_by: Option<ManagedBy>,
    /// What must be there.
    pub expected: ExpectedRevision,
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// There has never been such a policy.
    #[error("there is no policy of this name, and there was none")]
    NoPolicy,
    /// There is no such revision.
    #[error("there is no revision {to}: the newest is {newest}")]
    NoRevision {
        /// The one that was asked for.
        to: i32,
        /// The newest.
        newest: i32,
    },
    /// The revision is a deletion.
    #[error(
        "revision {0} is a deletion, which is nothing to bring back: take the one before it, or delete the policy"
    )]
    IsDeletion(i32),
    /// This version cannot read it.
    #[error(
        "revision {revision} cannot be brought back, because this version cannot read it:\n{problems}"
    )]
    Unreadable {
        /// The one that was asked for.
        revision: i32,
        /// What is wrong with it.
        problems: Problems,
    },
    /// As with any change.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl From<sqlx::Error> for RollbackError {
    fn from(error: sqlx::Error) -> Self {
        Self::Change(error.into())
    }
}

/// Writes an old document as a new revision; nothing where it is in force already, and kept by whom
/// it is to be kept by.
pub async fn rollback(
    pool: &Pool,
    by: &Author<'_>,
    wanted: &Rollback<'_>,
) -> Result<Changed, RollbackError> {
    let mut changing = Changing::begin(pool, by, CHANGE_TIMEOUT).await?;
    let Rollback {
        owner, name, to, ..
    } = *wanted;
    let Some(old) = revision(changing.connection(), owner, name, to).await? else {
        return Err(match newest(&mut changing, owner, name).await? {
            Some(newest) => RollbackError::NoRevision { to, newest },
            None => RollbackError::NoPolicy,
        });
    };
    let before = changing.get(owner, name).await?;
    wanted.expected.check(before.as_ref())?;
    let document = old.document.ok_or(RollbackError::IsDeletion(to))?;
    let policy =
        Policy::from_stored(&document, owner).map_err(|problems| RollbackError::Unreadable {
            revision: to,
            problems,
        })?;
    let document = policy.to_json();
    let managed_by = keeper(&mut changing, wanted, before.as_ref()).await?;
    if let Some(before) = &before
        && before.document == document
        && before.managed_by == managed_by
    {
        return Ok(Changed::unchanged(before.clone()));
    }
    let write = Write {
        owner,
        name,
        document,
        text_work: policy.text_work(),
        managed_by: &managed_by,
        restored_from: Some(to),
    };
    let changed = changing.write(write, before).await?;
    changing.commit().await?;
    Ok(changed)
}

async fn newest(
    changing: &mut Changing<'_>,
    owner: &Owner,
    name: &str,
) -> Result<Option<i32>, sqlx::Error> {
    sqlx::query_scalar!(
        "select max(revision) from policy_revision
         where name = $1 and owner is not distinct from $2",
        name,
        owner.as_str(),
    )
    .fetch_one(changing.connection())
    .await
}

async fn keeper(
    changing: &mut Changing<'_>,
    wanted: &Rollback<'_>,
    before: Option<&PolicyRecord>,
) -> Result<String, sqlx::Error> {
    if let Some(managed_by) = wanted.managed_by {
        return Ok(managed_by.as_str().to_owned());
    }
    if let Some(before) = before {
        return Ok(before.managed_by.clone());
    }
    // Not of the deletion: a policy of files that a request removed is still one of files.
    sqlx::query_scalar!(
        "select managed_by from policy_revision
         where name = $1 and owner is not distinct from $2 and change <> 'delete'
         order by revision desc limit 1",
        wanted.name,
        wanted.owner.as_str(),
    )
    .fetch_one(changing.connection())
    .await
}
