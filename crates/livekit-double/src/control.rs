//! The control API under `/_sim/`; its reference is in the module docs above.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use livekit_protocol as proto;
use proto::{TrackSource, TrackType, participant_info};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use url::Url;

use super::faults::{Fault, FaultKind, Method};
use super::json::{self, Answer};
use super::log::Call;
use super::model::{Join, Publish};
use super::{Shared, SimulatorError};

type Sim = State<Arc<Shared>>;

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/rooms/{room}", put(put_room).delete(end_room))
        .route("/rooms/{room}/participants", post(join))
        .route("/rooms/{room}/participants/{identity}", delete(leave))
        .route(
            "/rooms/{room}/participants/{identity}/tracks",
            post(publish),
        )
        .route(
            "/rooms/{room}/participants/{identity}/tracks/{sid}",
            delete(unpublish),
        )
        .route(
            "/rooms/{room}/participants/{identity}/tracks/{sid}/muted",
            put(set_muted),
        )
        .route("/settings", put(put_settings))
        .route("/faults", put(put_faults))
        .route("/calls", get(get_calls))
        .fallback(async || {
            Refused(
                StatusCode::NOT_FOUND,
                "NOT_FOUND",
                "no such path".to_owned(),
            )
        })
}

/// A request that is not carried out: the status, what programs read and what people read.
struct Refused(StatusCode, &'static str, String);

impl Refused {
    fn invalid(error: String) -> Self {
        Self(StatusCode::BAD_REQUEST, "INVALID_REQUEST", error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, code, error) = self;
        (
            status,
            Json(serde_json::json!({ "error": error, "code": code })),
        )
            .into_response()
    }
}

impl IntoResponse for SimulatorError {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::NoRoom(_) | Self::NoParticipant { .. } | Self::NoTrack(_) => {
                (StatusCode::NOT_FOUND, "NOT_FOUND")
            }
            Self::NotPermitted { .. } => (StatusCode::FORBIDDEN, "FORBIDDEN"),
            Self::Listen { .. }
            | Self::NoApiKey
            | Self::Client(_)
            | Self::Encode(_)
            | Self::Sign(_)
            | Self::TimedOut(_) => (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL"),
        };
        Refused(status, code, self.to_string()).into_response()
    }
}

/// `message` in the same JSON as Twirp's answers.
fn answer<M: Answer>(message: &M) -> Result<Response, SimulatorError> {
    let body = json::answer(message).map_err(SimulatorError::Encode)?;
    Ok(Json(body).into_response())
}

