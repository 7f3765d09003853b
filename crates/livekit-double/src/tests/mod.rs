//! The double against recordings of the real server, and its own promises.

mod control;
mod deliveries;
mod faults;
mod recorded_calls;
mod recorded_webhooks;
mod rooms;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use livekit_api::access_token::{AccessToken, VideoGrants};
use prost::Message;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::*;

/// The bound of every wait: far beyond what is needed.
const LONG: Duration = Duration::from_secs(20);

fn install_crypto() {
    // Err means that one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

async fn start(config: SimulatorConfig) -> Simulator {
    install_crypto();
    Simulator::start(config).await.unwrap()
}

fn client() -> reqwest::Client {
    install_crypto();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A token as livekit-api makes them.
fn token(simulator: &Simulator, grants: VideoGrants) -> String {
    use secrecy::ExposeSecret;
    let key = simulator.api_key().unwrap();
    let token = AccessToken::with_api_key(&key.key, key.secret.expose_secret());
    token.with_grants(grants).to_jwt().unwrap()
}

fn admin(room: &str) -> VideoGrants {
    VideoGrants {
        room_admin: true,
        room: room.to_owned(),
        ..VideoGrants::default()
    }
}

/// A call in protobuf, as quell makes them.
fn request(
    simulator: &Simulator,
    method: Method,
    grants: VideoGrants,
    message: &impl Message,
) -> reqwest::RequestBuilder {
    let url = format!(
        "{}/twirp/livekit.RoomService/{}",
        simulator.url(),
        method.name()
    );
    client()
        .post(url)
        .bearer_auth(token(simulator, grants))
        .header("content-type", "application/protobuf")
        .body(message.encode_to_vec())
}

fn mute_request(simulator: &Simulator, sid: &str, muted: bool) -> reqwest::RequestBuilder {
    let message = proto::MuteRoomTrackRequest {
        room: "r".to_owned(),
        identity: "ann".to_owned(),
        track_sid: sid.to_owned(),
        muted,
    };
    request(simulator, Method::MutePublishedTrack, admin("r"), &message)
}

/// What a receiver of webhooks got.
#[derive(Debug, Clone)]
struct Received {
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A receiver of webhooks that answers what it was told to, then 200.
struct Receiver {
    url: Url,
    inner: Arc<ReceiverInner>,
}

struct ReceiverInner {
    received: Mutex<Vec<Received>>,
    answers: Mutex<VecDeque<Response>>,
    /// Requests for room "held" wait for one of these.
    permits: Semaphore,
    arrived: watch::Sender<usize>,
}

impl Receiver {
    async fn start(answers: impl IntoIterator<Item = Response>) -> Self {
        let inner = Arc::new(ReceiverInner {
            received: Mutex::default(),
            answers: Mutex::new(answers.into_iter().collect()),
            permits: Semaphore::new(0),
            arrived: watch::Sender::new(0),
        });
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        TaskTracker::new().spawn(axum::serve(listener, router).into_future());
        Self {
            url: url.parse().unwrap(),
            inner,
        }
    }

    fn received(&self) -> Vec<Received> {
        self.inner.received.lock().unwrap().clone()
    }

    async fn wait_arrived(&self, number: usize) {
        let mut arrived = self.inner.arrived.subscribe();
        let enough = arrived.wait_for(|arrived| *arrived >= number);
        tokio::time::timeout(LONG, enough).await.unwrap().unwrap();
    }
}

async fn receive(
    State(inner): State<Arc<ReceiverInner>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let received = Received { headers, body };
    let held = received.json()["room"]["name"] == "held";
    inner.received.lock().unwrap().push(received);
    inner.arrived.send_modify(|arrived| *arrived += 1);
    if held {
        inner.permits.acquire().await.unwrap().forget();
    }
    let answer = inner.answers.lock().unwrap().pop_front();
    answer.unwrap_or_else(|| StatusCode::OK.into_response())
}

fn status(status: u16) -> Response {
    StatusCode::from_u16(status).unwrap().into_response()
}

/// Puts a star where two runs differ, and sorts what comes in no order.
fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.replace('_', "").to_lowercase().as_str() {
                    "turnpassword" | "creationtime" | "creationtimems" | "joinedat"
                    | "joinedatms" | "createdat" | "unixmicro" | "ssrc" | "cid" | "id" => {
                        *value = Value::from("*");
                    }
                    "sid" => {
                        let kind = value.as_str().unwrap().chars().take(3);
                        *value = kind.collect::<String>().into();
                    }
                    _ => normalize(value),
                }
            }
        }
        Value::Array(values) => {
            values.iter_mut().for_each(normalize);
            values.sort_by_key(|value| {
                let text = |name| value[name].as_str().unwrap_or_default().to_owned();
                (text("identity"), text("name"))
            });
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
