-- Fewer indexes on the way to a mute.

-- One index less on events that are no tracks, which are most of them. Why: storing an event is mostly
-- keeping its indexes. People ask why by the event's id alone, so the key begins with it and serves them too;
-- what the key's old order was for, backtests, is about tracks alone.

alter table webhook_event drop constraint webhook_event_pkey;
alter table webhook_event add primary key (event_id, created_at);
drop index webhook_event_id;
create index webhook_event_tracks on webhook_event (created_at, event_id) where event = 'track_published';

-- A lease is changed twice for each mute. No index has a column that changes, so Postgres keeps the row where it
-- is (HOT); the chore that removes old leases reads them all, once an hour.
drop index track_lease_touched;

-- Until when a mute may still reach LiveKit that a replica began which is gone, where another has muted instead: no
-- unmute begins before that, or the late mute would undo it.
alter table track_lease add column mute_until timestamptz;

-- Room on the pages of events was measured, and saves nothing: as in 0004 again.
create or replace function quell_create_partition(parent text, lower_day date, upper_day date)
returns void language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    name text := parent || '_' || to_char(lower_day, 'YYYYMMDD');
begin
    if parent not in ('webhook_event', 'audit_log') then
        raise exception 'no partitioned table %', parent;
    end if;
    execute format('create table public.%I (like public.%I including defaults including constraints)',
        name, parent);
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
        execute format('alter table %s reset (fillfactor)', name);
    end loop;
end $$;

-- As in 0006, with the range of the events' times, so that Postgres leaves the other days alone. (One query for each
-- kind of end: each is found by the longest beginning of the index `job_track`.)
drop function quell_end_jobs(text, text, text, text);
create function quell_end_jobs(ended text, of_room_sid text, of_participant_sid text, of_track_sid text)
returns table (created_at timestamptz, event_id text) language plpgsql volatile as $$
#variable_conflict use_column
declare
    gone job[];
    first timestamptz;
    last timestamptz;
begin
    if ended = 'room_finished' then
        gone := array(
            select j from job j
            where j.room_sid = of_room_sid and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    elsif ended = 'track_unpublished' then
        gone := array(
            select j from job j
            where j.room_sid = of_room_sid and j.participant_sid = of_participant_sid
              and j.track_sid = of_track_sid and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    else
        gone := array(
            select j from job j
            where j.room_sid = of_room_sid and j.participant_sid = of_participant_sid
              and j.state <> 'dead' and j.action_id is null
            for update skip locked);
    end if;
    if cardinality(gone) = 0 then
        return;
    end if;
    delete from job j using unnest(gone) as g
    where j.event_created_at = g.event_created_at and j.event_id = g.event_id;
    select min(g.event_created_at), max(g.event_created_at) into first, last from unnest(gone) as g;
    return query
        update webhook_event e set settlement = 'gone', settled_at = clock_timestamp()
        from unnest(gone) as g
        where e.created_at = g.event_created_at and e.event_id = g.event_id
          and e.created_at between first and last
        returning e.created_at, e.event_id;
end $$;
