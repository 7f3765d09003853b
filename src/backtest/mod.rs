//! Backtest: decides stored events again, by the live policies and by a draft, and compares the two.
//!
//! ```text
//! stored policies + draft -> crate::draft: live, draft
//! webhook_event -> events: pages -> replay: decided by both -> tally: counts, samples -> Report
//! ```
//!
//! Nothing is guessed: the facts are those that were recorded then. Where a decision depends on a fact
//! that was not recorded, the track is excluded from the comparison and counted on its own.

mod by_policy;
mod count;
mod disposition;
mod error;
mod events;
mod missing;
mod pace;
mod replay;
mod report;
mod run;
mod sample;
mod stride_sample;
mod swept;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod time_range;
mod work;

pub use by_policy::{EffectCounts, LiveVsDraft, PolicyRow};
pub use count::Counted;
pub use disposition::{ChangeKind, Disposition, View};
pub use error::BacktestError;
pub use events::{Cursor, CursorError};
pub use missing::MissingFacts;
pub use pace::Pace;
pub use report::{DraftReport, Report, Truncated, TruncatedBy};
pub(crate) use run::run_holding;
pub use run::{BacktestRequest, Progress, SAMPLES_DEFAULT, SAMPLES_MAX, run};
pub use sample::{Sample, SampleDecision};
pub use swept::Swept;
pub use tally::{ChangeCounts, DispositionCounts, DraftComparison, Excluded};
pub(crate) use text::grouped;
pub use time_range::{SINCE_DEFAULT, TimeRange, TimeRangeError};
pub(crate) use time_range::{ago, read as read_time};
