//! `livekit.RoomService` over Twirp: protobuf and JSON, with the real server's refusals.

use std::sync::Arc;
use std::{io, str};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{self, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;
use livekit_protocol as proto;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::{self, Grants};
use super::faults::{FaultKind, Method};
use super::json::{self, Answer};
use super::refusal::Refusal;
use super::{CallId, Shared};

const SERVICE: &str = "/twirp/livekit.RoomService/";
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const NAME_BYTES_MAX: usize = 256;
const METADATA_BYTES_MAX: usize = 512 * 1024;
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, Copy)]
enum Format {
    Json,
    Protobuf,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }
}

/// Everything that is not the control API.
pub(super) async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    // The real server forgives one slash too many at the front.
    let path = path
        .strip_prefix('/')
        .filter(|p| p.starts_with('/'))
        .unwrap_or(path);
    let Some(method) = path.strip_prefix(SERVICE).and_then(Method::from_name) else {
        return elsewhere(&shared, path, &parts)
            .map_or_else(Refusal::into_response, IntoResponse::into_response);
    };
    let (call, trouble) = shared.begin(method);
    let wait = tokio::time::sleep(trouble.latency);
    shared.cancel.run_until_cancelled(wait).await;
    let response = match trouble.kind {
        Some(FaultKind::Hang) => {
            shared.cancel.cancelled().await;
            return Refusal::no_response().into_response();
        }
        Some(FaultKind::Unauthorized) => Refusal::unauthenticated("invalid token").into_response(),
        Some(FaultKind::Unavailable) => Refusal::no_response().into_response(),
        Some(FaultKind::Html502) => bad_gateway(),
        Some(FaultKind::Cut | FaultKind::Latency(_)) | None => {
            let answer = rpc(&shared, call, method, &parts, body).await;
            answer.unwrap_or_else(Refusal::into_response)
        }
    };
    shared.describe(call, |call| call.status = Some(response.status().as_u16()));
    if trouble.kind == Some(FaultKind::Cut) {
        cut_off(response).await
    } else {
        response
    }
}

/// Paths that are no call; the token is looked at first here too.
fn elsewhere(shared: &Shared, path: &str, parts: &Parts) -> Result<&'static str, Refusal> {
    auth::grants(parts, &shared.config.api_keys, &shared.config.token_clock)?;
    if path == "/" {
        return Ok("OK");
    }
    if path.starts_with(SERVICE) {
        only_post(parts)?;
        return Err(Refusal::bad_route(
            format!("no handler for path {path:?}"),
            parts,
        ));
    }
    Err(Refusal::Text(
        StatusCode::NOT_FOUND,
        "404 page not found\n".to_owned(),
    ))
}

fn only_post(parts: &Parts) -> Result<(), Refusal> {
    if parts.method == http::Method::POST {
        return Ok(());
    }
    let method = parts.method.as_str();
    let msg = format!("unsupported method {method:?} (only POST is allowed)");
    Err(Refusal::bad_route(msg, parts))
}

async fn rpc(
    shared: &Arc<Shared>,
    call: CallId,
    method: Method,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let grants = auth::grants(parts, &shared.config.api_keys, &shared.config.token_clock)?;
    only_post(parts)?;
    let format = format(parts)?;
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_| Refusal::malformed(format.as_str()))?;
    match method {
        Method::ListRooms => {
            let request: proto::ListRoomsRequest = decode(format, &body)?;
            grants.may_list()?;
            let rooms = shared.with(|inner| inner.rooms.list(&request.names));
            encode(format, &proto::ListRoomsResponse { rooms })
        }
        Method::ListParticipants => {
            let request: proto::ListParticipantsRequest = decode(format, &body)?;
            shared.describe(call, |call| call.room.clone_from(&request.room));
            grants.may_administer(&request.room)?;
            reach_room(shared, &request.room).await?;
            let participants = shared.with(|inner| inner.rooms.participants(&request.room));
            encode(format, &proto::ListParticipantsResponse { participants })
        }
        Method::GetParticipant => {
            let request: proto::RoomParticipantIdentity = decode(format, &body)?;
            let (room, identity) = (&request.room, &request.identity);
            shared.describe(call, |call| call.of(room, identity));
            grants.may_administer(room)?;
            reach_room(shared, room).await?;
            let participant = shared.with(|inner| inner.rooms.participant(room, identity));
            encode(format, &participant.ok_or_else(Refusal::no_participant)?)
        }
        Method::MutePublishedTrack => {
            let request: proto::MuteRoomTrackRequest = decode(format, &body)?;
            shared.describe(call, |call| {
                call.of(&request.room, &request.identity);
                call.track_sid.clone_from(&request.track_sid);
                call.muted = Some(request.muted);
            });
            encode(format, &mute(shared, &grants, &request).await?)
        }
        Method::UpdateParticipant => {
            let request: proto::UpdateParticipantRequest = decode(format, &body)?;
            shared.describe(call, |call| call.of(&request.room, &request.identity));
            encode(format, &update(shared, &grants, &request)?)
        }
        Method::SendData => {
            let request: proto::SendDataRequest = decode(format, &body)?;
            shared.describe(call, |call| call.room.clone_from(&request.room));
            encode(format, &send_data(shared, &grants, &request).await?)
        }
    }
}

/// Where participants are asked of the room itself, one that is not there never answers.
async fn reach_room(shared: &Arc<Shared>, room: &str) -> Result<(), Refusal> {
    let answers = shared.with(|inner| !inner.psrpc_for_participants || inner.rooms.exists(room));
    if answers {
        Ok(())
    } else {
        Err(nobody_answers(shared).await)
    }
}

