//! A LiveKit double: its `RoomService` over Twirp, its signed webhooks, and faults on demand.
//!
//! It holds rooms, participants and tracks, but no media, and is held to livekit-server 1.13.5 by
//! recordings of it (`tests/fixtures/livekit`):
//!
//! - `POST /twirp/livekit.RoomService/` `ListRooms`, `ListParticipants`, `GetParticipant`,
//!   `MutePublishedTrack`, `UpdateParticipant`, `SendData`, as protobuf or JSON, with LiveKit's
//!   token checks and errors. Room, participant or track that is not there: as [`Simulator`] says.
//! - Webhooks: signed as LiveKit's, each room's in order, tried again after 1, 2, 4 and 8 s.
//!   Only rooms, participants joining and leaving, and tracks coming and going cause them.
//! - [`Fault`]s of all calls or of one method, for ever or for a number of calls.
//!
//! What the real server does and this does not: rooms stay until [`Simulator::end_room`], no
//! clients connect, other methods are `bad_route`.
//!
//! # Control over HTTP
//!
//! For people and programs in other languages; on the same port, without a token, in JSON. Words
//! and answers are as in LiveKit's own JSON (`AUDIO`, `MICROPHONE`, `SIP`); `?` marks what may be
//! left out. What is not there is 404, what cannot be read 400 or 422.
//!
//! | request | body | what happens |
//! |---|---|---|
//! | `PUT /_sim/rooms/{room}` | `{metadata?}` | created (`room_started`), or its metadata changed; answers the room |
//! | `DELETE /_sim/rooms/{room}` | | everybody leaves, `room_finished` |
//! | `POST /_sim/rooms/{room}/participants` | `{identity, name?, kind?, kind_details?, attributes?, metadata?, hidden?, permission?}` | `participant_joined`; answers the participant |
//! | `DELETE .../participants/{identity}` | | `track_unpublished` of each track, `participant_left` |
//! | `POST .../participants/{identity}/tracks` | `{name?, type?, source?, muted?, sid?}` | `track_published`; answers the track |
//! | `DELETE .../tracks/{sid}` | | `track_unpublished` |
//! | `PUT .../tracks/{sid}/muted` | `{muted}` | the participant (un)mutes itself: no webhook; answers the track |
//! | `PUT /_sim/settings` | `{enable_remote_unmute?, psrpc_for_participants?, webhook_url?}` | changed; a null `webhook_url` stops webhooks |
//! | `PUT /_sim/faults` | `[{method?, kind, latency_ms?, times?}]` | replaces all faults; `kind` is `latency`, `unavailable`, `hang`, `cut` or `html_502` |
//! | `GET /_sim/calls` | | `[{method, room, identity, track_sid, muted, status, at}]`, oldest first |

mod auth;
mod control;
mod faults;
mod handle;
mod json;
mod log;
mod model;
mod refusal;
mod state;
mod twirp;
mod webhooks;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use axum::Router;
use chrono::TimeDelta;
use livekit_protocol as proto;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use url::Url;

pub use faults::{Fault, FaultKind, Method};
pub use log::Call;
pub use model::{Join, Publish};
pub use webhooks::{Delivery, Outcome, SignedWebhook, sign_webhook};

use log::{CallId, Log};
use quell_clock::Clock;
use state::Rooms;

/// How long a shutdown waits for open connections.
const GRACE: Duration = Duration::from_secs(1);

/// An API key and its secret.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The public half, a token's `iss`.
    pub key: String,
    /// What tokens are signed with.
    pub secret: SecretString,
}

