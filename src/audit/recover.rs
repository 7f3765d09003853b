//! Closes intents that nobody settled: a crash between the call and its outcome.

use crate::postgres::Pool;

/// Gives every intent whose `settle_by` is past the outcome `unknown`; returns how many.
///
/// Whoever comes second finds it closed: one outcome an action.
pub async fn close_overdue(pool: &Pool) -> Result<u64, sqlx::Error> {
    let closed = sqlx::query!(
        "with overdue as (
            delete from open_intent where settle_by < clock_timestamp()
            returning started_at, action_id)
         insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
             request_id, outcome, error, before)
         select i.started_at, i.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
                i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
                i.policy_name, i.policy_revision, i.event_id, i.request_id, 'unknown',
                'nobody wrote down what came of it: quell stopped or lost the database during the call',
                i.before
         from overdue
         join audit_log i using (started_at, action_id)
         where i.phase = 'intent'
         on conflict do nothing"
    )
    .execute(pool)
    .await?;
    Ok(closed.rows_affected())
}
