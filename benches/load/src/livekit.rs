//! The double, its rooms, and the events that tell of them.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use livekit_double::{Join, Method, Publish, Simulator, SimulatorConfig};
use livekit_protocol::{ParticipantInfo, Room, TrackInfo, TrackSource, WebhookEvent};
use quell_clock::Clock;
use url::Url;

use crate::Run;
use crate::wire::Request;

/// Whose rooms they are, and who may be heard (`policies.yaml`).
const TENANTS: usize = 20;
/// Participants of a crowded room.
const CROWD: usize = 20;
pub(crate) const FORBIDDEN: &str = "forbidden";
pub(crate) const ALLOWED: &str = "allowed";

/// A double with rooms.
#[derive(Debug)]
pub(crate) struct LiveKit {
    pub(crate) simulator: Simulator,
    url: Url,
    clock: Clock,
    prefix: String,
    events: usize,
    /// When LiveKit was first asked to mute a track.
    muted: HashMap<String, DateTime<Utc>>,
}

impl LiveKit {
    pub(crate) async fn start(run: &Run) -> Result<Self> {
        let config = SimulatorConfig {
            listen: run.livekit,
            ..SimulatorConfig::default()
        };
        Ok(Self {
            simulator: Simulator::start(config).await?,
            url: run.webhook_url.clone(),
            clock: Clock::system(),
            prefix: run.prefix.clone(),
            events: 0,
            muted: HashMap::new(),
        })
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Rooms of a kind, of some tenants in turn.
    pub(crate) fn rooms(&self, kind: &str, count: usize) -> Vec<Room> {
        let room = |number: usize| {
            let name = format!("{kind}-{}-{number}", self.prefix);
            let metadata = serde_json::json!({ "auth_id": format!("tenant-{}", number % TENANTS) });
            self.simulator
                .create_room(&name, Some(&metadata.to_string()))
        };
        (0..count).map(room).collect()
    }

    /// Rooms with people in them, of whom no webhook tells.
    pub(crate) fn crowd(&self, rooms: usize) -> Result<()> {
        for room in self.rooms("forbidden-crowd", rooms) {
            for number in 0..CROWD {
                let who = self.join(&room, &format!("c{number}"));
                let camera = Publish::new(TrackSource::Camera);
                self.simulator.publish(&room.name, &who.identity, camera)?;
            }
        }
        Ok(())
    }

    /// Somebody joins.
    pub(crate) fn join(&self, room: &Room, identity: &str) -> ParticipantInfo {
        let join = Join::new(identity).attribute("role", "attendee");
        self.simulator.join(&room.name, join)
    }

    /// Publishes a microphone; its SID, and the webhook that tells of it.
    pub(crate) fn publish(
        &mut self,
        room: &Room,
        who: &ParticipantInfo,
    ) -> Result<(TrackInfo, Request)> {
        let microphone = Publish::microphone();
        let track = self
            .simulator
            .publish(&room.name, &who.identity, microphone)?;
        let request = self.track_published(room, who, track.clone())?;
        Ok((track, request))
    }

    /// The webhook of a track, which need not be there.
    pub(crate) fn track_published(
        &mut self,
        room: &Room,
        who: &ParticipantInfo,
        track: TrackInfo,
    ) -> Result<Request> {
        // As livekit-server leaves out what it knows no more of in these.
        self.request(WebhookEvent {
            event: "track_published".to_owned(),
            room: Some(Room {
                sid: room.sid.clone(),
                name: room.name.clone(),
                ..Room::default()
            }),
            participant: Some(ParticipantInfo {
                sid: who.sid.clone(),
                identity: who.identity.clone(),
                ..ParticipantInfo::default()
            }),
            track: Some(track),
            ..WebhookEvent::default()
        })
    }

    /// The webhook of somebody who joined.
    pub(crate) fn participant_joined(
        &mut self,
        room: &Room,
        who: &ParticipantInfo,
    ) -> Result<Request> {
        self.request(WebhookEvent {
            event: "participant_joined".to_owned(),
            room: Some(room.clone()),
            participant: Some(who.clone()),
            ..WebhookEvent::default()
        })
    }

    fn request(&mut self, event: WebhookEvent) -> Result<Request> {
        self.events += 1;
        let event = WebhookEvent {
            id: format!("EV_{}-{}", self.prefix, self.events),
            created_at: self.clock.unix_seconds(),
            ..event
        };
        Ok(Request::of(
            &self.simulator.signed_webhook(&event)?,
            &self.url,
        ))
    }

    /// Notes which tracks LiveKit was asked to mute since the last time, and how many it were in all. The
    /// double keeps its last 10,000 calls.
    pub(crate) fn note_muted(&mut self) -> usize {
        let mutes = self.simulator.calls().into_iter();
        let mutes = mutes.filter(|call| call.method == Method::MutePublishedTrack.name());
        // One that just arrives is not read yet.
        for call in mutes.filter(|call| !call.track_sid.is_empty()) {
            self.muted.entry(call.track_sid).or_insert(call.at);
        }
        self.muted.len()
    }

    pub(crate) fn muted_at(&self, sid: &str) -> Option<DateTime<Utc>> {
        self.muted.get(sid).copied()
    }

    /// Waits until `count` tracks were muted in all; false where that takes longer than `patience`.
    pub(crate) async fn wait_muted(&mut self, count: usize, patience: Duration) -> bool {
        let begun = tokio::time::Instant::now();
        while self.note_muted() < count {
            if begun.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }
}

/// A track that LiveKit does not show (any more).
pub(crate) fn gone_track(number: usize) -> TrackInfo {
    TrackInfo {
        sid: format!("TR_AMgone{number}"),
        source: TrackSource::Microphone.into(),
        ..TrackInfo::default()
    }
}

/// The time between two instants of one clock.
pub(crate) fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Duration> {
    (to - from).to_std().context("a mute came before its event")
}