/// How the double behaves; the defaults are the real server's.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Where to listen; port 0 takes a free one (default: that, on loopback).
    pub listen: SocketAddr,
    /// A path in front of everything but `/_sim`, such as `/livekit`: a reverse proxy's.
    pub prefix: Option<String>,
    /// The keys that tokens may be signed with; the first signs webhooks.
    pub api_keys: Vec<ApiKey>,
    /// Where webhooks go; none are sent without.
    pub webhook_url: Option<Url>,
    /// LiveKit's `room.enable_remote_unmute` (default false).
    pub enable_remote_unmute: bool,
    /// LiveKit's `api.enable_psrpc_for_get_list_participants` (default false): participants are asked of
    /// the room itself, so that a room that is not there answers only when the call is given up.
    pub psrpc_for_participants: bool,
    /// Newer servers' `room.enable_full_room_in_webhooks` (default false): events of tracks have the whole room.
    pub full_room_in_webhooks: bool,
    /// The time in rooms, participants and webhooks, and of their tokens.
    pub clock: Clock,
    /// The time that callers' tokens are checked by: the system's, as livekit-api dates them so.
    pub token_clock: Clock,
    /// When a call for a participant who is not there is given up (default 3 s).
    pub no_response_after: Duration,
    /// The waits before a webhook is tried again (default 1, 2, 4, 8 s). An integer
    /// `Retry-After` of a 429 or 503 goes before them.
    pub retry_delays: Vec<Duration>,
    /// A webhook that waited longer in its room's queue is dropped (default 30 s).
    pub webhook_age_max: Duration,
    /// A webhook is dropped when this many wait in its room's queue already (default 200).
    pub webhook_queue_max: usize,
    /// How old `num_participants` and `num_publishers` may be, by `clock` (default 5 s).
    pub count_lag: TimeDelta,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            prefix: None,
            api_keys: vec![ApiKey {
                key: "devkey".to_owned(),
                secret: SecretString::from("secret-that-is-long-enough-for-livekit-0123"),
            }],
            webhook_url: None,
            enable_remote_unmute: false,
            psrpc_for_participants: false,
            full_room_in_webhooks: false,
            clock: Clock::system(),
            token_clock: Clock::system(),
            no_response_after: Duration::from_secs(3),
            retry_delays: [1, 2, 4, 8].map(Duration::from_secs).to_vec(),
            webhook_age_max: Duration::from_secs(30),
            webhook_queue_max: 200,
            count_lag: TimeDelta::seconds(5),
        }
    }
}

/// What the double could not do.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// Where it was tried.
        listen: SocketAddr,
        /// Why it failed.
        source: io::Error,
    },
    /// There is nothing to check tokens with.
    #[error("no API key: put one into `api_keys`")]
    NoApiKey,
    /// The HTTP client for webhooks cannot be made.
    #[error("cannot make an HTTP client: {0}")]
    Client(reqwest::Error),
    /// No such room.
    #[error("no room {0:?}: create it first")]
    NoRoom(String),
    /// No such participant in the room.
    #[error("no participant {identity:?} in room {room:?}")]
    NoParticipant {
        /// The room.
        room: String,
        /// Who is not in it.
        identity: String,
    },
    /// The participant has no such track.
    #[error("no track {0:?}")]
    NoTrack(String),
    /// The participant may not publish from that source.
    #[error("{identity:?} may not publish {source_name}: change its permission")]
    NotPermitted {
        /// Who wanted to publish.
        identity: String,
        /// From what.
        source_name: &'static str,
    },
    /// The event is not one that JSON can be made of.
    #[error("cannot write the event as JSON: {0}")]
    Encode(serde_json::Error),
    /// The webhook cannot be signed.
    #[error("cannot sign the webhook: {0}")]
    Sign(quell_jwt::errors::Error),
    /// What was waited for did not happen.
    #[error("waited {0:?} in vain")]
    TimedOut(Duration),
}

impl SimulatorError {
    fn no_room(room: &str) -> Self {
        Self::NoRoom(room.to_owned())
    }

    fn no_track(sid: &str) -> Self {
        Self::NoTrack(sid.to_owned())
    }
}

/// What handlers, workers and the owner share.
struct Shared {
    config: SimulatorConfig,
    client: reqwest::Client,
    inner: Mutex<Inner>,
    /// Told of every change, for those who wait for one.
    changed: watch::Sender<()>,
    tracker: TaskTracker,
    cancel: CancellationToken,
}

