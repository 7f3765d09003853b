-- A week of published tracks as quell stores them, for benches/backtest; `:events` is how many.
-- Facts of some 700 bytes, 20 tenants, 2,000 rooms, five sources; 5% were decided by the event alone,
-- so that LiveKit was not asked, and 1% have no facts at all.
select quell_ensure_partitions(now() - make_interval(days => n)) from generate_series(0, 8) n;

insert into webhook_event (created_at, received_at, event_id, event, room_sid, room_name, tenant,
                           identity, track_sid, body, facts, decision, settlement, settled_at)
select at, at + interval '3 ms', 'EV_' || n, 'track_published', room_sid, room,
       case when seen then tenant end, identity, track_sid,
       json_build_object('event', 'track_published', 'id', 'EV_' || n, 'createdAt', unix::text,
           'room', json_build_object('sid', room_sid, 'name', room),
           'participant', json_build_object('sid', participant_sid, 'identity', identity),
           'track', json_build_object('sid', track_sid, 'type', type, 'source', source, 'mimeType', mime)),
       case when n % 100 = 50 then null else json_build_object(
           'event', json_build_object('created_at', unix, 'type', 'track_published'),
           'participant', case when seen then (json_build_object(
               'attributes', json_build_object('role', role, 'department', 'dept-' || n % 40, 'client', 'web/2.9.1'),
               'can_publish', true, 'can_update_metadata', false, 'identity', identity, 'is_publisher', true, 'joined_at', unix - 40,
               'kind', kind, 'kind_details', json_build_array(), 'metadata', json_build_object('account', n % 5000, 'plan', 'team'),
               'name', 'Participant ' || n % 50000, 'sid', participant_sid))
               else json_build_object('identity', identity, 'sid', participant_sid) end,
           'room', case when seen then (json_build_object(
               'active_recording', n % 7 = 0, 'created_at', unix - 600,
               'metadata', json_build_object('auth_id', tenant, 'title', 'Weekly ' || n % 2000, 'language', 'en'),
               'name', room, 'num_participants', n % 60, 'num_publishers', n % 40, 'sid', room_sid, 'tenant', tenant))
               else json_build_object('name', room, 'sid', room_sid) end,
           'track', (json_build_object('mime_type', mime, 'muted', false, 'name', '', 'sid', track_sid,
               'source', source, 'type', type))) end,
       case when n % 100 = 50 then null else json_build_object(
           'at', to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
           'enforced', verdict, 'dry_run', verdict,
           'trace', case when is_muted then json_build_array(json_build_object('applies', 'true',
               'effect', 'mute', 'mode', 'enforce', 'policy', policy)) else json_build_array() end,
           'trace_left_off', 0) end,
       case when n % 100 = 50 then 'dead_letter' when is_muted then 'muted' else 'nothing' end,
       at + interval '20 ms'
from (
    select *, role = 'attendee' and seen as is_muted,
        case when role = 'attendee' and seen
            then json_build_object('verdict', 'mute', 'policy', policy)
            else json_build_object('verdict', 'nothing') end as verdict
    from (
        select n, at, extract(epoch from at)::bigint as unix,
               'RM_' || lpad(to_hex(room_n::bigint * 2654435761), 12, '0') as room_sid,
               (array['webinar', 'class', 'call', 'stage'])[1 + room_n % 4] || '-' || room_n as room,
               'tenant-' || room_n % 20 as tenant,
               role || '-' || n % 5000 as identity, role,
               'PA_' || lpad(to_hex(n::bigint * 40503), 12, '0') as participant_sid,
               'TR_' || lpad(to_hex(n::bigint * 2246822519), 12, '0') as track_sid,
               (array['MICROPHONE', 'MICROPHONE', 'CAMERA', 'SCREEN_SHARE', 'SCREEN_SHARE_AUDIO', 'UNKNOWN'])[1 + n % 6] as source,
               (array['AUDIO', 'AUDIO', 'VIDEO', 'VIDEO', 'AUDIO', 'AUDIO'])[1 + n % 6] as type,
               (array['audio/opus', 'audio/opus', 'video/VP8', 'video/VP8', 'audio/opus', 'audio/opus'])[1 + n % 6] as mime,
               (array['STANDARD', 'STANDARD', 'STANDARD', 'SIP', 'AGENT'])[1 + n % 5] as kind,
               n % 20 <> 7 as seen,
               json_build_object('owner', null, 'name', 'webinar-mics', 'revision', 1, 'priority', 100,
                   'overridable', false) as policy
        from (
            select n, now() - interval '7 days' + n * (interval '7 days' / :events) as at,
                   n * 7 % 2000 as room_n,
                   (array['host', 'attendee', 'attendee', 'attendee', 'guest'])[1 + n / 3 % 5] as role
            from generate_series(1, :events) n) numbers) tracks) rows;
