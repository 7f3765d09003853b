//! Which live tracks a person lets speak: a policy's mute gives way to that.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::postgres::{Pool, to_pg_text};

/// A live track, as people's unmutes are looked up by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnmutedTrack<'a> {
    pub(crate) identity: &'a str,
    /// Its source, in LiveKit's words.
    pub(crate) source: &'a str,
    pub(crate) track_sid: &'a str,
    /// When a policy's reason to mute it became known.
    pub(crate) as_of: DateTime<Utc>,
}

/// The SIDs of those tracks of a room against whose mute a person's unmute stands.
pub(crate) async fn unmutes_that_stand<'a>(
    pool: &Pool,
    room_sid: &str,
    tracks: &[UnmutedTrack<'a>],
) -> Result<HashSet<&'a str>, sqlx::Error> {
    let texts = |of: fn(&UnmutedTrack<'a>) -> &'a str| -> Vec<String> {
        tracks.iter().map(|track| to_pg_text(of(track))).collect()
    };
    let as_of: Vec<_> = tracks.iter().map(|track| track.as_of).collect();
    let stand = sqlx::query_scalar!(
        r#"select n as "n!"
           from unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[]) with ordinality
               as t(identity, source, track_sid, as_of, n)
           where quell_is_superseded($1, identity, source, track_sid, as_of)"#,
        to_pg_text(room_sid),
        &texts(|track| track.identity),
        &texts(|track| track.source),
        &texts(|track| track.track_sid),
        &as_of,
    )
    .fetch_all(pool)
    .await?;
    let track = |n: i64| tracks.get(usize::try_from(n).ok()?.checked_sub(1)?);
    let stand = stand.into_iter().filter_map(track);
    Ok(stand.map(|track| track.track_sid).collect())
}
