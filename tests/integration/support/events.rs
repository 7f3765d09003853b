//! Webhooks by hand (held back, twice, out of order), and what quell and the double counted.

use livekit_double::{Call, Method, Outcome};
use livekit_protocol::{ParticipantInfo, Room, TrackInfo, WebhookEvent};
use url::Url;
use uuid::Uuid;

use super::TestApp;

impl TestApp {
    /// From now on LiveKit's webhooks are sent by [`TestApp::post`] alone.
    pub(crate) fn hold_webhooks(&self) {
        self.simulator.set_webhook_url(None);
    }

    /// The `track_published` that LiveKit has for the track, sent or held.
    pub(crate) fn event_of(&self, track_sid: &str) -> WebhookEvent {
        let is_it = |event: &WebhookEvent| {
            event.event == "track_published"
                && event
                    .track
                    .as_ref()
                    .is_some_and(|track| track.sid == track_sid)
        };
        self.simulator.events().into_iter().find(is_it).unwrap()
    }

    /// A `track_published` of a track that need not be there.
    pub(crate) fn event_ahead(&self, room: &str, identity: &str, track: TrackInfo) -> WebhookEvent {
        let room = self.simulator.room(room).unwrap();
        WebhookEvent {
            event: "track_published".to_owned(),
            id: format!("EV_{}", Uuid::now_v7().simple()),
            created_at: room.creation_time,
            room: Some(Room {
                sid: room.sid,
                name: room.name,
                ..Room::default()
            }),
            participant: Some(ParticipantInfo {
                sid: "PA_ahead".to_owned(),
                identity: identity.to_owned(),
                ..ParticipantInfo::default()
            }),
            track: Some(track),
            ..WebhookEvent::default()
        }
    }

    /// Sends `event` to the quell at `url`, as LiveKit would now.
    pub(crate) async fn post(&self, url: &str, event: &WebhookEvent) {
        let url = Url::parse(&format!("{url}/livekit/webhook")).unwrap();
        let webhook = self.simulator.signed_webhook(event).unwrap();
        let outcomes = self.simulator.post_webhook(&url, &webhook, 1).await;
        assert_eq!(outcomes, [Outcome::Status(200)]);
    }

    /// The calls to `method` that the double has seen.
    pub(crate) fn calls_to(&self, method: Method) -> Vec<Call> {
        let mut calls = self.simulator.calls();
        calls.retain(|call| call.method == method.name());
        calls
    }

    /// Waits until the double has seen `count` calls to `method`, answered or not.
    pub(crate) async fn wait_for_calls(&self, method: Method, count: usize) {
        self.simulator
            .wait_until(super::BOUND, |simulator| {
                let calls = simulator.calls();
                calls.iter().filter(|c| c.method == method.name()).count() >= count
            })
            .await
            .unwrap();
    }

    /// The value of a metric of the quell at `url`; 0 where it was never touched.
    pub(crate) async fn metric(&self, url: &str, name: &str) -> u64 {
        let response = self.http.get(format!("{url}/metrics")).send().await;
        let text = response.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}
