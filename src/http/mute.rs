//! `POST /livekit/participant/mute`: a moderator's client mutes or unmutes a track. `by_source.rs` is the same for
//! whoever knows no SID.

mod by_source;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::auth::{AuthError, AuthRequest, Caller, Scope};
use super::body::{BodyError, RequestBody};
use super::codes::{self, ErrorCode};
use super::log::{self, RequestId};
use super::openapi::{Operation, Schemas, Security};
use super::problem::{Problem, chain};
use super::reason;
use super::request::read_json;
use super::state::AppState;
use super::uri::QueryToken;
use crate::action::{
    self, ActionError, ManualMute, ManualMuteError, MutedByHand, TrackQuery, mute_by_hand,
};
use crate::audit::{HttpRequest, Outcome};
use crate::livekit::NOT_CONFIGURED;
use crate::traces;
pub(super) use by_source::{handler as by_source, operation as by_source_operation};
use quell_policy::TenantId;

/// Where clients ask for it.
pub(super) const PATH: &str = "/livekit/participant/mute";
const BODY_BYTES_MAX: usize = 64 << 10;

impl From<ManualMuteError> for Problem {
    fn from(error: ManualMuteError) -> Self {
        match error {
            ManualMuteError::NotFound => Self::participant_not_found(),
            ManualMuteError::Action(error @ ActionError::RemoteUnmuteDisabled) => {
                Self::new(codes::REMOTE_UNMUTE_DISABLED, error.to_string())
            }
            ManualMuteError::Action(error) => {
                Self::new(codes::MUTE_FAILED, told(&error)).because(chain(&error))
            }
        }
    }
}

fn not_configured() -> Problem {
    Problem::new(codes::MUTE_NOT_CONFIGURED, NOT_CONFIGURED)
}

/// The error's text in the answer. What Postgres said is for the log only.
fn told(error: &ActionError) -> String {
    match error {
        ActionError::Database(_) => {
            "the action could not be recorded, so it was not done".to_owned()
        }
        ActionError::Denied(_)
        | ActionError::Superseded
        | ActionError::Busy
        | ActionError::Gone
        | ActionError::RemoteUnmuteDisabled
        | ActionError::Lost
        | ActionError::Muted
        | ActionError::LiveKit(_) => error.to_string(),
    }
}

/// A track, and whether it is to be muted; in the answer, whether it is.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Mute")]
struct MuteBody {
    /// The room's name.
    #[schemars(regex(pattern = r"\S"))]
    room_name: String,
    /// Who publishes the track.
    #[schemars(regex(pattern = r"\S"))]
    participant_identity: String,
    /// The track's SID: LiveKit's SDKs show it as the publication's `trackSid`, and `GET /v1/rooms/{room}` lists it.
    #[schemars(regex(pattern = r"\S"))]
    track_sid: String,
    /// Whether it is muted.
    muted: bool,
}

pub(super) async fn handler(State(state): State<AppState>, request: Request) -> Response {
    let tracker = state.tracker.clone();
    to_its_end(&tracker, async move { answer(&state, request).await }).await
}

/// Runs the action in a task of its own. A client that hangs up ends the handler's future, and must not leave an
/// action without its outcome, and its track under a lease.
async fn to_its_end<A: Serialize + Send + 'static>(
    tracker: &TaskTracker,
    answering: impl Future<Output = Result<A, Problem>> + Send + 'static,
) -> Response {
    let answering = answering.in_current_span().instrument(traces::answer());
    match tracker.spawn(answering).await {
        Ok(Ok(body)) => Json(body).into_response(),
        Ok(Err(problem)) => problem.into_response(),
        Err(error) => {
            let broken = Problem::new(codes::MUTE_FAILED, "the action was broken off");
            broken.because(error.to_string()).into_response()
        }
    }
}

/// The answer where the caller is not known, or the body not read. This endpoint has no 413.
fn unread(error: AuthError) -> Problem {
    if let AuthError::Body(error @ BodyError::TooLarge { .. }) = error {
        return Problem::invalid_request(error.to_string());
    }
    error.into()
}

async fn answer(state: &AppState, request: Request) -> Result<MuteBody, Problem> {
    let (parts, body) = request.into_parts();
    let body = RequestBody::new(body, BODY_BYTES_MAX, state.body_bytes.reservation());
    let key = parts.extensions.get::<QueryToken>();
    let caller = state
        .authenticator
        .caller_of_mute(&AuthRequest {
            headers: &parts.headers,
            method: &parts.method,
            path: parts.uri.path(),
            api_key: key.map(|key| key.0.expose_secret()),
            body: &body,
        })
        .await
        .map_err(unread)?;
    let _turn = state.mutes.enter(caller.id().map(TenantId::as_str))?;
    let body = body.whole().await;
    let body = body.map_err(|error| unread(AuthError::Body(error)))?;
    let (asked, reason) = read(&parts.headers, &body.bytes)?;
    let by_hand = ManualMute {
        caller_id: caller.id(),
        room_name: &asked.room_name,
        identity: &asked.participant_identity,
        track: TrackQuery::Sid(&asked.track_sid),
        muted: asked.muted,
        request: &sent(&parts, &caller, reason),
    };
    let done = act(state, &caller, &by_hand).await?.done;
    Ok(MuteBody {
        muted: done.first().map_or(asked.muted, |track| track.state.muted),
        ..asked
    })
}

fn sent(parts: &Parts, caller: &Caller, reason: Option<String>) -> HttpRequest {
    HttpRequest {
        id: RequestId::of(parts),
        on_behalf_of: caller.on_behalf_of().map(str::to_owned),
        reason,
    }
}

