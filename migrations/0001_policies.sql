-- Stored policies. Why two tables: `policy` is what is live, small and read whole by every
-- replica; `policy_revision` is the history, and nothing in it ever changes.

create table policy (
    id uuid primary key,
    -- The tenant that owns the policy (a room's metadata.auth_id); null is the operator.
    owner text check (btrim(owner) <> '' and owner !~ '[[:cntrl:]]' and char_length(owner) <= 256),
    name text not null check (btrim(name) <> ''),
    revision integer not null check (revision > 0),
    document jsonb not null check (jsonb_typeof(document) = 'object'),
    -- Who keeps it: `apply --prune` removes only what `apply` wrote.
    managed_by text not null check (managed_by in ('apply', 'rest')),
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    updated_by text not null check (btrim(updated_by) <> ''),
    -- The name first: `owner is not distinct from` is no condition that an index answers.
    unique nulls not distinct (name, owner)
);

create table policy_revision (
    -- Changes are written one after the other (advisory lock), so a larger id is a later commit:
    -- a replica knows by the largest id whether it has seen everything.
    id bigint generated always as identity primary key,
    owner text check (btrim(owner) <> '' and owner !~ '[[:cntrl:]]' and char_length(owner) <= 256),
    name text not null check (btrim(name) <> ''),
    revision integer not null check (revision > 0),
    change text not null check (change in ('create', 'update', 'delete')),
    document jsonb check (jsonb_typeof(document) = 'object'),
    author text not null check (btrim(author) <> ''),
    managed_by text not null check (managed_by in ('apply', 'rest')),
    -- The revision whose document a rollback brought back.
    restored_from integer check (restored_from between 1 and revision - 1),
    -- The same for all that one transaction changes: no moment lies in the middle of an apply.
    created_at timestamptz not null default clock_timestamp(),
    check ((change = 'delete') = (document is null)),
    check (restored_from is null or change <> 'delete'),
    -- The name first: `owner is not distinct from` is no condition that an index answers.
    unique nulls not distinct (name, owner, revision)
);

-- History is written once. Grants say so too, but the owner of the table has them all.
create function quell_refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% rows are never changed or deleted', tg_table_name
        using errcode = 'integrity_constraint_violation';
end $$;

create trigger policy_revision_is_immutable
    before update or delete or truncate on policy_revision
    for each statement execute function quell_refuse_change();

-- Replicas listen, so that a change is in force at once; they also look by themselves, because
-- a notification is lost where a connection pooler or a reconnect stands between.
create function quell_policy_changed() returns trigger language plpgsql as $$
begin
    -- No payload: of equal ones Postgres sends one a transaction, however much it changes.
    perform pg_notify('quell_policy', '');
    return null;
end $$;

create trigger policy_revision_notifies
    after insert on policy_revision
    for each row execute function quell_policy_changed();

-- A revision with the document before it: what is shown as a change.
create view policy_history as
select r.id, r.owner, r.name, r.revision, r.change, r.document, previous.document as previous,
       r.restored_from, r.author, r.managed_by, r.created_at
from policy_revision r
left join policy_revision previous
    on previous.name = r.name and previous.owner is not distinct from r.owner
       and previous.revision = r.revision - 1;
