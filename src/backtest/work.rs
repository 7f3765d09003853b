//! Decides page after page, until all is done or it is enough.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Pace;
use super::draft::Sides;
use super::events::Published;
use super::replay::{Known, replay};
use super::tally::Tally;
use crate::access::Viewer;
use quell_policy::TenantId;

/// After so many tracks a thread looks whether anybody still wants to know.
pub(super) const LOOK_EVERY_TRACKS: usize = 16;

/// What goes from page to page.
pub(super) struct Work {
    pub(super) sides: Arc<Sides>,
    /// In this tenant's rooms only.
    tenant: Option<TenantId>,
    pub(super) tally: Tally,
    pub(super) times: Times,
}

/// Where the time went, beside waiting for Postgres.
#[derive(Debug, Default)]
pub(super) struct Times {
    json: Duration,
    decide: Duration,
    tally: Duration,
}

impl Work {
    pub(super) fn new(
        sides: Sides,
        tenant: Option<TenantId>,
        viewer: Viewer,
        samples_max: usize,
    ) -> Self {
        Self {
            sides: Arc::new(sides),
            tenant,
            tally: Tally::new(samples_max, viewer),
            times: Times::default(),
        }
    }

    /// Decides these tracks, which are in the order of their time; also says how long it took.
    ///
    /// Where it stops for its deadline, it says at which time the first track is that is left. All
    /// tracks of one second are done, or none of them: from a time, anybody can go on.
    pub(super) fn decide(
        mut self,
        tracks: &[Published],
        bounds: &Bounds,
    ) -> (Self, Option<DateTime<Utc>>, Duration) {
        let page_begun = Instant::now();
        let mut begun = page_begun;
        let mut lap = |sum: &mut Duration| {
            let now = Instant::now();
            *sum += now - begun;
            begun = now;
        };
        let mut before = None;
        let mut stopped_at = None;
        for (index, event) in tracks.iter().enumerate() {
            if index % LOOK_EVERY_TRACKS == 0 && bounds.cancelled.is_cancelled() {
                break;
            }
            let at = event.created_at;
            if before.is_some_and(|before| before != at) && bounds.is_late() {
                stopped_at = Some(at);
                break;
            }
            before = Some(at);
            let known = Known::of(event);
            lap(&mut self.times.json);
            let replayed = replay(
                event,
                known,
                &self.sides,
                self.tenant.as_ref(),
                self.tally.viewer(),
            );
            lap(&mut self.times.decide);
            self.tally.add(event, &replayed);
            drop(replayed);
            lap(&mut self.times.tally);
        }
        (self, stopped_at, page_begun.elapsed())
    }
}

/// When a thread stops before its end.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    /// Nobody waits for it.
    pub(super) cancelled: CancellationToken,
    /// It is enough.
    pub(super) deadline: Option<Instant>,
}

impl Bounds {
    /// What threads look at, and what tells them when it is dropped.
    pub(super) fn new(pace: Pace, begun: Instant) -> (Self, DropGuard) {
        let cancelled = CancellationToken::new();
        let told = cancelled.clone().drop_guard();
        let deadline = pace.time_max().map(|time_max| begun + time_max);
        let bounds = Self {
            cancelled,
            deadline,
        };
        (bounds, told)
    }

    pub(super) fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }
}
