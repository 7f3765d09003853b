//! The calls of LiveKit's `RoomService` that quell makes.

use std::sync::Arc;

use livekit_api::access_token::VideoGrants;
use livekit_protocol::{
    ListParticipantsRequest, ListRoomsRequest, MuteRoomTrackRequest, MuteRoomTrackResponse,
    ParticipantInfo, Room, RoomParticipantIdentity,
};
use prost::Message;
use serde_json::Value;
use tokio::time::Instant;

use super::answer::{MUTED, Oversized, PARTICIPANT, PARTICIPANTS, ROOMS};
use super::twirp::{LiveKitError, LiveKitSetupError, Twirp};
use crate::access::Verb;
use crate::config::LiveKitConfig;
use crate::ledger::{Intent, Unfinished};
use quell_clock::Clock;
use quell_policy::TenantId;
use quell_policy::metadata::{metadata_in, tenant_in};

/// The most bytes of a list that is kept whole.
const LIST_BYTES_MAX: usize = 4 << 20;
const LIST_ROOMS: &str = "ListRooms";
const LIST_PARTICIPANTS: &str = "ListParticipants";

/// A client of one LiveKit deployment; cheap to clone.
#[derive(Debug, Clone)]
pub struct LiveKit(Arc<Twirp>);

/// A room as LiveKit lists it now.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveRoom {
    /// LiveKit's own account of it.
    pub info: Room,
    /// Its metadata, read.
    pub metadata: Value,
    /// The tenant: `auth_id` of its metadata.
    pub tenant: Option<TenantId>,
}

impl From<Room> for LiveRoom {
    fn from(info: Room) -> Self {
        let metadata = metadata_in(&info.metadata);
        Self {
            tenant: tenant_in(&metadata),
            metadata,
            info,
        }
    }
}

/// What LiveKit says after a mute call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MutedTrack {
    /// The track, and whether it is muted now.
    Is {
        /// As LiveKit reports it.
        muted: bool,
    },
    /// There is no such track (any more).
    Gone,
}

impl LiveKit {
    /// A client for `config`.
    pub fn new(config: &LiveKitConfig, clock: Clock) -> Result<Self, LiveKitSetupError> {
        Ok(Self(Arc::new(Twirp::new(config, clock)?)))
    }

