//! Times in milliseconds, and what is said of them.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// Percentiles of times, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    p50: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    pub(crate) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let times = times.into_iter().map(|time| time.as_secs_f64() * 1000.0);
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        let at = |share: usize| {
            let place = (times.len() * share).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or(f64::NAN)
        };
        Self {
            count: times.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
        }
    }
}

/// What a scenario came to.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Webhooks that were answered 200, and otherwise.
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    /// How long the sending took, in seconds.
    pub(crate) seconds: f64,
    /// From when an event was due to its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered: Option<Spread>,
    /// From when an event was due until LiveKit was asked to mute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) muted: Option<Spread>,
    /// The same, of tracks in the room of the one who floods it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) muted_beside: Option<Spread>,
    /// Microphones that were not muted in time.
    pub(crate) missed: usize,
}

pub(crate) fn print(report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    Ok(writeln!(out)?)
}
