-- What policies read of texts, so that what an owner's policies may read for one track is bounded when they are written.

alter table policy
    -- What it reads, a row's worth each (`quell_policy::TextWork`); null where it was never looked at.
    add column text_reads text[],
    -- The revision that this was found out of. A replica of an older version writes neither: such a policy is looked at
    -- with the next change for which its owner's reads count.
    add column text_reads_of integer;

create index policy_text_reads on policy (coalesce(owner, '')) where text_reads <> '{}';
create index policy_text_reads_unknown on policy (coalesce(owner, ''))
    where text_reads_of is distinct from revision;

-- All that an owner's policies read, and perhaps what they read once: read with most changes instead of all policies, and
-- made anew where it comes to too much.
create table policy_text_work (
    -- Empty: the operator.
    owner text primary key,
    reads text[] not null
);

-- As in 0008, with the tables of usage and of text work.
create or replace function quell_grant_service(login text) returns void language plpgsql as $$
begin
    execute format('grant usage on schema public to %I', login);
    execute format('grant select, insert, update, delete on policy, job, replica, track_lease, sweep_run,
        swept_track to %I', login);
    execute format('grant select, insert, delete on manual_unmute, sweep_decision to %I', login);
    execute format('grant select, insert, delete on open_intent to %I', login);
    execute format('grant select, insert on policy_revision, audit_log to %I', login);
    execute format('grant select, insert, update on policy_usage, policy_text_work to %I', login);
    execute format('grant select on policy_history to %I', login);
    execute format('grant select, insert, update on webhook_event to %I', login);
    execute format('grant select on _sqlx_migrations, moderation_history, failed_actions, unsettled_actions,
        would_have_muted, actions_by_participant, policy_effect, sweeps to %I', login);
    execute format('grant execute on function quell_ensure_partitions(timestamptz),
        quell_drop_events(timestamptz) to %I', login);
end $$;
