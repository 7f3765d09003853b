//! Policies: facts of one track go in, a decision comes out; nothing here does IO or reads a clock.
//!
//! ```text
//! YAML, JSON --document--> Policy --compile--> CompiledPolicy --set--> PolicySet
//!                                                                          |
//!                                     Facts, now ------------evaluate-> Decision
//! ```

pub mod compile;
pub mod document;
pub mod evaluate;
pub mod facts;
pub mod glob;
pub mod problem;
pub mod set;
pub mod tri;
pub mod window;

mod node;
mod read;
mod reader;
#[cfg(test)]
mod tests;
mod warn;

pub use compile::{Answer, CompiledPolicy, Needs, PolicyKey};
pub use document::{Checked, Document, Effect, Match, Mode, Policy};
pub use evaluate::{Candidate, Decision, PolicyRef, Spared, Verdict, decide};
pub use facts::{
    EventFacts, Fact, Facts, Kind, ParticipantFacts, RoomFacts, Source, TrackFacts, TrackType,
};
pub use problem::{Problem, Problems};
pub use set::{PolicySet, StoredPolicy, Unreadable};
pub use tri::Tri;
pub use window::{Length, Schedule, Window};
