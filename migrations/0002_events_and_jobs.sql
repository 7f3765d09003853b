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

-- Actions on one source of one participant run one at a time. The row outlives the action:
-- it also remembers the last thing that a person did there, which automatic actions yield to.
create table track_lease (
    room_sid text not null,
    identity text not null,
    source text not null,
    action_id uuid,
    leased_until timestamptz,
    last_manual_at timestamptz,
    last_manual_track_sid text,
    last_manual_muted boolean,
    touched_at timestamptz not null default clock_timestamp(),
    check ((action_id is null) = (leased_until is null)),
    check (num_nulls(last_manual_at, last_manual_track_sid, last_manual_muted) in (0, 3)),
    primary key (room_sid, identity, source)
);

create index track_lease_touched on track_lease (touched_at);
