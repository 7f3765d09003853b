//! The machine's own Postgres: found, started as a child on a socket only we can reach, stopped.
//!
//! The data stays between runs. One that runs on the data folder already is used and left alone.

mod cluster;
mod instance;
mod note;
mod patience;
mod place;
mod supervisor;
mod survey;
#[cfg(test)]
mod tests;

pub use cluster::LocalPostgres;
pub(super) use supervisor::{Limit, Supervised};
pub(crate) use survey::Survey;
