//! Tests of policies: a file of cases, each some facts and what is expected to come of them.
//!
//! ```text
//! webinar.test.yaml --read--> CaseFile --run(policies)--> Report: passed, or what differs and why
//! ```
//!
//! Which files there are, and which policies a file of cases is about, is for the command line.

mod facts;
mod names;
mod read;
mod report;
mod run;
mod schema;
mod why;

use chrono::{DateTime, Utc};

use super::facts::Facts;
use super::node::Place;

pub use report::{CaseResult, Difference, Failure, Report};
pub use schema::json_schema;

/// A file may hold this many cases.
pub const CASES_MAX: usize = 1_000;
/// The time of a case that names none, in Unix seconds: 2026-01-05T12:00:00Z, a Monday.
pub const AT_DEFAULT_UNIX_SECS: i64 = 1_767_614_400;

/// A file of cases, checked. What its expectations name is looked up when it is run.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// Its name, for reports.
    pub file: String,
    /// The policy files that it is about, relative to its folder; none for the one beside it.
    pub policies: Vec<String>,
    /// The cases, in their order.
    pub cases: Vec<Case>,
}

/// Some facts at some time, and what is expected to come of them.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows, unique in its file.
    pub name: String,
    /// The defaults and its own facts; what neither gives is unknown.
    pub facts: Facts,
    /// When.
    pub at: DateTime<Utc>,
    expect: Expected<Name>,
    dry_run: Option<Expected<Name>>,
    place: Place,
}

/// An outcome that a case asks for: with the names of policies, or with those policies themselves.
#[derive(Debug, Clone, Copy)]
enum Expected<P> {
    Nothing,
    Indeterminate,
    /// By this policy.
    Mute(P),
    /// By this exemption.
    ExemptedBy(P),
}

impl<P> Expected<P> {
    /// The policy that it names.
    fn policy(self) -> Option<P> {
        match self {
            Self::Mute(policy) | Self::ExemptedBy(policy) => Some(policy),
            Self::Nothing | Self::Indeterminate => None,
        }
    }
}

/// A policy's name as a case writes it, and where.
#[derive(Debug, Clone)]
struct Name {
    text: String,
    place: Place,
    path: String,
}
