//! Rows of requests that reached nothing, refused or failed: each caller has at most N a second. The rest is counted, and
//! has one row together, so that nobody fills the log with what was not done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::future::BoxFuture;
use quell_clock::Clock;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::audit::{self, Action, Actor, AuditRow, Entry, Origin, Outcome};
use crate::cell_rate::CellRate;
use crate::postgres::Pool;

const ROWS_PER_SECOND: u32 = 5;
/// A caller that is refused now and then has all its rows.
const BURST: Duration = Duration::from_secs(20);
/// What was counted is written down so often.
const INTERVAL: Duration = Duration::from_secs(10);
/// Callers that are remembered before those that were quiet are forgotten.
const CALLERS_MAX: usize = 10_000;

/// Where requests that reached nothing are written down; clones share the counts.
#[derive(Debug, Clone)]
pub struct Refusals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    clock: Clock,
    stop: CancellationToken,
    rate: CellRate,
    callers: Mutex<HashMap<Option<String>, Caller>>,
}

#[derive(Debug)]
struct Caller {
    due: Instant,
    without_row: Option<WithoutRow>,
}

/// Requests without rows.
#[derive(Debug)]
struct WithoutRow {
    actor: Actor,
    count: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Refusals {
    /// With the task that writes down what was counted, until `stop`.
    #[must_use]
    pub fn new(
        pool: Pool,
        clock: Clock,
        stop: CancellationToken,
    ) -> (Self, BoxFuture<'static, ()>) {
        let refusals = Self(Arc::new(Inner {
            pool,
            clock,
            stop: stop.clone(),
            rate: CellRate::new(ROWS_PER_SECOND, BURST),
            callers: Mutex::default(),
        }));
        let writer = refusals.clone();
        let writing = async move {
            while stop.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
                writer.write_down().await;
            }
            writer.write_down().await;
        };
        (refusals, Box::pin(writing))
    }

    /// Writes the row of a request that reached nothing, or counts it.
    pub(crate) async fn record(&self, row: &AuditRow) -> Result<(), sqlx::Error> {
        if !self.0.stop.is_cancelled() && !self.has_row(&row.entry.actor) {
            return Ok(());
        }
        let error = row.error.as_deref();
        audit::record(&self.0.pool, &row.entry, row.outcome, error).await
    }

    fn has_row(&self, actor: &Actor) -> bool {
        let (now, at) = (Instant::now(), self.0.clock.now());
        let callers = self.0.callers.lock();
        let mut callers = callers.unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX {
            callers.retain(|_, caller| caller.due > now || caller.without_row.is_some());
        }
        let id = actor.as_str().map(str::to_owned);
        let caller = callers.entry(id).or_insert(Caller {
            due: now,
            without_row: None,
        });
        if self.0.rate.take(&mut caller.due, now).is_ok() {
            return true;
        }
        let without_row = caller.without_row.get_or_insert_with(|| WithoutRow {
            actor: actor.clone(),
            count: 0,
            first: at,
            last: at,
        });
        without_row.count += 1;
        without_row.last = at;
        false
    }

    async fn write_down(&self) {
        let without_row: Vec<_> = {
            let callers = self.0.callers.lock();
            let mut callers = callers.unwrap_or_else(PoisonError::into_inner);
            let without_row = callers.values_mut();
            without_row
                .filter_map(|caller| caller.without_row.take())
                .collect()
        };
        for without_row in without_row {
            let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
            let error = format!(
                "{} more requests to mute or unmute were refused or failed from {} to {}: they have no rows of their own",
                without_row.count,
                time(without_row.first),
                time(without_row.last)
            );
            let entry = Entry::new(Origin::Manual, without_row.actor.clone(), Action::Mute);
            let written = audit::record(&self.0.pool, &entry, Outcome::Refused, Some(&error)).await;
            if let Err(failed) = written {
                tracing::error!(error = %failed, count = without_row.count, "refused requests could not be counted in the audit; trying again");
                self.put_back(without_row);
            }
        }
    }

    fn put_back(&self, without_row: WithoutRow) {
        let callers = self.0.callers.lock();
        let mut callers = callers.unwrap_or_else(PoisonError::into_inner);
        let id = without_row.actor.as_str().map(str::to_owned);
        let caller = callers.entry(id).or_insert(Caller {
            due: Instant::now(),
            without_row: None,
        });
        match &mut caller.without_row {
            Some(newer) => {
                newer.count += without_row.count;
                newer.first = without_row.first;
            }
            none => *none = Some(without_row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_its_rows_and_what_is_counted_is_bounded() {
        crate::install_crypto();
        let mut config = Config::from_environment(&Environment::default())
            .unwrap()
            .database;
        config.url = Some("postgres://nobody@127.0.0.1:1/none".into());
        let pool = Pool::lazy(&config).unwrap();
        let (refusals, _) = Refusals::new(pool, Clock::system(), CancellationToken::new());
        let actor = |id: &str| Actor::CommandLine(id.to_owned());
        let rows =
            |id: &str, asked: usize| (0..asked).filter(|_| refusals.has_row(&actor(id))).count();
        assert_eq!(rows("acme", 500), 101);
        assert_eq!(rows("globex", 50), 50);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(rows("acme", 500), 10);
        let count = |id: &str| {
            let callers = refusals.0.callers.lock().unwrap();
            let caller = callers.get(&Some(id.to_owned())).unwrap();
            caller
                .without_row
                .as_ref()
                .map_or(0, |without_row| without_row.count)
        };
        assert_eq!((count("acme"), count("globex")), (889, 0));
        tokio::time::advance(Duration::from_mins(1)).await;
        for n in 0..CALLERS_MAX + 10 {
            assert_eq!(rows(&n.to_string(), 1), 1);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(refusals.0.callers.lock().unwrap().len() <= CALLERS_MAX);
        // Nothing that was counted is forgotten.
        assert_eq!(count("acme"), 889);
    }
}
