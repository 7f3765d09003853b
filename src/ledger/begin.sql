with asked as materialized (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[],
        $6::interval[], $7::timestamptz[], $8::text[], $9::text[], $10::text[], $11::text[],
        $12::text[], $13::text[], $14::text[], $15::int[], $16::text[], $17::text[],
        $18::text[], $19::bool[], $20::interval[], $21::timestamptz[], $22::text[], $23::int[],
        $25::uuid[], $26::timestamptz[], $27::timestamptz[], $28::text[], $29::text[])
    as t(action_id, room_sid, identity, source, track_sid, hold, as_of, origin, actor, tenant,
         action, room_name, policy_owner, policy_name, policy_revision, event_id, request_id,
         before, is_manual_unmute, fetched, job_created_at, job_event_id, attempt, repeats_id, repeats_at,
         looked_after, on_behalf_of, reason)),
locked as materialized (
    select a.action_id
    from job j join asked a
        on j.event_created_at = a.job_created_at and j.event_id = a.job_event_id
           and j.attempt = a.attempt and j.state = 'leased'
    order by j.event_created_at, j.event_id
    for update of j),
lease as (
    insert into track_lease as t
        (room_sid, identity, source, action_id, leased_until, leased_by, action)
    select room_sid, identity, source, action_id, clock_timestamp() + hold, $24, action
    from asked a
    where (attempt is null or exists (select from locked l where l.action_id = a.action_id))
      and not quell_is_superseded(room_sid, identity, source, track_sid, as_of)
    order by room_sid, identity, source
    on conflict (room_sid, identity, source) do update
    set action_id = excluded.action_id, leased_until = excluded.leased_until,
        leased_by = excluded.leased_by, action = excluded.action,
        touched_at = clock_timestamp(),
        -- Taken over: the late call of the one that is gone may come until then.
        mute_until = greatest(t.mute_until, case when t.leased_until >= clock_timestamp()
                                                 then t.leased_until end)
    where (t.leased_until is null or t.leased_until < clock_timestamp()
           or t.action = 'mute' and excluded.action = 'mute' and quell_is_gone(t.leased_by)
              and exists (select from asked a
                          where a.action_id = excluded.action_id and a.as_of is not null))
      -- Such a call would undo an unmute.
      and (excluded.action = 'mute' or t.mute_until is null or t.mute_until < clock_timestamp())
      and not (select quell_is_superseded(a.room_sid, a.identity, a.source, a.track_sid, a.as_of)
               from asked a where a.action_id = excluded.action_id)
      -- Not where we muted the track and it was seen muted, nor where another mute of it may have ended after this one
      -- had looked: it looks again. (How long ago that was is not known here: the statement takes its time to come.)
      and not exists (select from asked a
                      where a.action_id = excluded.action_id and a.as_of is not null and a.action = 'mute'
                        and t.muted_tracks ? a.track_sid
                        and ((t.muted_tracks -> a.track_sid ->> 1)::numeric
                                 > extract(epoch from coalesce(a.looked_after, statement_timestamp() - a.fetched))
                             or (a.before::json ->> 'muted')::boolean))
    returning t.action_id, t.leased_until, t.track_sid, t.muted, t.muted_at, t.muted_tracks),
remembered as (
    insert into manual_unmute (action_id, room_sid, identity, source, track_sid)
    select a.action_id, a.room_sid, a.identity, a.source, a.track_sid
    from lease join asked a using (action_id) where a.is_manual_unmute),
opened as (
    insert into open_intent (action_id, started_at, settle_by, repeats_id, repeats_at)
    select action_id, clock_timestamp(), leased_until, a.repeats_id, a.repeats_at
    from lease join asked a using (action_id)
    returning action_id, started_at, settle_by),
begun as (
    update job j set action_id = a.action_id
    from lease join asked a using (action_id)
    where j.event_created_at = a.job_created_at and j.event_id = a.job_event_id),
written as (
    insert into audit_log
        (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
         identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
         request_id, on_behalf_of, reason, settle_by, before)
    select o.started_at, a.action_id, 'intent', a.origin, a.actor, a.tenant, a.action, a.room_name,
           a.room_sid, a.identity, a.track_sid, a.source, a.policy_owner, a.policy_name,
           a.policy_revision, a.event_id, a.request_id, a.on_behalf_of, a.reason, o.settle_by,
           case when l.track_sid = a.track_sid and l.muted_at > coalesce(a.looked_after, statement_timestamp() - a.fetched)
                then json_build_object('muted', l.muted)
                -- Another track of the source came after it.
                when (l.muted_tracks -> a.track_sid ->> 1)::numeric
                    > extract(epoch from coalesce(a.looked_after, statement_timestamp() - a.fetched))
                then json_build_object('muted', true)
                else a.before::json end
    from opened o join lease l using (action_id) join asked a using (action_id)
    -- What failed before has its intent.
    where a.repeats_id is null)
select action_id as "action_id!", started_at as "started_at!" from opened
