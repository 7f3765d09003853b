//! `POST /livekit/webhook`: LiveKit's signed events. Only verified and stored here; 200 means
//! committed. Trouble on our side is 503, never 4xx, which LiveKit takes for success.

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::body::{self, BodyError};
use super::codes;
use super::log::{self, Lost};
use super::openapi::{Operation, Schemas, Security};
use super::problem::{Problem, chain};
use super::state::AppState;
use crate::fail_point::{self, FailPoint};
use crate::inbox::{AcceptError, Accepted};
use crate::livekit::event::{self, EventError};
use crate::livekit::signature::SignatureError;
use crate::metrics::{AuthFailure, Step};
use quell_policy::terminal::cut;

/// Where LiveKit shall send its webhooks.
pub(super) const PATH: &str = "/livekit/webhook";
const CONTENT_TYPE_OF_WEBHOOKS: &[u8] = b"application/webhook+json";
/// LiveKit's own limits are 512 KiB of metadata of a room and of a participant, and 64 KiB of attributes;
/// in JSON, six bytes stand for a control character.
const BODY_BYTES_MAX: usize = 8 << 20;
const TEXT_CHARS_MAX: usize = 300;
/// `createdAt` is part of the key by which duplicates are found, so it has to be near the signature's time.
const CREATED_AT_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(
        "createdAt ({created_at}) is more than 10 minutes off the signature's time ({issued_at})"
    )]
    OffTime {
        created_at: DateTime<Utc>,
        issued_at: DateTime<Utc>,
    },
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

impl Error {
    fn problem(&self) -> (Problem, &'static str) {
        // It quotes what was sent, which may be long.
        let text = cut(&self.to_string(), TEXT_CHARS_MAX);
        match self {
            Self::Body(BodyError::TooLarge { .. }) => {
                (Problem::payload_too_large(text), "too_large")
            }
            // Lost on the way: LiveKit shall send again.
            Self::Body(BodyError::Slow | BodyError::Broken | BodyError::NoRoom) => {
                (Problem::unavailable(text), "no_body")
            }
            // Ours to mend, so that LiveKit shall send again.
            Self::Signature(SignatureError::NoKeys) => (
                Problem::new(codes::LIVEKIT_NOT_CONFIGURED, text),
                "not_configured",
            ),
            Self::Signature(_) => (
                Problem::unauthorized(AuthFailure::Webhook, text),
                "bad_signature",
            ),
            Self::Event(_) | Self::OffTime { .. } => (Problem::invalid_request(text), "no_event"),
            Self::Accept(_) => (Problem::unavailable(text), "not_committed"),
        }
    }
}

