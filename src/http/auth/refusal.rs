//! A 401: why, as a word for the metric and as a text for the caller.

use std::fmt;

use super::super::problem::Problem;
use crate::metrics::AuthFailure;

/// A 401, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub(super) reason: AuthFailure,
    pub(super) text: &'static str,
}

impl Refusal {
    pub(in crate::http) const fn new(reason: AuthFailure, text: &'static str) -> Self {
        Self { reason, text }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::unauthorized(refusal.reason, refusal.text)
    }
}
