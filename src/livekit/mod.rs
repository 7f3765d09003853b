//! LiveKit: what it tells us (signed webhooks) and what we ask of it (its `RoomService`).

pub mod event;
pub(crate) mod facts;
mod room;
mod rooms;
pub mod signature;
mod twirp;

pub use room::{LiveKit, LiveRoom, MutedTrack};
pub use rooms::Rooms;
pub use twirp::{LiveKitError, LiveKitSetupError};
