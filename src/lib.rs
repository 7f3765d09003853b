//! quell keeps `LiveKit` rooms quiet by policy.
//!
//! ```text
//! LiveKit --webhook--> verify --> inbox (Postgres, committed) --200--> LiveKit
//!                                    |
//!                         worker: facts -> decide -> mute::run(origin = webhook)
//! REST caller --> auth ----------------------> mute::run(origin = manual)
//!
//! mute::run:  authorize -> audit: intent -> LiveKit -> audit: outcome
//! ```
//!
//! The modules, in the order in which to read them:
//!
//! - [`server`] starts everything, stops being ready when a part ends, and drains.
//! - [`http`] has every route on one page. A webhook arrives in `http::webhook`.
//! - [`inbox`] commits webhooks, and its workers decide on each and mute.
//! - [`quell_policy`], a crate of its own, evaluates policies: [`quell_policy::decide`] is pure.
//! - [`mute`] is the one path to `LiveKit`'s mute. `mute::permit` authorizes every action.
//! - [`audit`] records what was intended, and its outcome.
//! - [`policy_store`] keeps the policies and their revisions, and the snapshot that is in force.
//! - [`explain`] says why a track is muted or not.
//! - [`backtest`] tries a draft on stored events.
//! - [`livekit`] reads and verifies webhooks and calls `LiveKit`.
//! - [`postgres`] connects to the database, migrates it, and runs one on this machine.
//! - [`cli`] is the command line: `quell serve`, `quell policy` and the others.
//! - [`config`] reads the environment, all of it.
//! - [`metrics`] counts and times.
//! - `caller_id` says what can be a caller's id, `threads` keeps long work off the async threads.
//! - [`livekit_double`], a crate of its own, is a `LiveKit` to test with.

pub mod server;

pub mod http;

pub mod inbox;

pub mod mute;

pub mod audit;

pub mod policy_store;

pub mod explain;

pub mod backtest;

pub mod livekit;

pub mod postgres;

pub mod cli;

pub mod config;

pub mod metrics;

mod caller_id;
mod threads;

#[cfg(test)]
mod test_data;

/// Installs the process's TLS provider; safe to call again.
///
/// reqwest and sqlx are built without a default one, so that the choice is made once, here.
pub fn install_crypto() {
    // Err means that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}
