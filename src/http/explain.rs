//! `POST /v1/explain`: why a track is muted or not, by facts, by an event, or by who is in a room.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::auth::{AuthError, Scope};
use super::mute::check_json;
use super::policies;
use super::policies::asked::{Asked, OwnerQuery};
use super::problem::Problem;
use crate::app::App;
use crate::clock::Clock;
use crate::explain::{Asker, ExplainError, Explainer, Question, Subject, Which};
use crate::livekit::LiveKitError;

/// Facts hold two metadatas and the attributes, of which LiveKit takes 64 KiB each.
const BODY_BYTES_MAX: usize = 256 << 10;
/// The policies of then are read and compiled anew for each: not for all who ask at once.
const AT_ONCE_MAX: usize = 2;
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_AFTER_SECS: u64 = 5;

/// A few explanations of events at a time in this process.
#[derive(Debug, Clone)]
pub(crate) struct Explains {
    turns: Arc<Semaphore>,
    clock: Clock,
}

impl Explains {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            clock,
        }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Error> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let turn = tokio::time::timeout(TURN_TIMEOUT, turn).await;
        turn.map_err(|_| Error::Busy)?.map_err(|_| Error::Busy)
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Asked(#[from] policies::Error),
    #[error("{0}")]
    Invalid(String),
    #[error("too many explanations are under way; try again in some seconds")]
    Busy,
    #[error(transparent)]
    Explain(#[from] ExplainError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let problem = match self {
            Self::Asked(error) => return error.into_response(),
            Self::Invalid(_) => Problem::invalid_request(text),
            Self::Busy => {
                let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "EXPLAIN_BUSY", text);
                let mut response = problem.into_response();
                let after = HeaderValue::from(RETRY_AFTER_SECS);
                response.headers_mut().insert(RETRY_AFTER, after);
                return response;
            }
            Self::Explain(error) => of_explain(&error, text),
        };
        problem.into_response()
    }
}

fn of_explain(error: &ExplainError, text: String) -> Problem {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        ExplainError::Invalid(_) => Problem::invalid_request(text),
        ExplainError::OtherTenant(_) => Problem::forbidden(text),
        ExplainError::NoEvent => Problem::new(StatusCode::NOT_FOUND, "EVENT_NOT_FOUND", text),
        ExplainError::NotDecidedOn(_) => {
            Problem::new(StatusCode::CONFLICT, "EVENT_NOT_DECIDED_ON", text)
        }
        ExplainError::Recorded(_) => Problem::new(StatusCode::CONFLICT, "EVENT_NOT_READABLE", text),
        ExplainError::NotRepeatable(policy) => {
            // Which one, and what is in it, may be another's.
            tracing::warn!(%policy, "a decision cannot be repeated");
            Problem::new(StatusCode::CONFLICT, "DECISION_NOT_REPEATABLE", text)
        }
        ExplainError::NotFound => Problem::participant_not_found(),
        ExplainError::NotConfigured => Problem::new(unavailable, "LIVEKIT_NOT_CONFIGURED", text),
        ExplainError::LiveKit(error) => {
            tracing::error!(%error, "LiveKit cannot be asked for an explanation");
            match error {
                LiveKitError::Timeout { .. } | LiveKitError::Unreachable { .. } => {
                    Problem::new(unavailable, "LIVEKIT_UNAVAILABLE", text)
                }
                LiveKitError::Status { .. } | LiveKitError::Unreadable { .. } => {
                    Problem::new(StatusCode::BAD_GATEWAY, "LIVEKIT_FAILED", text)
                }
            }
        }
        ExplainError::Database(error) => {
            tracing::error!(%error, "an explanation failed");
            Problem::unavailable("the database does not answer")
        }
        ExplainError::Broken(error) => {
            tracing::error!(%error, "an explanation was broken off");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "EXPLAIN_FAILED",
                "the explanation was broken off",
            )
        }
    }
}

