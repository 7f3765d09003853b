//! `POST /v1/explain`: why a track is muted or not, by facts, by an event, or by who is in a room.

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use tracing::Instrument as _;

use super::admission;
use super::auth::{AuthError, Scope};
use super::log;
use super::problem::Problem;
use super::request::{ApiRequest, OwnerQuery, check_json};
use super::state::AppState;
use crate::explain::{
    ExplainError, Explainer, PARSER_MESSAGE_CHARS_MAX, PolicySource, Question, Subject,
};
use quell_policy::facts::catalog::TEXT_CHARS_MAX;
use quell_policy::json;
use quell_policy::terminal::cut;

/// Facts hold two metadatas and the attributes, of which LiveKit takes 64 KiB each.
const BODY_BYTES_MAX: usize = 256 << 10;

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Self {
        let text = error.to_string();
        let conflict = StatusCode::CONFLICT;
        match error {
            ExplainError::Invalid(_) => Self::invalid_request(text),
            ExplainError::OtherTenant(_) => Self::forbidden(text),
            ExplainError::NoEvent => Self::new(StatusCode::NOT_FOUND, "EVENT_NOT_FOUND", text),
            ExplainError::NotDecidedOn(_) => Self::new(conflict, "EVENT_NOT_DECIDED_ON", text),
            ExplainError::Recorded(_) => Self::new(conflict, "EVENT_NOT_READABLE", text),
            ExplainError::NotRepeatable(policy) => {
                // Which policy it is, and what it holds, may be another tenant's.
                Self::new(conflict, "DECISION_NOT_REPEATABLE", text).because(policy.to_string())
            }
            ExplainError::NotFound => Self::participant_not_found(),
            ExplainError::NotConfigured => Self::livekit_not_configured(),
            ExplainError::LiveKit(error) => error.into(),
            ExplainError::Database(error) => error.into(),
            ExplainError::Broken(_) => failed(&text),
        }
    }
}

fn failed(cause: &str) -> Problem {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::new(status, "EXPLAIN_FAILED", "the explanation was broken off").because(cause)
}

/// The body of a request: one of `facts`, `event_id`, or `room` and `identity`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainBody {
    facts: Option<Value>,
    event_id: Option<String>,
    room: Option<String>,
    identity: Option<String>,
    track: Option<String>,
    at: Option<DateTime<Utc>>,
    policies: Option<PolicySource>,
}

pub(super) async fn handler(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response, Problem> {
    let is_plain = request.uri().query().is_none_or(str::is_empty);
    let no_owner = Ok(Query(OwnerQuery { owner: None }));
    let scope = Scope::PoliciesRead;
    let request = ApiRequest::read_up_to(&state, request, no_owner, scope, BODY_BYTES_MAX).await?;
    if !is_plain {
        return Err(Problem::invalid_request(
            "this takes no query: everything stands in the body",
        ));
    }
    check_json(&request.parts.headers)?;
    let asker = request.principal.clone();
    let slot = state
        .queues
        .explain
        .admit(request.caller_id.as_str())
        .await?;
    let ApiRequest { body, caller, .. } = request;
    let parse = move || question(&body.bytes).map_err(Problem::invalid_request);
    admission::answer(slot, failed, parse, async |slot, question| {
        if let Subject::Live {
            room,
            identity,
            track,
        } = &question.subject
        {
            log::track(room, identity, track.as_deref().unwrap_or_default());
            // The answer shows what a moderator sees in the room, so it takes the scope of a mute.
            if !caller.has(Scope::Mute) {
                return Err(AuthError::Forbidden(Scope::Mute).into());
            }
        }
        let livekit = state.runner.as_ref().map(|runner| runner.livekit.clone());
        let explainer = Explainer {
            pool: Some(state.pool.clone()),
            livekit: livekit.map(|livekit| (livekit, state.livekit_timeout)),
            policies: state.policies.snapshot(),
            policy_source: PolicySource::Now,
            now: state.clock.now(),
        };
        // A task, because the threads that it starts go on when this future is dropped, and need the slot.
        let explaining = async move {
            let reply = explainer.explain(&asker, question).await;
            drop(slot);
            reply
        };
        let explaining = state.tracker.spawn(explaining.in_current_span());
        Ok(explaining.await.map_err(ExplainError::Broken)??)
    })
    .await
}

const ONE_OF: &str =
    "send one of `facts`, `event_id`, or `room` and `identity` (with `track`, or all its tracks)";

fn question(bytes: &[u8]) -> Result<Question, String> {
    let value = json::read(bytes).map_err(|error| format!("the body {error}"))?;
    if !value.is_object() {
        return Err(format!("the body must be a JSON object: {ONE_OF}"));
    }
    let body: ExplainBody = serde_path_to_error::deserialize(&value).map_err(|error| {
        // It may quote a text, or a key, as long as the body.
        let said = cut(&error.inner().to_string(), PARSER_MESSAGE_CHARS_MAX);
        match error.path().to_string().as_str() {
            "." => said,
            // The one whose type says little of what is wanted.
            "at" => format!(
                "`at` must be a time with its offset, such as 2026-03-02T22:30:00+01:00: {said}"
            ),
            path => format!("`{}`: {said}", cut(path, PARSER_MESSAGE_CHARS_MAX)),
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
