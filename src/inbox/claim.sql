with recursive room as (
    (select room_sid, 1 as number from job
     where state = 'queued' and room_sid > $2 and room_sid <> all($3::text[])
     order by room_sid limit 1)
    union all
    select (select j.room_sid from job j
            where j.state = 'queued' and j.room_sid > room.room_sid and j.room_sid <> all($3::text[])
            order by j.room_sid limit 1), number + 1
    from room where room.room_sid is not null and number < $4),
queued as materialized (
    select j.* from room cross join lateral (
        select event_created_at, event_id, false as is_abandoned from job
        where state = 'queued' and room_sid = room.room_sid
        order by received_at limit $5 for update skip locked) j
    where room.room_sid is not null),
holder as (
    (select leased_by from job where state = 'leased' order by leased_by limit 1)
    union all
    select (select j.leased_by from job j
            where j.state = 'leased' and j.leased_by > holder.leased_by
            order by j.leased_by limit 1)
    from holder where holder.leased_by is not null),
abandoned as materialized (
    select event_created_at, event_id, true as is_abandoned from job
    where state = 'leased'
      and leased_by = any(array(select leased_by from holder
                                where leased_by <> $1 and quell_is_gone(leased_by)))
    limit $6 for update skip locked),
-- This replica's own, of which it does not know: an answer was lost.
lost as materialized (
    select j.event_created_at, j.event_id, true as is_abandoned
    from job j join unnest($7::timestamptz[], $8::text[]) as k(created_at, event_id)
        on j.event_created_at = k.created_at and j.event_id = k.event_id
    where j.state = 'leased' and j.leased_by = $1
    for update of j skip locked),
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
       extract(epoch from c.deadline - c.received_at)::float8 as "patience_secs!"
from claimed c
left join webhook_event e on e.created_at = c.event_created_at and e.event_id = c.event_id
order by c.received_at
