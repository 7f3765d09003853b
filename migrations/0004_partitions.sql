-- Maintenance of partitions. Why functions of the owner (SECURITY DEFINER): the service owns nothing
-- and may create nothing; it may ask for partitions around a day, and for old events to go.

-- Made apart and then attached: that waits for nobody and stops nobody, where CREATE TABLE ...
-- PARTITION OF would wait for every report that reads the table, with all writers behind it.
create function quell_create_partition(parent text, lower_day date, upper_day date)
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

-- Makes the partitions that rows from the day before `around` to two weeks after it go to.
create function quell_ensure_partitions(around timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    today timestamp := date_trunc('day', around at time zone 'UTC');
    first timestamp := today - interval '1 day';
    last timestamp := today + interval '14 days';
    day date;
    month date;
begin
    for day in select generate_series(first, last, interval '1 day')::date loop
        if to_regclass('public.webhook_event_' || to_char(day, 'YYYYMMDD')) is null then
            perform public.quell_create_partition('webhook_event', day, day + 1);
        end if;
    end loop;
    for month in select generate_series(date_trunc('month', first), last, interval '1 month')::date loop
        if to_regclass('public.audit_log_' || to_char(month, 'YYYYMMDD')) is null then
            perform public.quell_create_partition('audit_log', month, (month + interval '1 month')::date);
        end if;
    end loop;
end $$;

-- Drops the partitions of webhook events that ended before `before`; returns how many. The last
-- day is always kept. A partition that somebody reads is left for the next time: waiting for it
-- would stop every webhook meanwhile.
create function quell_drop_events(before timestamptz)
returns integer language plpgsql security definer
set search_path = pg_catalog, public, pg_temp set lock_timeout = '500ms' as $$
declare
    first_kept date := (least(before, now() - interval '1 day') at time zone 'UTC')::date;
    partition record;
    dropped integer := 0;
begin
    for partition in
        select c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.webhook_event'::regclass
        order by c.relname
    loop
        continue when partition.day >= first_kept;
        begin
            execute format('drop table if exists public.%I', partition.relname);
            dropped := dropped + 1;
        exception
            when lock_not_available then return dropped;
        end;
    end loop;
    return dropped;
end $$;

revoke all on function quell_create_partition(text, date, date) from public;
revoke all on function quell_ensure_partitions(timestamptz) from public;
revoke all on function quell_drop_events(timestamptz) from public;

select quell_ensure_partitions(now());
