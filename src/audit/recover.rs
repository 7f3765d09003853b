//! Closes intents that nobody settled: a crash between the call and its outcome.

use crate::postgres::Pool;

/// Gives every intent whose `settle_by` is past the outcome `unknown`; returns how many.
///
/// Whoever comes second finds it closed: one outcome an action.
pub async fn close_overdue(pool: &Pool) -> Result<u64, sqlx::Error> {
    let closed = sqlx::query!(
        "with overdue as (
            delete from open_intent where settle_by < clock_timestamp()
            returning started_at, action_id, settle_by, repeats_id,
                      coalesce(repeats_at, started_at) as intent_at,
                      coalesce(repeats_id, action_id) as intent_id),
         -- What failed before and was tried again has no intent of its own yet.
         repeated as (
            insert into audit_log
                (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
                 identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
                 request_id, settle_by, before)
            select o.started_at, o.action_id, 'intent', i.origin, i.actor, i.tenant, i.action,
                   i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
                   i.policy_name, i.policy_revision, i.event_id, i.request_id, o.settle_by, i.before
            from overdue o
            join audit_log i on i.started_at = o.intent_at and i.action_id = o.intent_id
            where i.phase = 'intent' and o.repeats_id is not null)
         insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
             request_id, on_behalf_of, reason, outcome, error, before)
         select o.started_at, o.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
                i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
                i.policy_name, i.policy_revision, i.event_id, i.request_id, i.on_behalf_of, i.reason, 'unknown',
                'nobody wrote down what came of it: quell stopped or lost the database during the call',
                i.before
         from overdue o
         join audit_log i on i.started_at = o.intent_at and i.action_id = o.intent_id
         where i.phase = 'intent'
         on conflict do nothing"
    )
    .execute(pool)
    .await?;
    Ok(closed.rows_affected())
}
