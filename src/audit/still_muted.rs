//! Whom a policy has muted that is still muted, when the policy is changed: nothing unmutes them.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::postgres::Pool;
use quell_policy::Owner;

/// The last mutes of the policy that are looked at, of a day at most: what is older may have ended without a webhook.
const MUTES_MAX: i64 = 200;

/// The tracks that a policy muted within a day and that nobody let speak since, as far as quell knows: LiveKit does not
/// say who unmuted itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StillMuted {
    /// The tracks, the last muted first.
    pub tracks: Vec<StillMutedTrack>,
    /// Whether these are all of that day; else there may be more.
    pub is_whole: bool,
}

impl StillMuted {
    /// Where it cannot be read.
    #[must_use]
    pub const fn unknown() -> Self {
        Self {
            tracks: Vec::new(),
            is_whole: false,
        }
    }
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

/// Reads them: of the policy's last mutes, those that no unmute followed, and whose track is not known to have ended.
pub(crate) async fn still_muted(
    pool: &Pool,
    owner: &Owner,
    policy: &str,
) -> Result<StillMuted, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with last as materialized (
               select started_at, room_name, room_sid, identity, track_sid, source
               from audit_log
               where phase = 'outcome' and action = 'mute' and outcome = 'done' and changed
                 and policy_name = $2 and policy_owner is not distinct from $1
                 and started_at > clock_timestamp() - interval '1 day'
               order by started_at desc
               limit $3),
           -- LiveKit's times have no fractions.
           since as materialized (select date_trunc('second', min(started_at)) as at from last),
           unpublished as materialized (
               select room_sid, track_sid from webhook_event
               where room_name in (select room_name from last) and event = 'track_unpublished'
                 and created_at >= (select at from since)),
           looked as (
               select *,
                      exists (select from audit_log u
                              where u.phase = 'outcome' and u.track_sid = last.track_sid and u.action = 'unmute'
                                and u.started_at > last.started_at and u.outcome = 'done' and u.changed)
                      or exists (select from unpublished u
                                 where u.room_sid = last.room_sid and u.track_sid = last.track_sid)
                      or exists (select from webhook_event e
                                 where e.room_sid = last.room_sid and e.event = 'room_finished')
                      or exists (select from webhook_event e
                                 where e.room_sid = last.room_sid and e.event = 'participant_left'
                                   and e.identity = last.identity
                                   and e.created_at >= date_trunc('second', last.started_at)) as is_over
               from last)
           select room_name as "room_name!", identity as "identity!", track_sid as "track_sid!", source,
                  started_at as "muted_at!", is_over as "is_over!"
           from looked
           order by started_at desc"#,
        owner.as_str(),
        policy,
        MUTES_MAX,
    )
    .fetch_all(pool)
    .await?;
    let is_whole = i64::try_from(rows.len()).is_ok_and(|mutes| mutes < MUTES_MAX);
    let tracks = rows.into_iter().filter(|row| !row.is_over);
    let tracks = tracks.map(|row| StillMutedTrack {
        room_name: row.room_name,
        identity: row.identity,
        track_sid: row.track_sid,
        source: row.source,
        muted_at: row.muted_at,
    });
    Ok(StillMuted {
        tracks: tracks.collect(),
        is_whole,
    })
}
