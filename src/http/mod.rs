//! The HTTP interface.

pub mod problem;
