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
