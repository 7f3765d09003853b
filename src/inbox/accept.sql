with incoming as materialized (
    select * from unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[],
        $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::bool[],
        $12::bool[])
    with ordinality as t(created_at, event_id, event, room_sid, room_name, tenant,
         identity, participant_sid, track_sid, body, is_ours, is_end, place)),
stored as (
    insert into webhook_event (created_at, event_id, event, room_sid, room_name, tenant,
                               identity, track_sid, body)
    select created_at, event_id, event, room_sid, room_name, tenant, identity, track_sid,
           body::json
    -- In the order of the key, so that two replicas with the same events never
    -- wait for each other.
    from incoming order by created_at, event_id, place
    on conflict do nothing
    returning created_at, event_id, received_at),
-- Of equals in a batch the first is the one that is stored.
new as (
    select distinct on (s.created_at, s.event_id) i.*, s.received_at
    from stored s join incoming i using (created_at, event_id)
    order by s.created_at, s.event_id, i.place),
jobs as (
    insert into job (event_created_at, event_id, received_at, state, attempt, leased_by,
                     deadline, room_sid, participant_sid, track_sid)
    select created_at, event_id, received_at, case when is_ours then 'leased' else 'queued' end,
           case when is_ours then 1 else 0 end, case when is_ours then $13::text end,
           received_at + $14::interval, room_sid, participant_sid, track_sid
    from new where is_ours is not null),
-- Jobs of tracks that are gone, as far as nobody acts on them just now.
over as materialized (
    select j.event_created_at, j.event_id
    from job j join incoming i
        on i.is_end and j.room_sid = i.room_sid
           and (i.event = 'room_finished'
                or j.participant_sid = i.participant_sid
                   and (i.event <> 'track_unpublished' or j.track_sid = i.track_sid))
    where j.state <> 'dead' and j.action_id is null
    for update of j skip locked),
ended as (
    delete from job j using over
    where j.event_created_at = over.event_created_at and j.event_id = over.event_id
    returning j.event_created_at, j.event_id),
settled as (
    update webhook_event e set settlement = 'gone', settled_at = clock_timestamp()
    from ended
    where e.created_at = ended.event_created_at and e.event_id = ended.event_id
    returning e.created_at, e.event_id)
select place as "place", received_at as "received_at", null::timestamptz as "created_at",
       null::text as "event_id" from new
union all
select null, null, created_at, event_id from settled
