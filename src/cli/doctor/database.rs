//! Checks the database: does it answer, is it up to date, and has the login the rights that it needs?

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{query, query_scalar};

use super::{Finding, SkewLimits, skew};
use crate::config::DatabaseConfig;
use crate::policy_store;
use crate::postgres::{
    Auditor, DatabaseError, LocalPostgres, MAJOR_MIN, Schema, Sessions, Survey, auditor_role,
    bounded, connect, missing_rights, options, place, schema, server_version, statement_limit_ms,
};
use quell_clock::Clock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit of all checks; behind a pooler some statements wait for 2 s each.
const EXAMINE_TIMEOUT: Duration = Duration::from_secs(30);
const URL: &str = "DATABASE_URL";
const MIGRATE_URL: &str = "QUELL_MIGRATE_DATABASE_URL";

/// quell waits for 5 s on the way of a webhook.
const STATEMENT_MS_MAX: i64 = 5_000;
/// Maintenance makes partitions for two weeks ahead: fewer means that it has failed for days.
const DAYS_AHEAD_MIN: i32 = 10;

/// Unreadable policies that are named.
const UNREADABLE_MAX: usize = 5;

const LIMITS: SkewLimits = SkewLimits {
    warn_over: TimeDelta::seconds(1),
    fail_over: TimeDelta::seconds(30),
    harm: "times in the audit and in policies' windows are off by as much",
};

pub(super) async fn check(config: &DatabaseConfig, clock: &Clock) -> Vec<Finding> {
    let Some(url) = &config.url else {
        return match LocalPostgres::find_running(config).await {
            Ok(Some(local)) => {
                let data = local.data().display().to_string();
                let mut findings = vec![Finding::ok(format!(
                    "the machine's own Postgres runs on {data}: {}",
                    local.psql_hint()
                ))];
                findings.extend(examine(&local.service, URL, clock).await);
                findings
            }
            Ok(None) => vec![survey(config).await],
            Err(error) => vec![unusable(&error.into())],
        };
    };
    let mut findings = match options(url, URL) {
        Ok(service) => examine(&service, URL, clock).await,
        Err(error) => vec![unusable(&error)],
    };
    if let Some(url) = &config.migrate_url {
        findings.push(match options(url, MIGRATE_URL) {
            Ok(owner) => owners(&owner)
                .await
                .unwrap_or_else(|error| unusable(&error)),
            Err(error) => unusable(&error),
        });
    }
    findings
}

async fn owners(owner: &PgConnectOptions) -> Result<Finding, DatabaseError> {
    let mut connection = connect(owner, MIGRATE_URL, CONNECT_TIMEOUT).await?;
    let sessions = bounded(EXAMINE_TIMEOUT, Sessions::of(&mut connection, owner)).await;
    let failed = |error| DatabaseError::of_query("look around", &place(owner), error);
    Ok(match sessions.map_err(failed)? {
        Sessions::Shared | Sessions::Forgetful => Finding::fail(
            format!("{MIGRATE_URL} goes to a pooler in transaction mode"),
            "set it to Postgres itself: a migration needs a session of its own",
        ),
        Sessions::Own | Sessions::Scarce => Finding::ok(format!("{MIGRATE_URL} can be reached")),
    })
}

/// What there is to start the machine's own Postgres with.
async fn survey(config: &DatabaseConfig) -> Finding {
    match Survey::of(config).await {
        Ok(found) => {
            let state = if found.is_new {
                "to be made"
            } else {
                "not running"
            };
            let user = found
                .user()
                .map(|user| format!(", as the user {user}"))
                .unwrap_or_default();
            Finding::ok(format!(
                "quell starts the machine's own Postgres {} ({}){user}; data in {} ({state})",
                found.programs.version,
                found.programs.folder.display(),
                found.folder.display()
            ))
        }
        Err(error) => Finding::fail(
            "DATABASE_URL is not set, and the machine's own Postgres cannot be used",
            error.to_string(),
        ),
    }
}

fn unusable(error: &DatabaseError) -> Finding {
    Finding::fail("the database cannot be used", error.to_string())
}

async fn examine(
    service: &PgConnectOptions,
    variable: &'static str,
    clock: &Clock,
) -> Vec<Finding> {
    let asked = Instant::now();
    let mut connection = match connect(service, variable, CONNECT_TIMEOUT).await {
        Ok(connection) => connection,
        Err(error) => return vec![unusable(&error)],
    };
    let mut findings = Vec::new();
    let place = place(service);
    let connected_ms = asked.elapsed().as_millis();
    findings.push(Finding::ok(format!("{place} answers ({connected_ms} ms)")));
    let looking = inside(&mut connection, service, clock, &mut findings);
    if let Err(error) = bounded(EXAMINE_TIMEOUT, looking).await {
        findings.push(unusable(&DatabaseError::of_query(
            "examine it",
            &place,
            error,
        )));
    }
    findings
}

