//! The rooms: what is in them, how it changes, and the webhook that each change causes.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use chrono::{DateTime, TimeDelta, Utc};
use livekit_protocol as proto;
use proto::{DisconnectReason, TrackSource, WebhookEvent, participant_info};

use super::SimulatorError;
use super::model::{Join, Publish, new_id, new_participant, new_room, new_track};
use quell_clock::Clock;

/// The first `mid` that a client's tracks get.
const FIRST_MID: u32 = 7;

/// Every room, and the webhooks that wait to be taken.
#[derive(Debug)]
pub(super) struct Rooms {
    by_name: BTreeMap<String, Room>,
    outbox: Vec<WebhookEvent>,
    clock: Clock,
    count_lag: TimeDelta,
    full_room_in_webhooks: bool,
}

#[derive(Debug)]
struct Room {
    info: proto::Room,
    counted_at: DateTime<Utc>,
    participants: Vec<Participant>,
}

#[derive(Debug)]
struct Participant {
    info: proto::ParticipantInfo,
    next_mid: u32,
    has_published: bool,
    signalling_only: bool,
}

impl Room {
    fn participant(&self, identity: &str) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.info.identity == identity)
    }

    /// The room as others are told of it: the counts are only looked at every few seconds.
    fn seen(&mut self, now: DateTime<Utc>, count_lag: TimeDelta) -> proto::Room {
        if now - self.counted_at >= count_lag {
            self.count(now);
        }
        self.info.clone()
    }

    fn count(&mut self, now: DateTime<Utc>) {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let counted = self.participants.iter().filter(|p| !p.is_dependent());
        self.info.num_participants = number(counted.count());
        let publishers = self.participants.iter().filter(|p| p.info.is_publisher);
        self.info.num_publishers = number(publishers.count());
        self.counted_at = now;
    }
}

impl Participant {
    /// Agents and recorders are not counted.
    #[expect(deprecated, reason = "the real server still looks at these two")]
    fn is_dependent(&self) -> bool {
        let permission = self.info.permission.clone().unwrap_or_default();
        matches!(
            self.info.kind(),
            participant_info::Kind::Agent | participant_info::Kind::Egress
        ) || permission.agent
            || permission.recorder
    }

    fn may_publish(&self, source: TrackSource) -> bool {
        self.info.permission.as_ref().is_some_and(|permission| {
            permission.can_publish
                && (permission.can_publish_sources.is_empty()
                    || permission.can_publish_sources.contains(&source.into()))
        })
    }
}

impl Rooms {
    pub(super) fn new(clock: Clock, count_lag: TimeDelta, full_room_in_webhooks: bool) -> Self {
        Self {
            full_room_in_webhooks,
            by_name: BTreeMap::new(),
            outbox: Vec::new(),
            clock,
            count_lag,
        }
    }

    /// The webhooks caused since this was last asked.
    pub(super) fn take_events(&mut self) -> Vec<WebhookEvent> {
        mem::take(&mut self.outbox)
    }

    pub(super) fn list(&mut self, names: &[String]) -> Vec<proto::Room> {
        let (now, lag) = (self.clock.now(), self.count_lag);
        let wanted = |room: &&mut Room| names.is_empty() || names.contains(&room.info.name);
        let rooms = self.by_name.values_mut().filter(wanted);
        rooms.map(|room| room.seen(now, lag)).collect()
    }

    pub(super) fn exists(&self, room: &str) -> bool {
        self.by_name.contains_key(room)
    }

    pub(super) fn participants(&self, room: &str) -> Vec<proto::ParticipantInfo> {
        let room = self.by_name.get(room).into_iter();
        room.flat_map(|room| room.participants.iter().map(|p| p.info.clone()))
            .collect()
    }

    pub(super) fn participant(&self, room: &str, identity: &str) -> Option<proto::ParticipantInfo> {
        let participant = self.by_name.get(room)?.participant(identity)?;
        Some(participant.info.clone())
    }

    pub(super) fn track(&self, room: &str, identity: &str, sid: &str) -> Option<proto::TrackInfo> {
        let participant = self.by_name.get(room)?.participant(identity)?;
        let mut tracks = participant.info.tracks.iter();
        tracks.find(|track| track.sid == sid).cloned()
    }

