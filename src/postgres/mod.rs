//! The database: found or started, migrated, its service login given its rights, kept up.
//!
//! Two logins. The owner (`QUELL_MIGRATE_DATABASE_URL`) migrates; the service (`DATABASE_URL`)
//! owns nothing and cannot change what is written once. One login may be both.

mod account;
mod batch;
mod clock;
mod connect;
mod constants;
mod data;
mod database;
mod error;
mod files;
mod limits;
mod listen;
mod local;
mod maintenance;
mod migrate;
mod pool;
mod pooler;
mod process;
mod programs;
mod psql;
mod rights;
#[cfg(test)]
pub(crate) mod test_support;
#[cfg(test)]
mod tests;
mod text;
mod trouble;

pub(crate) use batch::{BatchWrite, Batcher, batches};
pub use clock::PostgresClock;
pub(crate) use connect::{bounded, connect, interval, options, place};
pub(crate) use constants::MAJOR_MIN;
pub(crate) use database::unless;
pub use database::{Database, demo_data_folder};
pub use error::{DatabaseError, LocalPostgresError};
pub(crate) use error::{failed_query, is_about_data};
pub(crate) use limits::statement_limit_ms;
pub(crate) use listen::Listener;
pub use local::LocalPostgres;
pub(crate) use local::Survey;
pub use maintenance::{
    create_partitions, delete_dead_jobs, delete_leases, delete_sweeps, delete_unmutes, drop_events,
};
pub(crate) use migrate::{Schema, schema, server_version};
pub use pool::Pool;
pub(crate) use pool::{Connection, Dedicated, Transaction};
pub(crate) use pooler::Sessions;
pub(crate) use rights::{Auditor, auditor_role, missing_rights};
pub(crate) use text::{json_text, to_pg_key, to_pg_text};
pub(crate) use trouble::{Told, Trouble, is_read_only};
