//! A question: about which tracks, for which time, and by which policies.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Messages of parsers are cut here: they may quote all of the input.
pub(crate) const PARSER_MESSAGE_CHARS_MAX: usize = 300;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The tracks.
    pub subject: Subject,
    /// The time to decide for; none is now, or for an event the time of its decision.
    pub at: Option<DateTime<Utc>>,
    /// The policies to decide by; none is `now`, or for an event `then`.
    pub policies: Option<PolicySource>,
}

/// Which tracks a question is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// One track with these facts, in the form in which facts are stored.
    Facts(Value),
    /// The track of the webhook event with this id.
    Event(String),
    /// The tracks of a participant who is in a room now.
    Live {
        /// The room's name.
        room: String,
        /// The participant's identity.
        identity: String,
        /// The SID of the only track to explain; none is all of them.
        track: Option<String>,
    },
}

/// Which policies decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PolicySource {
    /// Those in force now.
    Now,
    /// Those that were in force when the event was decided on, from the stored revisions.
    Then,
    /// Those of files.
    #[serde(skip_deserializing)]
    Files,
}
