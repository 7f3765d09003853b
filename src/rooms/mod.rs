//! Live rooms as moderators see them: which there are, who in one publishes which tracks, and what policies say of each
//! track now.
//!
//! ```text
//! sweep::Reader: rooms -> KeysetPage a name -> RoomPage
//! sweep::Reader: one room -> KeysetPage an identity -> facts -> decided -> LiveRoomPage
//! ```
//!
//! It reads as a sweep does, at the same rate, and acts on nothing. LiveKit's lists have no pages, so each is read to
//! its end, and no more of it is kept than the page.

mod keyset_page;
mod room;

use chrono::{DateTime, Utc};
use livekit_protocol::Room;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Viewer;
use crate::livekit::{LiveKitError, LiveRoom, Urgency};
use crate::postgres::failed_query;
use crate::sweep::Reader;
use keyset_page::KeysetPage;
use quell_policy::TenantId;
pub(crate) use room::room;
pub use room::{LiveRoomPage, Participant, RoomRequest, Track};

/// The most rooms, or participants, of a page.
pub const PAGE_MAX: u16 = 500;
/// The most bytes of a page, as LiveKit says them.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// Why rooms cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum RoomsError {
    /// There is no such room, or it is not for the viewer.
    #[error("no such room")]
    NotFound,
    /// LiveKit failed.
    #[error("live rooms cannot be read: {0}")]
    LiveKit(#[from] LiveKitError),
    /// The database failed.
    #[error("{}", failed_query(.0))]
    Database(#[from] sqlx::Error),
}

/// A page of rooms.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoomPage {
    /// The rooms, by name.
    pub rooms: Vec<RoomSummary>,
    /// Rooms with too much metadata to be read. Whose they are is not known, so that only operators are told.
    pub skipped: usize,
    /// The name behind which the next page begins.
    #[serde(skip)]
    pub next: Option<String>,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RoomSummary {
    /// Its name.
    pub room_name: String,
    /// Its SID.
    pub room_sid: String,
    /// Whose it is: `auth_id` of its metadata.
    pub tenant: Option<TenantId>,
    /// When it was made, to the second.
    pub created_at: DateTime<Utc>,
    /// Who is in it, as LiveKit counts: some seconds late.
    pub num_participants: u32,
    /// How many of them publish.
    pub num_publishers: u32,
}

impl From<&LiveRoom> for RoomSummary {
    fn from(room: &LiveRoom) -> Self {
        let info = &room.info;
        Self {
            room_name: info.name.clone(),
            room_sid: info.sid.clone(),
            tenant: room.tenant.clone(),
            created_at: DateTime::from_timestamp(info.creation_time, 0).unwrap_or_default(),
            num_participants: info.num_participants,
            num_publishers: info.num_publishers,
        }
    }
}

/// The first `limit` rooms behind `after` that `viewer` may see; with `tenant`, only that one's.
pub(crate) async fn rooms(
    reader: &Reader,
    viewer: &Viewer,
    tenant: Option<&TenantId>,
    after: Option<String>,
    limit: usize,
) -> Result<RoomPage, LiveKitError> {
    let mut page = KeysetPage::new(after, limit, PAGE_BYTES_MAX);
    let each = |room: Room| {
        let room = LiveRoom::from(room);
        let of = room.tenant.as_ref();
        if viewer.may_see_room(of) && tenant.is_none_or(|tenant| of == Some(tenant)) {
            let summary = RoomSummary::from(&room);
            let bytes = summary.room_name.len() + size_of::<RoomSummary>();
            page.add(room.info.name, summary, bytes);
        }
    };
    let oversized = reader.list_each(Urgency::Routine, each).await?;
    let is_operator = *viewer == Viewer::Operator;
    let (rooms, next) = page.into_elements();
    Ok(RoomPage {
        rooms,
        skipped: if is_operator { oversized.len() } else { 0 },
        next,
    })
}
