//! Writes the rows of actions that are over as soon as they are known: refusals, dry runs,
//! policy changes. (An action that reaches LiveKit writes its two rows in `mute::lease`.)

use serde_json::Value;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{Origin, Outcome, Verb};

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

/// The longest text that is stored whole: three of them fit into an entry of an index (2704 bytes),
/// and LiveKit's own names have 256 bytes at most unless it is set otherwise.
const TEXT_BYTES_MAX: usize = 800;

/// Text that Postgres can store and index: without NUL, which it does not have, and cut where it
/// is longer than an index takes. Participants and tenants choose such texts, and a row that
/// cannot be written would be a way out of being muted.
#[must_use]
pub fn storable(text: &str) -> String {
    let mut text = without_nul(text);
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// Text that Postgres can store, whole: for keys, which stay apart only where nothing is cut.
#[must_use]
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// JSON that Postgres can store and take apart again, in which an escaped NUL is an error wherever
/// it stands.
#[must_use]
pub fn json_without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(&text)),
        Value::Array(values) => values.into_iter().map(json_without_nul).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (without_nul(&name), json_without_nul(value)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
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
        entry.actor.map(storable),
        entry.tenant.map(storable),
        entry.verb.as_str(),
        entry.room_name.map(storable),
        entry.room_sid.map(storable),
        entry.identity.map(storable),
        entry.track_sid.map(storable),
        entry.source.map(storable),
        entry.policy.and_then(|policy| policy.owner),
        entry.policy.map(|policy| policy.name),
        entry.policy.map(|policy| policy.revision),
        entry.restored_from,
        entry.event_id.map(storable),
        entry.request_id.map(storable),
        outcome.as_str(),
        error.map(storable),
        entry.before,
        entry.after,
        entry.changed,
    )
    .execute(db)
    .await?;
    debug_assert_eq!(rows.rows_affected(), 1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TEXT_BYTES_MAX, json_without_nul, storable};

    #[test]
    fn no_nul_is_left_in_json() {
        let value = json!({"a\0": ["b\0", {"c": "d\0"}, 1, null, true]});
        let expect = json!({"a\u{fffd}": ["b\u{fffd}", {"c": "d\u{fffd}"}, 1, null, true]});
        assert_eq!(json_without_nul(value), expect);
    }

    #[test]
    fn a_nul_becomes_the_replacement_character() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
        assert_eq!(storable("ab"), "ab");
    }

    #[test]
    fn what_is_too_long_for_an_index_is_cut_between_characters_and_says_so() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(storable(&longest), longest);
        assert_eq!(storable(&format!("{longest}y")), format!("{longest}…"));
        let wide = format!("{}🔇", "x".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(
            storable(&wide),
            format!("{}…", "x".repeat(TEXT_BYTES_MAX - 1))
        );
    }
}