/// The body of a request: one of `facts`, `event_id`, or `room` and `identity`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    facts: Option<Value>,
    event_id: Option<String>,
    room: Option<String>,
    identity: Option<String>,
    track: Option<String>,
    at: Option<DateTime<Utc>>,
    policies: Option<Which>,
}

pub(super) async fn handler(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let is_plain = request.uri().query().is_none_or(str::is_empty);
    let nobody = Ok(Query(OwnerQuery { owner: None }));
    let scope = Scope::PoliciesRead;
    let read = Asked::read_up_to(&app, request, nobody, scope, BODY_BYTES_MAX).await?;
    if !is_plain {
        return Err(Error::Invalid(
            "this takes no query: everything stands in the body".to_owned(),
        ));
    }
    check_json(&read.parts.headers).map_err(Error::Invalid)?;
    let question = question(&read.body).map_err(Error::Invalid)?;
    let Some(id) = read.caller.id() else {
        return Err(policies::Error::from(AuthError::Unauthorized("this needs an id")).into());
    };
    let asker = Asker::Caller {
        id: id.to_owned(),
        is_operator: read.caller.is_operator(),
    };
    let _turn = match &question.subject {
        Subject::Event(_) => Some(app.explains.turn().await?),
        Subject::Facts(_) | Subject::Live { .. } => None,
    };
    let explainer = Explainer {
        pool: Some(app.pool.clone()),
        livekit: app
            .muter
            .as_ref()
            .map(|muter| (muter.livekit.clone(), app.livekit_timeout)),
        policies: app.policies.snapshot(),
        which: Which::Now,
        now: app.explains.clock.now(),
    };
    let reply = explainer.explain(&asker, question).await?;
    Ok(Json(reply).into_response())
}

const ONE_OF: &str =
    "send one of `facts`, `event_id`, or `room` and `identity` (with `track`, or all its tracks)";

fn question(bytes: &[u8]) -> Result<Question, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the body is not JSON: {error}"))?;
    if !value.is_object() {
        return Err(format!("the body must be a JSON object: {ONE_OF}"));
    }
    let body: Body = serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." => error.inner().to_string(),
            // The one whose type says little of what is wanted.
            "at" => format!(
                "`at` must be a time with its offset, such as 2026-03-02T22:30:00+01:00: {}",
                error.inner()
            ),
            path => format!("`{path}`: {}", error.inner()),
        }
    })?;
    for (name, text) in [
        ("event_id", &body.event_id),
        ("room", &body.room),
        ("identity", &body.identity),
        ("track", &body.track),
    ] {
        if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
            return Err(format!("`{name}` must not be empty"));
        }
    }
    let is_live = body.room.is_some() || body.identity.is_some() || body.track.is_some();
    let subject = match (body.facts, body.event_id, is_live) {
        (Some(facts), None, false) => Subject::Facts(facts),
        (None, Some(id), false) => Subject::Event(id),
        (None, None, true) => match (body.room, body.identity) {
            (Some(room), Some(identity)) => Subject::Live {
                room,
                identity,
                track: body.track,
            },
            (None, _) => return Err("`room` is missing: the name of the room".to_owned()),
            (_, None) => return Err("`identity` is missing: whose tracks are meant".to_owned()),
        },
        (None, None, false) => return Err(format!("nothing is asked about: {ONE_OF}")),
        _ => return Err(format!("more than one thing is asked about: {ONE_OF}")),
    };
    Ok(Question {
        subject,
        at: body.at,
        policies: body.policies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_for_a_turn_is_told_to_come_again() {
        let explains = Explains::new(Clock::system());
        let first = explains.turn().await.unwrap();
        let _second = explains.turn().await.unwrap();
        let busy = explains.turn().await.unwrap_err().into_response();
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers().get(RETRY_AFTER).unwrap(), "5");
        drop(first);
        assert!(explains.turn().await.is_ok());
    }
}
