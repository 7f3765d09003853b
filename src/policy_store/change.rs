//! Changes policies: creates, replaces and removes them one by one, or all that files say at once.

use std::collections::HashSet;

use serde_json::Value;

use super::author::{Applied, Author, ChangeError, Changed, ExpectedRevision, ManagedBy};
use super::changing::{APPLY_TIMEOUT, CHANGE_TIMEOUT, Changing, Write};
use super::read::{PolicyRecord, newest_revision_id};
use crate::postgres::Pool;
use quell_policy::{Owner, Policy, TextWork};

/// Creates or replaces one policy.
pub async fn put(
    pool: &Pool,
    by: &Author<'_>,
    policy: &Policy,
    managed_by: ManagedBy,
    expected: ExpectedRevision,
) -> Result<Changed, ChangeError> {
    // What can be made before, is: all other changes wait for the lock.
    let new = New::of(policy);
    let mut changing = Changing::begin(pool, by, CHANGE_TIMEOUT).await?;
    let changed = put_in(&mut changing, new, managed_by, expected).await?;
    changing.commit().await?;
    Ok(changed)
}

/// Removes one policy; its revisions stay.
pub async fn delete(
    pool: &Pool,
    by: &Author<'_>,
    owner: &Owner,
    name: &str,
    expected: ExpectedRevision,
) -> Result<Changed, ChangeError> {
    let mut changing = Changing::begin(pool, by, CHANGE_TIMEOUT).await?;
    let before = changing.get(owner, name).await?;
    expected.check(before.as_ref())?;
    let before = before.ok_or(ChangeError::Missing)?;
    let changed = changing.delete(before, ManagedBy::Rest).await?;
    changing.commit().await?;
    Ok(changed)
}

/// Writes all of `policies`, and removes those of the owner `prune` that an earlier apply wrote and that
/// are not among them, in one transaction. With `snapshot`, only where that is still the newest change of all.
pub async fn apply(
    pool: &Pool,
    by: &Author<'_>,
    policies: &[Policy],
    prune: Option<&Owner>,
    snapshot: Option<i64>,
) -> Result<Vec<Applied>, ChangeError> {
    let new: Vec<_> = policies.iter().map(New::of).collect();
    let mut changing = Changing::begin(pool, by, APPLY_TIMEOUT).await?;
    if let Some(snapshot) = snapshot
        && newest_revision_id(&mut *changing.connection()).await? != snapshot
    {
        return Err(ChangeError::PlanStale);
    }
    let mut applied = Vec::new();
    for new in new {
        let changed = put_in(
            &mut changing,
            new,
            ManagedBy::Apply,
            ExpectedRevision::Anything,
        )
        .await?;
        applied.push(line(&changed));
    }
    if let Some(owner) = prune {
        let stored = changing.list(owner).await?;
        for stored in left_out(stored, policies) {
            let changed = changing.delete(stored, ManagedBy::Apply).await?;
            applied.push(line(&changed));
        }
    }
    changing.commit().await?;
    Ok(applied)
}

/// The policies that an earlier apply wrote and that are not among `policies`.
pub(super) fn left_out(
    stored: Vec<PolicyRecord>,
    policies: &[Policy],
) -> impl Iterator<Item = PolicyRecord> {
    let kept: HashSet<_> = policies.iter().map(Policy::key).collect();
    stored.into_iter().filter(move |stored| {
        stored.managed_by == ManagedBy::Apply.as_str() && !kept.contains(&stored.key())
    })
}

/// Whether writing this document would change nothing.
pub(super) fn is_same(before: &PolicyRecord, document: &Value, managed_by: ManagedBy) -> bool {
    before.document == *document && before.managed_by == managed_by.as_str()
}

/// A policy as it is to be stored.
struct New<'a> {
    policy: &'a Policy,
    document: Value,
    text_work: TextWork,
}

impl<'a> New<'a> {
    fn of(policy: &'a Policy) -> Self {
        Self {
            policy,
            document: policy.to_json(),
            text_work: policy.text_work(),
        }
    }
}

async fn put_in(
    changing: &mut Changing<'_>,
    new: New<'_>,
    managed_by: ManagedBy,
    expected: ExpectedRevision,
) -> Result<Changed, ChangeError> {
    let New {
        policy,
        document,
        text_work,
    } = new;
    let owner = &policy.owner;
    let before = changing.get(owner, &policy.name).await?;
    expected.check(before.as_ref())?;
    if let Some(before) = &before
        && is_same(before, &document, managed_by)
    {
        return Ok(Changed::unchanged(before.clone()));
    }
    let write = Write {
        owner,
        name: &policy.name,
        document,
        text_work,
        managed_by: managed_by.as_str(),
        restored_from: None,
    };
    changing.write(write, before).await
}

fn line(changed: &Changed) -> Applied {
    Applied {
        key: changed.policy.key(),
        revision: changed.policy.revision,
        outcome: changed.outcome,
    }
}