/// Mutes or unmutes, on the caller's authority. Whatever comes of it is in the audit.
async fn act(
    state: &AppState,
    caller: &Caller,
    by_hand: &ManualMute<'_>,
) -> Result<MutedByHand, Problem> {
    let sid = match by_hand.track {
        TrackQuery::Sid(sid) => sid,
        TrackQuery::Source(_) => "",
    };
    log::track(by_hand.room_name, by_hand.identity, sid);
    let untried = async |outcome, problem: Problem| {
        let livekit = state.runner.as_ref().map(|runner| &runner.livekit);
        let recorded = action::record_untried(
            &state.refusals,
            livekit,
            by_hand,
            outcome,
            &problem.error,
            state.livekit_timeout,
        );
        match recorded.await {
            Ok(()) => problem,
            Err(error) => ManualMuteError::Action(ActionError::Database(error.into())).into(),
        }
    };
    if !caller.has(Scope::Mute) {
        let forbidden = AuthError::Forbidden(Scope::Mute);
        return Err(untried(Outcome::Refused, forbidden.into()).await);
    }
    let Some(runner) = &state.runner else {
        return Err(untried(Outcome::Failed, not_configured()).await);
    };
    Ok(mute_by_hand(runner, &state.refusals, by_hand, state.livekit_timeout).await?)
}

pub(super) fn operation(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<MuteBody>();
    let example = json!({
        "room_name": "webinar-1", "participant_identity": "ann", "track_sid": "TR_AMxq3LXQ9vYbzE", "muted": true,
    });
    Operation::new(Security::Mute, "moderation", "muteTrack", "Mute or unmute a track")
        .text("The room's metadata has to name the caller (`room.metadata.auth_id == auth.id`). Needs the scope `mute`.")
        .body(&body, &[("mute", example.clone())])
        .answer::<MuteBody>(schemas, StatusCode::OK, "Done; `muted` is what LiveKit reports.", &example)
        .errors(&[codes::INVALID_REQUEST, codes::FORBIDDEN])
        .errors(ERRORS)
}

/// What comes of a mute that is not done.
const ERRORS: &[&ErrorCode] = &[
    codes::PARTICIPANT_NOT_FOUND,
    codes::MUTE_FAILED,
    codes::REMOTE_UNMUTE_DISABLED,
    codes::MUTE_NOT_CONFIGURED,
];

/// What is asked for, and why.
fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<(MuteBody, Option<String>), Problem> {
    let fields: Map<String, Value> = read_json(headers, bytes)?;
    let reason = reason::of_request(headers, fields.get("reason"))?;
    let asked = MuteBody {
        room_name: text(&fields, "room_name")?,
        participant_identity: text(&fields, "participant_identity")?,
        track_sid: text(&fields, "track_sid")?,
        muted: match fields.get("muted") {
            Some(Value::Bool(muted)) => *muted,
            Some(_) => return Err(Problem::invalid_request("`muted` must be true or false")),
            None => {
                return Err(Problem::invalid_request(
                    "`muted` is missing: it must be true or false",
                ));
            }
        },
    };
    Ok((asked, reason))
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    match fields.get(name) {
        Some(Value::String(text)) if text.trim().is_empty() => Err(Problem::invalid_request(
            format!("`{name}` must not be empty"),
        )),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Problem::invalid_request(format!(
            "`{name}` must be a string"
        ))),
        None => Err(Problem::invalid_request(format!(
            "`{name}` is missing: it must be a string"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn a_body_is_read_exactly_as_given_or_refused_with_the_field_named() {
        let good = r#"{"room_name":" r ","participant_identity":"p","track_sid":"t","muted":true,"more":1}"#;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let (body, _) = read(&headers, good.as_bytes()).unwrap();
        assert_eq!((body.room_name.as_str(), body.muted), (" r ", true));
        for (from, to, message) in [
            (r#"" r ""#, r#""""#, "`room_name` must not be empty"),
            (r#"" r ""#, r#"" \t""#, "`room_name` must not be empty"),
            (r#"" r ""#, "7", "`room_name` must be a string"),
            (r#"" r ""#, "null", "`room_name` must be a string"),
            (r#""room_name""#, r#""room""#, "`room_name` is missing"),
            (
                r#""p""#,
                r#""""#,
                "`participant_identity` must not be empty",
            ),
            (
                "participant_identity",
                "identity",
                "`participant_identity` is missing",
            ),
            (r#""t""#, "[]", "`track_sid` must be a string"),
            ("track_sid", "sid", "`track_sid` is missing"),
            ("true", r#""true""#, "`muted` must be true or false"),
            ("true", "1", "`muted` must be true or false"),
            ("muted", "mute", "`muted` is missing"),
            ("{", "", "the body is not JSON"),
            ("}", "} x", "the body is not JSON"),
            ("more", "muted", "the body has a key twice: muted"),
        ] {
            let error = read(&headers, good.replacen(from, to, 1).as_bytes())
                .unwrap_err()
                .error;
            assert!(error.starts_with(message), "{from} -> {to}: {error}");
        }
        let error = read(&headers, br#"["r","p","t",true]"#).unwrap_err().error;
        assert!(
            error.starts_with("the body must be a JSON object"),
            "{error}"
        );
        for content_type in [
            "text/plain",
            "application/jsonx",
            "application/x-www-form-urlencoded",
            "",
        ] {
            let value = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
            assert!(
                read(&headers, good.as_bytes())
                    .unwrap_err()
                    .error
                    .contains("content type")
            );
        }
        assert!(
            read(&HeaderMap::new(), good.as_bytes())
                .unwrap_err()
                .error
                .contains("content type")
        );
    }
}
