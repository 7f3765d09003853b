//! Whether events can be committed right now: the writer's last commit tells, or else one that it does for the
//! question.
//!
//! The writer itself is asked, by its own queue and connection: where that one hangs, events do too. The
//! heartbeat does not tell: it waits for no disk and for no standby, as an event does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::postgres::{Dedicated, Trouble, failed_query};

/// A commit that is older tells nothing, and a question is not answered later.
const FRESH: Duration = Duration::from_secs(1);
/// A connection is waited for for up to 2 s, and then it is found out why there is none.
const REMEMBERED: Duration = Duration::from_secs(5);
/// All that ask at once share one commit.
pub(super) const ASKED_MAX: usize = 1024;
const SLOW: &str = "nothing was committed within a second";

/// Why events cannot be committed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct NotReady {
    what: &'static str,
    /// What Postgres said, for the log.
    pub cause: String,
}

impl From<&sqlx::Error> for NotReady {
    fn from(error: &sqlx::Error) -> Self {
        Self {
            what: Trouble::of(error).map_or("the database refuses a commit", Trouble::what),
            cause: failed_query(error),
        }
    }
}

impl NotReady {
    fn of(what: &'static str) -> Self {
        Self {
            what,
            cause: what.to_owned(),
        }
    }
}

/// When something was committed last, and why it could not be since; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Commits(Arc<Mutex<Last>>);

#[derive(Debug, Default)]
struct Last {
    committed_at: Option<Instant>,
    failed: Option<(Instant, NotReady)>,
}

impl Commits {
    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self) {
        *self.last() = Last {
            committed_at: Some(Instant::now()),
            failed: None,
        };
    }

    pub(super) fn failed(&self, error: &sqlx::Error) {
        self.last().failed = Some((Instant::now(), NotReady::from(error)));
    }

    fn is_fresh(&self) -> bool {
        let at = self.last().committed_at;
        at.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Why nothing was committed in time: what was in the way just before is, still.
    pub(super) fn why_slow(&self) -> NotReady {
        let failed = self.last().failed.clone();
        let recent = failed.filter(|(at, _)| at.elapsed() < REMEMBERED);
        recent.map_or_else(|| NotReady::of(SLOW), |(_, why)| why)
    }
}

/// A question, to be answered.
pub(super) type Asked = oneshot::Sender<Result<(), NotReady>>;

/// The way to whoever commits; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    commits: Commits,
    writer: mpsc::Sender<Asked>,
}

impl Ready {
    pub(super) fn new(commits: Commits) -> (Self, mpsc::Receiver<Asked>) {
        let (writer, asked) = mpsc::channel(ASKED_MAX);
        (Self { commits, writer }, asked)
    }

    /// Whether something was committed within the last second, or is within the next.
    pub(super) async fn ask(&self) -> Result<(), NotReady> {
        let deadline = Instant::now() + FRESH;
        if self.commits.is_fresh() {
            return Ok(());
        }
        let (asker, answer) = oneshot::channel();
        if self.writer.try_send(asker).is_err() {
            return Err(NotReady::of(
                "the part that stores events takes no questions",
            ));
        }
        let answer = timeout_at(deadline, answer).await;
        let answer = answer.map_err(|_| self.commits.why_slow())?;
        answer.map_err(|_| NotReady::of("quell is stopping"))?
    }
}

/// Commits a row of this process that says nothing to anybody, unless something was committed just now; false where
/// that takes longer than a second.
pub(super) async fn probe(
    commits: &Commits,
    connection: &mut Dedicated,
    replica: &str,
) -> Result<bool, sqlx::Error> {
    if commits.is_fresh() {
        return Ok(true);
    }
    // Beside the heartbeat's row, which must never wait for this: it is a replica that is gone already. The tables
    // that a webhook is stored in are touched, so that it waits for locks on them, too.
    let committing = sqlx::query!(
        "with events as (update webhook_event set settled_at = null where false),
              jobs as (delete from job where false)
         insert into replica (id, alive_until) values ($1, clock_timestamp())
         on conflict (id) do update set alive_until = excluded.alive_until",
        format!("{replica} /readyz"),
    )
    .execute(connection.get().await?);
    let Ok(committed) = timeout(FRESH, committing).await else {
        return Ok(false);
    };
    committed?;
    commits.note();
    Ok(true)
}
