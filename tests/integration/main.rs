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

mod apply;
mod audit;
mod audit_cli;
mod audit_cookbook;
mod audit_readers;
mod audit_rest;
mod audit_stream;
mod auth;
mod auth_service;
mod automatic;
mod automatic_backlog;
mod automatic_ends;
mod automatic_laws;
mod automatic_lookups;
mod automatic_people;
mod automatic_replicas;
mod automatic_rules;
mod automatic_shared;
mod automatic_takeover;
mod automatic_trouble;
mod backtest;
mod backtest_admission;
mod backtest_cli;
mod backtest_pages;
mod connections;
mod crashes;
mod database_trouble;
mod explain;
mod explain_access;
mod explain_cli;
mod explain_live;
mod explain_refused;
mod full_rooms;
mod log;
mod maintenance;
mod manual;
mod manual_access;
mod manual_body;
mod manual_trouble;
mod mute_by_source;
mod own_postgres;
mod people;
mod pipeline;
mod plans;
mod policies;
mod policies_hostile;
mod policies_limits;
mod policies_live;
mod policies_reload;
mod policy_folders;
mod policy_history;
mod policy_revisions;
mod policy_rollback;
mod policy_tests;
mod programs;
mod rooms;
mod side_by_side;
mod slow_link;
mod strangers;
mod support;
mod sweep_causes;
mod sweep_cli;
mod sweep_rows;
mod sweep_ticks;
mod sweeps;
mod text_work;
mod webhooks;
mod webhooks_odd;
mod webhooks_refused;
