-- A claim reads no row that is over. While some old transaction is open (a backup, a forgotten session), rows of finished
-- jobs stay in the table and its indexes: a million of them made each claim take seconds.

alter table job
    -- When it was queued last: a claim looks at what was queued since an earlier one had found nothing.
    add column placed_at timestamptz not null default clock_timestamp();

drop index job_queued;
create index job_queued on job (placed_at) where state = 'queued';
create index job_queued_room on job (room_sid, placed_at) where state = 'queued';

alter table replica
    -- Everything that it had, as it was gone, was claimed by others. A heartbeat takes that back.
    add column is_cleared boolean not null default false;
