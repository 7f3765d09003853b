-- Sweeps: looks at all live tracks, for what no webhook tells (a window that opens, a changed policy, a webhook that
-- was lost, a track from before quell started).

-- One row a tick: what is swept for, by whoever of the replicas has its lease. No leader and no session lock, which
-- break behind poolers and on links that are half open.
create table sweep_run (
    id uuid primary key,
    cause text not null check (cause in ('start', 'schedule', 'edge', 'policy', 'missing_webhook', 'manual')),
    -- Which of its cause: the same for all replicas that notice it.
    key text not null,
    -- The room that it is about; null: all that can be concerned.
    room_name text,
    created_at timestamptz not null default clock_timestamp(),
    -- Counts who had the lease: one that lost it does not finish what another has taken.
    attempt integer not null default 1 check (attempt > 0),
    leased_until timestamptz not null,
    replica text not null,
    started_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    -- Why rooms could not be had.
    error text,
    rooms integer not null default 0,
    participants integer not null default 0,
    tracks integer not null default 0,
    muted integer not null default 0,
    failed integer not null default 0,
    skipped integer not null default 0,
    unique (cause, key)
);

create index sweep_run_open on sweep_run (leased_until) where finished_at is null;
create index sweep_run_finished on sweep_run (finished_at);

-- When a track was first seen of which no webhook told: since then its policy's reason is known, and a person's newer
-- unmute stands.
create table swept_track (
    track_sid text primary key,
    room_sid text not null,
    first_seen_at timestamptz not null default clock_timestamp(),
    -- Counted as one that no webhook told of.
    is_counted boolean not null default false
);

-- What a sweep acted on, or could not decide: why, as explanations read it. Its id is the event id of its audit rows.
create table sweep_decision (
    id text not null check (id like 'SW\_%'),
    sweep_id uuid not null,
    decided_at timestamptz not null default clock_timestamp(),
    as_of timestamptz not null,
    tenant text,
    room_name text not null,
    room_sid text not null,
    identity text not null,
    track_sid text not null,
    policy_owner text,
    policy_name text,
    policy_revision integer,
    outcome text not null check (outcome in
        ('done', 'refused', 'failed', 'superseded', 'gone', 'undecided', 'dry_run')),
    facts json not null,
    decision json not null,
    -- The action that was begun: one that failed is tried again under the same intent.
    action_id uuid,
    action_started_at timestamptz,
    primary key (id, outcome)
);

-- A mute that failed and is tried again has no intent of its own in the log unless it ends otherwise: it repeats that one.
alter table open_intent
    add column repeats_id uuid,
    add column repeats_at timestamptz,
    add check ((repeats_id is null) = (repeats_at is null));

-- The same again at the next tick is no news. (What reached LiveKit has its rows in any case.)
create unique index sweep_decision_once on sweep_decision
    (track_sid, outcome, coalesce(policy_owner, ''), coalesce(policy_name, ''), coalesce(policy_revision, 0))
    where outcome not in ('done', 'gone');
create index sweep_decision_at on sweep_decision (decided_at, id);

-- Whether a webhook has told of a track.
create index webhook_event_track on webhook_event (track_sid) where event = 'track_published';

-- Whether somebody who leaves had joined, by one lookup.
drop index webhook_event_room_sid;
create index webhook_event_room_sid on webhook_event (room_sid, event, identity)
    where event in ('room_started', 'room_finished', 'participant_joined', 'participant_left');

-- (`offset 0`: a view of one table alone could be written through.)
create view sweeps as
select id, cause, started_at, finished_at, replica, rooms, participants, tracks, muted, failed, skipped, error,
       attempt, room_name
from sweep_run
offset 0;

-- Whether a room is over since more than a day. LiveKit may drop the webhook of its end: then it counts as over a
-- day after its last event was dropped, and no earlier than that long after `since`.
create function quell_is_room_over(of_room_sid text, since timestamptz, retention_days integer)
returns boolean language sql stable as $$
    -- The events are those of the index `webhook_event_room_sid`.
    select exists (
            select from webhook_event e
            where e.room_sid = of_room_sid and e.event = 'room_finished'
              and e.received_at < clock_timestamp() - interval '1 day')
        or since < clock_timestamp() - make_interval(days => retention_days + 1)
           and not exists (
            select from webhook_event e
            where e.room_sid = of_room_sid
              and e.event in ('room_started', 'room_finished', 'participant_joined', 'participant_left')
              and e.received_at > clock_timestamp() - make_interval(days => retention_days + 1))
$$;

-- As in 0006, with the tables of sweeps.
create or replace function quell_grant_service(login text) returns void language plpgsql as $$
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, replica, track_lease, sweep_run,
        swept_track to %I', login);
    execute format('grant select, insert, delete on manual_unmute, sweep_decision to %I', login);
    execute format('grant select, insert, delete on open_intent to %I', login);
    execute format('grant select, insert on policy_revision, audit_log to %I', login);
    execute format('grant select on policy_history to %I', login);
    execute format('grant select, insert, update on webhook_event to %I', login);
    execute format('grant select on _sqlx_migrations, moderation_history, failed_actions, unsettled_actions,
        would_have_muted, actions_by_participant, policy_effect, sweeps to %I', login);
    execute format('grant execute on function quell_ensure_partitions(timestamptz),
        quell_drop_events(timestamptz) to %I', login);
end $$;

create or replace function quell_grant_auditor() returns void language plpgsql as $$
begin
    if exists (select from pg_roles where rolname = 'quell_auditor') then
        grant usage on schema public to quell_auditor;
        grant select on moderation_history, failed_actions, unsettled_actions, would_have_muted,
            actions_by_participant, policy_effect, sweeps to quell_auditor;
    end if;
end $$;
select quell_grant_auditor();
