//! Whom a policy has muted that is still muted, when the policy is changed: nothing unmutes them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::postgres::Pool;
use quell_policy::Owner;

/// The most tracks that are named.
const TRACKS_MAX: i32 = 100;

/// The tracks that a policy muted and nobody let speak since, as far as quell knows: LiveKit does not say who unmuted
/// itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StillMuted {
    /// The tracks, the last muted first.
    pub tracks: Vec<StillMutedTrack>,
    /// Whether these are all; else there may be more.
    pub is_whole: bool,
}

/// A track that stays muted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StillMutedTrack {
    /// The room's name.
    pub room_name: String,
    /// Who publishes it.
    pub identity: String,
    /// Its SID.
    pub track_sid: String,
    /// Its source, in LiveKit's words.
    pub source: Option<String>,
    /// When the policy muted it.
    pub muted_at: DateTime<Utc>,
}

/// Reads them: of the policy's last mutes, those that no action followed, and whose track is not known to have ended.
pub(crate) async fn still_muted(
    pool: &Pool,
    owner: &Owner,
    policy: &str,
) -> Result<StillMuted, sqlx::Error> {
    let tracks = sqlx::query_as!(
        StillMutedTrack,
        r#"with last as materialized (
               select started_at, room_name, room_sid, identity, track_sid, source
               from audit_log
               where phase = 'outcome' and action = 'mute' and outcome = 'done' and changed
                 and policy_name = $2 and policy_owner is not distinct from $1
               order by started_at desc
               limit $3 * 10)
           select room_name as "room_name!", identity as "identity!", track_sid as "track_sid!", source,
                  started_at as "muted_at!"
           from last
           where not exists (
                     select from audit_log next
                     where next.phase = 'outcome' and next.track_sid = last.track_sid
                       and next.started_at > last.started_at and next.outcome = 'done')
             and not exists (
                     select from webhook_event
                     where room_name = last.room_name and room_sid = last.room_sid
                       -- LiveKit's times have no fractions.
                       and created_at >= date_trunc('second', last.started_at)
                       and (event = 'room_finished'
                            or event = 'track_unpublished' and track_sid = last.track_sid
                            or event in ('participant_left', 'participant_connection_aborted')
                               and identity = last.identity))
           order by started_at desc
           limit $3 + 1"#,
        owner.as_str(),
        policy,
        TRACKS_MAX,
    )
    .fetch_all(pool)
    .await?;
    let named = usize::try_from(TRACKS_MAX).unwrap_or(usize::MAX);
    let is_whole = tracks.len() <= named;
    Ok(StillMuted {
        tracks: tracks.into_iter().take(named).collect(),
        is_whole,
    })
}
