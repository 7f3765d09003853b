//! Brings the schema up to date, one process at a time. A database that a newer quell has migrated will do where
//! that has only added to it.

use std::collections::BTreeMap;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{query, query_scalar, raw_sql};

use super::connect::place;
use super::constants::MAJOR_MIN;
use super::error::DatabaseError;
use super::pooler::{self, Sessions};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!();

/// How the name of a migration begins that an older quell cannot live with (`0042_breaking_...sql`). All others only
/// add what older ones do without, so that replicas are upgraded one by one.
const BREAKING: &str = "breaking ";
/// Postgres's words for "this login may not".
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// How a database's schema stands to this quell's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schema {
    /// All that this quell has was applied, and nothing else.
    Current,
    /// This many migrations are still to be applied.
    Pending(usize),
    /// All that this quell has was applied, and by a newer one this too, which an older one can live with.
    Ahead(i64),
    /// This migration is not known here, and none to live with.
    Newer(i64),
    /// This migration was applied with another text.
    Changed(i64),
}

/// Reads the schema's state and changes nothing; a login that owns nothing can do it.
pub(crate) async fn schema(connection: &mut PgConnection) -> Result<Schema, sqlx::Error> {
    let known: BTreeMap<i64, &[u8]> = MIGRATOR
        .iter()
        .map(|migration| (migration.version, migration.checksum.as_ref()))
        .collect();
    let table = query_scalar!(
        r#"select to_regclass('public._sqlx_migrations') is not null as "is_there!""#
    )
    .fetch_one(&mut *connection)
    .await?;
    if !table {
        return Ok(Schema::Pending(known.len()));
    }
    let applied = query!(
        "select version, description, checksum from public._sqlx_migrations order by version"
    )
    .fetch_all(connection)
    .await?;
    let mut ahead = None;
    for row in &applied {
        match known.get(&row.version) {
            None if row.description.starts_with(BREAKING) => {
                return Ok(Schema::Newer(row.version));
            }
            None => ahead = Some(row.version),
            Some(checksum) if *checksum != row.checksum.as_slice() => {
                return Ok(Schema::Changed(row.version));
            }
            Some(_) => {}
        }
    }
    let is_applied = |version: &i64| applied.iter().any(|row| row.version == *version);
    let pending = known.keys().filter(|version| !is_applied(version)).count();
    Ok(match (pending, ahead) {
        (0, None) => Schema::Current,
        (0, Some(version)) => Schema::Ahead(version),
        // Those that are missing belong before the newer one's.
        (_, Some(version)) => Schema::Newer(version),
        (pending, None) => Schema::Pending(pending),
    })
}

/// Postgres's version, such as `15.14`, and its major.
pub(crate) async fn server_version(
    connection: &mut PgConnection,
) -> Result<(String, u32), sqlx::Error> {
    let row = query!(
        r#"select current_setting('server_version') as "text!",
                  current_setting('server_version_num')::integer / 10000 as "major!""#
    )
    .fetch_one(connection)
    .await?;
    Ok((row.text, u32::try_from(row.major).unwrap_or_default()))
}

/// Applies what is pending, with the owner's connection, made by `options`; returns whether there
/// was anything.
///
/// sqlx's migrator holds an advisory lock of the session meanwhile, so that of two at once the
/// second waits and finds nothing to do. On an error the lock goes with the connection.
pub(super) async fn bring_up_to_date(
    owner: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<bool, DatabaseError> {
    let place = &place(options);
    let failed = |error| DatabaseError::of_query("look at the schema", place, error);
    let (version, major) = server_version(owner).await.map_err(failed)?;
    if major < MAJOR_MIN {
        return Err(DatabaseError::TooOld {
            place: place.to_owned(),
            version,
        });
    }
    // Asked first: a login that owns nothing may start on a database that is up to date.
    let count = match schema(owner).await.map_err(failed)? {
        Schema::Current => return Ok(false),
        Schema::Ahead(version) => {
            tracing::warn!(
                place,
                migration = version,
                "a newer quell has migrated this database; this one goes on beside it, and is to be upgraded"
            );
            return Ok(false);
        }
        Schema::Newer(version) => return Err(newer(place, version)),
        Schema::Changed(version) => return Err(changed(place, version)),
        Schema::Pending(count) => count,
    };
    match Sessions::of(owner, options).await.map_err(failed)? {
        Sessions::Own | Sessions::Scarce => tracing::info!(place, count, "migrating"),
        Sessions::Shared => {
            return Err(DatabaseError::MigrateThroughPooler {
                place: place.to_owned(),
            });
        }
        Sessions::Forgetful => {
            return Err(DatabaseError::PreparedStatements {
                place: place.to_owned(),
            });
        }
    }
    // Also bounds the wait for another quell that is migrating. The owner's login may be the service's, with
    // the limits of that.
    raw_sql("set lock_timeout = '2min'; set statement_timeout = 0")
        .execute(&mut *owner)
        .await
        .map_err(failed)?;
    if let Err(source) = MIGRATOR.run(&mut *owner).await {
        let login = login(owner).await.unwrap_or_default();
        return Err(why_not(source, place, login));
    }
    Ok(true)
}

fn why_not(source: MigrateError, place: &str, login: String) -> DatabaseError {
    // Another quell may have migrated further since we read the schema.
    if let MigrateError::VersionMissing(version) = source {
        return newer(place, version);
    }
    if let MigrateError::VersionMismatch(version) = source {
        return changed(place, version);
    }
    let place = place.to_owned();
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = &source
        && pooler::is_forgotten(error)
    {
        return DatabaseError::PreparedStatements { place };
    }
    if is_refusal(&source) {
        return DatabaseError::MayNotMigrate {
            place,
            login,
            error: source,
        };
    }
    DatabaseError::Migrate {
        place,
        error: source,
    }
}

/// The name that this connection is logged in by.
pub(super) async fn login(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    query_scalar!(r#"select current_user::text as "login!""#)
        .fetch_one(connection)
        .await
}

fn newer(place: &str, version: i64) -> DatabaseError {
    DatabaseError::Newer {
        place: place.to_owned(),
        version,
    }
}

fn changed(place: &str, version: i64) -> DatabaseError {
    DatabaseError::Changed {
        place: place.to_owned(),
        version,
    }
}

fn is_refusal(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| code == INSUFFICIENT_PRIVILEGE)
}