    pub(super) fn create_room(&mut self, name: &str, metadata: Option<&str>) -> proto::Room {
        let now = self.clock.now();
        if let Some(room) = self.by_name.get_mut(name) {
            if let Some(metadata) = metadata {
                metadata.clone_into(&mut room.info.metadata);
                room.count(now);
            }
            return room.info.clone();
        }
        let info = new_room(name, metadata.unwrap_or_default(), now);
        let room = Room {
            info: info.clone(),
            counted_at: now,
            participants: Vec::new(),
        };
        self.by_name.insert(name.to_owned(), room);
        self.emit(WebhookEvent {
            event: "room_started".to_owned(),
            room: Some(info.clone()),
            ..Default::default()
        });
        info
    }

    pub(super) fn end_room(&mut self, name: &str) -> Result<(), SimulatorError> {
        for participant in self.participants(name) {
            self.close(name, &participant.identity, DisconnectReason::RoomDeleted)?;
        }
        let (now, lag) = (self.clock.now(), self.count_lag);
        let room = self.by_name.remove(name);
        let mut room = room.ok_or_else(|| SimulatorError::no_room(name))?;
        self.emit(WebhookEvent {
            event: "room_finished".to_owned(),
            room: Some(room.seen(now, lag)),
            ..Default::default()
        });
        Ok(())
    }

    pub(super) fn join(&mut self, room: &str, join: Join) -> proto::ParticipantInfo {
        let now = self.clock.now();
        self.create_room(room, None);
        // Whoever has that identity is sent away; nobody having it is the usual case.
        drop(self.close(room, &join.identity, DisconnectReason::DuplicateIdentity));
        let signalling_only = join.signalling_only;
        let info = new_participant(join, now);
        if let Some(room) = self.by_name.get_mut(room) {
            room.participants.push(Participant {
                info: info.clone(),
                next_mid: FIRST_MID,
                has_published: false,
                signalling_only,
            });
        }
        if !signalling_only {
            self.emit_participant(room, "participant_joined", info.clone());
        }
        info
    }

    pub(super) fn leave(&mut self, room: &str, identity: &str) -> Result<(), SimulatorError> {
        self.close(room, identity, DisconnectReason::ClientInitiated)
    }

    fn close(
        &mut self,
        room: &str,
        identity: &str,
        reason: DisconnectReason,
    ) -> Result<(), SimulatorError> {
        let mut participant = self.participant_mut(room, identity)?;
        let tracks = mem::take(&mut participant.info.tracks);
        for track in tracks {
            self.emit_track(room, identity, "track_unpublished", track)?;
        }
        participant = self.participant_mut(room, identity)?;
        let mut info = participant.info.clone();
        info.set_state(participant_info::State::Disconnected);
        info.set_disconnect_reason(reason);
        info.version += 1;
        let event = if participant.signalling_only {
            "participant_connection_aborted"
        } else {
            "participant_left"
        };
        if let Some(room) = self.by_name.get_mut(room) {
            room.participants.retain(|p| p.info.identity != identity);
        }
        self.emit_participant(room, event, info);
        Ok(())
    }

    pub(super) fn publish(
        &mut self,
        room: &str,
        identity: &str,
        publish: Publish,
    ) -> Result<proto::TrackInfo, SimulatorError> {
        let now = self.clock.now();
        let participant = self.participant_mut(room, identity)?;
        if !participant.may_publish(publish.source) {
            return Err(SimulatorError::NotPermitted {
                identity: identity.to_owned(),
                source_name: publish.source.as_str_name(),
            });
        }
        let track = new_track(publish, participant.next_mid, now);
        participant.next_mid += 1;
        participant.info.version += 1;
        if !participant.info.is_publisher {
            participant.info.is_publisher = true;
            participant.info.version += 1;
        }
        participant.has_published = true;
        participant.info.tracks.push(track.clone());
        self.emit_track(room, identity, "track_published", track.clone())?;
        Ok(track)
    }

    pub(super) fn unpublish(
        &mut self,
        room: &str,
        identity: &str,
        sid: &str,
    ) -> Result<(), SimulatorError> {
        let participant = self.participant_mut(room, identity)?;
        let tracks = &mut participant.info.tracks;
        let Some(index) = tracks.iter().position(|track| track.sid == sid) else {
            return Err(SimulatorError::no_track(sid));
        };
        let track = tracks.remove(index);
        participant.info.version += 1;
        self.emit_track(room, identity, "track_unpublished", track)
    }

