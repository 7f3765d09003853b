//! Events: a published track with all that is known of it.

use super::rule::{Place, Rule};
use super::{chance, random};

/// A track, who publishes it, and where.
#[derive(Debug, Clone)]
pub struct Event {
    pub room: String,
    pub num_participants: i64,
    pub num_publishers: i64,
    pub recording: bool,
    /// How long ago the room was made.
    pub room_age_seconds: i64,
    /// In the room's metadata.
    pub plan: &'static str,
    /// In the room's metadata, two keys deep; some rooms have none.
    pub level: Option<i64>,
    pub identity: String,
    pub participant_name: &'static str,
    /// A phone caller; else a person with a client.
    pub is_caller: bool,
    /// An attribute.
    pub role: &'static str,
    /// An attribute.
    pub region: String,
    /// Whether there is an attribute of this name.
    pub watched: bool,
    /// A microphone; else the sound of a shared screen.
    pub is_microphone: bool,
    pub track_name: &'static str,
    pub mime_type: &'static str,
}

impl Event {
    /// LiveKit's word.
    pub fn kind(&self) -> &'static str {
        if self.is_caller { "SIP" } else { "STANDARD" }
    }

    /// LiveKit's word.
    pub fn source(&self) -> &'static str {
        if self.is_microphone {
            "MICROPHONE"
        } else {
            "SCREEN_SHARE_AUDIO"
        }
    }

    /// The `n`th event where there are these rules.
    fn new(n: usize, rules: &[Rule]) -> Self {
        let mut event = Self {
            room: format!("class-{}-unruled", random(n, 21) % 100_000),
            num_participants: (random(n, 22) % 50) as i64 + 2,
            num_publishers: (random(n, 23) % 8) as i64,
            recording: chance(n, 24, 20),
            room_age_seconds: (random(n, 25) % 7_200) as i64,
            plan: ["free", "trial", "pro", "team"][random(n, 26) as usize % 4],
            level: chance(n, 27, 75).then_some((random(n, 28) % 6) as i64),
            identity: if chance(n, 29, 10) {
                format!("staff-{}", random(n, 30) % 1_000)
            } else {
                format!("guest-{}", random(n, 30) % 100_000)
            },
            participant_name: if chance(n, 31, 10) { "" } else { "Ann" },
            is_caller: chance(n, 32, 10),
            role: ["host", "moderator", "attendee", "attendee", "attendee"]
                [random(n, 33) as usize % 5],
            region: format!(
                "region-{}-{}",
                98 + random(n, 34) % 2,
                random(n, 35) % 1_000
            ),
            watched: chance(n, 36, 10),
            is_microphone: chance(n, 37, 90),
            track_name: if chance(n, 38, 10) {
                "my screen"
            } else {
                "mic"
            },
            mime_type: if chance(n, 39, 20) {
                "audio/red"
            } else {
                "audio/opus"
            },
        };
        if chance(n, 40, 60) && !rules.is_empty() {
            match &rules[random(n, 41) as usize % rules.len()].place {
                Place::Room(room) => event.room.clone_from(room),
                Place::RoomStart(start) => event.room = format!("{start}session-4"),
                Place::RoomEnd(end) => event.room = format!("lecture{end}"),
                Place::RoomInside(text) => event.room = format!("lecture{text}again"),
                Place::RoomEnds(start, end) => event.room = format!("{start}hall{end}"),
                Place::Identity(identity) => event.identity.clone_from(identity),
                Place::Callers(region) => {
                    event.is_caller = true;
                    event.region.clone_from(region);
                }
            }
        }
        event
    }
}

/// `count` events where there are these rules.
pub fn events(count: usize, rules: &[Rule]) -> Vec<Event> {
    (0..count).map(|n| Event::new(n, rules)).collect()
}
