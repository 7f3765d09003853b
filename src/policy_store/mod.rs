//! Stored policies: how they change in Postgres, and how every replica takes a change.
//!
//! ```text
//! apply, REST -> one transaction: policy, policy_revision, audit_log -> NOTIFY -> every replica's snapshot
//! ```

mod change;
mod live;
mod read;

pub use change::{
    Applied, Author, ChangeError, Changed, Expected, ManagedBy, Outcome, Prune, apply, delete, put,
};
pub use live::Policies;
pub use read::{OwnerFilter, StoreError, Stored, get, list};