/// Tells of webhooks that LiveKit sends to another of our paths, or to none, by a URL that is wrong.
pub(super) async fn astray<F: Future<Output = Response>>(
    state: &AppState,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response {
    let headers = request.headers();
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let route = request.extensions().get::<MatchedPath>();
    let is_astray = kind.is_some_and(|kind| kind.starts_with(CONTENT_TYPE_OF_WEBHOOKS))
        && route.is_none_or(|route| route.as_str() != PATH);
    // Strangers can send what they like: only LiveKit's own are worth a line of their own.
    let is_livekits = is_astray && state.verifier.verify(authorization(headers)).is_ok();
    let mut response = next(request).await;
    if is_livekits && response.status().is_client_error() {
        state.metrics.webhook("wrong_path");
        let extensions = response.extensions_mut();
        if let Some(problem) = extensions.get_mut::<Problem>() {
            let cause =
                format!("it came to another path: LiveKit's webhook.urls must end in {PATH}");
            problem.cause = Some(cause);
        }
        extensions.insert(Lost);
    }
    response
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()
}

pub(super) fn operation(_: &mut Schemas) -> Operation {
    let schema = json!({
        "type": "object",
        "description": "livekit.WebhookEvent in ProtoJSON; fields of newer servers are passed over.",
    });
    let example = json!({
        "event": "track_published", "id": "EV_4sQWBKxkXCUN", "createdAt": "1772487000",
        "room": {"sid": "RM_x", "name": "webinar-1"},
        "participant": {"sid": "PA_x", "identity": "ann"},
        "track": {"sid": "TR_x", "type": "AUDIO", "source": "MICROPHONE"},
    });
    Operation::new(Security::LiveKit, "LiveKit", "receiveWebhook", "An event of LiveKit's")
        .text("Set this URL in LiveKit's `webhook.urls`. 200 means that it is committed; 503 has LiveKit send it again.")
        .body_of("application/webhook+json", &schema, &[("a track was published", example)])
        .answer_of(StatusCode::OK, "It is stored, or was before.", &Value::Null)
        .errors(&[
            codes::INVALID_REQUEST,
            codes::PAYLOAD_TOO_LARGE,
            codes::LIVEKIT_NOT_CONFIGURED,
            codes::UNAVAILABLE,
        ])
}

pub(super) async fn handler(State(state): State<AppState>, request: Request) -> Response {
    let arrived = Instant::now();
    match accept(&state, request, arrived).await {
        Ok(accepted) => {
            fail_point::reach(FailPoint::Ack);
            let is_new = accepted == Accepted::Stored;
            let now = state.clock.unix_seconds();
            state.metrics.webhook_accepted(is_new, now);
            StatusCode::OK.into_response()
        }
        Err(error) => {
            let (problem, result) = error.problem();
            state.metrics.webhook(result);
            let is_lost =
                problem.code.status.is_client_error() && !matches!(error, Error::Signature(_));
            let mut response = problem.because(chain(&error)).into_response();
            // LiveKit takes its refusal for success, and whoever publishes makes it long.
            if let (Error::Body(BodyError::TooLarge { .. }), Some(sweeper)) =
                (&error, &state.sweeper)
            {
                sweeper.lost_webhook();
            }
            if is_lost {
                response.extensions_mut().insert(Lost);
            }
            response
        }
    }
}

async fn accept(state: &AppState, request: Request, arrived: Instant) -> Result<Accepted, Error> {
    let (parts, body) = request.into_parts();
    let begun = Instant::now();
    let signed = state.verifier.verify(authorization(&parts.headers))?;
    let signature_took = begun.elapsed();
    let mut reservation = state.inbox.reservation();
    let reserve = |bytes| Ok::<_, Error>(reservation.grow(bytes).map_err(AcceptError::from)?);
    let bytes = body::read_reserved(body, BODY_BYTES_MAX, reserve).await?;
    let begun = Instant::now();
    signed.check(&bytes)?;
    fail_point::reach(FailPoint::Verify);
    let read = event::read(&bytes)?;
    drop(bytes);
    state
        .metrics
        .observe(Step::Verify, signature_took + begun.elapsed());
    let event = &read.event;
    log::event(&event.id);
    log::track(
        &event.room.name,
        &event.participant.identity,
        &event.track.sid,
    );
    let created_at = read.event.created_at;
    if (created_at - signed.issued_at).abs() > CREATED_AT_TOLERANCE {
        return Err(Error::OffTime {
            created_at,
            issued_at: signed.issued_at,
        });
    }
    Ok(state
        .inbox
        .accept(read.event, read.body, reservation, arrived)
        .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_livekit_did_wrong_is_a_4xx() {
        for (error, status) in [
            (Error::Body(BodyError::Slow), 503),
            (Error::Body(BodyError::Broken), 503),
            (Error::Body(BodyError::TooLarge { bytes_max: 1 }), 413),
            (Error::Signature(SignatureError::NoKeys), 503),
            (Error::Signature(SignatureError::NotOurs), 401),
            (Error::Signature(SignatureError::BodyChanged), 401),
            (Error::Event(EventError::Missing("id")), 400),
            (Error::Accept(AcceptError::Full), 503),
            (Error::Accept(AcceptError::Timeout), 503),
            (
                Error::Accept(AcceptError::Database("the database is read-only")),
                503,
            ),
            (Error::Accept(AcceptError::Stopping), 503),
        ] {
            assert_eq!(error.problem().0.code.status.as_u16(), status, "{error}");
        }
    }
}
