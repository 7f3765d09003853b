with over as materialized (
    select * from unnest($1::int[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[],
        $6::text[], $7::text[], $8::text[], $9::bool[], $10::float8[], $11::bool[],
        $12::timestamptz[], $13::text[], $14::int[], $15::text[], $16::text[], $17::text[],
        $18::text[], $19::text[], $24::uuid[], $25::timestamptz[], $26::text[])
    as t(ordinal, action_id, started_at, room_sid, identity, source, outcome, error, muted,
         latency_ms, may_stand, created_at, event_id, attempt, settlement, given_up, facts,
         decision, tenant, intent_id, intent_at, repeat_event)),
jobs as materialized (
    select o.ordinal, j.event_created_at, j.event_id
    from job j join over o
        on j.event_created_at = o.created_at and j.event_id = o.event_id
           and j.attempt = o.attempt and j.state = 'leased'
    order by j.event_created_at, j.event_id
    for update of j),
leases as materialized (
    select o.ordinal
    from track_lease t join over o
        on t.room_sid = o.room_sid and t.identity = o.identity and t.source = o.source
           and t.action_id = o.action_id
    -- Always so: it reads all of `jobs` first.
    where (select count(*) from jobs) >= 0
    order by t.room_sid, t.identity, t.source
    for update of t),
released as (
    update track_lease t
    set action_id = null, leased_until = null, leased_by = null, action = null,
        touched_at = clock_timestamp(),
        track_sid = case when o.muted is null then t.track_sid else i.track_sid end,
        muted_at = case when o.muted is null then t.muted_at else clock_timestamp() end,
        -- Of the last few.
        muted_tracks = case
            when o.muted then
                case when octet_length(t.muted_tracks::text) > 1024 then '{}' else t.muted_tracks end
                || jsonb_build_object(i.track_sid, jsonb_build_array(
                       extract(epoch from o.started_at), extract(epoch from clock_timestamp())))
            when not o.muted then t.muted_tracks - i.track_sid
            else t.muted_tracks end,
        muted = coalesce(o.muted, t.muted)
    from leases l join over o using (ordinal)
    join audit_log i on i.started_at = o.intent_at and i.action_id = o.intent_id
        and i.phase = 'intent' and i.started_at between $20 and $21
    where t.room_sid = o.room_sid and t.identity = o.identity and t.source = o.source),
forgotten as (
    delete from manual_unmute m using over o where m.action_id = o.action_id and not o.may_stand),
closed as (
    delete from open_intent i where i.action_id = any($2::uuid[])
    returning i.action_id, i.settle_by),
-- Of what failed before and ended otherwise now.
repeated as (
    insert into audit_log
        (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
         identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
         request_id, settle_by, before)
    select o.started_at, o.action_id, 'intent', i.origin, i.actor, i.tenant, i.action,
           i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner, i.policy_name,
           i.policy_revision, o.repeat_event, i.request_id, c.settle_by, i.before
    from closed c join over o using (action_id)
    join audit_log i on i.started_at = o.intent_at and i.action_id = o.intent_id
        and i.phase = 'intent' and i.started_at between $20 and $21
    where o.intent_id <> o.action_id
      and (o.outcome not in ('failed', 'unknown')
           or o.outcome = 'unknown' and not exists (
               select from sweep_decision d
               where d.track_sid = i.track_sid and d.outcome = 'unknown' and d.action_id = o.intent_id))
    on conflict do nothing),
outcomes as (
    insert into audit_log
        (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid,
         identity, track_sid, source, policy_owner, policy_name, policy_revision, event_id,
         request_id, on_behalf_of, reason, outcome, error, before, after, changed, latency_ms)
    select o.started_at, o.action_id, 'outcome', i.origin, i.actor, i.tenant, i.action,
           i.room_name, i.room_sid, i.identity, i.track_sid, i.source, i.policy_owner,
           i.policy_name, i.policy_revision, coalesce(o.repeat_event, i.event_id), i.request_id,
           i.on_behalf_of, i.reason,
           case when is_repeated then 'unknown' else o.outcome end,
           case when is_repeated
                then 'this replica was taken for gone, and another one did the same before anything was known of it'
                else o.error end,
           i.before,
           case when o.muted is not null and not is_repeated then json_build_object('muted', o.muted) end,
           -- Where LiveKit answers other than was asked for, nothing is known of a change.
           case when o.muted = (i.action = 'mute') and not is_repeated
                then (i.before ->> 'muted')::boolean is distinct from o.muted end,
           o.latency_ms
    from closed join over o using (action_id)
    join audit_log i on i.started_at = o.intent_at and i.action_id = o.intent_id
        and i.phase = 'intent' and i.started_at between $20 and $21
    -- Its lease is another's: only a policy's mute is taken over.
    cross join lateral (
        select o.outcome = 'done' and i.action = 'mute' and i.origin in ('webhook', 'sweep')
               and not exists (select from leases l where l.ordinal = o.ordinal)
               and exists (select from track_lease t
                           where t.room_sid = o.room_sid and t.identity = o.identity and t.source = o.source
                             and coalesce(t.action = 'mute', t.muted))) as x(is_repeated)
    -- That it failed again is no news; that it may have been done is, once.
    where o.intent_id = o.action_id or o.outcome not in ('failed', 'unknown')
       or o.outcome = 'unknown' and not exists (
           select from sweep_decision d
           where d.track_sid = i.track_sid and d.outcome = 'unknown' and d.action_id = o.intent_id)
    on conflict do nothing),
settled as (
    update webhook_event e
    set settlement = o.settlement, settled_at = clock_timestamp(), facts = o.facts::json,
        decision = o.decision::json, tenant = coalesce(o.tenant, e.tenant)
    from jobs join over o using (ordinal)
    where e.created_at = o.created_at and e.event_id = o.event_id
      and o.settlement is not null and e.created_at between $22 and $23),
let_go as (
    update job j set action_id = null
    from jobs join over o using (ordinal)
    where j.event_created_at = jobs.event_created_at and j.event_id = jobs.event_id
      and o.settlement is null),
deleted as (
    delete from job j using jobs join over o using (ordinal)
    where j.event_created_at = jobs.event_created_at and j.event_id = jobs.event_id
      and o.settlement is not null and o.given_up is null),
given_up as (
    update job j
    set state = 'dead', leased_by = null, last_error = o.given_up
    from jobs join over o using (ordinal)
    where j.event_created_at = jobs.event_created_at and j.event_id = jobs.event_id
      and o.given_up is not null)
select ordinal as "ordinal!" from jobs
