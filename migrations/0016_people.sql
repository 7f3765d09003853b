-- The person for whom a caller acts, and why: beside the caller's id, which is often a backend's.

create function quell_lock_audit() returns void language plpgsql
set search_path = pg_catalog, public, pg_temp as $$
-- Both tables at once, and before all else: writers take the one and then the other. Whoever reads the log for long is waited for
-- without a place in the queue, in which all writers would stand behind this.
begin
    for attempt in 1..120 loop
        begin
            set local lock_timeout = '500ms';
            lock table public.open_intent, public.audit_log in access exclusive mode;
            set local lock_timeout = '2min';
            return;
        exception
            when lock_not_available then perform pg_sleep(0.5);
        end;
    end loop;
    raise exception 'the audit is read all the time, and cannot be changed now: end what reads it (pg_stat_activity) and migrate again';
end $$;
revoke execute on function quell_lock_audit() from public;
select quell_lock_audit();

alter table audit_log add column on_behalf_of text, add column reason text;
create index audit_log_on_behalf_of on audit_log (on_behalf_of, started_at) where phase = 'outcome' and on_behalf_of is not null;

-- Replaced views lose their options: that they ask as whoever reads them is said again.
create or replace view moderation_history with (security_invoker = true) as
select started_at, action_id, origin, actor, tenant, action, outcome, error,
       room_name, room_sid, identity, track_sid, source,
       policy_owner, policy_name, policy_revision, restored_from, event_id, request_id,
       before, after, changed, latency_ms, recorded_at as settled_at, seq, txid, on_behalf_of, reason
from audit_log
where phase = 'outcome'
union all
select i.started_at, i.action_id, i.origin, i.actor, i.tenant, i.action, 'unsettled', i.error,
       i.room_name, i.room_sid, i.identity, i.track_sid, i.source,
       i.policy_owner, i.policy_name, i.policy_revision, i.restored_from, i.event_id, i.request_id,
       i.before, i.after, i.changed, i.latency_ms, null, i.seq, i.txid, i.on_behalf_of, i.reason
from open_intent u
cross join lateral (
    select * from audit_log
    where started_at = u.started_at and action_id = u.action_id and phase = 'intent'
    offset 0) i;

create or replace view failed_actions with (security_invoker = true) as
select started_at, action_id, origin, actor, tenant, action, outcome, error, room_name, room_sid,
       identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id, request_id,
       on_behalf_of, reason
from moderation_history
where outcome in ('refused', 'failed', 'undecided', 'unknown');

create or replace view silences with (security_invoker = true) as
select muted.tenant, muted.room_name, muted.room_sid, muted.identity, muted.track_sid, muted.source,
       muted.started_at as muted_at, muted.origin, muted.actor as muted_by,
       muted.policy_owner, muted.policy_name, muted.policy_revision,
       unmuted.started_at as unmuted_at, unmuted.actor as unmuted_by,
       unmuted.started_at - muted.started_at as lasted,
       muted.on_behalf_of as muted_on_behalf_of, muted.reason as mute_reason,
       unmuted.on_behalf_of as unmuted_on_behalf_of, unmuted.reason as unmute_reason
from audit_log muted
left join lateral (
    select started_at, actor, on_behalf_of, reason from audit_log u
    where u.phase = 'outcome' and u.track_sid = muted.track_sid and u.started_at > muted.started_at
      and u.action = 'unmute' and u.outcome = 'done' and u.changed
    order by u.started_at
    limit 1) unmuted on true
where muted.phase = 'outcome' and muted.action = 'mute' and muted.outcome = 'done' and muted.changed;

-- Whom exemptions left alone is counted too.
create or replace view policy_effect with (security_invoker = true) as
select policy_owner, policy_name, policy_revision,
       count(*) filter (where outcome = 'done' and changed) as mutes,
       count(*) filter (where outcome = 'done' and not changed) as unchanged,
       count(*) filter (where outcome = 'dry_run' and changed is distinct from false) as would_have_acted,
       count(*) filter (where outcome in ('refused', 'failed', 'unknown')) as failures,
       count(*) filter (where outcome = 'superseded') as superseded,
       count(distinct (room_sid, identity)) filter (where outcome = 'done' and changed) as participants,
       count(distinct room_sid) filter (where outcome = 'done' and changed) as rooms,
       percentile_cont(0.5) within group (order by latency_ms) as latency_ms_p50,
       max(latency_ms) as latency_ms_max,
       min(started_at) as first_at,
       max(started_at) as last_at,
       count(*) filter (where outcome = 'done' and action = 'exempt') as exempted
from moderation_history
where policy_name is not null and action in ('mute', 'exempt')
group by policy_owner, policy_name, policy_revision;

do $$
declare
    said record;
begin
    for said in
        select * from (values
            ('moderation_history', 'on_behalf_of', 'the person for whom the caller acted: X-Actor of a caller with an API secret, or the claim of a JWT that QUELL_JWT_ACTOR_CLAIM names. Empty: not said'),
            ('moderation_history', 'reason', 'why, in the words of who requested it: X-Reason, or reason in the body. Empty: not said'),
            ('moderation_history', 'action', 'mute, unmute; exempt (an exemption left a track alone that was to be muted; dry_run: it would have); decide (find out what policies want); policy.create, policy.update, policy.delete'),
            ('moderation_history', 'after', '{"muted": ...} as LiveKit reported it; of an exempt, the policy that was to mute (exempted_from); the policy''s document after'),
            ('failed_actions', 'on_behalf_of', 'the person for whom the caller acted'),
            ('failed_actions', 'reason', 'why, in the words of who requested it'),
            ('silences', 'muted_on_behalf_of', 'the person for whom the caller muted'),
            ('silences', 'mute_reason', 'why it was muted, in the words of who did it'),
            ('silences', 'unmuted_on_behalf_of', 'the person for whom the caller unmuted'),
            ('silences', 'unmute_reason', 'why it was unmuted, in the words of who did it'),
            ('policy_effect', 'exempted', 'tracks that it left alone and another policy was to mute')
        ) as t(view, col, text)
    loop
        execute format('comment on column %I.%I is %L', said.view, said.col, said.text);
    end loop;
end $$;
