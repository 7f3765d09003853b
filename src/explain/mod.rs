//! Why a track is muted or not, for people who ask: by facts, by an event, or by who is in a room.
//!
//! ```text
//! facts as given ------------------------------+
//! event id -> what is recorded of the event ---+-> facts, time --explain--> Answer
//! room, participant -> mute::look -> LiveKit --+      ^
//!                  policies of now, of then, or of files
//! ```
//!
//! Nothing is muted and nothing is written. Whoever is no operator is answered for its own rooms
//! alone, and never learns of policies that it does not meet in its audit.

mod answer;
mod compare;
mod event;
mod given;
mod live;
mod sources;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::task::{JoinError, spawn_blocking};

pub use answer::{Answer, Decided, Live, Recorded, Reply};
pub use sources::{FactSource, Provenance};

use crate::access::{Principal, Viewer};
use crate::action::{LookupError, Query};
use crate::livekit::{LiveKit, LiveKitError};
use crate::policy_store::{self, At, Seeing};
use crate::postgres::{Pool, failed_query};
use event::Event;
use given::GivenError;
use quell_policy::{Fact, Facts, PolicySet, StoredPolicy, Unreadable};
use sources::Sources;

/// What a parser says is cut here: it may quote all that it was given.
pub(crate) const SAID_CHARS_MAX: usize = 300;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Which tracks are meant.
    pub subject: Subject,
    /// For when; none is now, or for an event the time of its decision.
    pub at: Option<DateTime<Utc>>,
    /// By which policies; none is `now`, or for an event `then`.
    pub policies: Option<Which>,
}

/// Which tracks are meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// One of which these facts are known, in the form in which facts are stored.
    Facts(Value),
    /// The one that the webhook event of this id told of.
    Event(String),
    /// Those of a participant that is in a room now.
    Live {
        /// The room's name.
        room: String,
        /// The participant.
        identity: String,
        /// This track only.
        track: Option<String>,
    },
}

/// Which policies decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Those in force.
    Now,
    /// Those that were in force when the event was decided on, from the stored revisions.
    Then,
    /// Those of files.
    #[serde(skip_deserializing)]
    Files,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The question, or the facts in it.
    #[error("{0}")]
    Invalid(String),
    /// Facts of a room that is not the caller's.
    #[error("{0}")]
    OtherTenant(String),
    /// No such event, or not the caller's.
    #[error("there is no event of this id, or it is older than events are kept")]
    NoEvent,
    /// An event that tells of no new track.
    #[error("this event is a {0}: policies decide on track_published alone")]
    NotDecidedOn(String),
    /// What was recorded of the event cannot be read.
    #[error("what is recorded of this event cannot be read by this version: {0}")]
    Recorded(String),
    /// The policies of then cannot be read.
    #[error(
        "the decision cannot be repeated, because a policy of then cannot be read by this version; ask by the policies of now"
    )]
    NotRepeatable(#[source] Unreadable),
    /// Room, participant or track are not there, or not the caller's to see: never told apart.
    #[error("no such room, participant or track")]
    NotFound,
    /// There is no LiveKit to ask.
    #[error("LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET")]
    NotConfigured,
    /// LiveKit failed.
    #[error(transparent)]
    LiveKit(LiveKitError),
    /// The database.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
    /// The work was broken off.
    #[error("the explanation was broken off: {0}")]
    Broken(#[from] JoinError),
}

impl From<GivenError> for ExplainError {
    fn from(error: GivenError) -> Self {
        match error {
            GivenError::Invalid(text) => Self::Invalid(text),
            GivenError::OtherTenant(text) => Self::OtherTenant(text),
        }
    }
}

impl From<LookupError> for ExplainError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::NoRoom
            | LookupError::Denied { .. }
            | LookupError::NoParticipant { .. }
            | LookupError::NoTrack { .. } => Self::NotFound,
            LookupError::LiveKit { error, .. } => Self::LiveKit(error),
        }
    }
}

/// What answers are made from.
#[derive(Debug, Clone)]
pub struct Explainer {
    /// The database; none where only given facts are explained by policies of files.
    pub pool: Option<Pool>,
    /// LiveKit, and how long it is waited for.
    pub livekit: Option<(LiveKit, Duration)>,
    /// The policies in force, or those of files.
    pub policies: Arc<PolicySet>,
    /// Which they are.
    pub which: Which,
    /// The time.
    pub now: DateTime<Utc>,
}

