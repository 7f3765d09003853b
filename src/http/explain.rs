//! `POST /v1/explain`: why a track is muted or not, by facts, by an event, or by who is in a room.

use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::admission;
use super::auth::{AuthError, Scope};
use super::codes;
use super::log;
use super::openapi::{Operation, Schemas};
use super::problem::Problem;
use super::request::{ApiRequest, OwnerQuery, read_json, time};
use super::state::AppState;
use crate::explain::{ExplainError, Explainer, PolicySource, Question, Reply, Subject};
use crate::traces;
use quell_policy::Facts;
use quell_policy::facts::catalog::TEXT_CHARS_MAX;
use quell_policy::facts::{EventFacts, ParticipantFacts, RoomFacts, TrackFacts};

/// Facts hold two metadatas and the attributes, of which LiveKit takes 64 KiB each.
const BODY_BYTES_MAX: usize = 256 << 10;

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Self {
        let text = error.to_string();
        match error {
            ExplainError::Invalid(_) => Self::invalid_request(text),
            ExplainError::OtherTenant(_) => Self::forbidden(text),
            ExplainError::NoEvent => Self::new(codes::EVENT_NOT_FOUND, text),
            ExplainError::NotDecidedOn(_) => Self::new(codes::EVENT_NOT_DECIDED_ON, text),
            ExplainError::Recorded(_) => Self::new(codes::EVENT_NOT_READABLE, text),
            ExplainError::NotRepeatable(policy) => {
                // Which policy it is, and what it holds, may be another tenant's.
                Self::new(codes::DECISION_NOT_REPEATABLE, text).because(policy.to_string())
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
    Problem::new(codes::EXPLAIN_FAILED, "the explanation was broken off").because(cause)
}

/// A question: one of `facts`, `event_id`, or `room` and `identity`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Question")]
struct ExplainBody {
    /// One track, as facts are recorded.
    #[schemars(with = "Option<Facts>")]
    facts: Option<Value>,
    /// The id of a webhook's event, or of what a sweep saw (`SW_...`).
    #[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\S"))]
    event_id: Option<String>,
    /// The name of a live room, with `identity`.
    #[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\S"))]
    room: Option<String>,
    /// Who is in that room.
    #[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\S"))]
    identity: Option<String>,
    /// The SID of one of its tracks; by default all of them.
    #[schemars(length(max = TEXT_CHARS_MAX), regex(pattern = r"\S"))]
    track: Option<String>,
    /// The time to decide for; by default now, or the time of the event's decision.
    #[serde(default, deserialize_with = "time")]
    at: Option<DateTime<Utc>>,
    /// `now`, or `then`: those that the event was decided by, which is the default for an event.
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
    let asker = request.principal.clone();
    let slot = state
        .queues
        .explain
        .admit(request.caller_id.as_str())
        .await?;
    let ApiRequest {
        parts,
        body,
        caller,
        ..
    } = request;
    let parse = move || {
        let body = read_json(&parts.headers, &body.bytes)?;
        question(body).map_err(Problem::invalid_request)
    };
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
        let explaining = explaining.in_current_span().instrument(traces::answer());
        let explaining = state.tracker.spawn(explaining);
        Ok(explaining.await.map_err(ExplainError::Broken)??)
    })
    .await
}

const ONE_OF: &str =
    "send one of `facts`, `event_id`, or `room` and `identity` (with `track`, or all its tracks)";

#[expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]
pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let mut body = schemas.inline::<ExplainBody>();
    let facts = json!({
        "type": "object", "additionalProperties": false, "required": ["room", "participant"],
        "properties": {
            "room": given::<RoomFacts>(schemas, &["name"]),
            "participant": given::<ParticipantFacts>(schemas, &["identity"]),
            "track": given::<TrackFacts>(schemas, &[]),
            "event": given::<EventFacts>(schemas, &[]),
        },
        "description": "One track, as facts are recorded: what is left out is unknown, or what LiveKit's default is.",
    });
    body["properties"]["facts"] = facts;
    body["oneOf"] = json!([
        {"required": ["facts"]}, {"required": ["event_id"]}, {"required": ["room", "identity"]},
    ]);
    let examples = [
        (
            "by facts",
            json!({"facts": {"room": {"name": "webinar-1"}, "participant": {"identity": "ann"}, "track": {"source": "MICROPHONE"}}}),
        ),
        (
            "by a webhook's event",
            json!({"event_id": "EV_4sQWBKxkXCUN"}),
        ),
        (
            "who is in a room",
            json!({"room": "webinar-1", "identity": "ann"}),
        ),
    ];
    let example = serde_json::from_str(include_str!("openapi/explain.json")).unwrap_or_default();
    Operation::of_caller(
        Scope::PoliciesRead,
        "questions",
        "explain",
        "Why a track is muted or not, policy by policy",
    )
    .text(
        "With `room` and `identity` it shows who is in a room, and needs the scope `mute` as well.",
    )
    .body(&body, &examples)
    .answer::<Reply>(
        schemas,
        StatusCode::OK,
        "The decision, and every policy that sees the room.",
        &example,
    )
    .errors(&[
        codes::EVENT_NOT_FOUND,
        codes::PARTICIPANT_NOT_FOUND,
        codes::EVENT_NOT_DECIDED_ON,
        codes::EVENT_NOT_READABLE,
        codes::DECISION_NOT_REPEATABLE,
        codes::EXPLAIN_BUSY,
        codes::EXPLAINS_BUSY,
        codes::EXPLAIN_FAILED,
        codes::LIVEKIT_FAILED,
        codes::LIVEKIT_UNAVAILABLE,
        codes::LIVEKIT_NOT_CONFIGURED,
    ])
}

/// A section of the facts in a question.
#[expect(
    clippy::indexing_slicing,
    reason = "a JSON value becomes an object where a key of it is written"
)]
fn given<T: JsonSchema>(schemas: &mut Schemas, required: &[&str]) -> Value {
    let mut schema = schemas.inline::<T>();
    schema["required"] = json!(required);
    schema["additionalProperties"] = json!(false);
    schema
}

fn question(body: ExplainBody) -> Result<Question, String> {
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
            let error = question(serde_json::from_value(body).unwrap()).unwrap_err();
            let expect = format!("`{name}` is 1025 characters long; it may have 1024");
            assert_eq!(error, expect);
        }
        let longest = serde_json::json!({"event_id": "ä".repeat(TEXT_CHARS_MAX)});
        assert!(question(serde_json::from_value(longest).unwrap()).is_ok());
    }
}
