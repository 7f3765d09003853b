-- A mute to which LiveKit gave no answer did not fail: it may have been made.
alter table sweep_decision
    drop constraint sweep_decision_outcome_check,
    add constraint sweep_decision_outcome_check check (outcome in
        ('done', 'refused', 'failed', 'superseded', 'gone', 'undecided', 'dry_run', 'unknown'));