    /// The room of exactly this name, or none.
    pub async fn room(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<LiveRoom>, LiveKitError> {
        let rooms = self.rooms(vec![name.to_owned()], deadline).await?;
        let room = rooms.into_iter().find(|room| room.name == name);
        Ok(room.map(LiveRoom::from))
    }

    /// The rooms of these names, as far as they are there.
    pub(crate) async fn rooms(
        &self,
        names: Vec<String>,
        deadline: Instant,
    ) -> Result<Vec<Room>, LiveKitError> {
        let request = ListRoomsRequest { names };
        let mut rooms = Bounded::default();
        let oversized = self
            .0
            .list(LIST_ROOMS, room_list(), &request, &ROOMS, deadline, |it| {
                rooms.add(it);
            })
            .await?;
        if !oversized.is_empty() {
            return Err(LiveKitError::TooLarge { method: LIST_ROOMS });
        }
        rooms.all(LIST_ROOMS)
    }

    /// Calls `each` with every room. Those with too much metadata are left out, and returned.
    pub(crate) async fn each_room(
        &self,
        deadline: Instant,
        each: impl FnMut(Room),
    ) -> Result<Vec<Oversized>, LiveKitError> {
        let request = ListRoomsRequest::default();
        self.0
            .list(LIST_ROOMS, room_list(), &request, &ROOMS, deadline, each)
            .await
    }

    /// Calls `each` with everybody in the room, with their tracks. Those with too much metadata are left out, and
    /// returned.
    pub(crate) async fn each_participant(
        &self,
        room: &str,
        deadline: Instant,
        each: impl FnMut(ParticipantInfo),
    ) -> Result<Vec<Oversized>, LiveKitError> {
        let request = ListParticipantsRequest {
            room: room.to_owned(),
        };
        let grants = admin_of(room);
        self.0
            .list(
                LIST_PARTICIPANTS,
                grants,
                &request,
                &PARTICIPANTS,
                deadline,
                each,
            )
            .await
    }

    /// Everybody in the room, with their tracks; nobody where it is not there. And those of whom too much is said.
    pub(crate) async fn participants(
        &self,
        room: &str,
        deadline: Instant,
    ) -> Result<(Vec<ParticipantInfo>, Vec<Oversized>), LiveKitError> {
        let mut participants = Bounded::default();
        let oversized = self
            .each_participant(room, deadline, |it| participants.add(it))
            .await?;
        Ok((participants.all(LIST_PARTICIPANTS)?, oversized))
    }

    /// The participant with its tracks, or none where it or its room is not there.
    pub async fn participant(
        &self,
        room: &str,
        identity: &str,
        deadline: Instant,
    ) -> Result<Option<ParticipantInfo>, LiveKitError> {
        let request = RoomParticipantIdentity {
            room: room.to_owned(),
            identity: identity.to_owned(),
            ..RoomParticipantIdentity::default()
        };
        let found = self
            .0
            .call(
                "GetParticipant",
                admin_of(room),
                &request,
                &PARTICIPANT,
                deadline,
            )
            .await;
        match found {
            Ok(participant) => Ok(Some(participant)),
            Err(error) if error.is_code("not_found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the call that `intent` was written for. The [`Unfinished`] is for `Ledger::end`.
    pub(crate) async fn execute(
        &self,
        intent: Intent,
        deadline: Instant,
    ) -> (Unfinished, Result<MutedTrack, LiveKitError>) {
        let (permit, unfinished) = intent.into_parts();
        let request = MuteRoomTrackRequest {
            room: permit.room_name().to_owned(),
            identity: permit.identity().to_owned(),
            track_sid: permit.track_sid().to_owned(),
            muted: match permit.verb() {
                Verb::Mute => true,
                Verb::Unmute => false,
            },
        };
        let grants = admin_of(permit.room_name());
        let called = self.0.call::<_, MuteRoomTrackResponse>(
            "MutePublishedTrack",
            grants,
            &request,
            &MUTED,
            deadline,
        );
        let called = called.await;
        // LiveKit answers 200 with no track for one that it does not know.
        let muted = called.map(|response| {
            response
                .track
                .map_or(MutedTrack::Gone, |track| MutedTrack::Is {
                    muted: track.muted,
                })
        });
        (unfinished, muted)
    }
}

impl LiveKitError {
    /// LiveKit's settings forbid unmuting from the server.
    #[must_use]
    pub fn is_remote_unmute_disabled(&self) -> bool {
        self.is_code("failed_precondition")
    }
}

/// Elements of a list that are kept, as many as may be.
#[derive(Debug)]
struct Bounded<Element> {
    elements: Vec<Element>,
    bytes: usize,
}

impl<Element> Default for Bounded<Element> {
    fn default() -> Self {
        Self {
            elements: Vec::new(),
            bytes: 0,
        }
    }
}

impl<Element: Message> Bounded<Element> {
    fn add(&mut self, element: Element) {
        self.bytes += element.encoded_len();
        if self.bytes <= LIST_BYTES_MAX {
            self.elements.push(element);
        }
    }

    /// All of them.
    fn all(self, method: &'static str) -> Result<Vec<Element>, LiveKitError> {
        if self.bytes > LIST_BYTES_MAX {
            return Err(LiveKitError::TooLarge { method });
        }
        Ok(self.elements)
    }
}

fn room_list() -> VideoGrants {
    VideoGrants {
        room_list: true,
        ..VideoGrants::default()
    }
}

fn admin_of(room: &str) -> VideoGrants {
    VideoGrants {
        room_admin: true,
        room: room.to_owned(),
        ..VideoGrants::default()
    }
}