async fn inside(
    connection: &mut PgConnection,
    service: &PgConnectOptions,
    clock: &Clock,
    findings: &mut Vec<Finding>,
) -> Result<(), sqlx::Error> {
    match Sessions::of(connection, service).await? {
        Sessions::Own => {}
        Sessions::Scarce => findings.push(Finding::warn(
            "a second connection waits: a pooler stands before Postgres, and has no session for it",
            "make its pool (pgbouncer's default_pool_size) larger than QUELL_DATABASE_CONNECTIONS, \
             for each quell (docs/OPERATIONS.md, \"Behind a pooler\")",
        )),
        Sessions::Shared => {
            findings.push(Finding::warn(
                "a pooler in transaction mode stands before Postgres",
                "set QUELL_MIGRATE_DATABASE_URL to Postgres itself (docs/OPERATIONS.md, \"Behind a pooler\")",
            ));
            findings.push(time_limit(statement_limit_ms(connection).await?));
        }
        Sessions::Forgetful => {
            let place = place(service);
            findings.push(unusable(&DatabaseError::PreparedStatements { place }));
            return Ok(());
        }
    }
    let (version, major) = server_version(connection).await?;
    if major < MAJOR_MIN {
        findings.push(Finding::fail(
            format!("Postgres {version} is too old"),
            format!("upgrade it to {MAJOR_MIN} or newer"),
        ));
        return Ok(());
    }
    findings.push(Finding::ok(format!("Postgres {version}")));
    findings.push(clocks(connection, clock).await?);
    let schema = schema(connection).await?;
    findings.push(up_to_date(schema));
    if matches!(schema, Schema::Current | Schema::Ahead(_)) {
        findings.push(partitions(connection).await?);
        findings.extend(rights(connection).await?);
        findings.extend(auditors(connection).await?);
        findings.extend(unreadable(connection).await?);
        findings.push(webhooks(connection).await?);
    }
    Ok(())
}

/// Whether LiveKit's webhooks arrive.
async fn webhooks(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let last: Option<i64> = query_scalar(
        "select extract(epoch from clock_timestamp() - received_at)::bigint from webhook_event order by created_at desc limit 1",
    )
    .fetch_optional(connection)
    .await?;
    Ok(match last {
        Some(seconds) => Finding::ok(format!(
            "the last webhook of LiveKit's came {seconds} s ago"
        )),
        None => Finding::warn("no webhook of LiveKit's has come", LIVEKIT_SETTINGS),
    })
}

/// What has to stand in LiveKit's settings.
const LIVEKIT_SETTINGS: &str = "in livekit-server's settings, with an API key of its `keys`, and where quell is:\n\
                                webhook:\n  \
                                  api_key: API_KEY\n  \
                                  urls: ['https://quell.example.com/livekit/webhook']\n\
                                room:\n  \
                                  enable_remote_unmute: true";

/// Stored policies that this version cannot read.
async fn unreadable(connection: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let (_, rows) = policy_store::everything(connection).await?;
    let wrong = rows.iter().filter_map(|row| row.read().err());
    let wrong: Vec<_> = wrong.map(|error| error.to_string()).collect();
    let (named, left_off) = wrong.split_at(wrong.len().min(UNREADABLE_MAX));
    Ok((!wrong.is_empty()).then(|| {
        let more = match left_off.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Finding::fail(
            format!("stored policies cannot be read by this version: {}{more}", named.join("; ")),
            "run the newer quell that wrote them everywhere, or change them: until then their owners are left at the policies before",
        )
    }))
}

/// Behind a pooler that shares sessions, statements are bounded by the login's settings alone.
fn time_limit(limit_ms: Option<i64>) -> Finding {
    let remedy = "run, as the login itself: alter role current_user in database ... set statement_timeout = '4s' \
                  (docs/OPERATIONS.md, \"Time limits\")";
    match limit_ms {
        Some(..=STATEMENT_MS_MAX) => {
            Finding::ok("Postgres ends the login's statements in time (statement_timeout)")
        }
        Some(limit_ms) => Finding::warn(
            format!("Postgres ends the login's statements only after {limit_ms} ms"),
            remedy,
        ),
        None => Finding::warn(
            "the login has no statement_timeout, so that a statement may take for ever",
            remedy,
        ),
    }
}

