//! Finishes an action: writes its outcome and gives the lease of its track back, both or neither.

use std::time::Duration;

use super::Outcome;
use super::intent::Unfinished;
use crate::postgres::{Pool, to_pg_text};

/// What is left after LiveKit's time is up, to write the outcome down.
pub const SETTLE_MARGIN: Duration = Duration::from_secs(5);
/// The pauses between the tries to write an outcome: for about as long as the intent may stay open.
/// Later anybody closes it as `unknown`.
const RETRY_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// How an action ended.
#[derive(Debug)]
pub struct Completion {
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether the track is muted now, as LiveKit reports it.
    pub muted: Option<bool>,
    /// From the request or the event to LiveKit's answer.
    pub latency: Duration,
    /// Whether it was carried out, or may have been: then a person's unmute stands.
    pub may_stand: bool,
}

/// Writes the outcome, also where the database is away for a moment. Where it cannot be written within
/// [`SETTLE_MARGIN`] the log says so, and the intent is closed as `unknown` later.
pub async fn finish(pool: &Pool, unfinished: Unfinished, end: Completion) {
    let action_id = unfinished.action_id;
    let writing = async {
        let mut pauses = RETRY_PAUSES.iter();
        while let Err(error) = write(pool, &unfinished, &end).await {
            // LiveKit has answered: the caller gets that answer, and the log what is missing.
            tracing::error!(%action_id, %error, "the outcome of an action could not be written");
            let Some(pause) = pauses.next() else { break };
            tokio::time::sleep(*pause).await;
        }
    };
    // All tries together: later the intent is anybody's to close, and the caller is waiting.
    if tokio::time::timeout(SETTLE_MARGIN, writing).await.is_err() {
        tracing::error!(%action_id, "the outcome of an action could not be written in time");
    }
}

/// Where the intent was closed as `unknown` meanwhile, that stands. (`open_intent` is locked before
/// the outcome is written, as `close_overdue` does: the other way round they could deadlock.)
async fn write(pool: &Pool, unfinished: &Unfinished, end: &Completion) -> Result<(), sqlx::Error> {
    let after = end.muted.map(|muted| serde_json::json!({ "muted": muted }));
    sqlx::query!(
        "with intent as (
            select * from audit_log
            where started_at = $1 and action_id = $2 and phase = 'intent'),
        released as (
            update track_lease t
            set action_id = null, leased_until = null, touched_at = clock_timestamp(),
                track_sid = case when $8::boolean is null then t.track_sid else i.track_sid end,
                muted_at = case when $8::boolean is null then t.muted_at else clock_timestamp() end,
                muted = coalesce($8, t.muted)
            from intent i
            where t.room_sid = i.room_sid and t.identity = i.identity and t.source = i.source
              and t.action_id = i.action_id),
        forgotten as (
            delete from manual_unmute where action_id = $2 and not $7),
        closed as (
            delete from open_intent where action_id = $2
            returning action_id)
        insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
             request_id, outcome, error, before, after, changed, latency_ms)
        select i.started_at, i.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
               i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
               i.policy_name, i.policy_revision, i.event_id, i.request_id, $3, $4, i.before, $5,
               -- Where LiveKit answers other than was asked for, nothing is known of a change.
               case when $8 = (i.action = 'mute')
                    then (i.before ->> 'muted')::boolean is distinct from $8 end,
               $6
        from closed join intent i using (action_id)
        on conflict do nothing",
        unfinished.started_at,
        unfinished.action_id,
        end.outcome.as_str(),
        end.error.as_deref().map(to_pg_text),
        after,
        end.latency.as_secs_f64() * 1000.0,
        end.may_stand,
        end.muted,
    )
    .execute(pool)
    .await?;
    Ok(())
}
