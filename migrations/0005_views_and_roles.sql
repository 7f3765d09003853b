-- What moderators and auditors read. These views are a public interface: columns are added,
-- never renamed or removed. docs/AUDIT.md is their cookbook.

-- One row an action: its outcome, which repeats what the intent says, or the intent while there is
-- no outcome. Two halves and no join over the log, so that conditions reach its indexes and
-- partitions.
create view moderation_history as
select started_at, action_id, origin, actor, tenant, action, outcome, error,
       room_name, room_sid, identity, track_sid, source,
       policy_owner, policy_name, policy_revision, restored_from, event_id, request_id,
       before, after, changed, latency_ms, recorded_at as settled_at, seq, txid
from audit_log
where phase = 'outcome'
union all
select i.started_at, i.action_id, i.origin, i.actor, i.tenant, i.action, 'unsettled', i.error,
       i.room_name, i.room_sid, i.identity, i.track_sid, i.source,
       i.policy_owner, i.policy_name, i.policy_revision, i.restored_from, i.event_id, i.request_id,
       i.before, i.after, i.changed, i.latency_ms, null, i.seq, i.txid
from open_intent u
join audit_log i on i.started_at = u.started_at and i.action_id = u.action_id
where i.phase = 'intent';

-- What was wanted and did not happen.
create view failed_actions as
select started_at, action_id, origin, actor, tenant, action, outcome, error, room_name, room_sid,
       identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id, request_id
from moderation_history
where outcome in ('refused', 'failed', 'undecided', 'unknown');

-- Intents without an outcome: under way, or left open by a crash (overdue) and closed as
-- `unknown` within seconds by any quell that runs.
create view unsettled_actions as
select i.started_at, i.action_id, i.origin, i.actor, i.tenant, i.action, i.room_name, i.room_sid,
       i.identity, i.track_sid, i.source, i.policy_owner, i.policy_name, i.policy_revision,
       i.event_id, i.request_id, i.settle_by, i.settle_by < now() as overdue
from open_intent u
join audit_log i on i.started_at = u.started_at and i.action_id = u.action_id
where i.phase = 'intent';

-- What dry-run policies (mode: dry_run) would have done: `mute`, or `exempt` from a mute. (From
-- the history and not from the log: a view of one table alone could be written through.)
create view would_have_muted as
select started_at, action_id, origin, tenant, action, room_name, room_sid, identity, track_sid,
       source, policy_owner, policy_name, policy_revision, event_id, changed
from moderation_history
where outcome = 'dry_run';

-- One row a participant of a room: what was done to it, by people and by policies. What was so already
-- is counted apart.
create view actions_by_participant as
select tenant, room_name, identity,
       count(*) filter (where action = 'mute' and changed) as mutes,
       count(*) filter (where action = 'unmute' and changed) as unmutes,
       count(*) filter (where action = 'mute' and changed and origin = 'manual') as mutes_by_people,
       count(*) filter (where action = 'mute' and changed and policy_name is not null) as mutes_by_policies,
       count(*) filter (where not changed) as unchanged,
       count(*) filter (where outcome in ('refused', 'failed', 'undecided', 'unknown')) as not_done,
       min(started_at) as first_at,
       max(started_at) as last_at
from moderation_history
where identity is not null and outcome <> 'dry_run'
group by tenant, room_name, identity;

-- One row a policy and revision: what it did, and what it would have done.
create view policy_effect as
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
       max(started_at) as last_at
from moderation_history
where policy_name is not null and action in ('mute', 'exempt')
group by policy_owner, policy_name, policy_revision;

-- The service's rights, for a login of its own: everything it does and nothing else.
create function quell_grant_service(login text) returns void language plpgsql as $$
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, track_lease to %I', login);
    execute format('grant select, insert, delete on manual_unmute to %I', login);
    execute format('grant select, insert, delete on open_intent to %I', login);
    execute format('grant select, insert on policy_revision, audit_log to %I', login);
    execute format('grant select on policy_history to %I', login);
    execute format('grant select, insert, update on webhook_event to %I', login);
    execute format('grant select on _sqlx_migrations, moderation_history, failed_actions, unsettled_actions,
        would_have_muted, actions_by_participant, policy_effect to %I', login);
    execute format('grant execute on function quell_ensure_partitions(timestamptz),
        quell_drop_events(timestamptz) to %I', login);
end $$;
revoke all on function quell_grant_service(text) from public;

-- Auditors read the views. Roles belong to the whole cluster: another database may have made
-- it already, and without CREATEROLE the administrator has to.
do $$
begin
    if not exists (select from pg_roles where rolname = 'quell_auditor') then
        create role quell_auditor nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise warning 'no right to create the role quell_auditor: create it and run quell migrate again';
end $$;

create function quell_grant_auditor() returns void language plpgsql as $$
begin
    if exists (select from pg_roles where rolname = 'quell_auditor') then
        grant usage on schema public to quell_auditor;
        grant select on moderation_history, failed_actions, unsettled_actions, would_have_muted,
            actions_by_participant, policy_effect to quell_auditor;
    end if;
end $$;
revoke all on function quell_grant_auditor() from public;
select quell_grant_auditor();
