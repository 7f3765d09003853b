//! Backtest: stored events are decided again, by what is live and by a draft, and compared.
//!
//! ```text
//! stored policies + draft -> draft: live, draft
//! webhook_event -> events: pages -> replay: decided by both -> tally: counts, samples -> Report
//! ```
//!
//! Nothing is guessed: facts are those that were recorded then, and where a decision hangs on one
//! that was not, the track is counted apart.

mod by_policy;
mod count;
mod draft;
mod events;
mod missing;
mod replay;
mod report;
mod sample;
mod since;
mod spread;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod work;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::JoinError;
use tokio::time::Instant;

use crate::access::Viewer;
use crate::policy_store::list;
use crate::postgres::{Pool, failed_query};
use crate::threads::spawn_blocking_holding;
use events::{Page, Source};
use quell_policy::{Owner, StoredPolicy, TenantId};
use tally::Tally;
use work::{Bounds, Work};

pub use by_policy::{Beside, Deeds, PolicyRow};
pub use count::Counted;
pub use draft::{Change, Changed, Draft, DraftError};
pub use events::{Cursor, CursorError};
pub use missing::MissingFacts;
pub use report::{DraftReport, Report, Truncated, TruncatedBy};
pub use sample::{Sample, SampleRuling, Word};
pub use since::{Range, RangeError, SINCE_DEFAULT};
pub use tally::{Apart, Comparison, Rulings, Shift, Shifts, View};
pub(crate) use text::grouped;

/// So many samples of each kind of change may be asked for.
pub const SAMPLES_MAX: usize = 1_000;
/// So many samples of each kind where nobody says.
pub const SAMPLES_DEFAULT: usize = 10;
/// Events of any kind with each page, at full speed; two pages are held at once.
const PAGE_EVENTS: i64 = 5_000;
/// The same beside a server's other work: some milliseconds of it at a time.
const PAGE_EVENTS_GENTLE: i64 = 1_000;

/// What is asked.
#[derive(Debug)]
pub struct Question {
    /// What is to be tried.
    pub draft: Draft,
    /// Over which time.
    pub range: Range,
    /// Where a report before this one stopped; `range` begins at its time.
    pub after: Option<Cursor>,
    /// In this tenant's rooms only; none is all rooms.
    pub tenant: Option<TenantId>,
    /// Who reads the report: of others' policies a tenant is told the names.
    pub viewer: Viewer,
    /// So many samples of each kind of change.
    pub samples_max: usize,
}

/// How much is taken at once.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// All that there is, as fast as it goes.
    Full,
    /// Half of the time nothing is done, and no more than this is.
    Gentle {
        /// So many tracks, and those of the page that exceeds it.
        tracks_max: u64,
        /// So long, and until the tracks of one second are done. Where a tenant has none, until the
        /// events' next whole hour.
        time_max: Duration,
    },
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// So many tracks were decided.
    pub tracks: u64,
    /// Up to this time.
    pub at: DateTime<Utc>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The draft.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// There is nothing to decide.
    #[error("{0}")]
    NoEvents(String),
    /// The database.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// A bug of ours.
    #[error("the backtest ended by itself: {0}")]
    Broken(#[from] JoinError),
}

/// Replays the events that `question` is about; `progress` is told after each page.
///
/// Dropped, it ends within some tracks. It uses one connection at a time.
pub async fn run(
    pool: &Pool,
    question: Question,
    pace: Pace,
    progress: impl FnMut(Progress),
) -> Result<Report, BacktestError> {
    run_holding((), pool, question, pace, progress).await
}

