//! Writes the rows of actions that are over as soon as they are known: refusals, dry runs,
//! policy changes. (An action that reaches LiveKit writes its two rows in `mute::lease`.)

use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Origin, Outcome, Verb};
use crate::postgres::to_pg_text;

/// Which policy, at which revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyId<'a> {
    /// The tenant that owns it; none is the operator.
    pub owner: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
    /// Its revision.
    pub revision: i32,
}

/// Who wants what, on what.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The action's own id.
    pub action_id: Uuid,
    /// Where it comes from.
    pub origin: Origin,
    /// The caller's id.
    pub actor: Option<&'a str>,
    /// Whose row it is: the room's tenant; none is the operator.
    pub tenant: Option<&'a str>,
    /// What is wanted.
    pub verb: Verb,
    /// The room's name.
    pub room_name: Option<&'a str>,
    /// The room's SID.
    pub room_sid: Option<&'a str>,
    /// The participant's identity.
    pub identity: Option<&'a str>,
    /// The track's SID.
    pub track_sid: Option<&'a str>,
    /// The track's source.
    pub source: Option<&'a str>,
    /// The policy that wants it, or that is changed.
    pub policy: Option<PolicyId<'a>>,
    /// The revision whose document a rollback brings back.
    pub restored_from: Option<i32>,
    /// The webhook event that it answers to.
    pub event_id: Option<&'a str>,
    /// The HTTP request that asked for it.
    pub request_id: Option<&'a str>,
    /// What was, before.
    pub before: Option<Value>,
    /// What is, after.
    pub after: Option<Value>,
    /// Whether what a dry-run policy wants differs from what is.
    pub changed: Option<bool>,
}

impl Entry<'_> {
    /// An entry that says who wants what, and nothing else yet.
    #[must_use]
    pub fn new(origin: Origin, verb: Verb) -> Self {
        Self {
            action_id: Uuid::now_v7(),
            origin,
            actor: None,
            tenant: None,
            verb,
            room_name: None,
            room_sid: None,
            identity: None,
            track_sid: None,
            source: None,
            policy: None,
            restored_from: None,
            event_id: None,
            request_id: None,
            before: None,
            after: None,
            changed: None,
        }
    }
}

/// Writes the row of an action that is over without a call to LiveKit.
pub async fn record(
    db: impl PgExecutor<'_>,
    entry: &Entry<'_>,
    outcome: Outcome,
    error: Option<&str>,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        "insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, restored_from,
             event_id, request_id, outcome, error, before, after, changed)
         values (clock_timestamp(), $1, 'outcome', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                 $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        entry.action_id,
        entry.origin.as_str(),
        entry.actor.map(to_pg_text),
        entry.tenant.map(to_pg_text),
        entry.verb.as_str(),
        entry.room_name.map(to_pg_text),
        entry.room_sid.map(to_pg_text),
        entry.identity.map(to_pg_text),
        entry.track_sid.map(to_pg_text),
        entry.source.map(to_pg_text),
        entry.policy.and_then(|policy| policy.owner),
        entry.policy.map(|policy| policy.name),
        entry.policy.map(|policy| policy.revision),
        entry.restored_from,
        entry.event_id.map(to_pg_text),
        entry.request_id.map(to_pg_text),
        outcome.as_str(),
        error.map(to_pg_text),
        entry.before,
        entry.after,
        entry.changed,
    )
    .execute(db)
    .await?;
    debug_assert_eq!(rows.rows_affected(), 1);
    Ok(())
}
