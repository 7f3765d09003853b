//! How many of each kind of expensive request there may be.

use std::time::Duration;

use super::super::codes::{self, ErrorCode};

/// How many requests a queue takes, and for how long they wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Requests that run at once.
    pub(super) running_max: usize,
    /// Requests that wait beside them, each with its body in memory.
    pub(super) waiting_max: usize,
    /// Requests of one caller, running or waiting.
    pub(super) per_caller_max: usize,
    /// How long a request waits for a slot.
    pub(super) wait_max: Duration,
    /// `Retry-After` of a request that finds no place in the queue.
    pub(super) retry_after_secs: u64,
    /// Of a caller that has as many as it may.
    pub(super) caller_busy: &'static ErrorCode,
    /// Where it is others' requests that are in the way.
    pub(super) others_busy: &'static ErrorCode,
}

/// A backtest decides up to 200,000 tracks, for up to 20 s.
pub(super) const BACKTEST: Limits = Limits {
    running_max: 1,
    waiting_max: 4,
    per_caller_max: 1,
    wait_max: Duration::from_secs(5),
    // Half of the time that a backtest may take.
    retry_after_secs: 10,
    caller_busy: codes::BACKTEST_BUSY,
    others_busy: codes::BACKTESTS_BUSY,
};

/// A plan asks LiveKit for live rooms for up to 20 s, at the rate of sweeps.
pub(super) const PLAN: Limits = Limits {
    running_max: 1,
    waiting_max: 4,
    per_caller_max: 1,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 10,
    caller_busy: codes::PLAN_BUSY,
    others_busy: codes::PLANS_BUSY,
};

/// A list of rooms or of one's participants asks LiveKit for all of them, at the rate of sweeps.
pub(super) const ROOMS: Limits = Limits {
    // No caller takes up more than half of them, each for no longer than others wait.
    running_max: 4,
    waiting_max: 16,
    per_caller_max: 2,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 5,
    caller_busy: codes::ROOMS_BUSY,
    others_busy: codes::ALL_ROOMS_BUSY,
};

/// An explanation evaluates all policies, and for an event it compiles those of its time.
pub(super) const EXPLAIN: Limits = Limits {
    running_max: 2,
    waiting_max: 16,
    per_caller_max: 4,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 5,
    caller_busy: codes::EXPLAIN_BUSY,
    others_busy: codes::EXPLAINS_BUSY,
};

/// A change of policies holds a lock that all other changes of the database wait for.
pub(super) const CHANGE: Limits = Limits {
    running_max: 1,
    waiting_max: 64,
    per_caller_max: 8,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 1,
    caller_busy: codes::CHANGE_BUSY,
    others_busy: codes::CHANGES_BUSY,
};

/// An export reads the audit for as long as it takes.
pub(super) const EXPORT: Limits = Limits {
    running_max: 2,
    waiting_max: 8,
    per_caller_max: 2,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 10,
    caller_busy: codes::EXPORT_BUSY,
    others_busy: codes::EXPORTS_BUSY,
};

/// A stream of the audit looks for more twice a second.
pub(super) const STREAM: Limits = Limits {
    running_max: 64,
    waiting_max: 0,
    per_caller_max: 4,
    wait_max: Duration::from_secs(5),
    retry_after_secs: 5,
    caller_busy: codes::STREAM_BUSY,
    others_busy: codes::STREAMS_BUSY,
};
