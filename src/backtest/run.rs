//! One backtest from the request to the report: reads pages of events while a thread decides them.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::error::BacktestError;
use super::events::{Cursor, EventPage, EventReader};
use super::pace::{Bounds, Pace};
use super::report::{Report, ReportScope, Truncated, TruncatedBy};
use super::swept;
use super::tally::Tally;
use super::time_range::TimeRange;
use super::work::Work;
use crate::access::Viewer;
use crate::draft::{ComparedSets, Draft, stored};
use crate::postgres::Pool;
use crate::threads::spawn_blocking_holding;
use quell_policy::TenantId;

/// At most this many samples of each kind of change may be asked for.
pub const SAMPLES_MAX: usize = 1_000;
/// Samples of each kind of change where the request does not say.
pub const SAMPLES_DEFAULT: usize = 10;

/// What a backtest is asked for.
#[derive(Debug)]
pub struct BacktestRequest {
    /// The policies to try.
    pub draft: Draft,
    /// The time of the events.
    pub range: TimeRange,
    /// Where an earlier report stopped; `range` begins at its time.
    pub after: Option<Cursor>,
    /// Only this tenant's rooms; none is all rooms.
    pub tenant: Option<TenantId>,
    /// Who reads the report: of others' policies a tenant is told only the names.
    pub viewer: Viewer,
    /// At most this many samples of each kind of change.
    pub samples_max: usize,
}

/// How far a backtest is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// How many tracks are decided.
    pub tracks: u64,
    /// Events up to this time are done.
    pub at: DateTime<Utc>,
}

/// Replays the events of `request`, and calls `progress` after each page.
///
/// When it is dropped, its thread ends within 16 tracks. It uses one connection at a time.
pub async fn run(
    pool: &Pool,
    request: BacktestRequest,
    pace: Pace,
    progress: impl FnMut(Progress),
) -> Result<Report, BacktestError> {
    run_holding((), pool, request, pace, progress).await
}

/// The same. `hold` is dropped only when every thread has ended, even if this future is dropped before.
pub(crate) async fn run_holding(
    hold: impl Clone + Send + 'static,
    pool: &Pool,
    request: BacktestRequest,
    pace: Pace,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BacktestError> {
    let begun = Instant::now();
    // Threads do not end with this future: the guard tells them to.
    let (bounds, _guard) = Bounds::new(pace, begun);
    let BacktestRequest {
        draft,
        range,
        after,
        tenant,
        viewer,
        samples_max,
    } = request;
    let alone = draft.alone;
    let (sets, warnings) = compared(&hold, pool, draft, tenant.as_ref(), &viewer).await?;
    let reader = EventReader {
        pool: pool.clone(),
        range,
        tenant: tenant.clone(),
        page_tracks: pace.page_tracks(),
    };
    // A tenant may not know when the oldest event of all tenants was.
    let oldest = match viewer {
        Viewer::Tenant(_) => None,
        Viewer::Operator => reader.oldest().await?,
    };
    let mut work = Work::new(sets, tenant.clone(), viewer.clone(), samples_max);
    let is_continued = after.is_some();
    let start = after.unwrap_or_else(|| Cursor::before(range.since));
    let mut events = reader.page(&start).await?;
    // The time of the last track so far.
    let mut last = None;
    let truncated = loop {
        let EventPage { tracks, next } = events;
        last = tracks.last().map(|track| track.created_at).or(last);
        let in_time = bounds.clone();
        let deciding = spawn_blocking_holding(&hold, move || work.decide(&tracks, &in_time));
        let (decided, read) = match (pace, &next) {
            (Pace::Full, Some(next)) => {
                let (decided, read) = tokio::join!(deciding, reader.page(next));
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
            (Pace::Full, None) => reader.page(&next).await?,
            (Pace::Gentle { tracks_max, .. }, None) => {
                // Without a later place to continue from, it does not stop: the next request would
                // stop at the same place again.
                if let Some(by) = exceeded(&work.tally, tracks_max, bounds.is_late())
                    && let Some(next) = reader.resume(&start, last, &next).await?
                {
                    let at = next.created_at;
                    break Some(Truncated { at, by, next });
                }
                // Half of the time is left to the server's other work.
                let reading = Instant::now();
                let events = reader.page(&next).await?;
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
    let swept = if is_continued {
        None
    } else {
        let counting = swept::count(&hold, pool, range, tenant.as_ref(), &work.sets, &bounds);
        Some(counting.await?)
    };
    let scope = ReportScope {
        range,
        tenant,
        viewer,
        alone,
        oldest,
        swept,
        truncated,
        warnings,
    };
    // There may be a million rooms to add up.
    let reporting = spawn_blocking_holding(&hold, move || {
        Report::new(scope, &work.sets, work.tally.finish())
    });
    let report = reporting.await?;
    if report.published.tracks == 0 && report.truncated.is_none() && !is_continued {
        return Err(BacktestError::NoEvents(report.nothing(oldest)));
    }
    Ok(report)
}

/// The draft over what is stored, and what `viewer` is warned of.
async fn compared(
    hold: &(impl Clone + Send + 'static),
    pool: &Pool,
    draft: Draft,
    tenant: Option<&TenantId>,
    viewer: &Viewer,
) -> Result<(ComparedSets, Vec<String>), BacktestError> {
    let stored = stored(hold, pool, tenant).await?;
    let warnings = stored.warnings(viewer);
    let about = tenant.cloned();
    // Thousands of policies take a while to compile: not on a thread that webhooks need.
    let over = move || draft.over(stored.policies, about.as_ref());
    let sets = spawn_blocking_holding(hold, over).await??;
    Ok((sets, warnings))
}

fn exceeded(tally: &Tally, tracks_max: u64, is_late: bool) -> Option<TruncatedBy> {
    if tally.tracks() >= tracks_max {
        Some(TruncatedBy::Tracks)
    } else {
        is_late.then_some(TruncatedBy::Time)
    }
}
