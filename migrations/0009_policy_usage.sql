-- How much each owner has stored, as numbers: to read the documents for that would keep all other changes waiting, which
-- stand behind one lock.

alter table policy add column bytes integer not null generated always as (octet_length(document::text)) stored;

-- Lists are read in pages, by owner and name; and what an owner has is counted here. (`owner is not distinct from` is no
-- condition that an index answers; no owner has an empty id.)
create index policy_page on policy (coalesce(owner, ''), name) include (bytes);

-- Written with every change, so that what all owners have together is a sum of one number each.
create table policy_usage (
    -- Empty: the operator.
    owner text primary key,
    policies bigint not null check (policies >= 0),
    bytes bigint not null check (bytes >= 0)
);

insert into policy_usage (owner, policies, bytes)
select coalesce(owner, ''), count(*), sum(bytes) from policy group by owner;

-- As in 0008, with the table of usage.
create or replace function quell_grant_service(login text) returns void language plpgsql as $$
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, replica, track_lease, sweep_run,
        swept_track to %I', login);
    execute format('grant select, insert, delete on manual_unmute, sweep_decision to %I', login);
    execute format('grant select, insert, delete on open_intent to %I', login);
    execute format('grant select, insert on policy_revision, audit_log to %I', login);
    execute format('grant select, insert, update on policy_usage to %I', login);
    execute format('grant select on policy_history to %I', login);
    execute format('grant select, insert, update on webhook_event to %I', login);
    execute format('grant select on _sqlx_migrations, moderation_history, failed_actions, unsettled_actions,
        would_have_muted, actions_by_participant, policy_effect, sweeps to %I', login);
    execute format('grant execute on function quell_ensure_partitions(timestamptz),
        quell_drop_events(timestamptz) to %I', login);
end $$;
