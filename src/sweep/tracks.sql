with asked as materialized (
    select distinct track_sid from unnest($1::text[]) as t(track_sid)),
told as materialized (
    select a.track_sid, min(e.created_at) as published_at, min(e.received_at) as as_of,
           bool_or(j.event_id is not null) as is_open
    from asked a
    join webhook_event e
        on e.track_sid = a.track_sid and e.event = 'track_published' and e.room_sid = $2
           and e.created_at >= $3
    left join job j
        on j.event_created_at = e.created_at and j.event_id = e.event_id and j.state <> 'dead'
    group by a.track_sid),
untold as materialized (
    select track_sid from asked a where not exists (select from told t where t.track_sid = a.track_sid)),
known as materialized (
    select s.track_sid, s.first_seen_at,
           s.is_counted,
           s.first_seen_at < clock_timestamp() - interval '30 seconds' and not s.is_counted as is_late
    from untold join swept_track s using (track_sid)),
new as (
    insert into swept_track (track_sid, room_sid)
    select track_sid, $2 from untold u
    where $4 and not exists (select from known k where k.track_sid = u.track_sid)
    order by track_sid
    -- Another replica's sweep may have seen it just now.
    on conflict (track_sid) do update set room_sid = excluded.room_sid
    returning track_sid, first_seen_at)
select track_sid as "track_sid!", published_at as "published_at!", as_of as "as_of!",
       true as "is_told!", is_open as "is_open!", false as "is_counted!", false as "is_late!"
from told
union all
select track_sid, first_seen_at, first_seen_at, false, false, is_counted, is_late from known
union all
select track_sid, first_seen_at, first_seen_at, false, false, false, false from new
union all
select track_sid, clock_timestamp(), clock_timestamp(), false, false, false, false from untold u
where not $4 and not exists (select from known k where k.track_sid = u.track_sid)
