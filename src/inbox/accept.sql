with incoming as materialized (
    select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[],
        $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bool[],
        $12::bool[])
    with ordinality as t(created_at, event_id, event, room_sid, room_name, tenant,
         identity, participant_sid, track_sid, body, is_ours, is_end, ordinal)),
stored as (
    insert into webhook_event (created_at, event_id, event, room_sid, room_name, tenant,
                               identity, track_sid, body)
    select created_at, event_id, event, room_sid, room_name, tenant, identity, track_sid,
           body::json
    -- In the order of the key, so that two replicas with the same events never
    -- wait for each other.
    from incoming order by created_at, event_id, ordinal
    on conflict do nothing
    returning created_at, event_id, received_at),
-- Of equals in a batch the first has the job: the same one that is handed on.
jobs as (
    insert into job (event_created_at, event_id, received_at, state, attempt, leased_by,
                     deadline, room_sid, participant_sid, track_sid)
    select distinct on (s.created_at, s.event_id)
           s.created_at, s.event_id, s.received_at, case when i.is_ours then 'leased' else 'queued' end,
           case when i.is_ours then 1 else 0 end, case when i.is_ours then $13::text end,
           s.received_at + $14::interval, i.room_sid, i.participant_sid, i.track_sid
    from (select * from incoming where is_ours is not null) i
    join stored s using (created_at, event_id)
    order by s.created_at, s.event_id, i.ordinal)
select created_at as "created_at!", event_id as "event_id!", received_at from stored
union all
select over.created_at, over.event_id, null
from (select * from incoming where is_end) i
cross join lateral quell_end_jobs(i.event, i.room_sid, i.participant_sid, i.track_sid) over
