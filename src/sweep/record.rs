//! Writes what a sweep saw and decided, and the audit rows of what was not begun: each track, policy revision and
//! outcome once, however many ticks come to the same.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::tracks::TrackRoom;
use crate::action::Cause;
use crate::audit::{self, AuditRow, Outcome, PolicyRevision};
use crate::ledger::ActionKey;
use crate::pipeline::{FailedMute, Handled, TrackResult, dry_run_change, facts_text};
use crate::policy_store::PgOwner;
use crate::postgres::{Pool, json_text, to_pg_text};
use quell_policy::{Decision, PolicyKey, TenantId};

/// What is to be written of one track.
pub(super) struct Record<'a> {
    /// The correlation id.
    pub(super) id: &'a str,
    pub(super) sweep_id: Uuid,
    pub(super) as_of: DateTime<Utc>,
    pub(super) handled: &'a Handled,
    pub(super) policy: Option<&'a PolicyRevision>,
    pub(super) outcome: Outcome,
    /// The row; none where it is written already.
    pub(super) row: Option<AuditRow>,
}

/// What came of a track, by which policy, and the row of it that is not written yet.
type RecordedOutcome = (Outcome, Option<PolicyRevision>, Option<AuditRow>);

/// What came of a track that is worth a row.
pub(super) fn outcomes(handled: &mut Handled, cause: &Cause) -> Vec<RecordedOutcome> {
    let done = done(handled, cause);
    let dry_run = handled.dry_run_row(cause);
    let dry_run = dry_run.map(|row| (Outcome::DryRun, row.entry.policy.clone(), Some(row)));
    done.into_iter().chain(dry_run).collect()
}

fn done(handled: &mut Handled, cause: &Cause) -> Option<RecordedOutcome> {
    let decision = handled.decision.as_ref()?;
    let policy = decision.enforced.mute().map(PolicyRevision::from);
    let outcome = match &handled.result {
        // Another had muted it just then: that is its row.
        TrackResult::Muted(_) if handled.begun.is_none() => return None,
        TrackResult::Muted(_) => Outcome::Done,
        TrackResult::Gone => Outcome::Gone,
        TrackResult::Refused(_) => Outcome::Refused,
        TrackResult::Superseded => Outcome::Superseded,
        TrackResult::Retry(why) | TrackResult::Undecided(why)
            if decision.enforced.is_indeterminate() =>
        {
            let row = handled.undecided_row(cause, why);
            return Some((Outcome::Undecided, None, Some(row)));
        }
        // Nothing was begun, and nothing is known of LiveKit: the database failed.
        TrackResult::Retry(_) if handled.begun.is_none() => return None,
        TrackResult::Retry(_) if handled.may_have_acted() => Outcome::Unknown,
        TrackResult::Retry(_) => Outcome::Failed,
        // Where another action is under way, the next sweep sees what came of it.
        TrackResult::Nothing
        | TrackResult::Undecided(_)
        | TrackResult::Busy
        | TrackResult::Lost
        | TrackResult::NotShown
        | TrackResult::Stale => return None,
    };
    Some((outcome, policy, handled.row.take()))
}

/// Whether the track's own event came to the same, and its row is written.
pub(super) async fn is_told(
    pool: &Pool,
    room: TrackRoom<'_>,
    track_sid: &str,
    outcome: Outcome,
    policy: Option<&PolicyRevision>,
) -> Result<bool, sqlx::Error> {
    if !matches!(outcome, Outcome::DryRun | Outcome::Superseded) {
        return Ok(false);
    }
    let events = sqlx::query!(
        r#"select settlement as "settlement!", decision::text as "decision!"
           from webhook_event
           where track_sid = $1 and event = 'track_published' and room_sid = $2 and created_at >= $3
             and settlement in ('muted', 'nothing', 'superseded') and decision is not null"#,
        to_pg_text(track_sid),
        to_pg_text(room.sid),
        room.since(),
    )
    .fetch_all(pool)
    .await?;
    let is_same = |settlement: &str, decision: &str| {
        let decision: Decision = serde_json::from_str(decision).ok()?;
        let by = if outcome == Outcome::DryRun {
            dry_run_change(&decision)?.1
        } else {
            let by = decision.enforced.mute();
            by.filter(|_| settlement == "superseded")?
        };
        (Some(&PolicyRevision::from(by)) == policy).then_some(())
    };
    let mut events = events.iter();
    Ok(events.any(|event| is_same(&event.settlement, &event.decision).is_some()))
}

/// Writes it, unless the same was written before.
pub(super) async fn write(pool: &Pool, record: Record<'_>) -> Result<(), sqlx::Error> {
    let facts = &record.handled.facts;
    let (policy, begun) = (record.policy, record.handled.begun);
    let action = begun.map(|(action, _)| action);
    let mut tx = pool.begin().await?;
    let written = sqlx::query!(
        "insert into sweep_decision
            (id, sweep_id, as_of, tenant, room_name, room_sid, identity, track_sid, policy_owner,
             policy_name, policy_revision, outcome, facts, decision, action_id, action_started_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text::json, $14::text::json, $15, $16)
         on conflict do nothing",
        record.id,
        record.sweep_id,
        record.as_of,
        record.handled.tenant().map(TenantId::as_str),
        to_pg_text(&facts.room.name),
        to_pg_text(&facts.room.sid),
        to_pg_text(&facts.participant.identity),
        to_pg_text(&facts.track.sid),
        policy.and_then(|policy| policy.key.owner.as_str()),
        policy.map(|policy| policy.key.name.as_str()),
        policy.map(|policy| policy.revision),
        record.outcome.as_str(),
        facts_text(facts),
        json_text(&record.handled.decision),
        action.map(|action| action.action_id),
        action.map(|action| action.started_at),
    )
    .execute(&mut *tx)
    .await?;
    if let (1, Some(row)) = (written.rows_affected(), &record.row) {
        audit::record(&mut *tx, &row.entry, row.outcome, row.error.as_deref()).await?;
    }
    tx.commit().await
}

/// The mutes of these tracks that failed, as far as they reached LiveKit.
pub(super) async fn failed(
    pool: &Pool,
    track_sids: &[String],
) -> Result<HashMap<String, Vec<FailedMute>>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select track_sid, policy_owner as "owner!: PgOwner", policy_name as "name!",
                  policy_revision as "revision!", action_id as "action_id!", action_started_at as "started_at!"
           from sweep_decision
           where track_sid = any($1) and outcome in ('failed', 'unknown') and action_id is not null"#,
        track_sids,
    )
    .fetch_all(pool)
    .await?;
    let mut failed: HashMap<_, Vec<_>> = HashMap::new();
    for row in rows {
        failed.entry(row.track_sid).or_default().push(FailedMute {
            policy: PolicyRevision {
                key: PolicyKey {
                    owner: row.owner.into(),
                    name: row.name,
                },
                revision: row.revision,
            },
            action: ActionKey {
                action_id: row.action_id,
                started_at: row.started_at,
            },
        });
    }
    Ok(failed)
}
