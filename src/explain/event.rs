//! What is recorded of a webhook event: its facts, what was decided on them, and how it ended.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::{Case, ExplainError, sources};
use crate::audit::without_nul;
use crate::livekit::event::{self, TRACK_PUBLISHED};
use crate::livekit::facts::facts_of_event;
use quell_policy::{Decision, Facts};

/// The row of an event.
pub(super) struct Row {
    event_id: String,
    created_at: DateTime<Utc>,
    received_at: DateTime<Utc>,
    event: String,
    body: String,
    facts: Option<String>,
    decision: Option<String>,
    settlement: Option<String>,
    settled_at: Option<DateTime<Utc>>,
}

/// An event, and what was decided then.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) received_at: DateTime<Utc>,
    pub(super) settlement: Option<String>,
    pub(super) settled_at: Option<DateTime<Utc>>,
    pub(super) decision: Option<Decision>,
    /// The snapshot of policies that the decision was made by, where it says so.
    pub(super) snapshot: Option<i64>,
    /// The policies that there were then, where others are asked now.
    pub(super) there_then: Option<HashSet<Name>>,
}

/// A policy's owner and name.
pub(super) type Name = (Option<String>, String);

impl Event {
    /// When it was decided on; where it was not, when it came in.
    pub(super) fn decided_at(&self) -> DateTime<Utc> {
        let decision = self.decision.as_ref();
        decision.map_or(self.received_at, |decision| decision.at)
    }
}

/// The newest event of this id; of `tenant`'s rooms only, where there is one.
pub(super) async fn find(
    pool: &PgPool,
    id: &str,
    tenant: Option<&str>,
) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select event_id, created_at, received_at, event, body::text as "body!",
                  facts::text, decision::text, settlement, settled_at
           from webhook_event
           where event_id = $1 and ($2::text is null or tenant = $2)
           order by created_at desc
           limit 1"#,
        without_nul(id),
        tenant,
    )
    .fetch_optional(pool)
    .await
}

impl Row {
    /// What is to be explained, for `at` or else for the time of the decision.
    pub(super) fn into_case(self, at: Option<DateTime<Utc>>) -> Result<Case, ExplainError> {
        if self.event != TRACK_PUBLISHED {
            return Err(ExplainError::NotDecidedOn(self.event));
        }
        let facts = self.facts()?;
        let decision = self.decision()?;
        let snapshot = decision.as_ref().and_then(|decision| decision.as_of);
        let event = Event {
            id: self.event_id,
            created_at: self.created_at,
            received_at: self.received_at,
            settlement: self.settlement,
            settled_at: self.settled_at,
            decision,
            snapshot,
            there_then: None,
        };
        Ok(Case {
            sources: sources::of_event(&facts),
            facts,
            at: at.unwrap_or_else(|| event.decided_at()),
            event: Some(event),
            warnings: Vec::new(),
        })
    }

    /// The facts that were recorded; before the event is settled, those that it holds itself.
    fn facts(&self) -> Result<Facts, ExplainError> {
        let unreadable = |what: String| ExplainError::Recorded(what);
        if let Some(facts) = &self.facts {
            return serde_json::from_str(facts).map_err(|error| unreadable(error.to_string()));
        }
        let read = event::read(self.body.as_bytes());
        let read = read.map_err(|error| unreadable(error.to_string()))?;
        Ok(facts_of_event(&read.event))
    }

    fn decision(&self) -> Result<Option<Decision>, ExplainError> {
        let decision = self.decision.as_deref().map(serde_json::from_str);
        decision
            .transpose()
            .map_err(|error| ExplainError::Recorded(error.to_string()))
    }
}
