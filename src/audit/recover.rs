//! Closes intents that nobody settled: a crash between the call and its outcome.

use sqlx::PgPool;

/// Gives every intent whose `settle_by` is past the outcome `unknown`; returns how many.
///
/// Whoever comes second finds the row there: the primary key holds one outcome an action.
pub async fn close_overdue(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let closed = sqlx::query!(
        "insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
             request_id, outcome, error, before)
         select i.started_at, i.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
                i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
                i.policy_name, i.policy_revision, i.event_id, i.request_id, 'unknown',
                'nobody wrote down what came of it: quell stopped or lost the database during the call',
                i.before
         from audit_log i
         where i.phase = 'intent'
           and i.settle_by < clock_timestamp()
           and i.started_at > clock_timestamp() - interval '2 days'
           and not exists (select from audit_log o
                           where o.phase = 'outcome' and o.started_at = i.started_at
                             and o.action_id = i.action_id)
         on conflict do nothing"
    )
    .execute(pool)
    .await?;
    Ok(closed.rows_affected())
}
