//! Writes the audit as a file, a page at a time.

use std::str::FromStr;

use sqlx::PgExecutor;

use super::history::{Behind, HistoryFilter, HistoryRow, PAGE_MAX, page};
use crate::access::Viewer;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object a line.
    Ndjson,
    /// RFC 4180, with a line of names.
    Csv,
}

impl FromStr for ExportFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            _ => Err("`format` must be ndjson or csv"),
        }
    }
}

impl ExportFormat {
    /// What files of it end in.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A row cannot be written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A line cannot be written.
    #[error(transparent)]
    Csv(#[from] csv::Error),
}

/// An export under way.
#[derive(Debug)]
pub struct Exporter {
    filter: HistoryFilter,
    format: ExportFormat,
    viewer: Viewer,
    behind: Option<Behind>,
    has_begun: bool,
    is_done: bool,
    /// The rows that were written.
    pub rows: u64,
}

impl Exporter {
    /// Of all actions that `filter` lets through, for `viewer`.
    #[must_use]
    pub fn new(filter: HistoryFilter, format: ExportFormat, viewer: Viewer) -> Self {
        Self {
            filter,
            format,
            viewer,
            behind: None,
            has_begun: false,
            is_done: false,
            rows: 0,
        }
    }

    /// The next part of the file; none behind the last.
    pub async fn next(&mut self, db: impl PgExecutor<'_>) -> Result<Option<Vec<u8>>, ExportError> {
        if self.is_done {
            return Ok(None);
        }
        let page = page(db, &self.filter, self.behind, PAGE_MAX).await?;
        self.behind = page.next;
        self.is_done = page.next.is_none();
        self.rows += u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
        let with_names = !std::mem::replace(&mut self.has_begun, true);
        let rows = page.rows.into_iter();
        let rows: Vec<_> = rows.map(|row| row.shown_to(&self.viewer)).collect();
        match self.format {
            ExportFormat::Ndjson => ndjson(&rows),
            ExportFormat::Csv => csv(&rows, with_names),
        }
        .map(Some)
    }
}

fn ndjson(rows: &[HistoryRow]) -> Result<Vec<u8>, ExportError> {
    let mut lines = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut lines, row)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// `before` and `after` are JSON in their fields.
fn csv(rows: &[HistoryRow], with_names: bool) -> Result<Vec<u8>, ExportError> {
    let mut lines = csv::WriterBuilder::new()
        .has_headers(false)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    if with_names {
        lines.write_record(HistoryRow::COLUMNS)?;
    }
    for row in rows {
        let serde_json::Value::Object(mut fields) = serde_json::to_value(row)? else {
            continue;
        };
        let texts = HistoryRow::COLUMNS.map(|column| match fields.remove(column) {
            None | Some(serde_json::Value::Null) => String::new(),
            Some(serde_json::Value::String(text)) => text,
            Some(value) => value.to_string(),
        });
        lines.write_record(&texts)?;
    }
    lines
        .into_inner()
        .map_err(|error| ExportError::Csv(error.into_error().into()))
}
