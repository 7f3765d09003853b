-- `quell audit psql` reads as an auditor does, by the login that migrates. It may read all of that already, as its owner.
do $$
begin
    if not pg_has_role(current_user, 'quell_auditor', 'member') then
        execute format('grant quell_auditor to %I', current_user);
    end if;
exception
    -- The role is another's to give, or not there: the command says what to run.
    when insufficient_privilege or undefined_object then null;
end $$;
