//! `POST /v1/rooms/{room}/participants/{identity}/mute`: mutes or unmutes all tracks of one source.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use livekit_protocol::TrackSource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{BODY_BYTES_MAX, ERRORS, act, sent, to_its_end};
use crate::action::{ManualMute, MutedByHand, TrackQuery};
use crate::http::auth::{AuthRequest, Scope, WITHOUT_ID};
use crate::http::body::RequestBody;
use crate::http::openapi::{Operation, Schemas};
use crate::http::problem::Problem;
use crate::http::reason;
use crate::http::request::read_json;
use crate::http::state::AppState;
use quell_policy::facts::Source;
use quell_policy::terminal::quoted;

pub(in crate::http) type ParticipantParam = Result<Path<(String, String)>, PathRejection>;

/// Which of a participant's tracks, and whether they are to be muted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MuteBySource")]
struct SourceMuteBody {
    /// What the tracks show, in LiveKit's words.
    #[schemars(extend("enum" = Source::WORDS))]
    source: String,
    /// Whether they are to be muted.
    muted: bool,
    /// Why, in your own words: it stands in the audit.
    #[schemars(with = "Option<String>", length(max = reason::CHARS_MAX))]
    reason: Option<Value>,
}

/// What was muted or unmuted.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MutedBySource")]
struct SourceMuteResponse {
    /// The room's name.
    room_name: String,
    /// Who publishes the tracks.
    participant_identity: String,
    /// What they show.
    source: String,
    /// Each of them: at least one, and at most 32.
    tracks: Vec<MutedTrack>,
    /// How many more there are, which stay as they are: ask again, those that are not so yet come first.
    left_off: usize,
}

/// A track, as LiveKit reports it after the mute.
#[derive(Debug, Serialize, JsonSchema)]
struct MutedTrack {
    /// Its SID.
    track_sid: String,
    /// Whether it is muted.
    muted: bool,
}

pub(in crate::http) async fn handler(
    State(state): State<AppState>,
    path: ParticipantParam,
    request: Request,
) -> Response {
    let tracker = state.tracker.clone();
    to_its_end(&tracker, async move { answer(&state, path, request).await }).await
}

async fn answer(
    state: &AppState,
    path: ParticipantParam,
    request: Request,
) -> Result<SourceMuteResponse, Problem> {
    let (parts, body) = request.into_parts();
    let body = RequestBody::new(body, BODY_BYTES_MAX, state.body_bytes.reservation());
    let caller = state
        .authenticator
        .caller_with_id(&AuthRequest {
            headers: &parts.headers,
            method: &parts.method,
            path: parts.uri.path(),
            api_key: None,
            body: &body,
        })
        .await?;
    let caller_id = caller.id().ok_or(WITHOUT_ID)?;
    let turn = state.mutes.enter(Some(caller_id.as_str()))?;
    let body = body.whole().await?;
    let SourceMuteBody {
        source,
        muted,
        reason,
    } = read_json(&parts.headers, &body.bytes)?;
    let known = TrackSource::from_str_name(&source).ok_or_else(|| {
        Problem::invalid_request(format!(
            "`source` is {}, but must be one of {}",
            quoted(&source),
            Source::WORDS.join(", ")
        ))
    })?;
    let reason = reason::of_request(&parts.headers, reason.as_ref())?;
    // Whoever is named in letters that are no text is nowhere.
    let Path((room_name, identity)) = path.map_err(|_| Problem::participant_not_found())?;
    let by_hand = ManualMute {
        caller_id: Some(caller_id),
        room_name: &room_name,
        identity: &identity,
        track: TrackQuery::Source(known),
        muted,
        request: &sent(&parts, &caller, reason),
    };
    let MutedByHand { done, left_off } = act(state, &caller, &by_hand).await?;
    // A mute is a mute, however it is asked for.
    turn.charge(done.len().saturating_sub(1));
    let tracks = done.into_iter().map(|track| MutedTrack {
        track_sid: track.sid,
        muted: track.state.muted,
    });
    Ok(SourceMuteResponse {
        room_name,
        participant_identity: identity,
        source,
        tracks: tracks.collect(),
        left_off,
    })
}

pub(in crate::http) fn operation(schemas: &mut Schemas) -> Operation {
    let body = schemas.asked::<SourceMuteBody>();
    let asked = json!({"source": "MICROPHONE", "muted": true, "reason": "shouts"});
    let example = json!({
        "room_name": "webinar-1", "participant_identity": "ann", "source": "MICROPHONE",
        "tracks": [{"track_sid": "TR_AMxq3LXQ9vYbzE", "muted": true}],
        "left_off": 0,
    });
    let schema = json!({"type": "string"});
    Operation::of_caller(
        Scope::Mute,
        "moderation",
        "muteBySource",
        "Mute or unmute a participant's tracks of one source",
    )
    .text(
        "The same as `POST /livekit/participant/mute`, for whoever knows no `track_sid`: the room's metadata has to \
         name the caller. Each track is an action of the audit, and counts for the caller's rate. Where one of them \
         fails, the others are tried all the same. A client says the source, and may publish a microphone as \
         `UNKNOWN`: mute that, too.",
    )
    .path("room", "The room's name.", &schema, &json!("webinar-1"))
    .path("identity", "Who publishes the tracks.", &schema, &json!("ann"))
    .body(&body, &[("mute", asked)])
    .answer::<SourceMuteResponse>(schemas, StatusCode::OK, "Done, as LiveKit reports it.", &example)
    .errors(ERRORS)
}
