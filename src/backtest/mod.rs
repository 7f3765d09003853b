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

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::time::Instant;

use crate::policy::{PolicyKey, StoredPolicy};
use crate::policy_store::{OwnerFilter, list};
use crate::postgres::bounded;
use events::{Cursor, Page, Published, Source};
use replay::{Known, replay};
use sample::SampleOf;
use tally::Tally;

pub use by_policy::{Beside, Deeds, PolicyRow};
pub use count::Counted;
pub use draft::{Change, Changed, Draft, DraftError};
pub use missing::MissingFacts;
pub use report::{DraftReport, Report, Truncated, TruncatedBy};
pub use sample::{PolicyName, Sample, SampleRuling, Word};
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
    /// In this tenant's rooms only; none is all rooms.
    pub tenant: Option<String>,
    /// The tenant's own eyes: of others' policies it is told the names.
    pub is_tenants_own: bool,
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
        /// So long.
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
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    /// A bug of ours.
    #[error("the backtest ended by itself: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Replays the events that `question` is about; `progress` is told after each page.
///
/// Dropped, it ends with the page that it is at. It uses one connection at a time.
pub async fn run(
    pool: &PgPool,
    question: Question,
    pace: Pace,
    mut progress: impl FnMut(Progress),
) -> Result<Report, BacktestError> {
    let Question {
        draft,
        range,
        tenant,
        is_tenants_own,
        samples_max,
    } = question;
    let stored = stored(pool, tenant.as_deref()).await?;
    let about = tenant.clone();
    // Thousands of policies take a while to compile: not on a thread that webhooks need.
    let alone = draft.alone;
    let sides = tokio::task::spawn_blocking(move || draft.over(stored, about.as_deref())).await??;
    let source = Source {
        pool: pool.clone(),
        range,
        tenant: tenant.clone(),
        page_events: match pace {
            Pace::Full => PAGE_EVENTS,
            Pace::Gentle { .. } => PAGE_EVENTS_GENTLE,
        },
    };
    // When anybody's oldest event was is not for a tenant to know.
    let oldest = if is_tenants_own {
        None
    } else {
        source.oldest().await?
    };
    let mut work = Work {
        sides: Arc::new(sides),
        tally: Tally::new(samples_max),
        reader: tenant.clone().filter(|_| is_tenants_own),
        times: Times::default(),
    };
    let begun = Instant::now();
    let mut events = source.page(&Cursor::before(range.since)).await?;
    let truncated = loop {
        let Page { tracks, next } = events;
        let deciding = tokio::task::spawn_blocking(move || work.decide(&tracks));
        let Some(next) = next else {
            work = deciding.await?;
            break None;
        };
        let at = next.created_at;
        match pace {
            Pace::Full => {
                let (decided, read) = tokio::join!(deciding, source.page(&next));
                (work, events) = (decided?, read?);
            }
            Pace::Gentle {
                tracks_max,
                time_max,
            } => {
                let page_begun = Instant::now();
                work = deciding.await?;
                if let Some(by) = exceeded(&work.tally, tracks_max, begun.elapsed() >= time_max) {
                    break Some(Truncated { at, by });
                }
                events = source.page(&next).await?;
                tokio::time::sleep(page_begun.elapsed()).await;
            }
        }
        progress(Progress {
            tracks: work.tally.tracks(),
            at,
        });
    };
    tracing::debug!(tracks = work.tally.tracks(), took = ?begun.elapsed(), times = ?work.times, "a backtest ended");
    let asked = report::Asked {
        range,
        tenant,
        is_tenants_own,
        alone,
        oldest,
        truncated,
    };
    let report = Report::new(asked, &work.sides, work.tally.finish());
    if report.published.tracks == 0 && report.truncated.is_none() {
        return Err(BacktestError::NoEvents(report.nothing(oldest)));
    }
    Ok(report)
}

fn exceeded(tally: &Tally, tracks_max: u64, is_late: bool) -> Option<TruncatedBy> {
    if tally.tracks() >= tracks_max {
        Some(TruncatedBy::Tracks)
    } else {
        is_late.then_some(TruncatedBy::Time)
    }
}

/// Everything that is live, or all that can be about one tenant's rooms.
async fn stored(pool: &PgPool, tenant: Option<&str>) -> Result<Vec<StoredPolicy>, sqlx::Error> {
    let mut rows = Vec::new();
    match tenant {
        None => rows.extend(bounded(list(pool, OwnerFilter::All)).await?),
        Some(_) => {
            for owner in [None, tenant] {
                rows.extend(bounded(list(pool, OwnerFilter::Is(owner))).await?);
            }
        }
    }
    Ok(rows
        .into_iter()
        .map(|row| StoredPolicy {
            owner: row.owner,
            name: row.name,
            revision: row.revision,
            document: row.document,
        })
        .collect())
}

/// What goes from page to page.
struct Work {
    sides: Arc<draft::Sides>,
    tally: Tally,
    /// The tenant who reads the report; none is an operator.
    reader: Option<String>,
    times: Times,
}

/// Where the time went, beside waiting for Postgres.
#[derive(Debug, Default)]
struct Times {
    json: Duration,
    decide: Duration,
    tally: Duration,
}

impl Work {
    fn decide(mut self, tracks: &[Published]) -> Self {
        let reader = self.reader.as_deref();
        let mut begun = Instant::now();
        let mut lap = |sum: &mut Duration| {
            let now = Instant::now();
            *sum += now - begun;
            begun = now;
        };
        for event in tracks {
            let known = Known::of(event);
            lap(&mut self.times.json);
            let replayed = replay(event, known, &self.sides, reader);
            lap(&mut self.times.decide);
            self.tally.add(event, &replayed, SampleOf { reader });
            drop(replayed);
            lap(&mut self.times.tally);
        }
        self
    }
}

fn full_name(owner: Option<&str>, name: &str) -> String {
    format!("{}/{name}", owner.unwrap_or("(operator)"))
}

fn name_of(key: &PolicyKey) -> String {
    full_name(key.owner.as_deref(), &key.name)
}
