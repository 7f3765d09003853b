//! LiveKit: what it tells us (signed webhooks) and what we ask of it (its `RoomService`).

mod answer;
pub mod event;
pub(crate) mod facts;
mod rate;
mod room;
mod rooms;
pub mod signature;
mod twirp;

pub use answer::Oversized;
pub use rate::{RateLimit, Urgency};
pub use room::{LiveKit, LiveRoom, MutedTrack};
pub use rooms::Rooms;
pub use twirp::{LiveKitError, LiveKitSetupError};

/// What is wrong where there is no LiveKit to ask, and what to do.
pub(crate) const NOT_CONFIGURED: &str =
    "LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET";
