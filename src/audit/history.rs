//! Reads the audit: one row an action, as the view `moderation_history` has it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::access::Viewer;
use crate::postgres::to_pg_text;
use quell_policy::TenantId;

/// The most actions of a page.
pub const PAGE_MAX: u16 = 500;
/// `before` and `after` of a page have at most this many bytes together, if it has more than one row: whoever reads it
/// slowly keeps no more in memory.
const PAGE_BYTES_MAX: i64 = 256 << 10;

/// The words of the columns that have few.
pub const ORIGINS: &[&str] = &["manual", "webhook", "sweep", "rest", "cli"];
/// What was requested.
pub const ACTIONS: &[&str] = &[
    "mute",
    "unmute",
    "exempt",
    "decide",
    "policy.create",
    "policy.update",
    "policy.delete",
];
/// What came of it.
pub const OUTCOMES: &[&str] = &[
    "done",
    "refused",
    "failed",
    "superseded",
    "gone",
    "undecided",
    "dry_run",
    "unknown",
    "unsettled",
];

/// One action: its outcome, or its intent while there is none.
#[derive(Debug, Serialize, FromRow, JsonSchema)]
#[schemars(rename = "Action")]
pub struct HistoryRow {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Its id.
    #[schemars(with = "String")]
    pub action_id: Uuid,
    /// Who requested it: `manual` (a caller of the mute endpoint), `webhook` and `sweep` (a policy), `rest` (a caller of `/v1`), `cli`.
    pub origin: String,
    /// The caller's id. Null: a policy acted, or a caller without an id.
    pub actor: Option<String>,
    /// Whose row it is: the room's tenant, or the policy's owner. Null: the operator's.
    pub tenant: Option<String>,
    /// `mute`, `unmute`, `exempt`, `decide`, `policy.create`, `policy.update` or `policy.delete`.
    pub action: String,
    /// `done`, `refused`, `failed`, `superseded`, `gone`, `undecided`, `dry_run`, `unknown`, or `unsettled` while there is none.
    pub outcome: String,
    /// Why it is not `done`.
    pub error: Option<String>,
    /// The room's name.
    pub room_name: Option<String>,
    /// The room's SID.
    pub room_sid: Option<String>,
    /// The participant.
    pub identity: Option<String>,
    /// The track's SID.
    pub track_sid: Option<String>,
    /// The track's source, in LiveKit's words.
    pub source: Option<String>,
    /// The tenant whose policy it is. Null: the operator's, or no policy.
    pub policy_owner: Option<String>,
    /// The policy that requested it, or that was changed.
    pub policy_name: Option<String>,
    /// Its revision then.
    pub policy_revision: Option<i32>,
    /// Of a rollback: the revision that it went back to.
    pub restored_from: Option<i32>,
    /// The id of LiveKit's event, or of what a sweep saw (`SW_...`).
    pub event_id: Option<String>,
    /// The request's id (`X-Request-Id`).
    pub request_id: Option<String>,
    /// What was before: `{"muted": ...}`, or the policy's document.
    #[schemars(with = "Value")]
    pub before: Option<Json<Box<RawValue>>>,
    /// What is after it.
    #[schemars(with = "Value")]
    pub after: Option<Json<Box<RawValue>>>,
    /// Whether it changed the track; of `dry_run`, whether it would have.
    pub changed: Option<bool>,
    /// Milliseconds from the request or event to LiveKit's answer.
    pub latency_ms: Option<f64>,
    /// When the outcome was written.
    pub settled_at: Option<DateTime<Utc>>,
    /// The person for whom the caller requested it: `X-Actor`, or the JWT's claim.
    pub on_behalf_of: Option<String>,
    /// Why, in the words of who requested it.
    pub reason: Option<String>,
    /// The row's number; not the order of commits. For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// The transaction that wrote the row. For operators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txid: Option<String>,
}

impl HistoryRow {
    /// The row as `viewer` may see it: the numbers would tell a tenant how much others do.
    #[must_use]
    pub fn shown_to(self, viewer: &Viewer) -> Self {
        match viewer {
            Viewer::Operator => self,
            Viewer::Tenant(_) => Self {
                seq: None,
                txid: None,
                ..self
            },
        }
    }
}

impl HistoryRow {
    /// The columns, as a file has them.
    pub const COLUMNS: [&str; 28] = [
        "started_at",
        "action_id",
        "origin",
        "actor",
        "tenant",
        "action",
        "outcome",
        "error",
        "room_name",
        "room_sid",
        "identity",
        "track_sid",
        "source",
        "policy_owner",
        "policy_name",
        "policy_revision",
        "restored_from",
        "event_id",
        "request_id",
        "before",
        "after",
        "changed",
        "latency_ms",
        "settled_at",
        "on_behalf_of",
        "reason",
        "seq",
        "txid",
    ];
}

pub(super) const COLUMNS: &str = "started_at, action_id, origin, actor, tenant, action, outcome, error, room_name, room_sid, \
                       identity, track_sid, source, policy_owner, policy_name, policy_revision, restored_from, \
                       event_id, request_id, before, after, changed, latency_ms, settled_at, on_behalf_of, reason, seq, txid::text as txid";

