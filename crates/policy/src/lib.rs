//! Policies: facts of one track go in, a decision comes out; nothing here does IO or reads a clock.
//!
//! ```text
//! YAML, JSON --document--> Policy --compile--> CompiledPolicy --set--> PolicySet
//!                                                                          |
//!                                     Facts, now ------------evaluate-> Decision
//! ```

pub mod case;
pub mod clause;
pub mod compile;
pub mod diagnostic;
pub mod document;
pub mod evaluate;
pub mod explain;
pub mod expression;
pub mod facts;
pub mod glob;
pub mod json;
pub mod limits;
pub mod metadata;
pub mod node;
pub mod owner;
pub mod policy;
pub mod problem;
pub mod reads;
pub mod set;
pub mod terminal;
pub mod tri;
pub mod window;

mod index;
mod invisible;
mod keys;
mod lint;
mod lookalike;
mod read;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod yaml;

pub use clause::Clause;
pub use compile::{Answer, CompiledPolicy, PolicyRef};
pub use document::{Checked, Document};
pub use evaluate::{Candidate, Decision, Exempted, Verdict, decide};
pub use explain::{Explained, Explanation, Part, explain, explain_to};
pub use expression::{Expression, ExpressionProblem};
pub use facts::{
    EventFacts, Fact, Facts, Kind, KindDetail, ParticipantFacts, RoomFacts, Source, TrackFacts,
    TrackType,
};
pub use owner::{Owner, PolicyKey, TenantId, TenantIdError};
pub use policy::{Effect, Match, Mode, Policy};
pub use problem::{Problem, Problems};
pub use reads::Reads;
pub use set::{Change, PolicySet, StoredPolicy, Unreadable};
pub use tri::Tri;
pub use window::{Length, Schedule, Window};
