//! What both the code and its messages name.

use std::time::Duration;

/// The oldest major version that the schema works on (`unique nulls not distinct`).
pub(crate) const MAJOR_MIN: u32 = 15;
/// The administrator of the machine's own Postgres.
pub(super) const SUPERUSER: &str = "postgres";
/// How long another quell that makes a data folder and starts Postgres may hold the folder's lock.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_mins(4);
/// Held while rights are given: two at once fail on the same rows of Postgres's catalog.
pub(super) const GRANT_LOCK: i64 = 0x7175_656c_6c02;
