//! The inbox: webhooks are committed here before they are answered; workers handle them afterwards.
//!
//! ```text
//! webhook -> accept (event and job, one commit) -> queue -> worker: look, pipeline -> ledger (settled)
//!                                  claim (others' and what found no room) --^
//! ```

mod accept;
mod bytes;
mod claim;
mod job;
mod queue;
mod tenants;
mod worker;

pub use accept::{AcceptError, Accepted, Inbox, InboxSettings};
pub use bytes::Reservation;
pub use worker::{Worker, WorkerParts};
