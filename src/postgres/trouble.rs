//! What an error of Postgres means for whoever runs quell: what is wrong, and what to do about it.

use std::time::Duration;

use tokio::time::Instant;

use super::pooler;

/// The same cause is told of again only after this time.
const TOLD_FOR: Duration = Duration::from_secs(10);

/// A cause outside of quell, by SQLSTATE. (<https://www.postgresql.org/docs/current/errcodes-appendix.html>)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// 25006.
    ReadOnly,
    /// 53100.
    DiskFull,
    /// 53200.
    OutOfMemory,
    /// 53300.
    TooManyConnections,
    /// 55P03: `lock_timeout`.
    LockHeld,
    /// 57014: `statement_timeout`.
    Slow,
    /// 57P01, 57P02, 57P05.
    Ended,
    /// 57P03.
    ComingUp,
    /// No answer, or no connection.
    Silent,
}

impl Trouble {
    /// The cause of `error`; none where it is another one, such as a row that Postgres refuses.
    pub(crate) fn of(error: &sqlx::Error) -> Option<Self> {
        let is_silence = matches!(
            error,
            sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
        );
        if is_silence {
            return Some(Self::Silent);
        }
        Some(match sqlstate(error)?.as_str() {
            "25006" => Self::ReadOnly,
            "53100" => Self::DiskFull,
            "53200" => Self::OutOfMemory,
            "53300" => Self::TooManyConnections,
            "55P03" => Self::LockHeld,
            "57014" => Self::Slow,
            "57P01" | "57P02" | "57P05" => Self::Ended,
            "57P03" => Self::ComingUp,
            _ => return None,
        })
    }

    /// What is wrong, for everybody.
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::ReadOnly => "the database is read-only",
            Self::DiskFull => "the database's disk is full",
            Self::OutOfMemory => "the database is out of memory",
            Self::TooManyConnections => "the database has too many connections",
            Self::LockHeld => "the database keeps a lock for somebody else",
            Self::Slow => "the database takes too long",
            Self::Ended => "the database ended the connection",
            Self::ComingUp => "the database is starting, stopping or a standby",
            Self::Silent => "the database does not answer",
        }
    }

    /// What to do, for whoever runs quell.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::ReadOnly => {
                "a standby, or a primary that was demoted: let DATABASE_URL lead to the primary, or \
                 take default_transaction_read_only back"
            }
            Self::DiskFull => "make room where Postgres keeps its data",
            Self::OutOfMemory => "give Postgres's machine more, or Postgres less to do",
            Self::TooManyConnections => {
                "raise Postgres's max_connections, the login's or the database's connection limit, or \
                 the pooler's size, or lower QUELL_DATABASE_CONNECTIONS"
            }
            Self::LockHeld => {
                "find who holds it: select pid, query, pg_blocking_pids(pid) from pg_stat_activity \
                 where wait_event_type = 'Lock'"
            }
            Self::Slow => {
                "look for what it waits for in pg_stat_activity; it was cancelled by statement_timeout, or by hand"
            }
            Self::Ended => "it was restarted, or somebody ended the session; quell connects again",
            Self::ComingUp => "wait for it, or let DATABASE_URL lead to the primary",
            Self::Silent => "check that Postgres runs and can be reached; quell connects again",
        }
    }
}

fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Whether a server that takes no writes said so.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    Trouble::of(error) == Some(Trouble::ReadOnly)
}

/// Whether nothing more may be asked on the connection: it is broken or ended, or its statement ran out of time.
pub(super) fn ends_connection(error: &sqlx::Error) -> bool {
    use Trouble::{ComingUp, Ended, OutOfMemory, ReadOnly, Silent, Slow};
    matches!(
        Trouble::of(error),
        Some(ReadOnly | Slow | Ended | ComingUp | Silent | OutOfMemory)
    ) || (sqlstate(error).is_some_and(|code| code.starts_with("08"))
        && !pooler::is_forgotten(error))
}

/// Says a cause once, and again only after a while: what fails with the database fails many times a second.
#[derive(Debug, Default)]
pub(crate) struct Told {
    causes: Vec<(Trouble, Instant)>,
    is_open: bool,
}

impl Told {
    /// Whether to say what `error` is.
    pub(crate) fn is_news(&mut self, error: &sqlx::Error) -> bool {
        // What has no such cause is about its own row.
        let Some(cause) = Trouble::of(error) else {
            return true;
        };
        self.causes.retain(|(_, at)| at.elapsed() < TOLD_FOR);
        let is_news = self.causes.iter().all(|(told, _)| *told != cause);
        if is_news {
            self.causes.push((cause, Instant::now()));
            self.is_open = true;
        }
        is_news
    }

    /// It is over; whether anything was said of it.
    pub(crate) fn is_over(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use sqlx::error::{DatabaseError, ErrorKind};

    use super::*;
    use crate::postgres::failed_query;

    #[derive(Debug)]
    struct OfState(&'static str);

    impl fmt::Display for OfState {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("as Postgres says it")
        }
    }

    impl Error for OfState {}

    impl DatabaseError for OfState {
        fn message(&self) -> &'static str {
            "as Postgres says it"
        }
        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }
        fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    fn error(state: &'static str) -> sqlx::Error {
        sqlx::Error::Database(Box::new(OfState(state)))
    }

    #[test]
    fn each_trouble_is_named_with_what_to_do_and_some_end_the_connection() {
        for (state, what, ends) in [
            ("25006", "the database is read-only: ", true),
            ("53100", "the database's disk is full: ", false),
            ("53200", "the database is out of memory: ", true),
            ("53300", "the database has too many connections: ", false),
            (
                "55P03",
                "the database keeps a lock for somebody else: ",
                false,
            ),
            ("57014", "the database takes too long: ", true),
            ("57P01", "the database ended the connection: ", true),
            (
                "57P03",
                "the database is starting, stopping or a standby: ",
                true,
            ),
            ("08006", "the database answers with an error: ", true),
            ("23505", "the database answers with an error: ", false),
        ] {
            let error = error(state);
            let said = failed_query(&error);
            assert!(said.starts_with(what), "{said}");
            assert!(said.contains("as Postgres says it"), "{said}");
            assert_eq!(ends_connection(&error), ends, "{state}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cause_is_said_once_and_again_when_it_lasts() {
        let mut told = Told::default();
        assert!(!told.is_over());
        assert!(told.is_news(&error("53100")));
        assert!(!told.is_news(&error("53100")));
        assert!(told.is_news(&error("25006")));
        assert!(!told.is_news(&error("53100")));
        assert!(told.is_over() && !told.is_over());
        assert!(!told.is_news(&error("25006")) && !told.is_over());
        tokio::time::sleep(TOLD_FOR).await;
        assert!(told.is_news(&error("25006")) && told.is_over());
        // A row that is refused is no trouble.
        assert!(told.is_news(&error("23505")) && told.is_news(&error("23505")));
        assert!(!told.is_over());
    }
}