    /// Mutes or unmutes; nobody is told by webhook.
    pub(super) fn set_muted(
        &mut self,
        room: &str,
        identity: &str,
        sid: &str,
        muted: bool,
    ) -> Result<proto::TrackInfo, SimulatorError> {
        let participant = self.participant_mut(room, identity)?;
        participant.info.version += 1;
        let mut tracks = participant.info.tracks.iter_mut();
        let track = tracks.find(|track| track.sid == sid);
        let track = track.ok_or_else(|| SimulatorError::no_track(sid))?;
        track.muted = muted;
        Ok(track.clone())
    }

    /// What `UpdateParticipant` does: an empty name or metadata changes nothing, attributes are
    /// merged and an empty value deletes, permissions are replaced whole, and tracks that they do
    /// not allow any more are unpublished.
    pub(super) fn update(
        &mut self,
        request: &proto::UpdateParticipantRequest,
    ) -> Result<proto::ParticipantInfo, SimulatorError> {
        let (room, identity) = (&request.room, &request.identity);
        let participant = self.participant_mut(room, identity)?;
        let has_published = participant.has_published;
        let info = &mut participant.info;
        if !request.name.is_empty() && info.name != request.name {
            info.name.clone_from(&request.name);
            info.version += 1;
        }
        if !request.metadata.is_empty() && info.metadata != request.metadata {
            info.metadata.clone_from(&request.metadata);
            info.version += 1;
        }
        if !request.attributes.is_empty() {
            merge(&mut info.attributes, &request.attributes);
            info.version += 1;
        }
        if let Some(permission) = &request.permission
            && info.permission.as_ref() != Some(permission)
        {
            info.permission = Some(permission.clone());
            info.is_publisher = permission.can_publish && has_published;
            info.version += 1;
            let forbidden: Vec<String> = participant
                .info
                .tracks
                .iter()
                .filter(|track| !participant.may_publish(track.source()))
                .map(|track| track.sid.clone())
                .collect();
            for sid in forbidden {
                self.unpublish(room, identity, &sid)?;
            }
        }
        Ok(self.participant_mut(room, identity)?.info.clone())
    }

    fn participant_mut(
        &mut self,
        room: &str,
        identity: &str,
    ) -> Result<&mut Participant, SimulatorError> {
        let room = self
            .by_name
            .get_mut(room)
            .ok_or_else(|| SimulatorError::no_room(room))?;
        room.participants
            .iter_mut()
            .find(|participant| participant.info.identity == identity)
            .ok_or_else(|| SimulatorError::NoParticipant {
                room: room.info.name.clone(),
                identity: identity.to_owned(),
            })
    }

    /// Events of participants carry the whole room.
    fn emit_participant(&mut self, room: &str, event: &str, info: proto::ParticipantInfo) {
        let (now, lag) = (self.clock.now(), self.count_lag);
        let room = self.by_name.get_mut(room).map(|room| room.seen(now, lag));
        self.emit(WebhookEvent {
            event: event.to_owned(),
            room,
            // The tracks were unpublished before, or are not there yet.
            participant: Some(proto::ParticipantInfo {
                tracks: Vec::new(),
                ..info
            }),
            ..Default::default()
        });
    }

    /// Events of tracks say of the room and the participant who they are, and no more.
    fn emit_track(
        &mut self,
        room: &str,
        identity: &str,
        event: &str,
        track: proto::TrackInfo,
    ) -> Result<(), SimulatorError> {
        let participant = proto::ParticipantInfo {
            sid: self.participant_mut(room, identity)?.info.sid.clone(),
            identity: identity.to_owned(),
            ..Default::default()
        };
        let is_full = self.full_room_in_webhooks;
        let room = self.by_name.get(room).map(|room| {
            if is_full {
                return room.info.clone();
            }
            proto::Room {
                sid: room.info.sid.clone(),
                name: room.info.name.clone(),
                ..Default::default()
            }
        });
        self.emit(WebhookEvent {
            event: event.to_owned(),
            room,
            participant: Some(participant),
            track: Some(track),
            ..Default::default()
        });
        Ok(())
    }

    fn emit(&mut self, event: WebhookEvent) {
        self.outbox.push(WebhookEvent {
            id: new_id("EV_"),
            created_at: self.clock.unix_seconds(),
            ..event
        });
    }
}

/// Puts `changes` into `attributes`; an empty value deletes.
fn merge(attributes: &mut HashMap<String, String>, changes: &HashMap<String, String>) {
    for (key, value) in changes {
        if value.is_empty() {
            attributes.remove(key);
        } else {
            attributes.insert(key.clone(), value.clone());
        }
    }
}
