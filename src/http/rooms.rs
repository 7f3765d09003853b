//! `/v1/rooms`: live rooms, who is in one with which tracks, and what policies say of each now.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::admission::{self, Slot};
use super::auth::Scope;
use super::codes;
use super::cursor;
use super::openapi::{Operation, Schemas};
use super::problem::Problem;
use super::request::{ApiRequest, NamesTenant, QueryParam, page_limit};
use super::state::AppState;
use crate::rooms::{self, LiveRoomPage, PAGE_MAX, RoomPage, RoomRequest, RoomsError};
use crate::sweep::Sweeper;

/// How many rooms or participants are answered where a request does not say.
const LIMIT_DEFAULT: u16 = 100;
const TAG: &str = "moderation";
/// By then, what is not there is answered, and another tenant's room, however large that one is: as for a mute.
const NOT_FOUND_AFTER: Duration = Duration::from_millis(300);

impl From<RoomsError> for Problem {
    fn from(error: RoomsError) -> Self {
        match error {
            RoomsError::NotFound => Self::participant_not_found(),
            RoomsError::LiveKit(error) => error.into(),
            RoomsError::Database(error) => error.into(),
        }
    }
}

fn failed(cause: &str) -> Problem {
    Problem::new(codes::ROOMS_FAILED, "the list was broken off").because(cause)
}

/// A page of rooms.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Whose rooms. Only an operator may name another than itself.
    #[schemars(with = "Option<quell_policy::TenantId>")]
    tenant: Option<String>,
    /// The most rooms of a page; 100 where it is left out.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl NamesTenant for ListQuery {
    fn named(&self) -> (&'static str, Option<&str>) {
        ("tenant", self.tenant.as_deref())
    }
}

/// A page of a room's participants.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowQuery {
    /// The most participants of a page; 100 where it is left out.
    #[schemars(range(min = 1, max = PAGE_MAX))]
    limit: Option<u16>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl NamesTenant for ShowQuery {}

/// A page, and where the next one begins.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{Page}")]
struct PageResponse<Page> {
    #[serde(flatten)]
    page: Page,
    /// What `cursor` has to be for the next page; none where this is the last.
    next_cursor: Option<String>,
}

/// What reads rooms, and the right to use it.
async fn admitted(state: &AppState, request: &ApiRequest) -> Result<(Sweeper, Slot), Problem> {
    let sweeper = state.sweeper.clone();
    let sweeper = sweeper.ok_or_else(Problem::livekit_not_configured)?;
    let caller = request.caller_id.as_str();
    let slot = state.queues.rooms.admit_until(&state.stop, caller).await?;
    Ok((sweeper, slot))
}

pub(super) async fn list(
    State(state): State<AppState>,
    query: QueryParam<ListQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let scope = Scope::Mute;
    let (request, query) = ApiRequest::read_query(&state, request, query, scope).await?;
    let limit = page_limit(query.limit, LIMIT_DEFAULT, PAGE_MAX, "cursor")?;
    let after = query.cursor.as_deref().map(cursor::read).transpose()?;
    let (sweeper, slot) = admitted(&state, &request).await?;
    let viewer = request.principal.viewer();
    admission::answer(
        slot,
        failed,
        || Ok(()),
        async |_, ()| {
            let tenant = request.owner.tenant();
            let reading = rooms::rooms(sweeper.reader(), &viewer, tenant, after, limit.into());
            let read = state.stop.run_until_cancelled(reading).await;
            let page: RoomPage = read.ok_or_else(Problem::stopping)??;
            let next_cursor = page.next.as_ref().map(cursor::write);
            Ok(PageResponse { page, next_cursor })
        },
    )
    .await
}

