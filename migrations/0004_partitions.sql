-- Upkeep of partitions. Why functions of the owner (SECURITY DEFINER): the service owns nothing
-- and may create nothing; it may ask for exactly these three things.

create function quell_create_partition(parent text, lower_day date, upper_day date)
returns void language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
    if parent not in ('webhook_event', 'audit_log') then
        raise exception 'no partitioned table %', parent;
    end if;
    execute format('create table if not exists public.%I partition of public.%I for values from (%L) to (%L)',
        parent || '_' || to_char(lower_day, 'YYYYMMDD'), parent,
        lower_day::timestamp at time zone 'UTC', upper_day::timestamp at time zone 'UTC');
exception
    -- Another replica was faster.
    when duplicate_table or unique_violation then null;
end $$;

-- Makes the partitions that rows from a week before `around` to two weeks after it go to.
create function quell_ensure_partitions(around timestamptz)
returns void language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    today date := (around at time zone 'UTC')::date;
    day date;
    month date;
begin
    for day in select generate_series(today - 1, today + 14, interval '1 day')::date loop
        if to_regclass('public.webhook_event_' || to_char(day, 'YYYYMMDD')) is null then
            perform public.quell_create_partition('webhook_event', day, day + 1);
        end if;
    end loop;
    for month in select generate_series(date_trunc('month', (today - 1)::timestamp),
                                        date_trunc('month', (today + 14)::timestamp),
                                        interval '1 month')::date loop
        if to_regclass('public.audit_log_' || to_char(month, 'YYYYMMDD')) is null then
            perform public.quell_create_partition('audit_log', month, (month + interval '1 month')::date);
        end if;
    end loop;
end $$;

-- Drops the partitions of webhook events that ended before `before`; returns how many.
create function quell_drop_events(before timestamptz)
returns integer language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
    partition record;
    dropped integer := 0;
begin
    if before > now() - interval '1 day' then
        raise exception 'events of the last day are not dropped';
    end if;
    for partition in
        select c.relname, to_date(right(c.relname, 8), 'YYYYMMDD') as day
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'public.webhook_event'::regclass
    loop
        if partition.day + 1 <= (before at time zone 'UTC')::date then
            execute format('drop table public.%I', partition.relname);
            dropped := dropped + 1;
        end if;
    end loop;
    return dropped;
end $$;

revoke all on function quell_create_partition(text, date, date) from public;
revoke all on function quell_ensure_partitions(timestamptz) from public;
revoke all on function quell_drop_events(timestamptz) from public;

select quell_ensure_partitions(now());
