-- A tenant's own SQL login reads its own rows of the audit: the views ask as whoever reads them, and Postgres lets each
-- see its rows alone (row-level security). Who is nobody of these sees nothing.

create table audit_reader (
    login name primary key,
    tenant text not null
);

-- Both at once, and before all else: writers take the one and then the other. Whoever reads the log for long is waited for without a
-- place in the queue, in which all writers would stand behind this.
do $$
begin
    for attempt in 1..120 loop
        begin
            set local lock_timeout = '500ms';
            lock table open_intent, audit_log in access exclusive mode;
            set local lock_timeout = '2min';
            return;
        exception
            when lock_not_available then perform pg_sleep(0.5);
        end;
    end loop;
    raise exception 'the audit is read all the time, and cannot be guarded now: end what reads it (pg_stat_activity) and migrate again';
end $$;

-- What the places in the stream of the audit are written with: a place tells nobody how much others write, and all replicas read it.
create table audit_stream_key (key bytea not null);
insert into audit_stream_key values (decode(replace(gen_random_uuid()::text, '-', ''), 'hex'));

create function quell_audit_tenant() returns text language sql stable security definer
set search_path = pg_catalog, public, pg_temp as
$$ select tenant from public.audit_reader where login = session_user $$;

-- How long somebody was silenced by us: each mute that changed something, and when a person first let the track be heard again.
create view silences as
select muted.tenant, muted.room_name, muted.room_sid, muted.identity, muted.track_sid, muted.source,
       muted.started_at as muted_at, muted.origin, muted.actor as muted_by,
       muted.policy_owner, muted.policy_name, muted.policy_revision,
       unmuted.started_at as unmuted_at, unmuted.actor as unmuted_by,
       unmuted.started_at - muted.started_at as lasted
from audit_log muted
left join lateral (
    select started_at, actor from audit_log u
    where u.phase = 'outcome' and u.track_sid = muted.track_sid and u.started_at > muted.started_at
      and u.action = 'unmute' and u.outcome = 'done' and u.changed
    order by u.started_at
    limit 1) unmuted on true
where muted.phase = 'outcome' and muted.action = 'mute' and muted.outcome = 'done' and muted.changed;

-- The few intents without an outcome are looked up one by one, whatever is asked of them: `offset 0` keeps conditions from being
-- put to the whole log.
create or replace view moderation_history as
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
cross join lateral (
    select * from audit_log
    where started_at = u.started_at and action_id = u.action_id and phase = 'intent'
    offset 0) i;

create or replace view unsettled_actions as
select i.started_at, i.action_id, i.origin, i.actor, i.tenant, i.action, i.room_name, i.room_sid,
       i.identity, i.track_sid, i.source, i.policy_owner, i.policy_name, i.policy_revision,
       i.event_id, i.request_id, i.settle_by, i.settle_by < now() as overdue
from open_intent u
cross join lateral (
    select * from audit_log
    where started_at = u.started_at and action_id = u.action_id and phase = 'intent'
    offset 0) i;

do $$
declare
    view text;
    writer text;
begin
    foreach view in array array['moderation_history', 'failed_actions', 'unsettled_actions', 'would_have_muted',
                                'actions_by_participant', 'policy_effect', 'silences'] loop
        execute format('alter view %I set (security_invoker = true)', view);
    end loop;
    -- Before the rows are guarded: what writes now goes on writing.
    for writer in
        select rolname from pg_roles
        where not rolsuper and has_table_privilege(oid, 'audit_log', 'insert')
          and rolname <> (select tableowner from pg_tables where schemaname = 'public' and tablename = 'audit_log')
    loop
        execute format('create policy %I on audit_log to %I using (true) with check (true)', writer, writer);
        execute format('create policy %I on open_intent to %I using (true) with check (true)', writer, writer);
    end loop;
end $$;

alter table audit_log enable row level security;
alter table open_intent enable row level security;

do $$
begin
    if not exists (select from pg_roles where rolname = 'quell_tenant') then
        create role quell_tenant nologin;
    end if;
exception
    when duplicate_object or unique_violation then null;
    when insufficient_privilege then
        raise warning 'no right to create the role quell_tenant: create it and run quell migrate again';
end $$;

create or replace function quell_grant_auditor() returns void language plpgsql as $$
declare
    guarded text;
    reader text;
begin
    foreach reader in array array['quell_auditor', 'quell_tenant'] loop
        continue when not exists (select from pg_roles where rolname = reader);
        execute format('grant usage on schema public to %I', reader);
        execute format('grant select on audit_log, open_intent, moderation_history, failed_actions, unsettled_actions,
            would_have_muted, actions_by_participant, policy_effect, silences to %I', reader);
        foreach guarded in array array['audit_log', 'open_intent'] loop
            continue when exists (select from pg_policies
                                  where schemaname = 'public' and tablename = guarded and policyname = reader);
            execute format('create policy %I on %I for select to %I using (%s)', reader, guarded, reader,
                case when reader = 'quell_auditor' then 'true'
                     when guarded = 'audit_log' then 'tenant = (select quell_audit_tenant())'
                     -- Whose intent it is stands in the log, of which a tenant sees its own.
                     else 'exists (select from audit_log i where i.started_at = open_intent.started_at and i.action_id = open_intent.action_id)'
                end);
        end loop;
    end loop;
    if exists (select from pg_roles where rolname = 'quell_auditor') then
        grant select on sweeps to quell_auditor;
    end if;
end $$;
select quell_grant_auditor();

create or replace function quell_grant_service(login text) returns void language plpgsql as $$
declare
    guarded text;
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, replica, track_lease, sweep_run,
        swept_track to %I', login);
    execute format('grant select, insert, delete on manual_unmute, sweep_decision to %I', login);
    execute format('grant select, insert, delete on open_intent to %I', login);
    execute format('grant select, insert on policy_revision, audit_log to %I', login);
    execute format('grant select, insert, update on policy_usage, policy_text_work to %I', login);
    execute format('grant select on policy_history, audit_stream_key to %I', login);
    execute format('grant select, insert, update on webhook_event to %I', login);
    execute format('grant select on _sqlx_migrations, moderation_history, failed_actions, unsettled_actions,
        would_have_muted, actions_by_participant, policy_effect, silences, sweeps to %I', login);
    execute format('grant execute on function quell_ensure_partitions(timestamptz),
        quell_drop_events(timestamptz) to %I', login);
    foreach guarded in array array['audit_log', 'open_intent'] loop
        continue when exists (select from pg_policies
                              where schemaname = 'public' and tablename = guarded and policyname = login);
        execute format('create policy %I on %I to %I using (true) with check (true)', login, guarded, login);
    end loop;
end $$;
