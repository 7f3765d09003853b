alter table track_lease
    -- The tracks of the source that were muted by us: by their SIDs, when that action began and when its outcome was written (Unix
    -- seconds). What was seen before is known to have been seen before it was muted, however late it comes. A source may have several
    -- tracks at once.
    add column muted_tracks jsonb not null default '{}';

-- A mute to which LiveKit gave no answer did not fail: it may have been made.
alter table sweep_decision
    drop constraint sweep_decision_outcome_check,
    add constraint sweep_decision_outcome_check check (outcome in
        ('done', 'refused', 'failed', 'superseded', 'gone', 'undecided', 'dry_run', 'unknown'));