/// A track to be explained: what is known of it, from where, and for when.
struct Case {
    facts: Facts,
    sources: Sources,
    at: DateTime<Utc>,
    event: Option<Event>,
    warnings: Vec<String>,
}

impl Explainer {
    /// Answers `question`, as far as `asker` may know.
    pub async fn explain(
        &self,
        asker: &Principal,
        question: Question,
    ) -> Result<Reply, ExplainError> {
        let is_event = matches!(question.subject, Subject::Event(_));
        let which = match (self.which, question.policies) {
            (Which::Files, _) => Which::Files,
            (_, Some(Which::Then)) if !is_event => {
                return Err(ExplainError::Invalid(
                    "`policies: then` is for an event, which has a time of its own: leave it out"
                        .to_owned(),
                ));
            }
            (_, Some(wanted)) => wanted,
            (_, None) if is_event => Which::Then,
            (_, None) => Which::Now,
        };
        match question.subject {
            Subject::Facts(given) => {
                let at = question.at.unwrap_or(self.now);
                let viewer = asker.viewer();
                // What strangers send may be thousands of keys: not on a thread that webhooks need.
                let read = move || given::read(&given, &viewer, at);
                let given = spawn_blocking(read).await??;
                let case = Case {
                    facts: given.facts,
                    sources: given.sources,
                    at,
                    event: None,
                    warnings: given.warnings,
                };
                Ok(Reply::One(Box::new(self.answer(asker, which, case).await?)))
            }
            Subject::Event(id) => {
                let case = self.of_event(asker, &id, question.at).await?;
                Ok(Reply::One(Box::new(self.answer(asker, which, case).await?)))
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
                    track: track.as_deref(),
                };
                let (cases, left_off) =
                    live::cases(livekit, &asker.authority(), &query, *timeout, at).await?;
                let mut tracks = Vec::new();
                for case in cases {
                    tracks.push(self.answer(asker, which, case).await?);
                }
                Ok(Reply::Live(Live { tracks, left_off }))
            }
        }
    }

    fn pool(&self) -> Result<&Pool, ExplainError> {
        let closed = || ExplainError::Database(sqlx::Error::PoolClosed);
        self.pool.as_ref().ok_or_else(closed)
    }

    async fn of_event(
        &self,
        asker: &Principal,
        id: &str,
        at: Option<DateTime<Utc>>,
    ) -> Result<Case, ExplainError> {
        let row = event::find(self.pool()?, id, asker.viewer().tenant()).await?;
        let mut case = row.ok_or(ExplainError::NoEvent)?.into_case(at)?;
        // The event is theirs, so the room is: with an unknown tenant, others' policies would count.
        if let (Viewer::Tenant(tenant), Fact::Unknown) = (asker.viewer(), &case.facts.room.tenant) {
            case.facts.room.tenant = Fact::Known(Some(tenant));
            case.sources.insert("room.tenant", FactSource::Event);
        }
        Ok(case)
    }

    async fn answer(
        &self,
        asker: &Principal,
        which: Which,
        mut case: Case,
    ) -> Result<Answer, ExplainError> {
        if which != Which::Then
            && let Some(event) = &mut case.event
            && event.decision.is_some()
        {
            let (_, rows) = self.rows_of_then(event, &case.facts).await?;
            let names = rows.into_iter().map(|row| row.key);
            event.there_then = Some(names.collect());
        }
        let policies = match (which, &case.event) {
            (Which::Then, Some(event)) => Arc::new(self.of_then(event, &case.facts).await?),
            _ => Arc::clone(&self.policies),
        };
        let viewer = asker.viewer();
        // Tens of thousands of policies take a while: not on a thread that webhooks need.
        let explained = spawn_blocking(move || answer::answer(&policies, which, case, &viewer));
        Ok(explained.await?)
    }

    /// The policies that `event` was decided by.
    async fn of_then(&self, event: &Event, facts: &Facts) -> Result<PolicySet, ExplainError> {
        let (snapshot, rows) = self.rows_of_then(event, facts).await?;
        let read = spawn_blocking(move || PolicySet::from_stored(rows)).await?;
        let set = read.map_err(ExplainError::NotRepeatable)?;
        Ok(set.as_of_revision(snapshot))
    }

    /// What was stored of them, as of which snapshot.
    async fn rows_of_then(
        &self,
        event: &Event,
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
            // Then any tenant's might have been about it.
            Fact::Unknown => Seeing::AnyRoom,
        };
        let rows = policy_store::as_of(pool, at, seeing).await?;
        Ok((snapshot, rows))
    }
}
