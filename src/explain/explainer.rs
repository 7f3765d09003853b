//! Answers questions: gathers the facts and the policies that a question asks for.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::task::spawn_blocking;

use super::answer::{LiveReply, Reply, TrackAnswer, answer};
use super::error::ExplainError;
use super::question::{PolicySource, Question, Subject};
use super::sources::FactSource;
use super::track_question::{RecordedEvent, TrackQuestion};
use super::{event, given, live};
use crate::access::{Principal, Viewer};
use crate::action::{Query, TrackQuery};
use crate::livekit::LiveKit;
use crate::policy_store::{self, At, Seeing};
use crate::postgres::Pool;
use quell_policy::{Fact, Facts, PolicySet, StoredPolicy};

/// Answers questions by one set of policies, or by those of an event's time.
#[derive(Debug, Clone)]
pub struct Explainer {
    /// The database; none where given facts are explained by policies of files.
    pub pool: Option<Pool>,
    /// LiveKit, and how long to wait for all of its answers.
    pub livekit: Option<(LiveKit, Duration)>,
    /// The policies in force, or those of files.
    pub policies: Arc<PolicySet>,
    /// Where `policies` are from: `Now` or `Files`.
    pub policy_source: PolicySource,
    /// The time of the question.
    pub now: DateTime<Utc>,
}

impl Explainer {
    /// Answers `question` with what `asker` may know.
    pub async fn explain(
        &self,
        asker: &Principal,
        question: Question,
    ) -> Result<Reply, ExplainError> {
        let is_event = matches!(question.subject, Subject::Event(_));
        let source = match (self.policy_source, question.policies) {
            (PolicySource::Files, _) => PolicySource::Files,
            (_, Some(PolicySource::Then)) if !is_event => {
                return Err(ExplainError::Invalid(
                    "`policies: then` is for an event, which has a time of its own: leave it out"
                        .to_owned(),
                ));
            }
            (_, Some(wanted)) => wanted,
            (_, None) if is_event => PolicySource::Then,
            (_, None) => PolicySource::Now,
        };
        match question.subject {
            Subject::Facts(given) => {
                let at = question.at.unwrap_or(self.now);
                let viewer = asker.viewer();
                // What strangers send may be thousands of keys: not on a thread that webhooks need.
                let read = move || given::read(&given, &viewer, at);
                let track = spawn_blocking(read).await??;
                Ok(Reply::One(Box::new(
                    self.answer(asker, source, track).await?,
                )))
            }
            Subject::Event(id) => {
                let track = self.event_question(asker, &id, question.at).await?;
                Ok(Reply::One(Box::new(
                    self.answer(asker, source, track).await?,
                )))
            }
            Subject::Live {
                room,
                identity,
                track,
            } => {
                let at = question.at.unwrap_or(self.now);
                let (livekit, timeout) =
                    self.livekit.as_ref().ok_or(ExplainError::NotConfigured)?;
                let query = Query {
                    room: &room,
                    identity: &identity,
                    track: track.as_deref().map(TrackQuery::Sid),
                };
                let (questions, left_off) =
                    live::track_questions(livekit, &asker.authority(), &query, *timeout, at)
                        .await?;
                let mut tracks = Vec::new();
                for track in questions {
                    tracks.push(self.answer(asker, source, track).await?);
                }
                Ok(Reply::Live(LiveReply { tracks, left_off }))
            }
        }
    }

    fn pool(&self) -> Result<&Pool, ExplainError> {
        let closed = || ExplainError::Database(sqlx::Error::PoolClosed);
        self.pool.as_ref().ok_or_else(closed)
    }

    async fn event_question(
        &self,
        asker: &Principal,
        id: &str,
        at: Option<DateTime<Utc>>,
    ) -> Result<TrackQuestion, ExplainError> {
        let (pool, viewer) = (self.pool()?, asker.viewer());
        let row = event::stored(pool, id, viewer.tenant()).await?;
        let row = row.ok_or(ExplainError::NoEvent)?;
        let mut track = row.into_track_question(at)?;
        // The event is the tenant's, so the room is. With an unknown tenant, others' policies would count.
        if let (Viewer::Tenant(tenant), Fact::Unknown) = (asker.viewer(), &track.facts.room.tenant)
        {
            track.facts.room.tenant = Fact::Known(Some(tenant));
            track.sources.insert("room.tenant", FactSource::Event);
        }
        Ok(track)
    }

    async fn answer(
        &self,
        asker: &Principal,
        source: PolicySource,
        mut track: TrackQuestion,
    ) -> Result<TrackAnswer, ExplainError> {
        if source != PolicySource::Then
            && let Some(event) = &mut track.event
            && event.decision.is_some()
        {
            let (_, rows) = self.stored_then(event, &track.facts).await?;
            let names = rows.into_iter().map(|row| row.key);
            event.policies_then = Some(names.collect());
        }
        let policies = match (source, &track.event) {
            (PolicySource::Then, Some(event)) => {
                Arc::new(self.policies_then(event, &track.facts).await?)
            }
            _ => Arc::clone(&self.policies),
        };
        let viewer = asker.viewer();
        // Tens of thousands of policies take a while: not on a thread that webhooks need.
        let explained = spawn_blocking(move || answer(&policies, source, track, &viewer));
        Ok(explained.await?)
    }

    /// The policies that were in force when `event` was decided on.
    async fn policies_then(
        &self,
        event: &RecordedEvent,
        facts: &Facts,
    ) -> Result<PolicySet, ExplainError> {
        let (snapshot, rows) = self.stored_then(event, facts).await?;
        let read = spawn_blocking(move || PolicySet::from_stored(rows)).await?;
        let set = read.map_err(ExplainError::NotRepeatable)?;
        Ok(set.as_of_revision(snapshot))
    }

    /// The same as they are stored, and the number of their snapshot.
    async fn stored_then(
        &self,
        event: &RecordedEvent,
        facts: &Facts,
    ) -> Result<(i64, Vec<StoredPolicy>), ExplainError> {
        let pool = self.pool()?;
        let snapshot = match event.snapshot {
            Some(snapshot) => snapshot,
            None => policy_store::snapshot_at(pool, event.decided_at()).await?,
        };
        let at = At::Snapshot(snapshot);
        let seeing = match &facts.room.tenant {
            Fact::Known(tenant) => Seeing::RoomOf(tenant.as_ref()),
            // Any tenant's policies may have applied.
            Fact::Unknown => Seeing::AnyRoom,
        };
        let rows = policy_store::as_of(pool, at, seeing).await?;
        Ok((snapshot, rows))
    }
}
