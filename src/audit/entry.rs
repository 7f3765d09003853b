//! What a row of the audit log says, and rows of actions that never reach LiveKit.

use quell_policy::{PolicyKey, PolicyRef, TenantId};
use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Action, Actor, Origin, Outcome};
use crate::postgres::to_pg_text;

/// One revision of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRevision {
    /// The policy.
    pub key: PolicyKey,
    /// Its revision.
    pub revision: i32,
}

impl From<&PolicyRef> for PolicyRevision {
    fn from(policy: &PolicyRef) -> Self {
        Self {
            key: policy.key(),
            revision: policy.revision,
        }
    }
}

/// The HTTP request that somebody sent, as the rows of what it led to tell of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// Its `X-Request-Id`.
    pub id: String,
    /// The person for whom the caller sent it.
    pub on_behalf_of: Option<String>,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// Who wants what, on what.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The action's own id.
    pub action_id: Uuid,
    /// Where it comes from.
    pub origin: Origin,
    /// Who acts.
    pub actor: Actor,
    /// Whose row it is: the room's tenant; none is the operator.
    pub tenant: Option<TenantId>,
    /// What is wanted.
    pub action: Action,
    /// The room's name.
    pub room_name: Option<String>,
    /// The room's SID.
    pub room_sid: Option<String>,
    /// The participant's identity.
    pub identity: Option<String>,
    /// The track's SID.
    pub track_sid: Option<String>,
    /// The track's source.
    pub source: Option<String>,
    /// The policy that wants it, or that is changed.
    pub policy: Option<PolicyRevision>,
    /// The revision whose document a rollback brings back.
    pub restored_from: Option<i32>,
    /// The webhook event that it answers to.
    pub event_id: Option<String>,
    /// The HTTP request that asked for it.
    pub request: Option<HttpRequest>,
    /// What was, before.
    pub before: Option<Value>,
    /// What is, after.
    pub after: Option<Value>,
    /// Whether what a dry-run policy wants differs from what is.
    pub changed: Option<bool>,
}

impl Entry {
    /// An entry that says who wants what, and nothing else yet.
    #[must_use]
    pub fn new(origin: Origin, actor: Actor, action: Action) -> Self {
        Self {
            action_id: Uuid::now_v7(),
            origin,
            actor,
            tenant: None,
            action,
            room_name: None,
            room_sid: None,
            identity: None,
            track_sid: None,
            source: None,
            policy: None,
            restored_from: None,
            event_id: None,
            request: None,
            before: None,
            after: None,
            changed: None,
        }
    }

    /// The policy's columns: its owner, name and revision.
    pub(crate) fn policy_columns(&self) -> (Option<&str>, Option<&str>, Option<i32>) {
        let policy = self.policy.as_ref();
        (
            policy.and_then(|policy| policy.key.owner.as_str()),
            policy.map(|policy| policy.key.name.as_str()),
            policy.map(|policy| policy.revision),
        )
    }

    /// The request's columns: its id, for whom it was sent, and why.
    pub(crate) fn request_columns(&self) -> (Option<String>, Option<String>, Option<String>) {
        let request = self.request.as_ref();
        (
            request.map(|request| to_pg_text(&request.id)),
            request.and_then(|request| stored(request.on_behalf_of.as_ref())),
            request.and_then(|request| stored(request.reason.as_ref())),
        )
    }
}

/// A row of the audit log without a call to LiveKit.
#[derive(Debug)]
pub struct AuditRow {
    /// What it says.
    pub entry: Entry,
    /// What came of it.
    pub outcome: Outcome,
    /// Why.
    pub error: Option<String>,
}

impl AuditRow {
    /// The row of what came to nothing, and why.
    #[must_use]
    pub fn new(entry: Entry, outcome: Outcome, error: String) -> Self {
        Self {
            entry,
            outcome,
            error: Some(error),
        }
    }
}

/// As Postgres can store it.
pub(crate) fn stored(text: Option<&String>) -> Option<String> {
    text.map(|text| to_pg_text(text))
}

/// Writes the row of an action that is over without a call to LiveKit.
pub async fn record(
    db: impl PgExecutor<'_>,
    entry: &Entry,
    outcome: Outcome,
    error: Option<&str>,
) -> Result<(), sqlx::Error> {
    let (policy_owner, policy_name, policy_revision) = entry.policy_columns();
    let (request_id, on_behalf_of, reason) = entry.request_columns();
    let rows = sqlx::query!(
        "insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, restored_from,
             event_id, request_id, outcome, error, before, after, changed, on_behalf_of, reason)
         values (clock_timestamp(), $1, 'outcome', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                 $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)",
        entry.action_id,
        entry.origin.as_str(),
        entry.actor.as_str(),
        entry.tenant.as_ref().map(TenantId::as_str),
        entry.action.as_str(),
        stored(entry.room_name.as_ref()),
        stored(entry.room_sid.as_ref()),
        stored(entry.identity.as_ref()),
        stored(entry.track_sid.as_ref()),
        stored(entry.source.as_ref()),
        policy_owner,
        policy_name,
        policy_revision,
        entry.restored_from,
        stored(entry.event_id.as_ref()),
        request_id,
        outcome.as_str(),
        error.map(to_pg_text),
        entry.before,
        entry.after,
        entry.changed,
        on_behalf_of,
        reason,
    )
    .execute(db)
    .await?;
    debug_assert_eq!(rows.rows_affected(), 1);
    Ok(())
}