/// Reads an enum's word; `what` names the enum to whoever wrote another.
fn word<T>(word: &str, what: &str, read: fn(&str) -> Option<T>) -> Result<T, Refused> {
    read(word).ok_or_else(|| Refused::invalid(format!("unknown {what} {word:?}")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoomBody {
    metadata: Option<String>,
}

async fn put_room(
    State(shared): Sim,
    Path(room): Path<String>,
    body: Option<Json<RoomBody>>,
) -> Result<Response, SimulatorError> {
    let metadata = body.unwrap_or_default().0.metadata;
    answer(&shared.with(|inner| inner.rooms.create_room(&room, metadata.as_deref())))
}

async fn end_room(State(shared): Sim, Path(room): Path<String>) -> Result<(), SimulatorError> {
    shared.with(|inner| inner.rooms.end_room(&room))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JoinBody {
    identity: String,
    #[serde(default)]
    name: String,
    kind: Option<String>,
    #[serde(default)]
    kind_details: Vec<String>,
    #[serde(default)]
    attributes: HashMap<String, String>,
    #[serde(default)]
    metadata: String,
    #[serde(default)]
    hidden: bool,
    permission: Option<proto::ParticipantPermission>,
}

async fn join(
    State(shared): Sim,
    Path(room): Path<String>,
    Json(body): Json<JoinBody>,
) -> Result<Response, Response> {
    let mut join = Join {
        name: body.name,
        attributes: body.attributes,
        metadata: body.metadata,
        hidden: body.hidden,
        ..Join::new(body.identity)
    };
    if let Some(kind) = &body.kind {
        join.kind = word(kind, "kind", participant_info::Kind::from_str_name)
            .map_err(IntoResponse::into_response)?;
    }
    for detail in &body.kind_details {
        let of_word = participant_info::KindDetail::from_str_name;
        let detail = word(detail, "kind detail", of_word).map_err(IntoResponse::into_response)?;
        join.kind_details.push(detail);
    }
    if let Some(permission) = body.permission {
        join.permission = permission;
    }
    let participant = shared.with(|inner| inner.rooms.join(&room, join));
    answer(&participant).map_err(IntoResponse::into_response)
}

async fn leave(
    State(shared): Sim,
    Path((room, identity)): Path<(String, String)>,
) -> Result<(), SimulatorError> {
    shared.with(|inner| inner.rooms.leave(&room, &identity))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishBody {
    #[serde(default)]
    name: String,
    r#type: Option<String>,
    source: Option<String>,
    #[serde(default)]
    muted: bool,
    sid: Option<String>,
}

async fn publish(
    State(shared): Sim,
    Path((room, identity)): Path<(String, String)>,
    Json(body): Json<PublishBody>,
) -> Result<Response, Response> {
    let publish = read_publish(body).map_err(IntoResponse::into_response)?;
    let track = shared.with(|inner| inner.rooms.publish(&room, &identity, publish));
    track
        .and_then(|track| answer(&track))
        .map_err(IntoResponse::into_response)
}

fn read_publish(body: PublishBody) -> Result<Publish, Refused> {
    let source = body.source.as_deref().unwrap_or("UNKNOWN");
    let source = word(source, "source", TrackSource::from_str_name)?;
    let mut publish = Publish {
        name: body.name,
        muted: body.muted,
        sid: body.sid,
        ..Publish::new(source)
    };
    if let Some(track_type) = &body.r#type {
        publish.track_type = word(track_type, "type", TrackType::from_str_name)?;
    }
    Ok(publish)
}

async fn unpublish(
    State(shared): Sim,
    Path((room, identity, sid)): Path<(String, String, String)>,
) -> Result<(), SimulatorError> {
    shared.with(|inner| inner.rooms.unpublish(&room, &identity, &sid))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MutedBody {
    muted: bool,
}

async fn set_muted(
    State(shared): Sim,
    Path((room, identity, sid)): Path<(String, String, String)>,
    Json(body): Json<MutedBody>,
) -> Result<Response, SimulatorError> {
    answer(&shared.with(|inner| inner.rooms.set_muted(&room, &identity, &sid, body.muted))?)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsBody {
    enable_remote_unmute: Option<bool>,
    psrpc_for_participants: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    webhook_url: Option<Value>,
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

async fn put_settings(State(shared): Sim, Json(body): Json<SettingsBody>) -> Result<(), Refused> {
    let webhook_url = body.webhook_url.map(|url| read_url(&url)).transpose()?;
    shared.with(|inner| {
        if let Some(enabled) = body.enable_remote_unmute {
            inner.enable_remote_unmute = enabled;
        }
        if let Some(asked) = body.psrpc_for_participants {
            inner.psrpc_for_participants = asked;
        }
        if let Some(url) = webhook_url {
            inner.webhook_url = url;
        }
    });
    Ok(())
}

fn read_url(url: &Value) -> Result<Option<Url>, Refused> {
    if url.is_null() {
        return Ok(None);
    }
    let url = url.as_str().unwrap_or_default();
    Url::parse(url)
        .map(Some)
        .map_err(|error| Refused::invalid(format!("webhook_url {url:?}: {error}")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultBody {
    method: Option<String>,
    kind: FaultWord,
    #[serde(default)]
    latency_ms: u64,
    times: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultWord {
    Latency,
    Unauthorized,
    Unavailable,
    Hang,
    Cut,
    #[serde(rename = "html_502")]
    Html502,
}

async fn put_faults(State(shared): Sim, Json(bodies): Json<Vec<FaultBody>>) -> Result<(), Refused> {
    let faults: Result<Vec<Fault>, Refused> = bodies.iter().map(read_fault).collect();
    let faults = faults?;
    shared.with(|inner| inner.faults = faults);
    Ok(())
}

fn read_fault(body: &FaultBody) -> Result<Fault, Refused> {
    let method = body.method.as_deref();
    Ok(Fault {
        method: method
            .map(|method| word(method, "method", Method::from_name))
            .transpose()?,
        kind: match body.kind {
            FaultWord::Latency => FaultKind::Latency(Duration::from_millis(body.latency_ms)),
            FaultWord::Unauthorized => FaultKind::Unauthorized,
            FaultWord::Unavailable => FaultKind::Unavailable,
            FaultWord::Hang => FaultKind::Hang,
            FaultWord::Cut => FaultKind::Cut,
            FaultWord::Html502 => FaultKind::Html502,
        },
        times: body.times,
    })
}

async fn get_calls(State(shared): Sim) -> Json<Vec<Call>> {
    Json(shared.lock().calls.entries())
}
