-- Fewer indexes on the way to a mute.

-- One index less on events that are no tracks, which are most of them. Why: storing an event is mostly
-- keeping its indexes. People ask why by the event's id alone, so the key begins with it and serves them too;
-- what the key's old order was for, backtests, is about tracks alone.

alter table webhook_event drop constraint webhook_event_pkey;
alter table webhook_event add primary key (event_id, created_at);
drop index webhook_event_id;
create index webhook_event_tracks on webhook_event (created_at, event_id) where event = 'track_published';

-- A lease is changed twice for each mute. No index has a column that changes, so Postgres keeps the row where it
-- is (HOT); the chore that removes old leases reads them all, once an hour.
drop index track_lease_touched;

-- Until when a mute may still reach LiveKit that a replica began which is gone, where another has muted instead: no
-- unmute begins before that, or the late mute would undo it.
alter table track_lease add column mute_until timestamptz;
