//! quell keeps `LiveKit` rooms quiet by policy.
//!
//! ```text
//! LiveKit --webhook--> http --> inbox (Postgres, committed) --200--> LiveKit
//!                                 |
//!                              pipeline: facts -> decide (quell_policy) -> action
//! REST caller --> http ---------------------------------------------------> action
//!
//! action:  access (permit) -> ledger (intent) -> livekit -> ledger (outcome)
//! ```
//!
//! The modules, in the order in which to read them. Each uses those below it, and none above.
//!
//! - [`cli`] is the command line: `quell serve`, `quell policy` and the others.
//! - [`server`] starts everything, stops being ready when a part ends, and drains.
//! - `maintenance` has every chore that runs from time to time on one page.
//! - [`http`] has every route on one page. A webhook arrives in `http::webhook`.
//! - [`inbox`] commits webhooks; its workers hand each new track to the pipeline.
//! - [`plan`] says what a draft of policies would do to live tracks.
//! - `engine` is what acts on tracks in one process: for the server, and for `quell sweep`.
//! - [`sweep`] looks at all live tracks, for what no webhook tells.
//! - [`pipeline`] is the one way of every track that is seen: facts, decision, action, result.
//! - [`explain`] says why a track is muted or not.
//! - [`backtest`] tries a draft of policies on stored events.
//! - [`draft`] puts a draft over the stored policies.
//! - [`action`] is the one path to a change in `LiveKit`, for people and policies alike.
//! - [`livekit`] reads and verifies webhooks, makes facts, and calls `LiveKit`.
//! - [`policy_store`] keeps the policies and their revisions, and the snapshot that is in force.
//! - [`ledger`] writes an action's intent before the call, its outcome after it, and how a job ended.
//! - [`audit`] is the log of actions: its words, and rows of what never reached `LiveKit`.
//! - [`access`] authorizes every action, and says what a viewer may see.
//! - [`postgres`] connects to the database, migrates it, and runs one on this machine.
//! - [`metrics`] counts and times; `traces` makes spans for OpenTelemetry; [`config`] reads the environment, all of it.
//! - [`quell_clock`], a crate of its own, is the time that the program and the double share.
//! - `replica` is this process's heartbeat, `supervisor` watches over tasks, `threads` keeps long work off the async threads, `open_files` says how
//!   many connections clients may have, `service_manager` is what systemd is told, `cell_rate` is a rate with bursts, `fail_point` lets tests crash a process, `caller_id` says what can be a caller's id.
//! - [`quell_policy`], a crate of its own, evaluates policies: [`quell_policy::decide`] is pure.
//! - [`livekit_double`], a crate of its own, is a `LiveKit` to test with.

pub mod cli;
pub mod server;

mod maintenance;

pub mod http;
pub mod inbox;

pub mod plan;
pub mod rooms;

mod engine;
pub mod sweep;

pub mod pipeline;

pub mod explain;

pub mod backtest;

pub mod draft;

pub mod action;
pub mod livekit;
pub mod policy_store;

pub mod ledger;

pub mod audit;

pub mod access;
pub mod postgres;

pub mod metrics;
mod traces;

pub mod config;

mod caller_id;
mod cell_rate;
mod fail_point;
mod open_files;
mod replica;
mod service_manager;
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
