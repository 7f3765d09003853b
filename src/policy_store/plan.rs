//! Says what `apply` would do, and does nothing.

use super::change::{ManagedBy, Outcome, Prune, is_same, left_out};
use super::read::{OwnerFilter, Stored, list};
use quell_policy::Policy;

use std::collections::HashMap;

/// What `apply` would do with one policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned<'a> {
    /// What it would come to.
    pub outcome: Outcome,
    /// What is stored now; none where it would be created.
    pub stored: Option<Stored>,
    /// What would be; none where it would be deleted.
    pub policy: Option<&'a Policy>,
}

/// What `apply` would do with `policies`, in its order.
pub async fn plan<'a>(
    db: impl sqlx::PgExecutor<'_>,
    policies: &'a [Policy],
    prune: Prune<'_>,
) -> Result<Vec<Planned<'a>>, sqlx::Error> {
    let stored = list(db, OwnerFilter::All).await?;
    Ok(compare(stored, policies, prune))
}

fn compare<'a>(stored: Vec<Stored>, policies: &'a [Policy], prune: Prune<'_>) -> Vec<Planned<'a>> {
    let by_key: HashMap<_, _> = stored
        .iter()
        .map(|stored| ((stored.owner.as_deref(), stored.name.as_str()), stored))
        .collect();
    let mut planned: Vec<_> = policies
        .iter()
        .map(|policy| {
            let key = (policy.owner.as_deref(), policy.name.as_str());
            let stored = by_key.get(&key).copied();
            Planned {
                outcome: match stored {
                    None => Outcome::Created,
                    Some(stored) if is_same(stored, &policy.to_json(), ManagedBy::Apply) => {
                        Outcome::Unchanged
                    }
                    Some(_) => Outcome::Updated,
                },
                stored: stored.cloned(),
                policy: Some(policy),
            }
        })
        .collect();
    if let Prune::Owner(owner) = prune {
        let theirs = stored
            .into_iter()
            .filter(|stored| stored.owner.as_deref() == owner);
        planned.extend(left_out(theirs.collect(), policies).map(|stored| Planned {
            outcome: Outcome::Deleted,
            stored: Some(stored),
            policy: None,
        }));
    }
    planned
}
