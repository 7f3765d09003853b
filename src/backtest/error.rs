//! Why a backtest has no report.

use tokio::task::JoinError;

use crate::draft::DraftError;
use crate::postgres::failed_query;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The draft cannot be compared.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// No track was published in the range; the text says where events are.
    #[error("{0}")]
    NoEvents(String),
    /// The database failed.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// A thread panicked: a bug of ours.
    #[error("the backtest ended by itself: {0}")]
    Broken(#[from] JoinError),
}
