//! Reads what is recorded of a webhook event: its facts, the decision on them, and how it ended.

use chrono::{DateTime, Utc};

use super::error::ExplainError;
use super::sources;
use super::track_question::{RecordedEvent, TrackQuestion};
use crate::livekit::event::{self, TRACK_PUBLISHED};
use crate::livekit::facts::facts_from_event;
use crate::pipeline::RecordedFacts;
use crate::postgres::{Pool, to_pg_key};
use quell_policy::{Decision, TenantId};

/// A row of `webhook_event`.
pub(super) struct EventRow {
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

/// What sweeps store has ids of this kind, which no event has.
const SWEPT: &str = "SW_";

/// What is stored under this id; with a tenant, only in its rooms.
pub(super) async fn stored(
    pool: &Pool,
    id: &str,
    tenant: Option<&TenantId>,
) -> Result<Option<EventRow>, sqlx::Error> {
    if id.starts_with(SWEPT) {
        find_swept(pool, id, tenant).await
    } else {
        find(pool, id, tenant).await
    }
}

/// What a sweep saw and decided, under this id; with a tenant, only in its rooms.
async fn find_swept(
    pool: &Pool,
    id: &str,
    tenant: Option<&TenantId>,
) -> Result<Option<EventRow>, sqlx::Error> {
    // Of one look at a track, what was done goes before what a dry run would have.
    sqlx::query_as!(
        EventRow,
        r#"select id as event_id, decided_at as created_at, as_of as received_at, $3::text as "event!",
                  '' as "body!", facts::text as "facts?", decision::text as "decision?",
                  outcome as "settlement?", decided_at as "settled_at?"
           from sweep_decision
           where id = $1 and ($2::text is null or tenant = $2)
           order by outcome = 'dry_run'
           limit 1"#,
        to_pg_key(id),
        tenant.map(TenantId::as_str),
        TRACK_PUBLISHED,
    )
    .fetch_optional(pool)
    .await
}

/// The newest event of this id; with a tenant, only of its rooms.
async fn find(
    pool: &Pool,
    id: &str,
    tenant: Option<&TenantId>,
) -> Result<Option<EventRow>, sqlx::Error> {
    sqlx::query_as!(
        EventRow,
        r#"select event_id, created_at, received_at, event, body::text as "body!",
                  facts::text, decision::text, settlement, settled_at
           from webhook_event
           where event_id = $1 and ($2::text is null or tenant = $2)
           order by created_at desc
           limit 1"#,
        to_pg_key(id),
        tenant.map(TenantId::as_str),
    )
    .fetch_optional(pool)
    .await
}

impl EventRow {
    /// The event's track, to be decided for `at`, or else for the time of the decision then.
    pub(super) fn into_track_question(
        self,
        at: Option<DateTime<Utc>>,
    ) -> Result<TrackQuestion, ExplainError> {
        if self.event != TRACK_PUBLISHED {
            return Err(ExplainError::NotDecidedOn(self.event));
        }
        let RecordedFacts { facts, left_out } = self.facts()?;
        let warnings = left_out.into_iter().map(|left_out| {
            format!(
                "`{}` had {} bytes, and what has more than 16 KiB is not recorded (SHA-256 {}): it is unknown here",
                left_out.fact, left_out.bytes, left_out.sha256
            )
        });
        let warnings = warnings.collect();
        let decision = self.decision()?;
        let snapshot = decision.as_ref().and_then(|decision| decision.as_of);
        let event = RecordedEvent {
            id: self.event_id,
            created_at: self.created_at,
            received_at: self.received_at,
            settlement: self.settlement,
            settled_at: self.settled_at,
            decision,
            snapshot,
            policies_then: None,
        };
        Ok(TrackQuestion {
            sources: if event.id.starts_with(SWEPT) {
                sources::of_sweep()
            } else {
                sources::of_event(&facts)
            },
            facts,
            at: at.unwrap_or_else(|| event.decided_at()),
            event: Some(event),
            warnings,
        })
    }

    /// The facts that were recorded; before the event is settled, those of the event itself.
    fn facts(&self) -> Result<RecordedFacts, ExplainError> {
        let unreadable = |what: String| ExplainError::Recorded(what);
        if let Some(facts) = &self.facts {
            return serde_json::from_str(facts).map_err(|error| unreadable(error.to_string()));
        }
        let read = event::read(self.body.as_bytes());
        let read = read.map_err(|error| unreadable(error.to_string()))?;
        Ok(RecordedFacts {
            facts: facts_from_event(&read.event),
            left_out: Vec::new(),
        })
    }

    fn decision(&self) -> Result<Option<Decision>, ExplainError> {
        let decision = self.decision.as_deref().map(serde_json::from_str);
        decision
            .transpose()
            .map_err(|error| ExplainError::Recorded(error.to_string()))
    }
}
