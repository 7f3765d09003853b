//! Policies: facts of one track go in, a decision comes out; nothing here does IO or reads a clock.
//!
//! ```text
//! YAML, JSON --document--> Policy --compile--> CompiledPolicy --set--> PolicySet
//!                                                                          |
//!                                     Facts, now ------------evaluate-> Decision
//! ```
//!
//! A decision is [`decide`]: `set` looks up by `index` which policies may be about the track, each
//! [`CompiledPolicy`] answers ([`CompiledPolicy::ask`]), and `evaluate` ranks those that apply.
//!
//! The modules from the bottom up; each uses only those above it in this list:
//!
//! | module | what it holds |
//! |---|---|
//! | `limits` | what documents may hold at most |
//! | `tri` | true, false, unknown |
//! | `diagnostic` | what is wrong with one text or key, without its place |
//! | `invisible` | characters that nobody sees |
//! | `owner` | the operator or a tenant, and what names a policy |
//! | `glob` | `*`, `?`, `[ ]`, `{ }` |
//! | `problem` | what is wrong with a document, with its place |
//! | `terminal` | text of others, cut, quoted, without control characters |
//! | `metadata` | JSON of rooms and participants, read leniently |
//! | `lookalike` | texts that look like a glob or a regular expression |
//! | `facts` | what is known of a track |
//! | `keys` | the keys of maps, and what a wrong key was meant to be |
//! | `node` | a document as a tree |
//! | `schema` | the parts of JSON Schemas |
//! | `reader` | reads maps, lists, words and texts from a tree, and collects problems |
//! | `given` | facts as people give them, read strictly |
//! | `yaml`, `json` | YAML and JSON to a tree |
//! | `reads` | which facts a policy reads |
//! | `text` | texts that conditions read whole |
//! | `expression` | `when`: a condition in CEL |
//! | `window` | `active`, `not_before`, `not_after`, `first` |
//! | `policy` | [`Policy`], the type that the others work on |
//! | `lint` | what a policy allows and probably does not mean |
//! | `read` | a tree to a [`Policy`] |
//! | `document` | YAML and JSON to policies, and back |
//! | `compile` | [`CompiledPolicy`], which answers for one track |
//! | `index`, `set` | all policies, looked up by room, identity, attribute or source |
//! | `evaluate` | the decision |
//! | `clause`, `explain` | why it is what it is |
//! | `case` | tests of policies |

pub mod case;
pub mod clause;
pub mod compile;
pub mod diagnostic;
pub mod document;
pub mod evaluate;
pub mod explain;
pub mod expression;
pub mod facts;
pub mod given;
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
pub mod text;
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
pub use compile::{CompiledPolicy, PolicyAnswer, PolicyRef};
pub use document::{Checked, Document};
pub use evaluate::{Candidate, Decision, Exempted, Verdict, decide, decide_inline};
pub use explain::{Explained, Explanation, PolicyOutcome, explain, explain_to};
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
pub use text::TextWork;
pub use tri::Tri;
pub use window::{Length, Schedule, Window};
