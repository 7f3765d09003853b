//! Says what `apply` would do, and does nothing.

use super::author::{ChangeOutcome, ManagedBy};
use super::change::{is_same, left_out};
use super::read::{PolicyRecord, list};
use quell_policy::{Owner, Policy};

use std::collections::HashMap;

/// What `apply` would do with one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<'a> {
    /// What it would come to.
    pub outcome: ChangeOutcome,
    /// What is stored now; none where it would be created.
    pub stored: Option<PolicyRecord>,
    /// What would be; none where it would be deleted.
    pub policy: Option<&'a Policy>,
}

/// What `apply` would do with `policies`, in its order.
pub async fn plan<'a>(
    db: impl sqlx::PgExecutor<'_>,
    policies: &'a [Policy],
    prune: Option<&Owner>,
) -> Result<Vec<Planned<'a>>, sqlx::Error> {
    let stored = list(db, None).await?;
    Ok(compare(stored, policies, prune))
}

fn compare<'a>(
    stored: Vec<PolicyRecord>,
    policies: &'a [Policy],
    prune: Option<&Owner>,
) -> Vec<Planned<'a>> {
    let by_key: HashMap<_, _> = stored.iter().map(|stored| (stored.key(), stored)).collect();
    let mut planned: Vec<_> = policies
        .iter()
        .map(|policy| {
            let stored = by_key.get(&policy.key()).copied();
            Planned {
                outcome: match stored {
                    None => ChangeOutcome::Created,
                    Some(stored) if is_same(stored, &policy.to_json(), ManagedBy::Apply) => {
                        ChangeOutcome::Unchanged
                    }
                    Some(_) => ChangeOutcome::Updated,
                },
                stored: stored.cloned(),
                policy: Some(policy),
            }
        })
        .collect();
    if let Some(owner) = prune {
        let theirs = stored.into_iter().filter(|stored| stored.owner == *owner);
        planned.extend(left_out(theirs.collect(), policies).map(|stored| Planned {
            outcome: ChangeOutcome::Deleted,
            stored: Some(stored),
            policy: None,
        }));
    }
    planned
}
