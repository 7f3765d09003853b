//! quell against real parts: Postgres and the LiveKit double.
//!
//! `QUELL_TEST_DATABASE_URL` names a Postgres in which databases may be made: `make test` starts
//! one. Every test has a database, a LiveKit double and a quell of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod auth;
mod auth_service;
mod automatic;
mod manual;
mod manual_access;
mod manual_body;
mod manual_trouble;
mod support;
mod webhooks;
mod webhooks_odd;
mod webhooks_refused;
