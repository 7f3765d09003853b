//! Who may do what: the service, the auditors, and the owner with what is written once.

use super::*;

const INSUFFICIENT_PRIVILEGE: &str = "42501";

const AUDIT_ROW: &str = "insert into audit_log
    (started_at, action_id, phase, origin, action, settle_by) values
    (now(), gen_random_uuid(), 'intent', 'manual', 'mute', now())";

#[tokio::test]
async fn the_service_can_do_its_work_and_nothing_else() {
    let opened = open().await;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    let may = [
        "select * from _sqlx_migrations",
        "insert into policy (id, name, revision, document, managed_by, updated_by)
         values (gen_random_uuid(), 'p', 1, '{}', 'rest', 'ann');
         update policy set revision = 2; delete from policy",
        "insert into policy_revision (name, revision, change, document, author, managed_by)
         values ('p', 1, 'create', '{}', 'ann', 'rest') returning id",
        "insert into webhook_event (created_at, event_id, event, body)
         values (now(), 'EV_1', 'track_published', '{}') on conflict do nothing;
         update webhook_event set settlement = 'muted', settled_at = now()",
        "insert into job (event_created_at, event_id, state, deadline, room_sid)
         values (now(), 'EV_1', 'queued', now(), 'RM');
         update job set attempt = 1; delete from job",
        "insert into track_lease (room_sid, identity, source) values ('RM', 'ann', 'MICROPHONE');
         update track_lease set touched_at = now(); delete from track_lease",
        "insert into replica (id, alive_until) values ('r', now());
         update replica set alive_until = now(); delete from replica",
        AUDIT_ROW,
        "insert into open_intent (action_id, started_at, settle_by)
         values (gen_random_uuid(), now(), now()); delete from open_intent",
        "select quell_ensure_partitions(now()); select quell_drop_events(now() - interval '30 days')",
        "select * from moderation_history, failed_actions, unsettled_actions, would_have_muted,
         actions_by_participant, policy_effect, sweeps",
        "insert into sweep_run (id, cause, key, leased_until, replica)
         values (gen_random_uuid(), 'start', 'r', now(), 'r');
         update sweep_run set finished_at = now(); delete from sweep_run",
        "insert into swept_track (track_sid, room_sid) values ('TR', 'RM');
         update swept_track set is_counted = true; delete from swept_track",
        "insert into sweep_decision (id, sweep_id, as_of, room_name, room_sid, identity, track_sid, outcome, facts, decision)
         values ('SW_1', gen_random_uuid(), now(), 'r', 'RM', 'ann', 'TR', 'done', '{}', '{}'); delete from sweep_decision",
        "listen quell_policy",
    ];
    for sql in may {
        assert_eq!(attempt(&mut service, sql).await, Ok(()), "{sql}");
    }
    let may_not = [
        "create table t (id int)",
        "create schema s",
        "create function f() returns int language sql as 'select 1'",
        "alter table job add column x int",
        "drop table job",
        "truncate job",
        "update audit_log set error = ''",
        "delete from audit_log",
        "truncate audit_log",
        "update open_intent set settle_by = now()",
        "update sweep_decision set outcome = 'done'",
        "update policy_revision set author = ''",
        "delete from policy_revision",
        "delete from webhook_event",
        "update _sqlx_migrations set checksum = ''",
        "create trigger t before insert on job for each row execute function quell_refuse_change()",
        "select quell_create_partition('audit_log', '2020-01-01', '2020-01-02')",
        "select quell_grant_service('quell')",
        "select quell_grant_auditor()",
        "create role r",
        "set role quell_owner",
        "copy job to program 'true'",
        "select pg_read_file('/etc/passwd')",
    ];
    for sql in may_not {
        let got = attempt(&mut service, sql).await;
        assert_eq!(got, Err(INSUFFICIENT_PRIVILEGE.to_owned()), "{sql}");
    }
    // Partitions are reached through their parents only.
    let partition = "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
                     where c.relkind = 'r'";
    for partition in list(&opened.database.pool, partition).await {
        let got = attempt(&mut service, &format!("select * from {partition}")).await;
        assert_eq!(got, Err(INSUFFICIENT_PRIVILEGE.to_owned()), "{partition}");
    }
}

