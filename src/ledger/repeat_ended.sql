with before as (
    select * from audit_log where started_at = $1 and action_id = $2 and phase = 'intent'),
begun as (
    insert into audit_log
        (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid, identity,
         track_sid, source, policy_owner, policy_name, policy_revision, event_id, settle_by, before)
    select clock_timestamp() - make_interval(secs => $8::float8 / 1000), $3, 'intent', origin, actor, tenant, action,
           room_name, room_sid, identity, track_sid, source, policy_owner, policy_name,
           policy_revision, $4, clock_timestamp(), before
    from before
    returning *)
insert into audit_log
    (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid, identity,
     track_sid, source, policy_owner, policy_name, policy_revision, event_id, outcome, error,
     before, after, changed, latency_ms)
select started_at, action_id, 'outcome', origin, actor, tenant, action, room_name, room_sid, identity,
       track_sid, source, policy_owner, policy_name, policy_revision, event_id, $5, $6,
       before, case when $7::boolean is not null then json_build_object('muted', $7::boolean) end,
       case when $7 = (action = 'mute') then (before ->> 'muted')::boolean is distinct from $7 end, $8::float8
from begun