pub(super) async fn show(
    State(state): State<AppState>,
    room: Result<Path<String>, PathRejection>,
    query: QueryParam<ShowQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let scope = Scope::Mute;
    let (request, query) = ApiRequest::read_query(&state, request, query, scope).await?;
    let Path(room) = room.map_err(|_| Problem::participant_not_found())?;
    let limit = page_limit(query.limit, LIMIT_DEFAULT, PAGE_MAX, "cursor")?;
    let after = query.cursor.as_deref().map(cursor::read).transpose()?;
    let (sweeper, slot) = admitted(&state, &request).await?;
    let begun = Instant::now();
    let may_read_policies = request.caller.has(Scope::PoliciesRead);
    let asked = RoomRequest {
        room,
        after,
        limit: limit.into(),
        viewer: request.principal.viewer(),
        policies: may_read_policies.then(|| state.policies.snapshot()),
    };
    let (pool, now) = (state.pool.clone(), state.clock.now());
    let answered = admission::answer(
        slot,
        failed,
        || Ok(()),
        async |_, ()| {
            let reading = rooms::room(&pool, sweeper.reader(), asked, now);
            let read = state.stop.run_until_cancelled(Box::pin(reading)).await;
            let page: LiveRoomPage = read.ok_or_else(Problem::stopping)??;
            let next_cursor = page.next.as_ref().map(cursor::write);
            Ok(PageResponse { page, next_cursor })
        },
    )
    .await;
    if let Err(problem) = &answered
        && problem.code == codes::PARTICIPANT_NOT_FOUND
    {
        tokio::time::sleep_until(begun + NOT_FOUND_AFTER).await;
    }
    answered
}

const ERRORS: &[&codes::ErrorCode] = &[
    codes::ROOMS_BUSY,
    codes::ALL_ROOMS_BUSY,
    codes::ROOMS_FAILED,
    codes::LIVEKIT_FAILED,
    codes::LIVEKIT_UNAVAILABLE,
    codes::LIVEKIT_NOT_CONFIGURED,
];

pub(super) fn list_operation(schemas: &mut Schemas) -> Operation {
    let page = json!({"rooms": [example()], "skipped": 0, "next_cursor": null});
    Operation::of_caller(Scope::Mute, TAG, "listRooms", "Live rooms, by name")
        .text("A tenant sees its own rooms; an operator all, or those of one `tenant`.")
        .query::<ListQuery>(schemas)
        .answer::<PageResponse<RoomPage>>(schemas, StatusCode::OK, "A page of rooms.", &page)
        .errors(ERRORS)
}

pub(super) fn show_operation(schemas: &mut Schemas) -> Operation {
    let mut page = example();
    let verdict = json!({"verdict": "mute", "policy": {
        "owner": "acme", "name": "quiet", "revision": 3, "priority": 50, "overridable": false,
    }});
    let decision = json!({
        "at": "2026-03-02T12:00:00Z", "as_of": null, "enforced": verdict, "dry_run": verdict,
    });
    let rest = json!({
        "participants": [{
            "identity": "ann", "name": "Ann", "joined_at": "2026-03-02T11:58:00Z",
            "tracks": [{
                "track_sid": "TR_AMxq3LXQ9vYbzE", "source": "MICROPHONE", "type": "AUDIO", "name": "mic",
                "muted": true, "decision": decision, "let_speak": false,
            }],
        }],
        "skipped": 0,
        "next_cursor": null,
    });
    if let (Some(page), Value::Object(rest)) = (page.as_object_mut(), rest) {
        page.extend(rest);
    }
    let schema = json!({"type": "string"});
    Operation::of_caller(Scope::Mute, TAG, "getRoom", "Who is in a live room, with which tracks")
        .text(
            "Of each track it says what policies do about it now, if the caller has the scope `policies:read` too. \
             Why that is so, `POST /v1/explain` says.",
        )
        .path("room", "The room's name.", &schema, &json!("webinar-1"))
        .query::<ShowQuery>(schemas)
        .answer::<PageResponse<LiveRoomPage>>(
            schemas,
            StatusCode::OK,
            "A page of the room's participants, by identity.",
            &page,
        )
        .errors(&[codes::PARTICIPANT_NOT_FOUND])
        .errors(ERRORS)
}

fn example() -> Value {
    json!({
        "room_name": "webinar-1", "room_sid": "RM_k6mUqf7cRJ8q", "tenant": "acme",
        "created_at": "2026-03-02T11:55:00Z", "num_participants": 12, "num_publishers": 2,
    })
}
