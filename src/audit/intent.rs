//! Begins an action: takes the lease of its track and writes its intent, both or neither.
//!
//! One action at a time runs on a source of a participant (room SID, identity, source). The lease has an
//! end, and no lock is held while LiveKit is asked.

use std::time::Duration;

use chrono::{DateTime, Utc};
use quell_policy::TenantId;
use tokio::time::Instant;
use uuid::Uuid;

use super::Entry;
use super::entry::stored;
use crate::access::{Authority, Permit, Verb};
use crate::postgres::{Pool, interval, to_pg_text};

/// A permitted action that is not written down yet.
#[derive(Debug)]
pub struct Proposal {
    /// What is permitted.
    pub permit: Permit,
    /// What its rows say.
    pub entry: Entry,
    /// When LiveKit was asked for what the entry has as `before`: where an action on the track ended
    /// since, `before` is what came of that.
    pub fetched_at: Instant,
}

/// What came of trying to begin.
#[derive(Debug)]
pub enum Begun {
    /// The action may go on.
    Intent(Intent),
    /// Another action is under way there: the proposal again, for another try.
    Busy(Proposal),
    /// A person decided there meanwhile: the proposal again, for its row.
    Superseded(Proposal),
}

/// An intent that is committed, and the lease that was taken with it: what LiveKit's client acts on.
///
/// Only [`begin`] makes one.
#[derive(Debug)]
pub struct Intent {
    permit: Permit,
    unfinished: Unfinished,
}

/// An action whose intent is written and whose outcome is not: what [`super::finish`] takes.
#[derive(Debug)]
pub struct Unfinished {
    pub(super) action_id: Uuid,
    pub(super) started_at: DateTime<Utc>,
}

impl Intent {
    /// What may be done, once, and what is to be finished after it.
    pub(crate) fn into_parts(self) -> (Permit, Unfinished) {
        (self.permit, self.unfinished)
    }
}

/// Takes the lease for `hold` and writes the intent. A person's own unmute is remembered with its intent.
pub async fn begin(pool: &Pool, proposal: Proposal, hold: Duration) -> Result<Begun, sqlx::Error> {
    let Proposal {
        permit,
        entry,
        fetched_at,
    } = &proposal;
    // A policy's action gives way to a person's newer unmute (`quell_is_superseded`).
    let as_of = permit.authority().as_of();
    let (fetched, hold) = (interval(fetched_at.elapsed()), interval(hold));
    let (room_sid, identity) = (to_pg_text(permit.room_sid()), to_pg_text(permit.identity()));
    let (source, track_sid) = (to_pg_text(permit.source()), to_pg_text(permit.track_sid()));
    let (policy_owner, policy_name, policy_revision) = entry.policy_columns();
    let is_manual_unmute =
        permit.verb() == Verb::Unmute && matches!(permit.authority(), Authority::Caller { .. });
    let mut connection = pool.acquire().await?;
    let begun = sqlx::query!(
        r#"with lease as (
            insert into track_lease as t (room_sid, identity, source, action_id, leased_until)
            select $1, $2, $3, $4, clock_timestamp() + $5
            where not quell_is_superseded($1, $2, $3, $7, $6)
            on conflict (room_sid, identity, source) do update
            set action_id = excluded.action_id, leased_until = excluded.leased_until,
                touched_at = clock_timestamp()
            where (t.leased_until is null or t.leased_until < clock_timestamp())
              and not quell_is_superseded($1, $2, $3, $7, $6)
            returning t.leased_until, t.track_sid, t.muted, t.muted_at),
        remembered as (
            insert into manual_unmute (action_id, room_sid, identity, source, track_sid)
            select $4, $1, $2, $3, $7 from lease where $19),
        opened as (
            insert into open_intent (action_id, started_at, settle_by)
            select $4, clock_timestamp(), leased_until from lease
            returning started_at, settle_by)
        insert into audit_log
            (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
             identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
             request_id, settle_by, before)
        select started_at, $4, 'intent', $8, $9, $10, $11, $12, $1, $2, $7, $3, $13, $14, $15, $16,
               $17, settle_by,
               case when track_sid = $7 and muted_at > clock_timestamp() - $20::interval
                    then json_build_object('muted', muted) else $18::json end
        from opened cross join lease
        returning started_at"#,
        room_sid,
        identity,
        source,
        entry.action_id,
        hold,
        as_of,
        track_sid,
        entry.origin.as_str(),
        entry.actor.as_str(),
        entry.tenant.as_ref().map(TenantId::as_str),
        entry.action.as_str(),
        stored(entry.room_name.as_ref()),
        policy_owner,
        policy_name,
        policy_revision,
        stored(entry.event_id.as_ref()),
        stored(entry.request_id.as_ref()),
        entry.before,
        is_manual_unmute,
        fetched,
    )
    .fetch_optional(&mut connection)
    .await?;
    if let Some(row) = begun {
        let unfinished = Unfinished {
            action_id: entry.action_id,
            started_at: row.started_at,
        };
        return Ok(Begun::Intent(Intent {
            permit: proposal.permit,
            unfinished,
        }));
    }
    let superseded = sqlx::query_scalar!(
        r#"select quell_is_superseded($1, $2, $3, $5, $4)
                  -- While a person's action is under way, what comes of it is waited for.
                  and not exists (select from track_lease
                                  where room_sid = $1 and identity = $2 and source = $3
                                    and leased_until >= clock_timestamp()) as "superseded!""#,
        room_sid,
        identity,
        source,
        as_of,
        track_sid,
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(if superseded {
        Begun::Superseded(proposal)
    } else {
        // Another action has the lease; or it is free again by now, and the next try gets it.
        Begun::Busy(proposal)
    })
}
