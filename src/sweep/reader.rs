//! Lists live rooms, at a bounded rate.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use livekit_protocol::Room;
use prost::Message;
use tokio::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::livekit::{LiveKit, LiveKitError, LiveRoom, Oversized, RateLimit, Rooms, Urgency};
use crate::metrics::Metrics;
use quell_policy::{PolicySet, TenantId};

/// The list of all rooms may be hundreds of megabytes.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// A room with more metadata is asked for again rather than kept.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// The same of all rooms together.
const ALL_KEPT_BYTES_MAX: usize = 32 << 20;

/// Reads rooms; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {
    /// LiveKit.
    pub livekit: LiveKit,
    /// Where rooms are asked for again, at the same rate.
    pub rooms: Rooms,
    /// The rate of calls.
    pub rate: RateLimit,
    /// How long one call may take.
    pub timeout: Duration,
}

/// A room as the list of all rooms had it.
#[derive(Debug)]
pub(crate) struct ListedRoom {
    pub(crate) sid: String,
    pub(crate) name: String,
    pub(crate) tenant: Option<TenantId>,
    /// Its making, in Unix seconds.
    pub(crate) created_at: i64,
    /// What LiveKit said; none where that is too large to be kept.
    pub(super) kept: Option<LiveRoom>,
}

/// All rooms that are wanted, and those that could not be read.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) rooms: Vec<ListedRoom>,
    pub(crate) oversized: Vec<Oversized>,
}

/// Which rooms are wanted.
#[derive(Debug, Clone)]
pub enum RoomScope {
    /// All in which a policy may mute.
    All,
    /// Of those, the rooms that these policies are about.
    About(Arc<PolicySet>),
}

impl RoomScope {
    /// Whether a room is wanted and a policy may mute in it.
    pub(crate) fn concerns(
        &self,
        policies: &PolicySet,
        now: DateTime<Utc>,
        room: &ListedRoom,
    ) -> bool {
        let (name, tenant) = (room.name.as_str(), room.tenant.as_ref());
        let is_wanted = match self {
            Self::All => true,
            Self::About(policies) => policies.is_about_room(name, tenant),
        };
        is_wanted && policies.may_mute_in(name, tenant, now)
    }
}

impl Reader {
    /// A reader at the rate of `config`, and what asks for it until the last one is dropped.
    pub(crate) fn new(
        livekit: &LiveKit,
        config: &Config,
        metrics: &Metrics,
        tracker: &TaskTracker,
    ) -> (Self, BoxFuture<'static, ()>) {
        let rate = RateLimit::new(config.sweep.calls_per_second);
        let (rooms, asking) = Rooms::new(
            livekit.clone(),
            metrics.clone(),
            tracker.clone(),
            Some(rate.clone()),
        );
        let reader = Self {
            livekit: livekit.clone(),
            rooms,
            rate,
            timeout: config.livekit_timeout(),
        };
        (reader, asking)
    }

    /// The rooms for which `wants` holds; with `name`, only that one is asked for.
    pub(crate) async fn list(
        &self,
        urgency: Urgency,
        name: Option<&str>,
        mut wants: impl FnMut(&ListedRoom) -> bool,
    ) -> Result<Listed, LiveKitError> {
        let mut listed = Listed::default();
        let mut kept_bytes = 0;
        let rooms = &mut listed.rooms;
        let add = |room: Room| {
            let bytes = room.encoded_len();
            let room = LiveRoom::from(room);
            let mut listed = ListedRoom {
                sid: room.info.sid.clone(),
                name: room.info.name.clone(),
                tenant: room.tenant.clone(),
                created_at: room.info.creation_time,
                kept: None,
            };
            if !wants(&listed) {
                return;
            }
            if bytes <= KEPT_BYTES_MAX && kept_bytes + bytes <= ALL_KEPT_BYTES_MAX {
                kept_bytes += bytes;
                listed.kept = Some(room);
            }
            rooms.push(listed);
        };
        if let Some(name) = name {
            self.rate.turn(urgency).await;
            let deadline = Instant::now() + self.timeout;
            let rooms = self.livekit.rooms(vec![name.to_owned()], deadline).await?;
            rooms.into_iter().for_each(add);
        } else {
            listed.oversized = self.list_each(urgency, add).await?;
        }
        Ok(listed)
    }

    /// Asks for all rooms, which `each` takes. Those with too much metadata are left out, and returned.
    pub(crate) async fn list_each(
        &self,
        urgency: Urgency,
        each: impl FnMut(Room),
    ) -> Result<Vec<Oversized>, LiveKitError> {
        self.rate.turn(urgency).await;
        let deadline = Instant::now() + LIST_TIMEOUT;
        self.livekit.each_room(deadline, each).await
    }
}