#[tokio::test]
async fn auditors_read_the_audit_and_nothing_else() {
    let opened = open().await;
    let mut auditor = superuser(&opened.owner).await;
    run(&mut auditor, "set session authorization quell_auditor").await;
    let relations = list(
        &opened.database.pool,
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')",
    )
    .await;
    let mut readable = Vec::new();
    for relation in relations {
        match attempt(&mut auditor, &format!("select * from {relation}")).await {
            Ok(()) => readable.push(relation),
            Err(code) => assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{relation}"),
        }
    }
    readable.sort_unstable();
    assert_eq!(
        readable,
        [
            "actions_by_participant",
            "audit_log",
            "failed_actions",
            "moderation_history",
            "open_intent",
            "policy_effect",
            "silences",
            "sweeps",
            "unsettled_actions",
            "would_have_muted"
        ]
    );
    for sql in [
        AUDIT_ROW,
        "delete from would_have_muted",
        "create table t (id int)",
        "select quell_ensure_partitions(now())",
        "select quell_drop_events(now())",
        "select quell_create_partition('audit_log', '2020-01-01', '2020-01-02')",
        "select quell_grant_service('quell_auditor')",
    ] {
        let got = attempt(&mut auditor, sql).await;
        assert!(got.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn a_tenants_login_reads_its_own_rows_of_the_audit_and_nothing_else() {
    let opened = open().await;
    let mut reader = superuser(&opened.owner).await;
    let login = format!("acme_{}", uuid::Uuid::now_v7().simple());
    for sql in [
        format!("create role {login} login; grant quell_tenant to {login}"),
        format!("insert into audit_reader (login, tenant) values ('{login}', 'acme')"),
        "insert into audit_log (started_at, action_id, phase, origin, tenant, action, identity, track_sid, outcome, changed)
         select now(), gen_random_uuid(), 'outcome', 'webhook', tenant, 'mute', 'ann', 'TR_' || tenant, 'done', true
         from unnest(array['acme', 'globex', null]) tenant"
            .to_owned(),
        "with begun as (
             insert into audit_log (started_at, action_id, phase, origin, tenant, action, settle_by)
             select now(), gen_random_uuid(), 'intent', 'webhook', tenant, 'mute', now()
             from unnest(array['acme', 'globex', null]) tenant
             returning *)
         insert into open_intent (action_id, started_at, settle_by) select action_id, started_at, settle_by from begun"
            .to_owned(),
        format!("set session authorization {login}"),
    ] {
        run(&mut reader, &sql).await;
    }
    let relations = list(
        &opened.database.pool,
        "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v')",
    );
    let mut read = Vec::new();
    for relation in relations.await {
        let count = format!("select count(*) from {relation}");
        match attempt(&mut reader, &count).await {
            Ok(()) => {
                let count: i64 = query_scalar(AssertSqlSafe(count))
                    .fetch_one(&mut reader)
                    .await
                    .unwrap();
                read.push(format!("{relation} {count}"));
            }
            Err(code) => assert_eq!(code, INSUFFICIENT_PRIVILEGE, "{relation}"),
        }
    }
    read.sort_unstable();
    assert_eq!(
        read,
        [
            "actions_by_participant 1",
            "audit_log 2",
            "failed_actions 0",
            "moderation_history 2",
            "open_intent 1",
            "policy_effect 0",
            "silences 1",
            "unsettled_actions 1",
            "would_have_muted 0",
        ]
    );
    for sql in [
        AUDIT_ROW,
        "set role quell_auditor",
        "insert into audit_reader (login, tenant) values ('x', 'globex')",
        "update audit_reader set tenant = 'globex'",
        "alter table audit_log disable row level security",
        "create function quell_audit_tenant() returns text language sql as $$ select 'globex' $$",
    ] {
        assert!(attempt(&mut reader, sql).await.is_err(), "{sql}");
    }
    // Whose tenant is nobody's sees nothing.
    run(&mut reader, "reset session authorization").await;
    run(&mut reader, "delete from audit_reader").await;
    run(&mut reader, &format!("set session authorization {login}")).await;
    let rows = "select count(*) from audit_log";
    let rows: i64 = query_scalar(rows).fetch_one(&mut reader).await.unwrap();
    assert_eq!(rows, 0);
    run(&mut reader, "reset session authorization").await;
    run(
        &mut reader,
        &format!("drop owned by {login}; drop role {login}"),
    )
    .await;
}

#[tokio::test]
async fn what_is_written_once_stays_even_for_its_owner() {
    let opened = open().await;
    let mut owner = PgConnection::connect_with(&opened.owner).await.unwrap();
    run(&mut owner, AUDIT_ROW).await;
    let mut tables = list(
        &opened.database.pool,
        "select relname::text from pg_class c join pg_inherits i on i.inhrelid = c.oid
         where i.inhparent = 'audit_log'::regclass",
    )
    .await;
    assert!(!tables.is_empty());
    tables.extend(["audit_log".to_owned(), "policy_revision".to_owned()]);
    for table in tables {
        for sql in [
            format!("update {table} set policy_name = ''"),
            format!("update {table} set name = ''"),
            format!("delete from {table}"),
            format!("truncate {table}"),
        ] {
            let got = attempt(&mut owner, &sql).await;
            let unknown_column = got == Err("42703".to_owned());
            assert!(
                unknown_column || got == Err("23000".to_owned()),
                "{sql}: {got:?}"
            );
        }
    }
}

#[tokio::test]
async fn intent_and_outcome_are_one_row_of_history() {
    let opened = open().await;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    run(
        &mut service,
        "insert into audit_log (started_at, action_id, phase, origin, action, room_name, actor,
                                settle_by, outcome, error) values
         (now(), '00000000-0000-0000-0000-000000000001', 'intent', 'manual', 'mute', 'r1', 'ann', now(), null, null),
         (now(), '00000000-0000-0000-0000-000000000001', 'outcome', 'manual', 'mute', 'r1', 'ann', null, 'done', null),
         (now(), '00000000-0000-0000-0000-000000000002', 'outcome', 'manual', 'mute', 'r2', 'bob', null, 'refused', 'no'),
         (now(), '00000000-0000-0000-0000-000000000003', 'intent', 'webhook', 'mute', 'r3', null, now(), null, null);
         insert into open_intent (action_id, started_at, settle_by)
         select action_id, started_at, settle_by from audit_log where room_name = 'r3'",
    )
    .await;
    let history = list(
        &opened.database.pool,
        "select concat_ws(' ', right(action_id::text, 1), actor, room_name, outcome,
                          (settled_at is not null)::text)
         from moderation_history order by 1",
    )
    .await;
    assert_eq!(
        history,
        [
            "1 ann r1 done true",
            "2 bob r2 refused true",
            "3 r3 unsettled false"
        ]
    );
}

#[tokio::test]
async fn nobody_passes_for_the_command_line_in_the_audit() {
    let opened = open().await;
    let mut service = PgConnection::connect_with(&opened.service).await.unwrap();
    let refused = Err("23514".to_owned());
    for (origin, actor, expect) in [
        ("cli", "'cli:ann'", Ok(())),
        ("rest", "'ann'", Ok(())),
        ("manual", "null", Ok(())),
        ("rest", "'cli:ann'", refused.clone()),
        ("manual", "'cli:ann'", refused.clone()),
        ("cli", "'ann'", refused.clone()),
        ("cli", "null", refused),
    ] {
        let row = format!(
            "insert into audit_log (started_at, action_id, phase, origin, actor, action, settle_by)
             values (now(), gen_random_uuid(), 'intent', '{origin}', {actor}, 'mute', now())"
        );
        assert_eq!(
            attempt(&mut service, &row).await,
            expect,
            "{origin} {actor}"
        );
    }
}
