//! Stored policies: how they change in Postgres, and how every replica takes a change.
//!
//! ```text
//! apply, rollback, REST -> one transaction: policy, policy_revision, audit_log -> NOTIFY -> every replica's snapshot
//! ```

mod author;
mod change;
mod changing;
mod fields;
mod live;
mod owner;
mod plan;
mod read;
mod readable;
mod revisions;
mod rollback;
mod text_work;

pub use author::{
    Applied, Author, ChangeError, ChangeOutcome, Changed, ExpectedRevision, ManagedBy,
};
pub use change::{apply, delete, put};
pub use fields::{FieldChange, changed_fields};
pub use live::Policies;
pub(crate) use owner::PgOwner;
pub use plan::{Planned, plan};
pub use read::{
    ALL_POLICIES_TIMEOUT, After, PolicyPage, PolicyRecord, StoreError, get, list, page,
};
pub(crate) use read::{everything, newest_revision_id};
pub(crate) use readable::readable;
pub use revisions::{
    At, PAGE_MAX, Revision, RevisionPage, Seeing, as_of, history, latest, revision, snapshot_at,
};
pub use rollback::{Rollback, RollbackError, rollback};