async fn mute(
    shared: &Arc<Shared>,
    grants: &Grants,
    request: &proto::MuteRoomTrackRequest,
) -> Result<proto::MuteRoomTrackResponse, Refusal> {
    let (room, identity) = (&request.room, &request.identity);
    grants.may_administer(room)?;
    let (there, unmute_enabled) = shared.with(|inner| {
        let there = inner.rooms.participant(room, identity).is_some();
        (there, inner.enable_remote_unmute)
    });
    if !there {
        return Err(nobody_answers(shared).await);
    }
    if !request.muted && !unmute_enabled {
        return Err(Refusal::internal_bus(
            StatusCode::PRECONDITION_FAILED,
            "failed_precondition",
            "remote unmute not enabled",
        ));
    }
    // An unknown track is no error: the answer just has none.
    let track = shared.with(|inner| {
        let sid = &request.track_sid;
        inner
            .rooms
            .set_muted(room, identity, sid, request.muted)
            .ok()
    });
    Ok(proto::MuteRoomTrackResponse { track })
}

fn update(
    shared: &Arc<Shared>,
    grants: &Grants,
    request: &proto::UpdateParticipantRequest,
) -> Result<proto::ParticipantInfo, Refusal> {
    if request.name.len() > NAME_BYTES_MAX {
        return Err(Refusal::too_long("name length", NAME_BYTES_MAX));
    }
    if request.metadata.len() > METADATA_BYTES_MAX {
        return Err(Refusal::too_long("metadata size", METADATA_BYTES_MAX));
    }
    let attributes = request.attributes.iter();
    let attributes: usize = attributes.map(|(key, value)| key.len() + value.len()).sum();
    if attributes > ATTRIBUTES_BYTES_MAX {
        return Err(Refusal::too_long("attribute size", ATTRIBUTES_BYTES_MAX));
    }
    grants.may_administer(&request.room)?;
    let updated = shared.with(|inner| inner.rooms.update(request));
    updated.map_err(|_| Refusal::no_participant())
}

async fn send_data(
    shared: &Arc<Shared>,
    grants: &Grants,
    request: &proto::SendDataRequest,
) -> Result<proto::SendDataResponse, Refusal> {
    grants.may_administer(&request.room)?;
    if ![0, 16].contains(&request.nonce.len()) {
        let bytes = request.nonce.len();
        let msg = format!("nonce should be 16-bytes or not present, got: {bytes} bytes");
        return Err(Refusal::twirp(
            StatusCode::BAD_REQUEST,
            "invalid_argument",
            msg,
        ));
    }
    if !shared.with(|inner| inner.rooms.exists(&request.room)) {
        return Err(nobody_answers(shared).await);
    }
    Ok(proto::SendDataResponse {})
}

/// LiveKit asks its nodes, and gives up after a while.
async fn nobody_answers(shared: &Shared) -> Refusal {
    let wait = tokio::time::sleep(shared.config.no_response_after);
    shared.cancel.run_until_cancelled(wait).await;
    Refusal::no_response()
}

fn format(parts: &Parts) -> Result<Format, Refusal> {
    let header = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let header = str::from_utf8(header.unwrap_or_default()).unwrap_or_default();
    let media_type = header.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        "application/protobuf" => Ok(Format::Protobuf),
        _ => Err(Refusal::bad_route(
            format!("unexpected Content-Type: {header:?}"),
            parts,
        )),
    }
}

fn decode<M>(format: Format, body: &[u8]) -> Result<M, Refusal>
where
    M: prost::Message + Default + DeserializeOwned,
{
    match format {
        Format::Json => decode_json(body),
        Format::Protobuf => M::decode(body).ok(),
    }
    .ok_or_else(|| Refusal::malformed(format.as_str()))
}

/// Reads the first JSON value and lets what follows be, as Go's decoder does; null is absent.
fn decode_json<M: DeserializeOwned>(body: &[u8]) -> Option<M> {
    let mut values = serde_json::Deserializer::from_slice(body).into_iter();
    let mut value: Value = values.next()?.ok()?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    serde_json::from_value(value).ok()
}

fn encode<M: Answer>(format: Format, message: &M) -> Result<Response, Refusal> {
    Ok(match format {
        Format::Json => {
            let body = json::answer(message).map_err(|error| {
                let msg = format!("failed to marshal json response: {error}");
                Refusal::twirp(StatusCode::INTERNAL_SERVER_ERROR, "internal", msg)
            })?;
            axum::Json(body).into_response()
        }
        Format::Protobuf => (
            [(CONTENT_TYPE, "application/protobuf")],
            message.encode_to_vec(),
        )
            .into_response(),
    })
}

fn bad_gateway() -> Response {
    let page = "<html><head><title>502 Bad Gateway</title></head>\
        <body><center><h1>502 Bad Gateway</h1></center></body></html>\n";
    (StatusCode::BAD_GATEWAY, Html(page)).into_response()
}

/// The same answer, of which only the first half arrives before the connection is closed.
async fn cut_off(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let mut body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    // Also an empty body is one that should have been longer.
    let promised = HeaderValue::from(body.len().max(1));
    parts.headers.insert(CONTENT_LENGTH, promised);
    body.truncate(body.len() / 2);
    let cut = io::Error::from(io::ErrorKind::ConnectionReset);
    let halves: [Result<Bytes, io::Error>; 2] = [Ok(body), Err(cut)];
    Response::from_parts(parts, Body::from_stream(stream::iter(halves)))
}
