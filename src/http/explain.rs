//! `POST /v1/explain`: why a track is muted or not, by facts, by an event, or by who is in a room.

use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument as _;

use super::auth::{self, AuthError, Scope};
use super::log;
use super::mute::check_json;
use super::policies;
use super::policies::asked::{Asked, OwnerQuery};
use super::problem::{Problem, chain};
use super::turns::{Busy, Limits, Turns};
use crate::app::App;
use crate::explain::{
    Asker, ExplainError, Explainer, Question, SAID_CHARS_MAX, Subject, TEXT_CHARS_MAX, Which,
    read_json,
};
use crate::livekit::LiveKitError;
use crate::threads::apart;
use quell_clock::Clock;
use quell_policy::terminal::cut;

/// Facts hold two metadatas and the attributes, of which LiveKit takes 64 KiB each.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Each asks all policies, and for an event compiles those of then: not for all who ask at once.
const LIMITS: Limits = Limits {
    at_once: 2,
    waiting: 16,
    of_one: 4,
    wait: Duration::from_secs(5),
    retry_after_secs: 5,
};

/// What explanations need of the process.
#[derive(Debug, Clone)]
pub(crate) struct Explains {
    turns: Turns,
    clock: Clock,
}

impl Explains {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            turns: Turns::new(LIMITS),
            clock,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Asked(#[from] policies::Error),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the answer cannot be written: {0}")]
    Unwritable(String),
    #[error(transparent)]
    Explain(#[from] ExplainError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let text = self.to_string();
        let problem = match self {
            Self::Asked(error) => return error.into_response(),
            Self::Invalid(_) => Problem::invalid_request(text),
            Self::Busy(busy) => return busy.response("EXPLAIN_BUSY"),
            Self::Unwritable(_) => broken(&text),
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
            let conflict = StatusCode::CONFLICT;
            Problem::new(conflict, "DECISION_NOT_REPEATABLE", text).because(policy.to_string())
        }
        ExplainError::NotFound => Problem::participant_not_found(),
        ExplainError::NotConfigured => Problem::new(unavailable, "LIVEKIT_NOT_CONFIGURED", text),
        ExplainError::LiveKit(error) => {
            let cause = chain(error);
            match error {
                LiveKitError::Timeout { .. } | LiveKitError::Unreachable { .. } => {
                    Problem::new(unavailable, "LIVEKIT_UNAVAILABLE", text).because(cause)
                }
                LiveKitError::Status { .. } | LiveKitError::Unreadable { .. } => {
                    Problem::new(StatusCode::BAD_GATEWAY, "LIVEKIT_FAILED", text).because(cause)
                }
            }
        }
        ExplainError::Database(error) => {
            Problem::unavailable("the database does not answer").because(chain(error))
        }
        ExplainError::Broken(_) => broken(&text),
    }
}

fn broken(error: &str) -> Problem {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(failed, "EXPLAIN_FAILED", "the explanation was broken off").because(error)
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
    // A parsed body is many times as large as its text: none before its turn. And it takes a while:
    // not on a thread that webhooks need.
    let Some(id) = read.caller.id() else {
        return Err(policies::Error::from(auth::WITHOUT_ID).into());
    };
    let turn = app.explains.turns.turn(id).await?;
    let body = read.body;
    let parsing = apart(&turn, move || question(&body));
    let question = parsing.await.map_err(ExplainError::Broken)?;
    let question = question.map_err(Error::Invalid)?;
    if let Subject::Live {
        room,
        identity,
        track,
    } = &question.subject
    {
        log::track(room, identity, track.as_deref().unwrap_or_default());
    }
    // Who looks into a room sees what a moderator sees there: it takes what a mute takes.
    if matches!(question.subject, Subject::Live { .. }) && !read.caller.has(Scope::Mute) {
        return Err(policies::Error::from(AuthError::Forbidden(Scope::Mute)).into());
    }
    let asker = Asker::Caller {
        id: id.to_owned(),
        is_operator: read.caller.is_operator(),
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
    // A task of its own keeps the turn until all is done, also where nobody waits any more.
    let work = async move {
        let reply = explainer.explain(&asker, question).await?;
        // A thousand policies a track are much to write down.
        let written = apart(&turn, move || serde_json::to_vec(&reply));
        Ok::<_, ExplainError>(written.await?)
    };
    let written = app.tracker.spawn(work.in_current_span()).await;
    let json = written.map_err(ExplainError::Broken)??;
    let json = json.map_err(|error| Error::Unwritable(error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

const ONE_OF: &str =
    "send one of `facts`, `event_id`, or `room` and `identity` (with `track`, or all its tracks)";

fn question(bytes: &[u8]) -> Result<Question, String> {
    let value = read_json("the body", bytes)?;
    if !value.is_object() {
        return Err(format!("the body must be a JSON object: {ONE_OF}"));
    }
    let body: Body = serde_path_to_error::deserialize(&value).map_err(|error| {
        // It may quote a text, or a key, as long as the body.
        let said = error.inner().to_string();
        let said = cut(&said, SAID_CHARS_MAX);
        match error.path().to_string().as_str() {
            "." => said.into_owned(),
            // The one whose type says little of what is wanted.
            "at" => format!(
                "`at` must be a time with its offset, such as 2026-03-02T22:30:00+01:00: {said}"
            ),
            path => format!("`{}`: {said}", cut(path, SAID_CHARS_MAX)),
        }
    })?;
    for (name, text) in [
        ("event_id", &body.event_id),
        ("room", &body.room),
        ("identity", &body.identity),
        ("track", &body.track),
    ] {
        let text = text.as_deref();
        if text.is_some_and(|text| text.trim().is_empty()) {
            return Err(format!("`{name}` must not be empty"));
        }
        let chars = text.map_or(0, |text| text.chars().count());
        if chars > TEXT_CHARS_MAX {
            return Err(format!(
                "`{name}` is {chars} characters long; it may have {TEXT_CHARS_MAX}"
            ));
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

    #[test]
    fn names_are_not_longer_than_facts() {
        let long = "ä".repeat(TEXT_CHARS_MAX + 1);
        for (name, body) in [
            ("event_id", serde_json::json!({"event_id": long})),
            ("room", serde_json::json!({"room": long, "identity": "p"})),
            (
                "identity",
                serde_json::json!({"room": "r", "identity": long}),
            ),
            (
                "track",
                serde_json::json!({"room": "r", "identity": "p", "track": long}),
            ),
        ] {
            let error = question(body.to_string().as_bytes()).unwrap_err();
            let expect = format!("`{name}` is 1025 characters long; it may have 1024");
            assert_eq!(error, expect);
        }
        let longest = serde_json::json!({"event_id": "ä".repeat(TEXT_CHARS_MAX)});
        assert!(question(longest.to_string().as_bytes()).is_ok());
    }
}
