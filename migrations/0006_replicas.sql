-- Replicas, and whose a job is. Why a table of replicas: a job waits in its replica's memory for as long as
-- it takes, without a statement now and then; what a replica holds is free once it shows no sign of life.

create table replica (
    -- Made up when the process starts, and never again.
    id text primary key,
    alive_until timestamptz not null
);

-- An event's job has its event's key, and says whose track it is about: what ends a track ends its jobs.
drop index job_runnable;
drop index job_leased;
update job set state = 'queued', leased_by = null, leased_until = null where state = 'leased';
alter table job drop constraint job_pkey;
alter table job drop constraint job_event_created_at_event_id_key;
alter table job drop column id, drop column leased_until, drop column run_at;
alter table job add primary key (event_created_at, event_id);
alter table job add check ((state = 'leased') = (leased_by is not null));
alter table job
    add column room_sid text not null default '',
    add column participant_sid text,
    add column track_sid text,
    -- The action that was begun for it: nobody takes a job over in the middle of one.
    add column action_id uuid;
update job j
set room_sid = coalesce(e.room_sid, ''), participant_sid = e.body #>> '{participant,sid}', track_sid = e.track_sid
from webhook_event e
where e.created_at = j.event_created_at and e.event_id = j.event_id;
alter table job alter column room_sid drop default;

-- What nobody has is claimed room by room, so that a large room keeps no other one waiting.
create index job_queued on job (room_sid, received_at) where state = 'queued';
create index job_leased on job (leased_by) where state = 'leased';
create index job_track on job (room_sid, participant_sid, track_sid) where state <> 'dead';

-- Who holds the lease, and for what: a mute of a replica that is gone may be done again by another at once.
-- A person's action waits until the lease is over, since the late call would undo it.
alter table track_lease
    add column leased_by text,
    add column action text;

-- VOLATILE, so that it looks with a snapshot of its own.
create function quell_is_gone(replica text) returns boolean language plpgsql volatile as $$
begin
    return not exists (select from replica r
                       where r.id = quell_is_gone.replica and r.alive_until >= clock_timestamp());
end $$;

-- Ends the jobs of tracks that are gone, as an event tells (a track's, a participant's or a room's end), as far as
-- nobody acts on them just now. A function, so that the statement that stores events plans none of this where
-- nothing ends.
create function quell_end_jobs(event text, room_sid text, participant_sid text, track_sid text)
returns table (created_at timestamptz, event_id text) language plpgsql volatile as $$
#variable_conflict use_column
declare
    gone job[];
begin
    if event = 'room_finished' then
        gone := array(
            select j from job j
            where j.room_sid = $2 and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    elsif event = 'track_unpublished' then
        gone := array(
            select j from job j
            where j.room_sid = $2 and j.participant_sid = $3 and j.track_sid = $4
              and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    else
        gone := array(
            select j from job j
            where j.room_sid = $2 and j.participant_sid = $3
              and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    end if;
    if cardinality(gone) = 0 then
        return;
    end if;
    delete from job j using unnest(gone) as g
    where j.event_created_at = g.event_created_at and j.event_id = g.event_id;
    return query
        update webhook_event e set settlement = 'gone', settled_at = clock_timestamp()
        from unnest(gone) as g
        where e.created_at = g.event_created_at and e.event_id = g.event_id
        returning e.created_at, e.event_id;
end $$;

-- Rows of events are changed once, when their jobs end: room for that on their own page saves their indexes.
create or replace function quell_create_partition(parent text, lower_day date, upper_day date)
returns void language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    name text := parent || '_' || to_char(lower_day, 'YYYYMMDD');
    room text := case when parent = 'webhook_event' then ' with (fillfactor = 70)' else '' end;
begin
    if parent not in ('webhook_event', 'audit_log') then
        raise exception 'no partitioned table %', parent;
    end if;
    execute format('create table public.%I (like public.%I including defaults including constraints)%s',
        name, parent, room);
    if parent = 'audit_log' then
        -- The parent's own trigger fires only for statements that name the parent.
        execute format('create trigger audit_log_is_append_only
            before update or delete or truncate on public.%I
            for each statement execute function public.quell_refuse_change()', name);
    end if;
    execute format('alter table public.%I attach partition public.%I for values from (%L) to (%L)',
        parent, name, lower_day::timestamp at time zone 'UTC', upper_day::timestamp at time zone 'UTC');
exception
    -- Another replica was faster.
    when duplicate_table or unique_violation then null;
end $$;

do $$
declare name regclass;
begin
    for name in select inhrelid from pg_inherits where inhparent = 'public.webhook_event'::regclass loop
        execute format('alter table %s set (fillfactor = 70)', name);
    end loop;
end $$;

-- As in 0005, with the table of replicas.
create or replace function quell_grant_service(login text) returns void language plpgsql as $$
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, replica, track_lease to %I', login);
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
