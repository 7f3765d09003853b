-- What the audit is asked by beside rooms, participants, tenants and policies. Each is found by an index, newest first; what is
-- rare has one of its own that common rows have no part in, since each index costs every mute a little.
create index audit_log_action on audit_log (action_id) where phase = 'outcome';
create index audit_log_room_sid on audit_log (room_sid, started_at) where phase = 'outcome';
create index audit_log_track on audit_log (track_sid, started_at) where phase = 'outcome';
create index audit_log_event on audit_log (event_id, started_at) where phase = 'outcome' and event_id is not null;
create index audit_log_request on audit_log (request_id, started_at) where phase = 'outcome' and request_id is not null;
create index audit_log_actor on audit_log (actor, started_at) where phase = 'outcome' and actor is not null;
create index audit_log_outcome on audit_log (outcome, started_at) where phase = 'outcome' and outcome <> 'done';
create index audit_log_origin on audit_log (origin, started_at) where phase = 'outcome' and origin <> 'webhook';
create index audit_log_verb on audit_log (action, started_at) where phase = 'outcome' and action <> 'mute';
