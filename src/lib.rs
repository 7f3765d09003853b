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
//! The modules, in the order in which to read them: [`http`] has every route on one page;
//! [`inbox`] commits webhooks and works them off; [`quell_policy`] decides, pure; [`mute`] is the one
//! path to `LiveKit`'s mute; [`audit`] writes down what was wanted and what came of it.
//! [`explain`] says why; [`livekit`] reads webhooks and calls `LiveKit`, [`policy_store`] keeps the
//! policies, [`postgres`] the database; [`app`] puts them together; [`livekit_double`] is a `LiveKit` to test with.

pub mod http;
pub mod inbox;

pub mod mute;

pub mod backtest;

pub mod audit;

pub mod explain;
pub mod livekit;
pub mod policy_store;
pub mod postgres;

pub mod app;
mod caller_id;
pub mod cli;
pub mod config;
mod maintenance;
pub mod metrics;
mod supervisor;
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