async fn clocks(connection: &mut PgConnection, clock: &Clock) -> Result<Finding, sqlx::Error> {
    let asked = Instant::now();
    let theirs = query_scalar!(r#"select clock_timestamp() as "now!""#)
        .fetch_one(connection)
        .await?;
    let took = TimeDelta::from_std(asked.elapsed()).unwrap_or_default();
    Ok(skew("Postgres's", theirs - clock.now(), took, LIMITS))
}

fn up_to_date(schema: Schema) -> Finding {
    match schema {
        Schema::Current => Finding::ok("the schema is up to date"),
        Schema::Pending(count) => Finding::warn(
            format!("{count} migrations are not applied yet"),
            "`quell serve` applies them when it starts, `quell migrate` right now",
        ),
        Schema::Ahead(version) => Finding::warn(
            format!("a newer quell has migrated this database (migration {version})"),
            "upgrade this one: it goes on beside newer replicas meanwhile",
        ),
        Schema::Newer(version) => Finding::fail(
            format!("a newer quell migrated this database (migration {version})"),
            "run that version, or use another database",
        ),
        Schema::Changed(version) => Finding::fail(
            format!("migration {version} was applied with another text"),
            "run the quell that made this database, or use another database",
        ),
    }
}

/// Rows have nowhere to go on a day without a partition.
async fn partitions(connection: &mut PgConnection) -> Result<Finding, sqlx::Error> {
    let days = query_scalar!(
        r#"select coalesce(min(until - (now() at time zone 'UTC')::date), 0) as "days!" from (
               select max(to_date(right(c.relname, 8), 'YYYYMMDD')
                          + case p.relname when 'audit_log' then interval '1 month'
                            else interval '1 day' end)::date as until
               from pg_inherits i
               join pg_class c on c.oid = i.inhrelid
               join pg_class p on p.oid = i.inhparent
               where p.oid in ('public.webhook_event'::regclass, 'public.audit_log'::regclass)
               group by p.oid) as last"#
    )
    .fetch_one(connection)
    .await?;
    Ok(partitions_for(days))
}

fn partitions_for(days: i32) -> Finding {
    let remedy = "a running quell makes them two weeks ahead: start one, or look into its log \
                  for what keeps it from doing so";
    if days <= 0 {
        Finding::fail(
            "there is no partition for today's rows: nothing can be stored",
            remedy,
        )
    } else if days < DAYS_AHEAD_MIN {
        Finding::warn(
            format!("there are partitions for {days} more days only"),
            remedy,
        )
    } else {
        Finding::ok(format!("there are partitions for {days} days"))
    }
}

async fn rights(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let login = query!(
        r#"select current_user::text as "name!",
                  pg_has_role(c.relowner, 'usage') as "owns!",
                  has_schema_privilege('public', 'create') as "creates!"
           from pg_class c where c.oid = 'public.audit_log'::regclass"#
    )
    .fetch_one(&mut *connection)
    .await?;
    let missing = missing_rights(connection).await?;
    let name = login.name;
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Ok(vec![Finding::fail(
            format!("the login {name} may not {}", missing.join(", ")),
            format!("run, as the owner: select quell_grant_service('{name}')"),
        )]);
    }
    Ok(vec![if login.owns {
        Finding::warn(
            format!("the login {name} owns the tables, so a break-in could rewrite the audit"),
            "give the service a login of its own in DATABASE_URL, and the owner's in \
             QUELL_MIGRATE_DATABASE_URL",
        )
    } else if login.creates {
        Finding::warn(
            format!("the login {name} may create tables, which it never needs"),
            "run, as an administrator: revoke create on schema public from public",
        )
    } else {
        Finding::ok(format!(
            "the login {name} has the rights it needs and no more"
        ))
    }])
}

async fn auditors(connection: &mut PgConnection) -> Result<Option<Finding>, sqlx::Error> {
    let what = match auditor_role(connection).await? {
        Auditor::Reads => return Ok(None),
        Auditor::Missing => {
            "the role quell_auditor or quell_tenant is missing, which read the audit"
        }
        Auditor::Blind => "the role quell_auditor or quell_tenant cannot read every audit view",
    };
    Ok(Some(Finding::warn(
        what,
        "let an administrator run `create role quell_auditor; create role quell_tenant` (the one that is missing), then run `quell migrate`",
    )))
}

#[cfg(test)]
mod tests;
