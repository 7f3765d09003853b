//! quell keeps LiveKit rooms quiet by policy.

pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod http;
pub mod inbox;
pub mod livekit;
pub mod metrics;
pub mod mute;
pub mod policy;
pub mod policy_store;
pub mod postgres;
pub mod simulator;

#[cfg(test)]
mod test_data;

/// Installs the process's TLS provider; safe to call again.
///
/// reqwest and sqlx are built without a default one, so that the choice is made once, here.
pub fn install_crypto() {
    // Err means that one is installed already, which is all that is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}
