-- The audit log: every action, asked for by a person or by a policy, done, refused or failed.
-- An action that reaches LiveKit is two rows, its intent (before the call) and its outcome
-- (after); one that never gets there is an outcome alone.

create table audit_log (
    -- When the action began, the same on both of its rows: the partition key.
    started_at timestamptz not null,
    action_id uuid not null,
    phase text not null check (phase in ('intent', 'outcome')),
    -- Not commit order: readers of the tail go by (txid, seq), and stop below
    -- pg_snapshot_xmin(pg_current_snapshot()), where no transaction is open any more.
    seq bigint generated always as identity,
    txid xid8 not null default pg_current_xact_id(),
    recorded_at timestamptz not null default clock_timestamp(),
    origin text not null check (origin in ('manual', 'webhook', 'sweep', 'observer', 'rest', 'cli')),
    -- The caller's id; null is a caller without one, or quell itself acting on a policy.
    actor text,
    -- Whose row it is: the room's tenant; null is the operator.
    tenant text,
    action text not null check (action in
        ('mute', 'unmute', 'exempt', 'decide', 'policy.create', 'policy.update', 'policy.delete')),
    room_name text,
    room_sid text,
    identity text,
    track_sid text,
    source text,
    policy_owner text,
    policy_name text,
    policy_revision integer,
    -- A rollback's: the revision whose document is in force again.
    restored_from integer,
    event_id text,
    request_id text,
    -- Until when the one who acts may still write the outcome; later anyone closes it as unknown.
    settle_by timestamptz,
    outcome text check (outcome in
        ('done', 'refused', 'failed', 'superseded', 'gone', 'undecided', 'dry_run', 'unknown')),
    error text,
    before json,
    after json,
    -- Whether the track was otherwise before: a mute of what is muted already changes nothing.
    changed boolean,
    latency_ms double precision check (latency_ms >= 0),
    check ((phase = 'intent') = (outcome is null)),
    check ((phase = 'intent') = (settle_by is not null)),
    check ((policy_name is null) = (policy_revision is null)),
    check (changed is null or outcome is not null and outcome in ('done', 'dry_run')),
    check (restored_from between 1 and policy_revision - 1),
    -- Nobody else passes for the command line.
    check ((origin = 'cli') = coalesce(actor like 'cli:%', false)),
    check (outcome not in ('failed', 'refused', 'undecided', 'unknown') or error is not null),
    primary key (started_at, action_id, phase)
) partition by range (started_at);

-- Readers look at outcomes, which repeat what their intents say; so an intent, which is written
-- on the way to the mute, has no part in these.
create index audit_log_room on audit_log (room_name, started_at) where phase = 'outcome';
create index audit_log_tenant on audit_log (tenant, started_at) where phase = 'outcome';
create index audit_log_identity on audit_log (identity, started_at) where phase = 'outcome';
create index audit_log_policy on audit_log (policy_name, started_at)
    where phase = 'outcome' and policy_name is not null;
create index audit_log_tail on audit_log (txid, seq);

create trigger audit_log_is_append_only
    before update or delete or truncate on audit_log
    for each statement execute function quell_refuse_change();

-- The intents that have no outcome yet, written and removed in the statements that write the two.
-- Why a table: to find them in the log itself, all of it would have to be joined with itself,
-- every few seconds, or intents older than some bound would stay open for ever.
create table open_intent (
    action_id uuid primary key,
    started_at timestamptz not null,
    settle_by timestamptz not null
);
