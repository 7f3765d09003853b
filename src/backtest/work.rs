//! Decides pages of events one after the other, on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::events::Published;
use super::pace::Bounds;
use super::replay::{RecordedFacts, replay};
use super::tally::Tally;
use crate::access::Viewer;
use crate::draft::ComparedSets;
use quell_policy::TenantId;

/// Every this many tracks, a thread checks whether it is cancelled.
pub(super) const CHECK_EVERY_TRACKS: usize = 16;

/// The state that goes from page to page.
pub(super) struct Work {
    pub(super) sets: Arc<ComparedSets>,
    /// Only this tenant's rooms.
    tenant: Option<TenantId>,
    pub(super) tally: Tally,
    pub(super) times: Times,
}

/// Where the time went, without the waiting for Postgres.
#[derive(Debug, Default)]
pub(super) struct Times {
    json: Duration,
    decide: Duration,
    tally: Duration,
}

impl Work {
    pub(super) fn new(
        sets: ComparedSets,
        tenant: Option<TenantId>,
        viewer: Viewer,
        samples_max: usize,
    ) -> Self {
        Self {
            sets: Arc::new(sets),
            tenant,
            tally: Tally::new(samples_max, viewer),
            times: Times::default(),
        }
    }

    /// Decides these tracks, which are in the order of their time, and returns how long it took.
    ///
    /// Where it stops at its deadline, it also returns the time of the first track that is left. Of
    /// tracks with the same time it decides all or none, so that a time is enough to continue from.
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
            if index % CHECK_EVERY_TRACKS == 0 && bounds.cancelled.is_cancelled() {
                break;
            }
            let at = event.created_at;
            if before.is_some_and(|before| before != at) && bounds.is_late() {
                stopped_at = Some(at);
                break;
            }
            before = Some(at);
            let recorded = RecordedFacts::of(event);
            lap(&mut self.times.json);
            let replayed = replay(
                event,
                recorded,
                &self.sets,
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