/// Which actions; what is none is not asked for.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Whose rows; none is everybody's.
    pub tenant: Option<TenantId>,
    /// Values that columns have, by the columns' names.
    pub equal: Vec<(&'static str, String)>,
    /// Begun at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Begun before this.
    pub until: Option<DateTime<Utc>>,
}

impl HistoryFilter {
    /// The conditions of it, each behind an `and`.
    pub(super) fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        if let Some(tenant) = &self.tenant {
            query
                .push(" and tenant = ")
                .push_bind(tenant.as_str().to_owned());
        }
        for (column, value) in &self.equal {
            query.push(" and ").push(*column).push(" = ");
            query.push_bind(to_pg_text(value));
            // So that the planner takes the index that common rows have no part in.
            match (*column, value.as_str()) {
                ("outcome", value) if value != "done" => query.push(" and outcome <> 'done'"),
                ("origin", value) if value != "webhook" => query.push(" and origin <> 'webhook'"),
                ("action", value) if value != "mute" => query.push(" and action <> 'mute'"),
                _ => query,
            };
        }
        if let Some(since) = self.since {
            query.push(" and started_at >= ").push_bind(since);
        }
        if let Some(until) = self.until {
            query.push(" and started_at < ").push_bind(until);
        }
    }
}

/// Behind which action a page begins: the newest come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind(DateTime<Utc>, Uuid);

/// Some actions, the newest first.
#[derive(Debug)]
pub struct HistoryPage {
    /// The actions.
    pub rows: Vec<HistoryRow>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<Behind>,
}

/// At most `limit` actions.
pub async fn page(
    db: impl PgExecutor<'_>,
    filter: &HistoryFilter,
    behind: Option<Behind>,
    limit: u16,
) -> Result<HistoryPage, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "select * from (
             select *, sum(coalesce(octet_length(before::text), 0) + coalesce(octet_length(after::text), 0)) over newest as bytes,
                    row_number() over newest as place, lead(seq) over newest is null as is_last
             from (",
    );
    let limit = i64::from(limit);
    // The view's two halves, each cut by itself: so Postgres reads as few rows of the log, the newest first, as there are to be.
    let halves = [
        "(select *, recorded_at as settled_at from audit_log where phase = 'outcome') settled where true",
        "moderation_history where outcome = 'unsettled' and outcome <> 'done'",
    ];
    for (number, half) in halves.into_iter().enumerate() {
        query.push(if number == 0 {
            "(select "
        } else {
            " union all (select "
        });
        query.push(COLUMNS).push(" from ").push(half);
        filter.push_to(&mut query);
        if let Some(Behind(started_at, action_id)) = behind {
            // The first condition says the same of the partitions' key.
            query.push(" and started_at <= ").push_bind(started_at);
            query.push(" and (started_at, action_id) < (");
            query
                .push_bind(started_at)
                .push(", ")
                .push_bind(action_id)
                .push(")");
        }
        query.push(" order by started_at desc, action_id desc limit ");
        query.push_bind(limit + 1).push(")");
    }
    query.push(" order by started_at desc, action_id desc limit ");
    query.push_bind(limit + 1);
    query.push(
        ") selected window newest as (order by started_at desc, action_id desc)
         ) counted where place = 1 or place <= ",
    );
    query.push_bind(limit);
    query.push(" and bytes <= ").push_bind(PAGE_BYTES_MAX);
    query.push(" order by place");
    let found: Vec<Counted> = query.build_query_as().fetch_all(db).await?;
    let is_last = found.last().is_none_or(|row| row.is_last);
    let rows: Vec<_> = found.into_iter().map(|counted| counted.row).collect();
    let last = rows.last().filter(|_| !is_last);
    let next = last.map(|last| Behind(last.started_at, last.action_id));
    Ok(HistoryPage { rows, next })
}

struct Counted {
    row: HistoryRow,
    is_last: bool,
}

impl FromRow<'_, PgRow> for Counted {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            is_last: sqlx::Row::try_get(row, "is_last")?,
            row: HistoryRow::from_row(row)?,
        })
    }
}

/// How many actions there are.
pub async fn count(db: impl PgExecutor<'_>, filter: &HistoryFilter) -> Result<u64, sqlx::Error> {
    let mut query = QueryBuilder::new("select count(*) from moderation_history where true");
    filter.push_to(&mut query);
    let count: i64 = query.build_query_scalar().fetch_one(db).await?;
    Ok(u64::try_from(count).unwrap_or_default())
}

/// One action.
pub async fn one(
    db: impl PgExecutor<'_>,
    action_id: Uuid,
    tenant: Option<&TenantId>,
) -> Result<Option<HistoryRow>, sqlx::Error> {
    let mut query = QueryBuilder::new("select ");
    query
        .push(COLUMNS)
        .push(" from moderation_history where action_id = ");
    query.push_bind(action_id);
    if let Some(tenant) = tenant {
        query
            .push(" and tenant = ")
            .push_bind(tenant.as_str().to_owned());
    }
    query.build_query_as().fetch_optional(db).await
}
