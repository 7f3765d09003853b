//! Why a track is muted or not: by given facts, by a stored event, or by who is in a room now.
//!
//! ```text
//! facts as given ---------------------------------+
//! event id -> what is recorded of the event ------+-> TrackQuestion --explain--> TrackAnswer
//! room, participant -> action::fetch -> LiveKit --+        ^
//!                       policies in force now, then, or of files
//! ```
//!
//! Nothing is muted and nothing is written. A tenant is answered only for its own rooms, and learns of
//! others' policies only what its audit shows.

mod answer;
mod compare;
mod error;
mod event;
mod explainer;
mod given;
mod live;
mod question;
mod recorded;
mod sources;
mod summary;
#[cfg(test)]
mod tests;
mod track_question;

pub use answer::{LiveReply, Reply, TrackAnswer};
pub use error::ExplainError;
pub use explainer::Explainer;
pub(crate) use question::PARSER_MESSAGE_CHARS_MAX;
pub use question::{PolicySource, Question, Subject};
pub(crate) use recorded::recorded;
pub use recorded::{Recorded, RecordedDecision, Verdicts};
pub use sources::{FactSource, Provenance};
