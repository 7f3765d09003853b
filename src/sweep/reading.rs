//! Reads one room: everybody in it, and then the room again.
//!
//! Its name can be another tenant's room by the time that its participants are read. So whatever is done or told of
//! them takes the room as it is after them, with the same SID.

use std::sync::Arc;

use livekit_protocol::ParticipantInfo;
use prost::Message;
use tokio::time::Instant;

use super::reader::{ListedRoom, Reader};
use crate::livekit::{LiveKitError, LiveRoom, Oversized, Urgency};
use crate::pipeline::LiveTrack;

/// Of participants with more than this together, the rest is asked for one by one.
const PARTICIPANTS_BYTES_MAX: usize = 4 << 20;

/// A room that is being read. Hidden participants are left out: nobody hears them.
#[derive(Debug)]
pub(crate) struct RoomReading<'a> {
    reader: &'a Reader,
    room: &'a ListedRoom,
    urgency: Urgency,
    /// The first part, until it is handed out.
    first: Option<Participants>,
    /// The identities of those who are asked for one by one.
    unread: Vec<String>,
    /// Participants of whom LiveKit says too much.
    pub(crate) oversized: Vec<Oversized>,
    pub(crate) participants: usize,
    pub(crate) tracks: usize,
    publishers: usize,
}

/// Some participants of a room, and when they were asked for.
#[derive(Debug)]
pub(crate) struct Participants {
    pub(crate) all: Vec<Arc<ParticipantInfo>>,
    pub(crate) asked_at: Instant,
}

impl Reader {
    /// Asks for everybody in the room.
    pub(crate) async fn read<'a>(
        &'a self,
        urgency: Urgency,
        room: &'a ListedRoom,
    ) -> Result<RoomReading<'a>, LiveKitError> {
        let (mut all, mut unread, mut bytes) = (Vec::new(), Vec::new(), 0);
        let each = |participant: ParticipantInfo| {
            bytes += participant.encoded_len();
            if bytes <= PARTICIPANTS_BYTES_MAX {
                all.push(Arc::new(participant));
            } else {
                unread.push(participant.identity);
            }
        };
        let (asked_at, reading) = self.read_each(urgency, room, each).await?;
        Ok(RoomReading {
            first: Some(Participants { all, asked_at }),
            unread,
            ..reading
        })
    }

    /// Asks for everybody in the room, whom `each` takes, and since when that is how it was. What is returned has
    /// nobody left to hand out.
    pub(crate) async fn read_each<'a>(
        &'a self,
        urgency: Urgency,
        room: &'a ListedRoom,
        mut each: impl FnMut(ParticipantInfo),
    ) -> Result<(Instant, RoomReading<'a>), LiveKitError> {
        self.rate.turn(urgency).await;
        let asked_at = Instant::now();
        let deadline = asked_at + self.timeout;
        let mut reading = RoomReading {
            reader: self,
            room,
            urgency,
            first: None,
            unread: Vec::new(),
            oversized: Vec::new(),
            participants: 0,
            tracks: 0,
            publishers: 0,
        };
        let count_each = |participant: ParticipantInfo| {
            if is_hidden(&participant) {
                return;
            }
            reading.participants += 1;
            reading.publishers += usize::from(participant.is_publisher);
            reading.tracks += participant.tracks.len();
            each(participant);
        };
        let name = &room.name;
        let oversized = self.livekit.each_participant(name, deadline, count_each);
        reading.oversized = oversized.await?;
        Ok((asked_at, reading))
    }

    /// The track as it is now; none where it is not heard any more.
    pub(crate) async fn track(
        &self,
        urgency: Urgency,
        live: &LiveTrack,
    ) -> Result<Option<LiveTrack>, LiveKitError> {
        self.rate.turn(urgency).await;
        let fetched_at = Instant::now();
        let deadline = fetched_at + self.timeout;
        let (name, identity) = (&live.room.info.name, &live.participant.identity);
        let participant = self.livekit.participant(name, identity, deadline).await?;
        let room = self.rooms.room(name, deadline).await?;
        let room = room.filter(|room| room.info.sid == live.room.info.sid);
        let (Some(participant), Some(room)) = (participant, room) else {
            return Ok(None);
        };
        let mut room = LiveRoom::clone(&room);
        room.info.num_publishers = live.room.info.num_publishers;
        room.info.num_participants = live.room.info.num_participants;
        let mut tracks = participant.tracks.iter();
        let track = tracks.find(|track| track.sid == live.track.sid && !track.muted);
        Ok(track.cloned().map(|track| LiveTrack {
            room: Arc::new(room),
            participant: Arc::new(participant),
            track,
            fetched_at,
        }))
    }
}

impl RoomReading<'_> {
    /// The next participants; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Participants>, LiveKitError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        while let Some(identity) = self.unread.pop() {
            self.reader.rate.turn(self.urgency).await;
            let asked_at = Instant::now();
            let deadline = asked_at + self.reader.timeout;
            let livekit = &self.reader.livekit;
            let found = livekit
                .participant(&self.room.name, &identity, deadline)
                .await?;
            if let Some(participant) = found {
                return Ok(Some(Participants {
                    all: vec![Arc::new(participant)],
                    asked_at,
                }));
            }
        }
        Ok(None)
    }

    /// The room as the list had it, or as it is now where that was not kept.
    pub(crate) async fn listed(&self) -> Result<Option<LiveRoom>, LiveKitError> {
        match &self.room.kept {
            Some(kept) => Ok(Some(self.counted(kept))),
            None => self.again().await,
        }
    }

    /// The same room as it is now; none where its name is another one's, or nobody's.
    pub(crate) async fn again(&self) -> Result<Option<LiveRoom>, LiveKitError> {
        let deadline = Instant::now() + self.reader.timeout;
        let now = self.reader.rooms.room(&self.room.name, deadline).await?;
        let now = now.filter(|now| now.info.sid == self.room.sid);
        Ok(now.map(|now| self.counted(&now)))
    }

    /// The room as those see it who are not hidden: LiveKit's own numbers count hidden participants, and lag.
    fn counted(&self, room: &LiveRoom) -> LiveRoom {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut room = room.clone();
        room.info.num_publishers = count(self.publishers);
        room.info.num_participants = count(self.participants);
        room
    }
}

fn is_hidden(participant: &ParticipantInfo) -> bool {
    let permission = participant.permission.as_ref();
    permission.is_some_and(|permission| permission.hidden)
}
