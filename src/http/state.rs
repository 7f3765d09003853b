//! What handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::AdmissionQueues;
use super::auth::Authenticator;
use super::caller_limits::CallerLimits;
use crate::action::{ActionRunner, Refusals};
use crate::inbox::{BodyBytes, Inbox};
use crate::livekit::signature::Verifier;
use crate::metrics::Metrics;
use crate::policy_store::Policies;
use crate::postgres::Pool;
use crate::sweep::Sweeper;
use quell_clock::Clock;

/// What handlers share; cheap to clone: every layer and handler of a request does.
#[derive(Debug, Clone)]
pub struct AppState(Arc<AppParts>);

impl AppState {
    /// Shares `parts`.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// All that is shared.
#[derive(Debug)]
pub struct AppParts {
    /// The database.
    pub pool: Pool,
    /// Checks who is calling.
    pub authenticator: Authenticator,
    /// Checks that a webhook is LiveKit's.
    pub verifier: Verifier,
    /// Where webhooks are committed.
    pub inbox: Inbox,
    /// The action path; none where LiveKit is not configured.
    pub runner: Option<ActionRunner>,
    /// Reads live rooms, and sweeps them; none where LiveKit is not configured.
    pub sweeper: Option<Sweeper>,
    /// Cancelled once others shall send nothing more here, while what comes is still served.
    pub leaving: CancellationToken,
    /// The policies in force.
    pub policies: Policies,
    /// Counters and durations, for `/metrics`.
    pub metrics: Metrics,
    /// How long one action may wait for LiveKit.
    pub livekit_timeout: Duration,
    /// Where refused mutes are written down.
    pub refusals: Refusals,
    /// What each caller may ask of the mute endpoint.
    pub mutes: CallerLimits,
    /// What each caller may ask of `/v1`.
    pub requests: CallerLimits,
    /// The room for bodies of callers' requests.
    pub body_bytes: BodyBytes,
    /// The queues of expensive requests.
    pub queues: AdmissionQueues,
    /// The time.
    pub clock: Clock,
    /// Tasks that a drain waits for.
    pub tracker: TaskTracker,
    /// Cancelled when the server begins to drain.
    pub stop: CancellationToken,
    /// Cancelled when a part of the server has ended that must run for as long as the server does.
    pub broken: CancellationToken,
}
