//! The mute path: authorize, write the intent, call LiveKit, write the outcome.
//!
//! *Architecture invariant:* nothing else reaches LiveKit's mute call. The call consumes a
//! [`Permit`], and only `permit::authorize` can build one. To look at a live room on somebody's
//! behalf takes the same check ([`look`]).

mod lease;
mod manual;
mod permit;
mod run;
mod sight;

pub use manual::{ManualMute, ManualMuteError, mute_by_hand, record_untried};
pub use permit::{Authority, Denied, Permit};
pub use run::{Action, MuteError, Muter, TrackState};
pub use sight::{Sight, Target, Unseen, look};
