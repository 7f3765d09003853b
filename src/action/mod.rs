//! The action path: authorize, write the intent, call LiveKit, write the outcome.
//!
//! *Architecture invariant:* nothing else changes anything in LiveKit. LiveKit's client consumes an
//! [`crate::ledger::Intent`], which only `Ledger::begin` makes, out of a permit that only
//! `access::authorize` makes. [`fetch`] makes the same check before it shows somebody a live room.

mod manual;
mod refusals;
mod run;
mod view;

pub use manual::{ManualMute, ManualMuteError, MutedByHand, mute_by_hand, record_untried};
pub use refusals::Refusals;
pub(crate) use run::Acted;
pub use run::{ActionError, ActionRequest, ActionRunner, Cause, Correlation, TrackState};
pub use view::{AuthorizedView, LookupError, Query, TrackQuery, fetch};
