//! `quell audit`: what was done, for people and for programs.

mod export;
mod grant;
mod psql;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::failed;
use super::policy::output::{Format, print_out};
use super::policy::{with_database, with_database_until_told};
use crate::audit::history::{
    self, ACTIONS, HistoryFilter, HistoryRow, ORIGINS, OUTCOMES, PAGE_MAX,
};
use crate::audit::tail::{self, TailBatch};
use crate::backtest::read_time;
use quell_clock::Clock;
use quell_policy::TenantId;

/// How often `tail` looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show actions, the newest first
    Query {
        #[command(flatten)]
        filter: FilterArguments,
        /// Show at most this many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=i64::from(PAGE_MAX)))]
        limit: u16,
        /// How actions are shown; json has a line each
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Show actions as they are done, until Ctrl-C
    Tail {
        #[command(flatten)]
        filter: FilterArguments,
        /// How actions are shown; json has a line each
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Write all actions that fit to a file, or to stdout
    Export(export::Arguments),
    /// Open psql as the role `quell_auditor`, which reads the whole audit
    Psql(psql::Arguments),
    /// Print the SQL that gives a login of Postgres a tenant's rows, and no others
    Grant(grant::Arguments),
}

#[derive(Debug, Args)]
pub(super) struct FilterArguments {
    /// Only of this tenant: the `auth_id` in the metadata of its rooms
    #[arg(long, value_name = "TENANT", value_parser = TenantId::new)]
    tenant: Option<TenantId>,
    /// Only in rooms of this name
    #[arg(long, value_name = "NAME")]
    room: Option<String>,
    /// Only in the room with this SID
    #[arg(long, value_name = "SID")]
    room_sid: Option<String>,
    /// Only of this participant
    #[arg(long)]
    identity: Option<String>,
    /// Only of the track with this SID
    #[arg(long, value_name = "SID")]
    track: Option<String>,
    /// Only what this caller (or `cli:USER`) requested
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// Only what callers requested for this person
    #[arg(long, value_name = "PERSON")]
    on_behalf_of: Option<String>,
    /// Only what this policy requested, and changes of it
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only what came about like this
    #[arg(long, value_parser = PossibleValuesParser::new(ORIGINS))]
    origin: Option<String>,
    /// Only this kind of action
    #[arg(long, value_parser = PossibleValuesParser::new(ACTIONS))]
    action: Option<String>,
    /// Only what came out like this
    #[arg(long, value_parser = PossibleValuesParser::new(OUTCOMES))]
    outcome: Option<String>,
    /// Only what the request with this `X-Request-Id` led to
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    /// Only what the event with this id led to
    #[arg(long, value_name = "ID")]
    event_id: Option<String>,
    /// Begin this long ago (7d, 36h, 90m) or at this time (2026-03-01, 2026-03-01T12:00:00Z)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End before this time, in the same form
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl FilterArguments {
    fn filter(&self) -> anyhow::Result<HistoryFilter> {
        let now = Clock::system().now();
        let equal = [
            ("room_name", &self.room),
            ("room_sid", &self.room_sid),
            ("identity", &self.identity),
            ("track_sid", &self.track),
            ("actor", &self.actor),
            ("on_behalf_of", &self.on_behalf_of),
            ("policy_name", &self.policy),
            ("origin", &self.origin),
            ("action", &self.action),
            ("outcome", &self.outcome),
            ("request_id", &self.request_id),
            ("event_id", &self.event_id),
        ];
        let equal = equal
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        let time = |name, text: &Option<String>| {
            text.as_deref()
                .map(|text| read_time(name, text, now))
                .transpose()
        };
        Ok(HistoryFilter {
            tenant: self.tenant.clone(),
            equal: equal.collect(),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
        })
    }
}

pub(super) async fn run(command: &Command) -> ExitCode {
    let done = match command {
        Command::Query {
            filter,
            limit,
            format,
        } => query(filter, *limit, *format).await,
        Command::Tail { filter, format } => follow(filter, *format).await,
        Command::Export(arguments) => export::run(arguments).await,
        Command::Grant(arguments) => grant::run(arguments),
        Command::Psql(arguments) => {
            return psql::run(arguments)
                .await
                .unwrap_or_else(|error| failed(&error));
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

async fn query(filter: &FilterArguments, limit: u16, format: Format) -> anyhow::Result<()> {
    let filter = filter.filter()?;
    with_database(async |pool| {
        let (mut behind, mut left) = (None, limit);
        // A page with large documents has fewer rows than it might.
        loop {
            let page = history::page(pool, &filter, behind, left).await?;
            if behind.is_none() && page.rows.is_empty() && format == Format::Text {
                eprintln!("no action fits");
            }
            print_rows(&page.rows, format)?;
            left = left.saturating_sub(u16::try_from(page.rows.len()).unwrap_or(u16::MAX));
            behind = page.next;
            if behind.is_none() {
                return Ok(());
            }
            if left == 0 {
                if format == Format::Text {
                    eprintln!("... there are older ones: --limit, or --until with the last time");
                }
                return Ok(());
            }
        }
    })
    .await
}

async fn follow(filter: &FilterArguments, format: Format) -> anyhow::Result<()> {
    let filter = filter.filter()?;
    with_database_until_told(async |pool, mut stop| {
        let mut position = tail::tail_end(pool).await?;
        loop {
            let batch = match tail::tail(pool, &filter, position).await {
                Ok(batch) => batch,
                // Postgres is gone for a while: nothing is lost, and it is looked again.
                Err(error) => {
                    tracing::warn!(%error, "the tail of the audit cannot be read");
                    TailBatch {
                        rows: Vec::new(),
                        position,
                        is_full: false,
                    }
                }
            };
            position = batch.position;
            let rows: Vec<_> = batch.rows.into_iter().map(|(_, row)| row).collect();
            print_rows(&rows, format)?;
            let pause = if batch.is_full {
                Duration::ZERO
            } else {
                LOOK_EVERY
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut stop => return Ok(()),
            }
        }
    })
    .await
}

fn print_rows(rows: &[HistoryRow], format: Format) -> anyhow::Result<()> {
    let mut lines = String::new();
    for row in rows {
        match format {
            Format::Text => lines.push_str(&text::line(row)),
            Format::Json => lines.push_str(&serde_json::to_string(row)?),
        }
        lines.push('\n');
    }
    print_out(&lines)
}
