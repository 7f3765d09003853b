//! `POST /livekit/participant/mute`: a moderator's client mutes or unmutes a track.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Instrument as _;

use super::auth::{AuthError, AuthRequest, Scope};
use super::body;
use super::log::{self, RequestId};
use super::problem::{Problem, chain};
use super::uri::QueryKey;
use crate::action::{self, ActionError, ManualMute, ManualMuteError, mute_by_hand};
use crate::app::App;
use crate::audit::Outcome;

const BODY_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("{0}")]
    Invalid(String),
    #[error("LiveKit is not configured: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET")]
    NotConfigured,
    #[error(transparent)]
    Mute(#[from] ManualMuteError),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Auth(error) => error.into(),
            Self::Invalid(error) => Problem::invalid_request(error),
            Self::NotConfigured => internal("LIVEKIT_NOT_CONFIGURED", self.to_string()),
            Self::Mute(ManualMuteError::NotFound) => Problem::participant_not_found(),
            Self::Mute(ManualMuteError::Action(error @ ActionError::RemoteUnmuteDisabled)) => {
                internal("REMOTE_UNMUTE_DISABLED", error.to_string())
            }
            Self::Mute(ManualMuteError::Action(error)) => {
                internal("MUTE_FAILED", told(&error)).because(chain(&error))
            }
        };
        problem.into_response()
    }
}

fn internal(code: &'static str, error: String) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, error)
}

/// What a client is told; what Postgres said is for the log only.
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
        | ActionError::LiveKit(_) => error.to_string(),
    }
}

/// What is asked for, and, with what LiveKit reports, what is answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Body {
    room_name: String,
    participant_identity: String,
    track_sid: String,
    muted: bool,
}

/// A task of its own: a client that hangs up ends this future, and must not leave an action in the
/// middle, without an outcome and with the track held.
pub(super) async fn handler(State(app): State<App>, request: Request) -> Response {
    let tracker = app.tracker.clone();
    let answered = tracker.spawn(async move { answer(&app, request).await }.in_current_span());
    match answered.await {
        Ok(Ok(body)) => Json(body).into_response(),
        Ok(Err(error)) => error.into_response(),
        Err(error) => {
            let broken = internal("MUTE_FAILED", "the action was broken off".to_owned());
            broken.because(error.to_string()).into_response()
        }
    }
}

async fn answer(app: &App, request: Request) -> Result<Body, Error> {
    let (parts, body) = request.into_parts();
    let bytes = body::read(body, BODY_BYTES_MAX)
        .await
        .map_err(|error| Error::Invalid(error.to_string()))?;
    let key = parts.extensions.get::<QueryKey>();
    let caller = app
        .authenticator
        .caller_of_mute(&AuthRequest {
            headers: &parts.headers,
            method: &parts.method,
            path: parts.uri.path(),
            api_key: key.map(|key| key.0.expose_secret()),
            body: &bytes,
        })
        .await?;
    let asked = read(&parts.headers, &bytes).map_err(Error::Invalid)?;
    log::track(
        &asked.room_name,
        &asked.participant_identity,
        &asked.track_sid,
    );
    let by_hand = ManualMute {
        caller_id: caller.id(),
        room_name: &asked.room_name,
        identity: &asked.participant_identity,
        track_sid: &asked.track_sid,
        muted: asked.muted,
        request_id: &RequestId::of(&parts),
    };
    let untried = async |outcome, error: Error| {
        let why = error.to_string();
        let livekit = app.runner.as_ref().map(|runner| &runner.livekit);
        let recorded = action::record_untried(
            &app.pool,
            livekit,
            &by_hand,
            outcome,
            &why,
            app.livekit_timeout,
        );
        match recorded.await {
            Ok(()) => error,
            Err(error) => ManualMuteError::Action(error.into()).into(),
        }
    };
    if !caller.has(Scope::Mute) {
        let forbidden = AuthError::Forbidden(Scope::Mute);
        return Err(untried(Outcome::Refused, forbidden.into()).await);
    }
    let Some(runner) = &app.runner else {
        return Err(untried(Outcome::Failed, Error::NotConfigured).await);
    };
    let state = mute_by_hand(runner, &by_hand, app.livekit_timeout).await?;
    Ok(Body {
        muted: state.muted,
        ..asked
    })
}

/// Whether the content type is JSON; else what to send.
pub(super) fn check_json(headers: &HeaderMap) -> Result<(), String> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err("the content type must be application/json: send the header Content-Type: application/json".to_owned())
    }
}

fn read(headers: &HeaderMap, bytes: &[u8]) -> Result<Body, String> {
    check_json(headers)?;
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("the body is not JSON: {error}"))?;
    let Value::Object(fields) = value else {
        return Err("the body must be a JSON object with room_name, participant_identity, track_sid and muted".to_owned());
    };
    Ok(Body {
        room_name: text(&fields, "room_name")?,
        participant_identity: text(&fields, "participant_identity")?,
        track_sid: text(&fields, "track_sid")?,
        muted: match fields.get("muted") {
            Some(Value::Bool(muted)) => *muted,
            Some(_) => return Err("`muted` must be true or false".to_owned()),
            None => return Err("`muted` is missing: it must be true or false".to_owned()),
        },
    })
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) if text.trim().is_empty() => {
            Err(format!("`{name}` must not be empty"))
        }
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("`{name}` must be a string")),
        None => Err(format!("`{name}` is missing: it must be a string")),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_body_is_read_exactly_as_given_or_refused_with_the_field_named() {
        let good = r#"{"room_name":" r ","participant_identity":"p","track_sid":"t","muted":true,"more":1}"#;
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, json)]);
        let body = read(&headers, good.as_bytes()).unwrap();
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
        ] {
            let error = read(&headers, good.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert!(error.starts_with(message), "{from} -> {to}: {error}");
        }
        let error = read(&headers, br#"["r","p","t",true]"#).unwrap_err();
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
                    .contains("content type")
            );
        }
        assert!(
            read(&HeaderMap::new(), good.as_bytes())
                .unwrap_err()
                .contains("content type")
        );
    }
}
