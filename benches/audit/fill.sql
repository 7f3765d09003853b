-- Five million actions of the last 360 days, of 200 tenants, with both their rows; two thirds as policies make them on webhooks, the
-- others by sweeps, by people and of policies. The indexes are made after it.
select quell_ensure_partitions(now() - interval '1 day' * d) from generate_series(0, 370, 10) d;

create temporary table audit_index as
select replace(indexdef, ' ON ONLY ', ' ON ') as indexdef, indexname from pg_indexes where schemaname = 'public' and tablename = 'audit_log' and indexname <> 'audit_log_pkey';
do $$ declare i text; begin
    for i in select indexname from audit_index loop execute format('drop index %I', i); end loop;
end $$;

insert into audit_log (started_at, action_id, phase, origin, actor, tenant, action, room_name, room_sid, identity, track_sid, source,
                       policy_owner, policy_name, policy_revision, event_id, request_id, settle_by, outcome, error, before, after, changed,
                       latency_ms, recorded_at, on_behalf_of)
select at, md5(g::text)::uuid, phase, origin, case when by_person then 'moderator-' || g % 900 end, 'tenant-' || g % 200, action,
       'room-' || room, 'RM_' || room, 'user-' || g % 70000, 'TR_' || g / 2, 'MICROPHONE',
       case when not by_person then 'tenant-' || g % 200 end, case when not by_person then 'policy-' || g % 200 || '-' || g % 3 end,
       case when not by_person then 1 end, case when not by_person then 'EV_' || g end, case when by_person then 'req-' || g end,
       case phase when 'intent' then at end,
       case phase when 'outcome' then case when g % 500 = 0 then 'failed' when g % 501 = 0 then 'refused' when g % 50 = 3 then 'superseded' else 'done' end end,
       case when phase = 'outcome' and (g % 500 = 0 or g % 501 = 0) then 'LiveKit cannot be reached' end,
       '{"muted": false}', case phase when 'outcome' then '{"muted": true}'::json end,
       case when phase = 'outcome' and g % 500 <> 0 and g % 501 <> 0 and g % 50 <> 3 then true end, 5 + g % 40, at, case when by_person then 'person-' || g % 3000 end
from (
    select g, now() - interval '6.2 s' * g as at, g % 10 = 1 as by_person, g / 40 as room,
           case when g % 10 = 1 then 'manual' when g % 10 in (2, 3) then 'sweep' else 'webhook' end as origin,
           case when g % 20 = 1 then 'unmute' else 'mute' end as action
    from generate_series(1, 5000000) g) actions, unnest(array['intent', 'outcome']) phase
order by at, phase;

do $$ declare d text; begin
    for d in select indexdef from audit_index loop execute d; end loop;
end $$;
analyze audit_log;
