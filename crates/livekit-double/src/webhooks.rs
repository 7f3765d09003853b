//! Webhooks: signing, the queue of each room, and the retries of one delivery.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use livekit_protocol::WebhookEvent;
use quell_jwt::{EncodingKey, Header};
use secrecy::ExposeSecret;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use url::Url;

use super::ApiKey;
use super::{Inner, Shared, SimulatorError};

/// How long a webhook's token is valid.
const TOKEN_VALID_SECS: i64 = 300;

/// A webhook as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedWebhook {
    /// The exact bytes that are signed.
    pub body: Vec<u8>,
    /// The whole value of `Authorization`: a JWT, without `Bearer`.
    pub token: String,
}

/// One attempt to deliver one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event's id, the same in every attempt.
    pub event_id: String,
    /// The event's name.
    pub event: String,
    /// The name of its room.
    pub room: String,
    /// 1 for the first; 0 where it was dropped without one.
    pub attempt: u32,
    /// How it went.
    pub outcome: Outcome,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This status came back.
    Status(u16),
    /// Nothing came back, and why.
    Failed(String),
    /// It was never sent: `age` or `queue is full`.
    Dropped(&'static str),
}

/// The webhooks of one room: first in, first out, one in flight.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Queued>,
}

#[derive(Debug)]
struct Queued {
    since: Instant,
    event: WebhookEvent,
    url: Url,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    sha256: String,
}

/// The token that LiveKit would send with `body`, had `key` signed it at `now`.
pub fn sign_webhook(
    key: &ApiKey,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<String, SimulatorError> {
    let iat = now.timestamp();
    let claims = Claims {
        iss: &key.key,
        exp: iat + TOKEN_VALID_SECS,
        nbf: iat,
        iat,
        sha256: STANDARD.encode(Sha256::digest(body)),
    };
    let secret = EncodingKey::from_secret(key.secret.expose_secret().as_bytes());
    quell_jwt::encode(&Header::default(), &claims, &secret).map_err(SimulatorError::Sign)
}

impl Shared {
    pub(super) fn sign(&self, event: &WebhookEvent) -> Result<SignedWebhook, SimulatorError> {
        let body = serde_json::to_vec(event).map_err(SimulatorError::Encode)?;
        let key = self
            .config
            .api_keys
            .first()
            .ok_or(SimulatorError::NoApiKey)?;
        let token = sign_webhook(key, &body, self.config.clock.now())?;
        Ok(SignedWebhook { body, token })
    }

    /// Queues the events; answers the rooms whose queue is new and needs a worker.
    pub(super) fn queue(&self, inner: &mut Inner, events: Vec<WebhookEvent>) -> Vec<String> {
        let mut new = Vec::new();
        for event in events {
            inner.events.push(event.clone());
            let Some(url) = inner.webhook_url.clone() else {
                continue;
            };
            let room = room_name(&event);
            let queue = inner.queues.entry(room).or_insert_with_key(|room| {
                new.push(room.clone());
                Queue::default()
            });
            if queue.waiting.len() < self.config.webhook_queue_max {
                let since = Instant::now();
                queue.waiting.push_back(Queued { since, event, url });
            } else {
                let dropped = delivery(&event, 0, Outcome::Dropped("queue is full"));
                inner.deliveries.push(dropped);
            }
        }
        new
    }

    /// Starts the worker of a new queue, which ends when the queue is empty.
    pub(super) fn spawn_worker(self: &Arc<Self>, room: String) {
        let shared = Arc::clone(self);
        self.tracker.spawn(async move {
            let work = shared.work_off(&room);
            shared.cancel.run_until_cancelled(work).await;
        });
    }

    async fn work_off(&self, room: &str) {
        loop {
            let next = {
                let mut inner = self.lock();
                let next = inner
                    .queues
                    .get_mut(room)
                    .and_then(|queue| queue.waiting.pop_front());
                if next.is_none() {
                    inner.queues.remove(room);
                }
                next
            };
            let Some(next) = next else { break };
            if next.since.elapsed() > self.config.webhook_age_max {
                self.record(delivery(&next.event, 0, Outcome::Dropped("age")));
            } else {
                self.send(&next).await;
            }
        }
        self.changed.send_replace(());
    }

    /// Sends until it is taken or refused for good: signed once, the same every time.
    async fn send(&self, queued: &Queued) {
        let signed = match self.sign(&queued.event) {
            Ok(signed) => signed,
            Err(error) => {
                let outcome = Outcome::Failed(error.to_string());
                return self.record(delivery(&queued.event, 0, outcome));
            }
        };
        let mut delays = self.config.retry_delays.iter();
        for attempt in 1.. {
            let (outcome, wait) = self.post(&queued.url, &signed).await;
            let again = is_retried(&outcome);
            self.record(delivery(&queued.event, attempt, outcome));
            let Some(delay) = delays.next().filter(|_| again) else {
                return;
            };
            tokio::time::sleep(wait.unwrap_or(*delay)).await;
        }
    }

    /// One POST, and how long the answer asks to wait.
    pub(super) async fn post(
        &self,
        url: &Url,
        signed: &SignedWebhook,
    ) -> (Outcome, Option<Duration>) {
        let request = self
            .client
            .post(url.clone())
            .header(AUTHORIZATION, &signed.token)
            .header(CONTENT_TYPE, "application/webhook+json")
            .body(signed.body.clone());
        match request.send().await {
            Ok(response) => {
                let asks = [
                    StatusCode::TOO_MANY_REQUESTS,
                    StatusCode::SERVICE_UNAVAILABLE,
                ]
                .contains(&response.status());
                let wait = response.headers().get(RETRY_AFTER).filter(|_| asks);
                let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok());
                let outcome = Outcome::Status(response.status().as_u16());
                (outcome, wait.map(Duration::from_secs))
            }
            Err(error) => (Outcome::Failed(error.to_string()), None),
        }
    }

    fn record(&self, delivery: Delivery) {
        self.lock().deliveries.push(delivery);
        self.changed.send_replace(());
    }
}

/// Transport errors, 429 and 5xx, except 501.
fn is_retried(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Status(501) | Outcome::Dropped(_) => false,
        Outcome::Status(status) => *status == 429 || *status >= 500,
        Outcome::Failed(_) => true,
    }
}

fn delivery(event: &WebhookEvent, attempt: u32, outcome: Outcome) -> Delivery {
    Delivery {
        event_id: event.id.clone(),
        event: event.event.clone(),
        room: room_name(event),
        attempt,
        outcome,
    }
}

fn room_name(event: &WebhookEvent) -> String {
    event.room.clone().unwrap_or_default().name
}
