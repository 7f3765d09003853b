-- What LiveKit told, and what is still to be done about it. Why apart: events are many and kept
-- for weeks, so they are partitioned and dropped by the day; jobs are few and hot, so the table
-- holds only what is unfinished.

create table webhook_event (
    -- The event's own createdAt: the same on every retry, which makes (created_at, event_id)
    -- the dedupe key, and the partition key at once.
    created_at timestamptz not null,
    event_id text not null check (event_id <> ''),
    received_at timestamptz not null default clock_timestamp(),
    event text not null,
    room_sid text,
    room_name text,
    -- The room's metadata.auth_id, once it is known.
    tenant text,
    identity text,
    track_sid text,
    -- `json`, not `jsonb`: the text is kept as it came, and jsonb refuses an escaped NUL, which
    -- would let a participant hide a track behind its name.
    body json not null,
    -- What the track was decided on and what came of it; filled when its job settles.
    facts json,
    decision json,
    settlement text check (settlement in
        ('muted', 'nothing', 'refused', 'stale', 'gone', 'superseded', 'undecided', 'dead_letter')),
    settled_at timestamptz,
    check ((settlement is null) = (settled_at is null)),
    primary key (created_at, event_id)
) partition by range (created_at);

create index webhook_event_room on webhook_event (room_name, created_at);
-- People ask why by the event's id alone, which is what the audit names.
create index webhook_event_id on webhook_event (event_id);

-- Whether a room lives: its end, and who comes and goes. (Not tracks: they are most of all events, and
-- on the way to a mute.)
create index webhook_event_room_sid on webhook_event (room_sid, event)
    where event in ('room_started', 'room_finished', 'participant_joined', 'participant_left');

create table job (
    id uuid primary key,
    event_created_at timestamptz not null,
    event_id text not null,
    received_at timestamptz not null default clock_timestamp(),
    state text not null check (state in ('queued', 'leased', 'dead')),
    -- Counts the takings: a worker settles by id AND attempt, so one that lost its lease
    -- cannot settle what another has taken.
    attempt integer not null default 0 check (attempt >= 0),
    leased_by text,
    leased_until timestamptz,
    run_at timestamptz not null default clock_timestamp(),
    deadline timestamptz not null,
    last_error text,
    check ((state = 'leased') = (leased_until is not null)),
    check ((state = 'leased') = (leased_by is not null)),
    unique (event_created_at, event_id)
);

create index job_runnable on job (run_at) where state = 'queued';
create index job_leased on job (leased_until) where state = 'leased';

-- Actions on one source of one participant run one at a time.
create table track_lease (
    room_sid text not null,
    identity text not null,
    source text not null,
    action_id uuid,
    leased_until timestamptz,
    touched_at timestamptz not null default clock_timestamp(),
    -- What LiveKit last answered, of which track and when: who acts next and looked before that would
    -- take what was for what is.
    track_sid text,
    muted boolean,
    muted_at timestamptz,
    check ((action_id is null) = (leased_until is null)),
    check ((muted is null) = (track_sid is null) and (muted is null) = (muted_at is null)),
    primary key (room_sid, identity, source)
);

create index track_lease_touched on track_lease (touched_at);

-- Who was let speak by a person: automatic mutes give way to it, for as long as the room lives
-- (`postgres/maintenance.rs`). Written with the intent, so that
-- it stands also where the replica dies before the outcome; taken back where LiveKit refused it.
-- (A person's mute is nothing to give way to.)
create table manual_unmute (
    action_id uuid primary key,
    room_sid text not null,
    identity text not null,
    source text not null,
    track_sid text not null,
    at timestamptz not null default clock_timestamp()
);

create index manual_unmute_place on manual_unmute (room_sid, identity, source);
create index manual_unmute_at on manual_unmute (at);

-- Whether a person's unmute stands against an automatic mute that answers to an event of `as_of`.
-- On the same track it always does: it is newer than the publication, whatever clocks say.
-- VOLATILE, so that it looks with a snapshot of its own, taken when the lease is free and not
-- when the statement began: an unmute that ended in between is seen.
create function quell_is_superseded(room_sid text, identity text, source text, track_sid text, as_of timestamptz)
returns boolean language plpgsql volatile as $$
begin
    return as_of is not null and exists (
        select from manual_unmute m
        where m.room_sid = quell_is_superseded.room_sid
          and m.identity = quell_is_superseded.identity
          and m.source = quell_is_superseded.source
          and (m.track_sid = quell_is_superseded.track_sid or m.at > quell_is_superseded.as_of));
end $$;