/// The same; `hold` is not let go of before all work is over, also where nobody waits for it any more.
pub(crate) async fn run_holding(
    hold: impl Clone + Send + 'static,
    pool: &Pool,
    question: Question,
    pace: Pace,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BacktestError> {
    let begun = Instant::now();
    // Threads go on when this is dropped: they are told.
    let (bounds, _told) = Bounds::new(pace, begun);
    let Question {
        draft,
        range,
        after,
        tenant,
        viewer,
        samples_max,
    } = question;
    let stored = stored(pool, tenant.as_ref()).await?;
    let about = tenant.clone();
    let alone = draft.alone;
    // Thousands of policies take a while to compile: not on a thread that webhooks need.
    let compiling = spawn_blocking_holding(&hold, move || draft.over(stored, about.as_ref()));
    let sides = compiling.await??;
    let source = Source {
        pool: pool.clone(),
        range,
        tenant: tenant.clone(),
        page_events: pace.page_events(),
    };
    // When anybody's oldest event was is not for a tenant to know.
    let oldest = match viewer {
        Viewer::Tenant(_) => None,
        Viewer::Operator => source.oldest().await?,
    };
    let mut work = Work::new(sides, tenant.clone(), viewer.clone(), samples_max);
    let is_continued = after.is_some();
    let start = after.unwrap_or_else(|| Cursor::before(range.since));
    let mut events = source.page(&start).await?;
    // When the last track so far was.
    let mut last = None;
    let truncated = loop {
        let Page { tracks, next } = events;
        last = tracks.last().map(|track| track.created_at).or(last);
        let in_time = bounds.clone();
        let deciding = spawn_blocking_holding(&hold, move || work.decide(&tracks, &in_time));
        let (decided, read) = match (pace, &next) {
            (Pace::Full, Some(next)) => {
                let (decided, read) = tokio::join!(deciding, source.page(next));
                (decided?, Some(read?))
            }
            (Pace::Full | Pace::Gentle { .. }, _) => (deciding.await?, None),
        };
        let (stopped_at, page_took);
        (work, stopped_at, page_took) = decided;
        if let Some(at) = stopped_at {
            let (by, next) = (TruncatedBy::Time, Cursor::before(at));
            break Some(Truncated { at, by, next });
        }
        let Some(next) = next else {
            break None;
        };
        let at = next.created_at;
        events = match (pace, read) {
            (_, Some(read)) => read,
            (Pace::Full, None) => source.page(&next).await?,
            (Pace::Gentle { tracks_max, .. }, None) => {
                // None where who goes on from there would come no further.
                if let Some(by) = exceeded(&work.tally, tracks_max, bounds.is_late())
                    && let Some(next) = source.resume(&start, last, &next).await?
                {
                    let at = next.created_at;
                    break Some(Truncated { at, by, next });
                }
                // Half of the time is left to the server's other work.
                let reading = Instant::now();
                let events = source.page(&next).await?;
                tokio::time::sleep(page_took + reading.elapsed()).await;
                events
            }
        };
        progress(Progress {
            tracks: work.tally.tracks(),
            at,
        });
    };
    tracing::debug!(tracks = work.tally.tracks(), took = ?begun.elapsed(), times = ?work.times, "a backtest ended");
    let asked = report::Asked {
        range,
        tenant,
        viewer,
        alone,
        oldest,
        truncated,
    };
    // A million rooms are added up.
    let reporting = spawn_blocking_holding(&hold, move || {
        Report::new(asked, &work.sides, work.tally.finish())
    });
    let report = reporting.await?;
    if report.published.tracks == 0 && report.truncated.is_none() && !is_continued {
        return Err(BacktestError::NoEvents(report.nothing(oldest)));
    }
    Ok(report)
}

impl Pace {
    fn time_max(self) -> Option<Duration> {
        match self {
            Self::Full => None,
            Self::Gentle { time_max, .. } => Some(time_max),
        }
    }

    fn page_events(self) -> i64 {
        match self {
            Self::Full => PAGE_EVENTS,
            Self::Gentle { .. } => PAGE_EVENTS_GENTLE,
        }
    }
}

fn exceeded(tally: &Tally, tracks_max: u64, is_late: bool) -> Option<TruncatedBy> {
    if tally.tracks() >= tracks_max {
        Some(TruncatedBy::Tracks)
    } else {
        is_late.then_some(TruncatedBy::Time)
    }
}

/// Everything that is live, or all that can be about one tenant's rooms.
async fn stored(pool: &Pool, tenant: Option<&TenantId>) -> Result<Vec<StoredPolicy>, sqlx::Error> {
    let mut rows = Vec::new();
    match tenant {
        None => rows.extend(list(pool, None).await?),
        Some(tenant) => {
            for owner in [Owner::Operator, Owner::Tenant(tenant.clone())] {
                rows.extend(list(pool, Some(&owner)).await?);
            }
        }
    }
    Ok(rows.into_iter().map(StoredPolicy::from).collect())
}
