//! What tests and the demo do with a running double: change rooms, look, wait, post by hand.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::{join_all, pending};
use livekit_protocol as proto;
use url::Url;

use super::{
    Call, Delivery, Fault, Join, Outcome, Publish, SignedWebhook, Simulator, SimulatorError,
};

/// Rooms, as clients and LiveKit's API would change them.
#[expect(
    clippy::must_use_candidate,
    reason = "called for what they do more often than for what they return"
)]
impl Simulator {
    /// Creates the room (`room_started`); one that is there has its metadata changed, if given.
    pub fn create_room(&self, room: &str, metadata: Option<&str>) -> proto::Room {
        self.shared
            .with(|inner| inner.rooms.create_room(room, metadata))
    }

    /// Ends the room: everybody leaves, then `room_finished`. The name is free for another room.
    pub fn end_room(&self, room: &str) -> Result<(), SimulatorError> {
        self.shared.with(|inner| inner.rooms.end_room(room))
    }

    /// Lets somebody join (`participant_joined`), in a new room where there is none of that name.
    /// Whoever is there under the same identity is sent away first.
    pub fn join(&self, room: &str, join: Join) -> proto::ParticipantInfo {
        self.shared.with(|inner| inner.rooms.join(room, join))
    }

    /// Lets somebody leave: `track_unpublished` of each track, then `participant_left`.
    pub fn leave(&self, room: &str, identity: &str) -> Result<(), SimulatorError> {
        self.shared.with(|inner| inner.rooms.leave(room, identity))
    }

    /// Publishes a track (`track_published`).
    pub fn publish(
        &self,
        room: &str,
        identity: &str,
        publish: Publish,
    ) -> Result<proto::TrackInfo, SimulatorError> {
        self.shared
            .with(|inner| inner.rooms.publish(room, identity, publish))
    }

    /// Takes a track back (`track_unpublished`).
    pub fn unpublish(&self, room: &str, identity: &str, sid: &str) -> Result<(), SimulatorError> {
        self.shared
            .with(|inner| inner.rooms.unpublish(room, identity, sid))
    }

    /// Lets the participant mute or unmute its own track: no webhook tells.
    pub fn set_self_muted(
        &self,
        room: &str,
        identity: &str,
        sid: &str,
        muted: bool,
    ) -> Result<proto::TrackInfo, SimulatorError> {
        self.shared
            .with(|inner| inner.rooms.set_muted(room, identity, sid, muted))
    }

    /// Merges into the participant's attributes; an empty value deletes. No webhook tells.
    pub fn set_attributes(
        &self,
        room: &str,
        identity: &str,
        attributes: HashMap<String, String>,
    ) -> Result<proto::ParticipantInfo, SimulatorError> {
        let request = proto::UpdateParticipantRequest {
            room: room.to_owned(),
            identity: identity.to_owned(),
            attributes,
            ..Default::default()
        };
        self.shared.with(|inner| inner.rooms.update(&request))
    }

    /// Every room, by name.
    #[must_use]
    pub fn rooms(&self) -> Vec<proto::Room> {
        self.shared.lock().rooms.list(&[])
    }

    /// The room of that name.
    #[must_use]
    pub fn room(&self, room: &str) -> Option<proto::Room> {
        let mut rooms = self.shared.lock().rooms.list(&[room.to_owned()]);
        rooms.pop()
    }

    /// The participant, with its tracks.
    #[must_use]
    pub fn participant(&self, room: &str, identity: &str) -> Option<proto::ParticipantInfo> {
        self.shared.lock().rooms.participant(room, identity)
    }

    /// The track.
    #[must_use]
    pub fn track(&self, room: &str, identity: &str, sid: &str) -> Option<proto::TrackInfo> {
        self.shared.lock().rooms.track(room, identity, sid)
    }
}

/// Settings and faults, changed while it runs.
impl Simulator {
    /// Sets LiveKit's `room.enable_remote_unmute`.
    pub fn set_enable_remote_unmute(&self, enabled: bool) {
        self.shared
            .with(|inner| inner.enable_remote_unmute = enabled);
    }

    /// Sends webhooks there from now on, or none.
    pub fn set_webhook_url(&self, url: Option<Url>) {
        self.shared.with(|inner| inner.webhook_url = url);
    }

    /// Replaces all faults; none clears them.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        self.shared.with(|inner| inner.faults = faults);
    }
}

/// What happened, and waiting for it.
impl Simulator {
    /// Every call that came in, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.lock().calls.entries()
    }

    /// Every event that was caused, oldest first, sent or not.
    #[must_use]
    pub fn events(&self) -> Vec<proto::WebhookEvent> {
        self.shared.lock().events.entries()
    }

    /// Every attempt to deliver a webhook, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.lock().deliveries.entries()
    }

    /// Waits until `condition` holds: it is asked again whenever anything has changed.
    pub async fn wait_until(
        &self,
        within: Duration,
        condition: impl Fn(&Self) -> bool,
    ) -> Result<(), SimulatorError> {
        let mut changed = self.shared.changed.subscribe();
        let wait = async {
            while !condition(self) {
                if changed.changed().await.is_err() {
                    pending::<()>().await;
                }
            }
        };
        let waited = tokio::time::timeout(within, wait).await;
        waited.map_err(|_| SimulatorError::TimedOut(within))
    }

    /// Waits until no webhook is waiting or in flight.
    pub async fn wait_delivered(&self, within: Duration) -> Result<(), SimulatorError> {
        self.wait_until(within, |simulator| {
            simulator.shared.lock().queues.is_empty()
        })
        .await
    }
}

/// Webhooks by hand: to tamper with, to replay, to send many times.
impl Simulator {
    /// `event` as it would be sent now.
    pub fn signed_webhook(
        &self,
        event: &proto::WebhookEvent,
    ) -> Result<SignedWebhook, SimulatorError> {
        self.shared.sign(event)
    }

    /// Posts `webhook` to `url`, `times` at once, past the queue and without trying again.
    pub async fn post_webhook(
        &self,
        url: &Url,
        webhook: &SignedWebhook,
        times: usize,
    ) -> Vec<Outcome> {
        let posts = (0..times).map(|_| self.shared.post(url, webhook));
        let posted = join_all(posts).await;
        posted.into_iter().map(|(outcome, _)| outcome).collect()
    }
}