/// All that changes.
struct Inner {
    rooms: Rooms,
    enable_remote_unmute: bool,
    psrpc_for_participants: bool,
    webhook_url: Option<Url>,
    faults: Vec<Fault>,
    queues: HashMap<String, webhooks::Queue>,
    calls: Log<Call>,
    events: Log<proto::WebhookEvent>,
    deliveries: Log<Delivery>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, queues the webhooks that this causes, and tells those who wait.
    fn with<R>(self: &Arc<Self>, change: impl FnOnce(&mut Inner) -> R) -> R {
        let (result, new_queues) = {
            // Under one lock, so that webhooks are queued in the order of what they tell.
            let mut inner = self.lock();
            let result = change(&mut inner);
            let events = inner.rooms.take_events();
            (result, self.queue(&mut inner, events))
        };
        for room in new_queues {
            self.spawn_worker(room);
        }
        self.changed.send_replace(());
        result
    }
}

/// A running double. It stops when it is dropped.
///
/// What a call for something that is not there gets: `GetParticipant` and `UpdateParticipant` 404,
/// `ListRooms` and `ListParticipants` an empty list, `MutePublishedTrack` 200 without a track for
/// an unknown track, and 503 after [`SimulatorConfig::no_response_after`] for an unknown
/// participant or room.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Simulator({})", self.url())
    }
}

impl Simulator {
    /// Starts listening, and serves until it is shut down or dropped.
    ///
    /// reqwest is built without a TLS provider: the process installs one before (`rustls`).
    pub async fn start(config: SimulatorConfig) -> Result<Self, SimulatorError> {
        if config.api_keys.is_empty() {
            return Err(SimulatorError::NoApiKey);
        }
        let listen = config.listen;
        let failed = |source| SimulatorError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        // Like LiveKit's, without a timeout: a receiver that hangs holds its room up.
        let client = reqwest::Client::builder()
            .user_agent("Go-http-client/1.1")
            .no_proxy()
            .build()
            .map_err(SimulatorError::Client)?;
        let cancel = CancellationToken::new();
        let tracker = TaskTracker::new();
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                rooms: Rooms::new(
                    config.clock.clone(),
                    config.count_lag,
                    config.full_room_in_webhooks,
                ),
                enable_remote_unmute: config.enable_remote_unmute,
                psrpc_for_participants: config.psrpc_for_participants,
                webhook_url: config.webhook_url.clone(),
                faults: Vec::new(),
                queues: HashMap::new(),
                calls: Log::default(),
                events: Log::default(),
                deliveries: Log::default(),
            }),
            config,
            client,
            changed: watch::Sender::new(()),
            tracker: tracker.clone(),
            cancel: cancel.clone(),
        });
        let router = router(&shared);
        let stop = cancel.clone();
        tracker.spawn(async move {
            let served = axum::serve(listener, router)
                .with_graceful_shutdown(stop.clone().cancelled_owned())
                .into_future();
            let out_of_grace = async {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            };
            tokio::select! {
                served = served => if let Err(error) = served {
                    tracing::error!(%error, "the LiveKit double stopped");
                },
                () = out_of_grace => {}
            }
        });
        Ok(Self {
            shared,
            address,
            _stop: cancel.drop_guard(),
        })
    }

    /// What belongs into `LIVEKIT_URL`, with the prefix in it.
    #[must_use]
    pub fn url(&self) -> String {
        let prefix = self.shared.config.prefix.as_deref().unwrap_or_default();
        format!("http://{}{prefix}", self.address)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that signs webhooks.
    #[must_use]
    pub fn api_key(&self) -> Option<&ApiKey> {
        self.shared.config.api_keys.first()
    }

    /// Stops serving and sending, at once, and waits for the end of it.
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        self.shared.tracker.close();
        self.shared.tracker.wait().await;
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let livekit = Router::new().fallback(twirp::serve);
    let control = Router::new().nest("/_sim", control::router());
    match shared.config.prefix.as_deref() {
        Some(prefix) => control.nest(prefix, livekit),
        None => control.merge(livekit),
    }
    .with_state(Arc::clone(shared))
}

#[cfg(test)]
mod tests;
