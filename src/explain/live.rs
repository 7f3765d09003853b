//! The tracks of a participant who is in a room now, as if they were published now.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::error::ExplainError;
use super::sources;
use super::track_question::TrackQuestion;
use crate::access::Authority;
use crate::action::{Query, fetch};
use crate::livekit::LiveKit;
use crate::livekit::facts::facts_from_live;

/// At most this many tracks of one participant are explained; more are only counted.
const TRACKS_MAX: usize = 20;

/// The tracks that `query` selects, and how many more there are.
pub(super) async fn track_questions(
    livekit: &LiveKit,
    authority: &Authority,
    query: &Query<'_>,
    timeout: Duration,
    at: DateTime<Utc>,
) -> Result<(Vec<TrackQuestion>, usize), ExplainError> {
    let deadline = Instant::now() + timeout;
    let view = fetch(livekit, authority, query, deadline).await?;
    let tracks: Vec<_> = view.tracks(query.track).collect();
    let left_off = tracks.len().saturating_sub(TRACKS_MAX);
    let questions = tracks
        .into_iter()
        .take(TRACKS_MAX)
        .map(|track| TrackQuestion {
            facts: facts_from_live(view.room(), view.participant(), track, at),
            sources: sources::of_live(),
            at,
            event: None,
            warnings: Vec::new(),
        })
        .collect();
    Ok((questions, left_off))
}
