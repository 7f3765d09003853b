//! What this version can read of stored policies. An owner with a policy that it cannot read is left at the policies
//! before that, and all others go on.

use std::collections::BTreeMap;

use tokio::task::JoinError;

use super::revisions::before_revisions;
use crate::postgres::Pool;
use crate::threads::spawn_blocking_holding;
use quell_policy::{Owner, StoredPolicy, Unreadable};

/// How far back the policies of an owner are looked for that this version can read.
const HISTORY_MAX: usize = 100;

/// `rows`, where an owner with a policy that cannot be read has those before it, and what cannot be read, one an owner.
/// `hold` is dropped only when every thread has ended.
pub(crate) async fn readable(
    hold: &(impl Clone + Send + 'static),
    pool: &Pool,
    rows: Vec<StoredPolicy>,
) -> Result<(Vec<StoredPolicy>, Vec<Unreadable>), sqlx::Error> {
    let reading = spawn_blocking_holding(hold, move || {
        let mut unreadable = BTreeMap::new();
        for row in &rows {
            if !unreadable.contains_key(&row.key.owner)
                && let Err(error) = row.read()
            {
                unreadable.insert(error.key.owner.clone(), error);
            }
        }
        (rows, unreadable)
    });
    let (mut rows, unreadable) = reading.await.map_err(broken)?;
    for owner in unreadable.keys() {
        let of_owner = rows.extract_if(.., |row| row.key.owner == *owner).collect();
        rows.extend(last_readable(hold, pool, owner, of_owner).await?);
    }
    Ok((rows, unreadable.into_values().collect()))
}

/// The policies of `owner`, which are `rows` now, as they last were when this version could read all of them.
pub(super) async fn last_readable(
    hold: &(impl Clone + Send + 'static),
    pool: &Pool,
    owner: &Owner,
    mut rows: Vec<StoredPolicy>,
) -> Result<Vec<StoredPolicy>, sqlx::Error> {
    for _ in 0..=HISTORY_MAX {
        let reading = spawn_blocking_holding(hold, move || {
            let unreadable = rows.iter().filter_map(|row| row.read().err());
            let unreadable = unreadable.map(|error| (error.key.name, error.revision));
            (unreadable.collect::<Vec<_>>(), rows)
        });
        let (unreadable, read) = reading.await.map_err(broken)?;
        if unreadable.is_empty() {
            return Ok(read);
        }
        rows = before_revisions(pool, owner, &unreadable).await?;
    }
    tracing::error!(
        ?owner,
        "no policies of this owner are in force: none of its last {HISTORY_MAX} states can be read by this version"
    );
    Ok(Vec::new())
}

pub(super) fn broken(error: JoinError) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other(error))
}
