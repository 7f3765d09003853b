//! Access control: on whose authority something is done to a room, and what a viewer may see.
//!
//! ```text
//! Principal --authority--> authorize(verb, room) --> Permit | Denied
//!     '------viewer------> may_read(policy), may_know_of(policy), may_see_room(tenant)
//! ```
//!
//! Knows neither HTTP nor LiveKit.

mod permit;
mod principal;

pub use permit::{Authority, Denied, Permit, Target, Verb, authorize, reaches};
pub use principal::{Principal, Viewer};
