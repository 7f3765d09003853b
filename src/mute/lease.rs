//! One action at a time on a source of a participant, and its two audit rows.
//!
//! Taking the lease and writing the intent are one statement, and so are giving the lease back
//! and writing the outcome: a round trip each, and no lock is held while LiveKit is asked.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::audit::{Entry, Outcome, Verb};
use crate::postgres::{Pool, interval, to_pg_text};

/// An intent that is written, and the lease that was taken with it.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) started_at: DateTime<Utc>,
}

/// What came of trying to begin.
#[derive(Debug)]
pub(super) enum Begin {
    /// The action may go on.
    Begun(Begun),
    /// Another action is under way there.
    Busy,
    /// A person decided there meanwhile.
    Superseded,
}

pub(super) struct Key<'a> {
    pub(super) room_sid: &'a str,
    pub(super) identity: &'a str,
    pub(super) source: &'a str,
    pub(super) track_sid: &'a str,
}

/// Takes the lease and writes the intent, both or neither.
///
/// `as_of` is none for a person. For a policy it is when (by Postgres's clock) the event came in
/// that it acts on: such an action gives way to a person's unmute (`quell_is_superseded`). A
/// person's own unmute is written down with its intent. `looked` is how long ago LiveKit was asked what
/// the entry has as `before`: where an action on the track ended since, it is what came of that.
pub(super) async fn begin(
    pool: &Pool,
    entry: &Entry<'_>,
    key: &Key<'_>,
    as_of: Option<DateTime<Utc>>,
    looked: Duration,
    hold: Duration,
) -> Result<Begin, sqlx::Error> {
    let (looked, hold) = (interval(looked), interval(hold));
    let (room_sid, identity) = (to_pg_text(key.room_sid), to_pg_text(key.identity));
    let (source, track_sid) = (to_pg_text(key.source), to_pg_text(key.track_sid));
    let lets_speak = as_of.is_none() && entry.verb == Verb::Unmute;
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
        let_speak as (
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
        entry.actor.map(to_pg_text),
        entry.tenant.map(to_pg_text),
        entry.verb.as_str(),
        entry.room_name.map(to_pg_text),
        entry.policy.and_then(|policy| policy.owner),
        entry.policy.map(|policy| policy.name),
        entry.policy.map(|policy| policy.revision),
        entry.event_id.map(to_pg_text),
        entry.request_id.map(to_pg_text),
        entry.before,
        lets_speak,
        looked,
    )
    .fetch_optional(&mut connection)
    .await?;
    if let Some(row) = begun {
        return Ok(Begin::Begun(Begun {
            started_at: row.started_at,
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
        Begin::Superseded
    } else {
        // Held by another; or free again since the first look, which the next try finds out.
        Begin::Busy
    })
}

/// How an action ended.
#[derive(Debug)]
pub(super) struct End<'a> {
    pub(super) outcome: Outcome,
    pub(super) error: Option<&'a str>,
    /// Whether the track is muted now, as LiveKit reports it.
    pub(super) muted: Option<bool>,
    pub(super) latency: Duration,
    /// Whether it was carried out, or may have been: then a person's unmute stands.
    pub(super) may_stand: bool,
}

/// Gives the lease back and writes the outcome, both or neither.
///
/// Where the intent was closed as `unknown` meanwhile, that stands. (`open_intent` is locked before
/// the outcome is written, as `audit::close_overdue` does: the other way round they could deadlock.)
pub(super) async fn finish(
    pool: &Pool,
    entry: &Entry<'_>,
    begun: &Begun,
    end: &End<'_>,
) -> Result<(), sqlx::Error> {
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
        not_let as (
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
        begun.started_at,
        entry.action_id,
        end.outcome.as_str(),
        end.error.map(to_pg_text),
        after,
        end.latency.as_secs_f64() * 1000.0,
        end.may_stand,
        end.muted,
    )
    .execute(pool)
    .await?;
    Ok(())
}
