//! The inbox: webhooks are committed here before they are answered; workers handle them afterwards.
//!
//! ```text
//! webhook -> accept (event and job, one commit) -> queue -> worker: look, pipeline -> ledger (settled)
//!                claim (of replicas that are gone, and what found no room) --^
//!                takeover (of duplicates, where another does not begin) -----^
//! ```

mod accept;
mod bytes;
mod claim;
mod event_key;
mod incoming;
mod job;
mod memory;
mod queue;
mod ready;
mod store;
mod takeover;
mod turns;
mod worker;

pub use accept::Inbox;
pub use bytes::{BodyBytes, NoRoom, Reservation};
pub use incoming::{AcceptError, Accepted};
pub use ready::NotReady;
pub use worker::{Worker, WorkerParts};
