//! What the service's login may do: everything that quell does, and nothing else.

use std::fmt;

use sqlx::postgres::PgConnection;
use sqlx::{Acquire, query, query_scalar};

use super::constants::GRANT_LOCK;
use super::error::DatabaseError;
use super::limits;
use super::migrate::login;

/// What auditors read; the service reads them too.
const VIEWS: [&str; 8] = [
    "moderation_history",
    "failed_actions",
    "unsettled_actions",
    "would_have_muted",
    "actions_by_participant",
    "policy_effect",
    "silences",
    "sweeps",
];

/// What `quell_grant_service` gives beside the views, table by table.
const SERVICE: [(&str, &[&str]); 16] = [
    ("policy", &["select", "insert", "update", "delete"]),
    ("policy_revision", &["select", "insert"]),
    ("policy_text_work", &["select", "insert", "update"]),
    ("policy_history", &["select"]),
    ("policy_usage", &["select", "insert", "update"]),
    ("webhook_event", &["select", "insert", "update"]),
    ("job", &["select", "insert", "update", "delete"]),
    ("replica", &["select", "insert", "update", "delete"]),
    ("track_lease", &["select", "insert", "update", "delete"]),
    ("manual_unmute", &["select", "insert", "delete"]),
    ("audit_log", &["select", "insert"]),
    ("audit_stream_key", &["select"]),
    ("open_intent", &["select", "insert", "delete"]),
    ("sweep_run", &["select", "insert", "update", "delete"]),
    ("swept_track", &["select", "insert", "update", "delete"]),
    ("sweep_decision", &["select", "insert", "delete"]),
];

/// A privilege on a table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Right {
    /// The table or view.
    pub table: String,
    /// `select`, `insert`, `update` or `delete`.
    pub privilege: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.privilege, self.table)
    }
}

/// What this connection's login lacks to run the service on a migrated database.
pub(crate) async fn missing_rights(service: &mut PgConnection) -> Result<Vec<Right>, sqlx::Error> {
    let (mut tables, mut privileges) = (Vec::new(), Vec::new());
    let views = VIEWS.map(|view| (view, ["select"].as_slice()));
    for (table, wanted) in SERVICE.into_iter().chain(views) {
        for privilege in wanted {
            tables.push(table.to_owned());
            privileges.push((*privilege).to_owned());
        }
    }
    let rows = query!(
        r#"select wanted.name as "table!", wanted.privilege as "privilege!"
           from unnest($1::text[], $2::text[]) as wanted (name, privilege)
           where not has_table_privilege('public.' || wanted.name, wanted.privilege)"#,
        &tables,
        &privileges
    )
    .fetch_all(&mut *service)
    .await?;
    let mut missing: Vec<Right> = rows
        .into_iter()
        .map(|row| Right {
            table: row.table,
            privilege: row.privilege,
        })
        .collect();
    let functions = query_scalar!(
        r#"select name as "name!"
           from unnest(array['quell_ensure_partitions(timestamptz)', 'quell_drop_events(timestamptz)'])
                as wanted (name)
           where not has_function_privilege('public.' || name, 'execute')"#
    )
    .fetch_all(&mut *service)
    .await?;
    let guarded = query_scalar!(
        r#"select name as "name!" from unnest(array['audit_log', 'open_intent']) as guarded (name)
           where row_security_active('public.' || name)
             and not exists (select from pg_policies p, unnest(p.roles) as role
                             where p.schemaname = 'public' and p.tablename = guarded.name and p.cmd = 'ALL'
                               and pg_has_role(role, 'usage'))"#
    )
    .fetch_all(&mut *service)
    .await?;
    missing.extend(guarded.into_iter().map(|table| Right {
        table,
        privilege: "a row-level security policy for".to_owned(),
    }));
    missing.extend(functions.into_iter().map(|table| Right {
        table,
        privilege: "execute".to_owned(),
    }));
    Ok(missing)
}

/// Gives the service and the auditors their rights where they are two logins and something is
/// missing, or was `migrated` just now.
pub(super) async fn give(
    owner: &mut PgConnection,
    service: &mut PgConnection,
    place: &str,
    migrated: bool,
) -> Result<(), DatabaseError> {
    let failed =
        |error| DatabaseError::of_query("give the service's login its rights", place, error);
    let service_login = login(service).await.map_err(failed)?;
    let two_logins = login(owner).await.map_err(failed)? != service_login;
    let missing = missing_rights(service).await.map_err(failed)?;
    if two_logins && let Err(error) = limits::give(service).await {
        tracing::warn!(
            place,
            login = service_login,
            %error,
            "the service's login cannot be given its time limits (docs/OPERATIONS.md, \"Time limits\")"
        );
    }
    if two_logins && (migrated || !missing.is_empty()) {
        grant(owner, &service_login).await.map_err(failed)?;
    }
    let auditor = auditor(owner, migrated).await.map_err(failed)?;
    if auditor == Auditor::Missing {
        tracing::warn!(
            place,
            "the role quell_auditor or quell_tenant is missing, which read the audit and nothing else: \
             let an administrator run `create role quell_auditor; create role quell_tenant`, then run `quell migrate`"
        );
    }
    let missing = missing_rights(service).await.map_err(failed)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
    Err(DatabaseError::Rights {
        place: place.to_owned(),
        login: service_login,
        missing: missing.join(", "),
    })
}

async fn grant(owner: &mut PgConnection, service_login: &str) -> Result<(), sqlx::Error> {
    let mut transaction = owner.begin().await?;
    query!("select pg_advisory_xact_lock($1)", GRANT_LOCK)
        .execute(&mut *transaction)
        .await?;
    query!("select quell_grant_service($1)", service_login)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

/// How it stands with the role that reads the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auditor {
    Missing,
    /// It is there, and reads no view yet.
    Blind,
    Reads,
}

/// Looks at the auditors' role.
pub(crate) async fn auditor_role(connection: &mut PgConnection) -> Result<Auditor, sqlx::Error> {
    let reads = query_scalar!(
        "select case when count(distinct r.rolname) = 2
                     then bool_and(has_table_privilege(r.oid, 'public.' || view_name, 'select')
                                   or r.rolname = 'quell_tenant' and view_name = 'sweeps') end
         from pg_roles r, unnest($1::text[]) as view_name
         where r.rolname in ('quell_auditor', 'quell_tenant')",
        &VIEWS.map(str::to_owned)
    )
    .fetch_one(connection)
    .await?;
    Ok(match reads {
        None => Auditor::Missing,
        Some(false) => Auditor::Blind,
        Some(true) => Auditor::Reads,
    })
}

async fn auditor(owner: &mut PgConnection, migrated: bool) -> Result<Auditor, sqlx::Error> {
    let found = auditor_role(owner).await?;
    if found == Auditor::Missing || (found == Auditor::Reads && !migrated) {
        return Ok(found);
    }
    let may = query_scalar!(
        r#"select has_function_privilege('public.quell_grant_auditor()', 'execute') as "may!""#
    )
    .fetch_one(&mut *owner)
    .await?;
    if may {
        let mut transaction = owner.begin().await?;
        query!("select pg_advisory_xact_lock($1)", GRANT_LOCK)
            .execute(&mut *transaction)
            .await?;
        query!("select quell_grant_auditor()")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(found)
}
