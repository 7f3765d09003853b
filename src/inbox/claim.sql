-- What is queued, the oldest first, and of which rooms that is.
with recursive oldest as materialized (
    select room_sid, placed_at from job
    where state = 'queued' and placed_at >= now() - $9::interval and room_sid <> all($3::text[])
    order by placed_at limit 20000),
room as materialized (
    select distinct room_sid from oldest where room_sid > $2
    order by room_sid limit $4),
queued as materialized (
    select j.* from room cross join lateral (
        select event_created_at, event_id, false as is_abandoned from job
        where state = 'queued' and room_sid = room.room_sid and placed_at >= now() - $9::interval
        order by placed_at limit $5 for update skip locked) j),
-- Replicas that are gone and may have jobs. Once in a while also those of which nothing is known any more: they are found
-- one after the other, each by one step in an index (a "loose index scan").
holder as (
    (select leased_by from job where $10 and state = 'leased' order by leased_by limit 1)
    union all
    select (select j.leased_by from job j
            where j.state = 'leased' and j.leased_by > holder.leased_by
            order by j.leased_by limit 1)
    from holder where holder.leased_by is not null),
gone as materialized (
    select id from replica where id <> $1 and alive_until < clock_timestamp() and not is_cleared
    union
    select leased_by from holder where leased_by <> $1 and quell_is_gone(leased_by)),
abandoned as materialized (
    select event_created_at, event_id, true as is_abandoned from job
    where state = 'leased' and leased_by = any(array(select id from gone))
    limit $6 for update skip locked),
cleared as (
    update replica set is_cleared = true
    where id in (select id from gone) and alive_until < clock_timestamp()
      and (select count(*) from abandoned) < $6),
-- This replica's own, of which it does not know: an answer was lost.
lost as materialized (
    select j.* from unnest($7::timestamptz[], $8::text[]) as k(created_at, event_id)
    cross join lateral (
        select event_created_at, event_id, true as is_abandoned from job
        where event_created_at = k.created_at and event_id = k.event_id
          and state = 'leased' and leased_by = $1
        for update skip locked) j),
next as materialized (
    select * from lost union all select * from abandoned union all select * from queued),
claimed as (
    update job set state = 'leased', attempt = attempt + 1, leased_by = $1, action_id = null
    from next
    where job.event_created_at = next.event_created_at and job.event_id = next.event_id
    returning job.attempt, job.event_created_at, job.event_id, job.received_at, job.deadline,
              job.room_sid, is_abandoned)
select c.event_created_at, c.event_id, c.attempt, c.received_at, c.room_sid,
       is_abandoned and c.attempt > 2 and c.deadline < clock_timestamp() as "deadline_exceeded!",
       is_abandoned as "is_abandoned!", e.body::text as "body?",
       extract(epoch from clock_timestamp() - c.received_at)::float8 as "age_secs!",
       extract(epoch from c.deadline - c.received_at)::float8 as "patience_secs!",
       extract(epoch from clock_timestamp() - (select min(placed_at) from oldest))::float8 as "oldest_secs?"
from claimed c
left join webhook_event e on e.created_at = c.event_created_at and e.event_id = c.event_id
order by c.received_at
