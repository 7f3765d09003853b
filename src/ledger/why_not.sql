select a.action_id as "action_id!",
       a.attempt is not null and not exists (
           select from job j
           where j.event_created_at = a.job_created_at and j.event_id = a.job_event_id
             and j.attempt = a.attempt and j.state = 'leased') as "is_lost!",
       quell_is_superseded(a.room_sid, a.identity, a.source, a.track_sid, a.as_of)
       -- While a person's action is under way, what comes of it is waited for.
       and not exists (select from track_lease t
                       where t.room_sid = a.room_sid and t.identity = a.identity
                         and t.source = a.source
                         and t.leased_until >= clock_timestamp()) as "is_superseded!",
       a.as_of is not null and a.action = 'mute' and exists (
           select from track_lease t
           where t.room_sid = a.room_sid and t.identity = a.identity and t.source = a.source
             and t.muted_tracks ? a.track_sid
             and ((t.muted_tracks -> a.track_sid ->> 0)::numeric
                      > extract(epoch from statement_timestamp() - a.fetched)
                  or (a.before::json ->> 'muted')::boolean)) as "is_muted!",
       (select o.started_at
        from open_intent o join track_lease t using (action_id)
        where o.action_id = a.action_id) as started_at
from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[],
            $7::timestamptz[], $8::text[], $9::int[], $10::text[], $11::interval[], $12::text[])
as a(action_id, room_sid, identity, source, track_sid, as_of, job_created_at, job_event_id, attempt,
     action, fetched, before)
