//! What `/v1/audit` is asked by: the same conditions for lists, exports and the stream.

use axum::extract::Request;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::auth::Scope;
use super::super::problem::Problem;
use super::super::request::{ApiRequest, NamesTenant, QueryParam};
use super::super::state::AppState;
use crate::audit::history::{ACTIONS, HistoryFilter, ORIGINS, OUTCOMES, PAGE_MAX};
use crate::backtest::read_time;
use quell_policy::TenantId;
use quell_policy::terminal::quoted;

/// A query, of which some parameters are conditions.
pub(super) trait Conditions: NamesTenant + Sized {
    fn filter(self, now: DateTime<Utc>) -> Result<(Self, HistoryFilter), Problem>;
}

macro_rules! queries {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field:meta])* $extra:ident: $type:ty,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(in crate::http) struct $name {
            /// Whose rows. Only an operator may name another than itself.
            #[schemars(with = "Option<TenantId>")]
            tenant: Option<String>,
            /// The room's name.
            room_name: Option<String>,
            /// The room's SID.
            room_sid: Option<String>,
            /// The participant.
            identity: Option<String>,
            /// The track's SID.
            track_sid: Option<String>,
            /// Who requested it: a caller's id, or `cli:` and a user.
            actor: Option<String>,
            /// The person for whom a caller requested it.
            on_behalf_of: Option<String>,
            /// The policy that requested it, or that was changed.
            policy_name: Option<String>,
            /// How it came about.
            #[schemars(extend("enum" = ORIGINS))]
            origin: Option<String>,
            /// What was requested.
            #[schemars(extend("enum" = ACTIONS))]
            action: Option<String>,
            /// What came of it.
            #[schemars(extend("enum" = OUTCOMES))]
            outcome: Option<String>,
            /// The id of the request that led to it (`X-Request-Id`).
            request_id: Option<String>,
            /// The id of the event that led to it, or of what a sweep saw (`SW_...`).
            event_id: Option<String>,
            /// Begun no longer ago than this (`7d`, `36h`), or at this time or later (`2026-03-01T12:00:00Z`).
            since: Option<String>,
            /// The same, for before when.
            until: Option<String>,
            $($(#[$field])* pub(super) $extra: $type,)*
        }

        impl NamesTenant for $name {
            fn named(&self) -> (&'static str, Option<&str>) {
                ("tenant", self.tenant.as_deref())
            }
        }

        impl Conditions for $name {
            fn filter(mut self, now: DateTime<Utc>) -> Result<(Self, HistoryFilter), Problem> {
                let equal = [
                    ("room_name", self.room_name.take()),
                    ("room_sid", self.room_sid.take()),
                    ("identity", self.identity.take()),
                    ("track_sid", self.track_sid.take()),
                    ("actor", self.actor.take()),
                    ("on_behalf_of", self.on_behalf_of.take()),
                    ("policy_name", self.policy_name.take()),
                    ("origin", word("origin", self.origin.take(), ORIGINS)?),
                    ("action", word("action", self.action.take(), ACTIONS)?),
                    ("outcome", word("outcome", self.outcome.take(), OUTCOMES)?),
                    ("request_id", self.request_id.take()),
                    ("event_id", self.event_id.take()),
                ];
                let equal = equal.into_iter().filter_map(|(name, value)| Some((name, value?)));
                let time = |name, text: Option<String>| {
                    let time = text.map(|text| read_time(name, &text, now)).transpose();
                    time.map_err(Problem::from)
                };
                let filter = HistoryFilter {
                    tenant: None,
                    equal: equal.collect(),
                    since: time("since", self.since.take())?,
                    until: time("until", self.until.take())?,
                };
                Ok((self, filter))
            }
        }
    )* };
}

queries! {
    /// A page of a list.
    ListQuery {
        /// The most actions of a page; 100 where it is left out.
        #[schemars(range(min = 1, max = PAGE_MAX))]
        limit: Option<u16>,
        /// `next_cursor` of the page before.
        cursor: Option<String>,
    }
    /// A file.
    ExportQuery {
        /// `ndjson` (a JSON object a line), which is the default, or `csv` (RFC 4180).
        #[schemars(extend("enum" = ["ndjson", "csv"]))]
        format: Option<String>,
    }
    /// What is to come.
    StreamQuery {}
}

fn word(name: &str, value: Option<String>, words: &[&str]) -> Result<Option<String>, Problem> {
    if let Some(value) = &value
        && !words.contains(&value.as_str())
    {
        return Err(Problem::invalid_request(format!(
            "`{name}` is {}, but must be one of {}",
            quoted(value),
            words.join(", ")
        )));
    }
    Ok(value)
}

/// Reads a request: who asks, the query, and which rows it is about.
pub(super) async fn asked<Q: Conditions>(
    state: &AppState,
    query: QueryParam<Q>,
    request: Request,
) -> Result<(ApiRequest, Q, HistoryFilter), Problem> {
    let scope = Scope::AuditRead;
    let (request, query) = ApiRequest::read_query(state, request, query, scope).await?;
    let (query, mut filter) = query.filter(state.clock.now())?;
    filter.tenant = request.owner.tenant().cloned();
    Ok((request, query, filter))
}
