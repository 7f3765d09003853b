//! What is needed of a job while it is worked on: the job itself stays with those that are not ended.

use chrono::{DateTime, Utc};
use tracing::Span;

use crate::action::{Cause, Correlation};
use crate::audit::Origin;
use crate::inbox::job::Job;
use crate::ledger::JobLease;
use crate::livekit::event::{Event, EventRoom};
use crate::pipeline::Look;
use crate::traces::{self, Parent};

/// What is needed of the job that is worked on.
pub(super) struct Next {
    pub(super) event: Event,
    pub(super) untried: bool,
    pub(super) own: Option<Look>,
    pub(super) lease: JobLease,
    pub(super) as_of: DateTime<Utc>,
    pub(super) cause: Cause,
    traced: Parent,
}

impl Next {
    pub(super) fn of(job: &mut Job) -> Self {
        Self {
            own: job.look.take(),
            event: Event {
                room: EventRoom {
                    // For this attempt alone.
                    full: job.event.room.full.take(),
                    ..job.event.room.clone()
                },
                ..job.event.clone()
            },
            untried: job.deadline_exceeded,
            lease: job.lease(),
            as_of: job.received_at,
            cause: cause(job),
            traced: job.traced.clone(),
        }
    }

    /// The span to handle it in.
    pub(super) fn span(&self) -> Span {
        traces::job(&self.event.id, self.lease.attempt, &self.traced)
    }
}

/// Why what is done for a job is done.
pub(super) fn cause(job: &Job) -> Cause {
    Cause {
        origin: Origin::Webhook,
        correlation: Correlation::Event(job.event.id.clone()),
        arrived: job.arrived,
    }
}
