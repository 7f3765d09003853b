//! What Postgres itself ends: statements, waits for locks, and transactions that nobody goes on with.
//!
//! ```text
//! the login's settings (alter role) ... every session, also those that a pooler shares
//! the session's (set) ................. the same, where nobody else gets the session
//! the transaction's (set local) ....... work that may take longer
//! ```
//!
//! Where a pooler shares sessions, `set` would reach some of them and not others, and somebody else's
//! statements: there, only the login's settings count.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, query_scalar, raw_sql};

use super::constants::GRANT_LOCK;

/// Of a session: what is on the way of a webhook or a mute. quell itself waits for 5 s, so that Postgres's
/// own word comes first. A lock is waited for for less, so that it is named as the cause.
pub(super) const OF_SESSION: &str = "set statement_timeout = '4s';
    set lock_timeout = '3s';
    set idle_in_transaction_session_timeout = '30s'";
/// Longer work waits longer for locks, too.
const LOCK_OF_LONG_WORK: &str = "5s";
const STATEMENT_MAX: Duration = Duration::from_secs(30);

/// Who holds sessions to their limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limits {
    /// We do, on each connection.
    OfSession,
    /// The login's settings: a pooler shares the sessions.
    OfLogin,
}

/// The statement that begins a transaction within `bound`, as `begin` says; where the bound is longer than a session's,
/// with limits of its own.
pub(super) fn begin(begin: &'static str, bound: Duration, usual: Duration) -> Cow<'static, str> {
    if bound <= usual {
        return begin.into();
    }
    // So that Postgres's word comes first.
    let statement_ms = (bound * 4 / 5).min(STATEMENT_MAX).as_millis();
    format!(
        "{begin}; set local statement_timeout = {statement_ms}; \
         set local lock_timeout = '{LOCK_OF_LONG_WORK}'"
    )
    .into()
}

/// Gives the login of this connection its limits in this database, as far as nobody has given it others. (Every
/// login may change its own settings.) Sessions that begin from now on have them.
pub(super) async fn give(service: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Two at once fail on the same row of Postgres's catalog.
    let give = format!(
        "do $$
         declare
             wanted record;
         begin
             perform pg_advisory_xact_lock({GRANT_LOCK});
             for wanted in
                 select * from (values ('statement_timeout', '4s'), ('lock_timeout', '3s'),
                                       ('idle_in_transaction_session_timeout', '30s')) as w (name, value)
                 where not exists (
                     select from pg_db_role_setting s, unnest(s.setconfig) as c
                     where s.setrole = (select oid from pg_roles where rolname = session_user)
                       and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
                       and c like w.name || '=%')
             loop
                 execute format('alter role %I in database %I set %I = %L',
                     session_user, current_database(), wanted.name, wanted.value);
             end loop;
         end $$"
    );
    raw_sql(AssertSqlSafe(give)).execute(service).await?;
    Ok(())
}

/// How long a statement may take by the settings of this connection's login, in milliseconds; none where they
/// do not say, or say that it may take for ever.
pub(crate) async fn statement_limit_ms(
    service: &mut PgConnection,
) -> Result<Option<i64>, sqlx::Error> {
    // The setting of the login in this database goes before that of the login in all of them.
    let limit = query_scalar!(
        r#"select case when split_part(c, '=', 2) ~ '^[0-9]+$' then split_part(c, '=', 2)::bigint
                       else (extract(epoch from split_part(c, '=', 2)::interval) * 1000)::bigint end as "limit_ms!"
           from pg_db_role_setting s, unnest(s.setconfig) as c
           where s.setrole in (0, (select oid from pg_roles where rolname = session_user))
             and s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
             and c like 'statement_timeout=%'
           order by s.setrole = 0, s.setdatabase = 0
           limit 1"#
    )
    .fetch_optional(service)
    .await?;
    Ok(limit.filter(|limit| *limit > 0))
}
