//! quell keeps `LiveKit` rooms quiet by policy.
//!
//! ```text
//! LiveKit --webhook--> http --> inbox (Postgres, committed) --200--> LiveKit
//!                                 |
//!                              pipeline: facts -> decide (quell_policy) -> action
//! REST caller --> http ---------------------------------------------------> action
//!
//! action:  access (permit) -> audit (intent) -> livekit -> audit (outcome)
//! ```
//!
//! The modules, in the order in which to read them. Each knows those below it, and none above.

/// Starts, supervises and drains the parts of a server.
pub mod server;

/// Every route on one page: webhooks, mutes, policies, explanations, backtests.
pub mod http;

/// A webhook arrives: its event is committed, and worked off by the pipeline.
pub mod inbox;

/// One way for every track that is seen: facts, decision, action, result.
pub mod pipeline;

/// Why a decision is as it is.
pub mod explain;

/// What a draft of policies would have decided on stored events.
pub mod backtest;

/// An action on a track: authorized, written down, done, written down.
pub mod action;

/// What `LiveKit` tells (webhooks, facts) and what it is asked to do.
pub mod livekit;

/// The stored policies, their history, and the snapshot that is in force.
pub mod policy_store;

/// The audit log: intents before LiveKit is called, outcomes after.
pub mod audit;

/// Access control: permits, authorities, and what a viewer may see.
pub mod access;

/// The database: one bounded pool, migrations, rights, the machine's own Postgres.
pub mod postgres;

/// What runs from time to time, on one page.
mod maintenance;

/// Watches over tasks that run for as long as the server does.
mod supervisor;

/// The command line; one file a command.
pub mod cli;

/// The only reader of the environment.
pub mod config;

/// Counters and durations, for `/metrics`.
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
