//! `RoomService` over Twirp: one HTTP client, protobuf, a token of least privilege for each call.
//!
//! Twirp: <https://twitchtv.github.io/twirp/docs/spec_v7.html>. livekit-api's own `RoomClient` is
//! not used: it panics on an empty answer, drops a path prefix and turns a proxy's HTML answer
//! into a decoding error without a status.

use std::borrow::Cow;
use std::time::Duration;

use livekit_api::access_token::{Claims, VideoGrants};
use prost::Message;
use quell_jwt::{Algorithm, EncodingKey, Header};
use reqwest::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use super::answer::{Answer, Oversized, Shape};
use crate::config::LiveKitConfig;
use crate::traces;
use quell_clock::Clock;

/// How long a call's token is good for.
const TOKEN_TTL_SECS: i64 = 60;
/// The longest answer that is no success; a proxy may send anything.
const REFUSAL_BYTES_MAX: usize = 1 << 20;

/// Why a call to LiveKit came to nothing.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
pub enum LiveKitError {
    /// There was no answer in time.
    #[error("LiveKit did not answer {method} within {waited_ms} ms")]
    Timeout {
        /// The RPC.
        method: &'static str,
        /// How long was waited.
        waited_ms: u128,
    },
    /// No connection, or one that broke.
    #[error("LiveKit cannot be reached for {method}: {reason}")]
    Unreachable {
        /// The RPC.
        method: &'static str,
        /// What the HTTP client says, without the URL.
        reason: String,
        /// Whether the request was on its way when it broke.
        was_sent: bool,
    },
    /// An answer that is not a success.
    #[error("LiveKit answered {method} with {status} {code}: {message}")]
    Status {
        /// The RPC.
        method: &'static str,
        /// The HTTP status.
        status: u16,
        /// Twirp's code, or `unknown` where the answer was not Twirp's (a proxy's page).
        code: String,
        /// Twirp's message.
        message: String,
    },
    /// A success that is too long to be kept.
    #[error("LiveKit's answer to {method} is too large")]
    TooLarge {
        /// The RPC.
        method: &'static str,
    },
    /// A success that cannot be read.
    #[error("LiveKit's answer to {method} cannot be read: {reason}")]
    Unreadable {
        /// The RPC.
        method: &'static str,
        /// What was wrong.
        reason: String,
    },
}

impl LiveKitError {
    /// The error of a call of `method` that began at `begun` and ran out of time.
    pub(crate) fn out_of_time(method: &'static str, begun: Instant) -> Self {
        Self::Timeout {
            method,
            waited_ms: begun.elapsed().as_millis(),
        }
    }

    pub(super) fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Status { code, .. } if code == wanted)
    }

    /// One of a few words, or the HTTP status; no text of whoever answered.
    fn kind(&self) -> Cow<'static, str> {
        match self {
            Self::Timeout { .. } => "timeout".into(),
            Self::Unreachable { .. } => "unreachable".into(),
            Self::Status { status, .. } => status.to_string().into(),
            Self::TooLarge { .. } => "too_large".into(),
            Self::Unreadable { .. } => "unreadable".into(),
        }
    }

    /// Whether LiveKit may have carried out the call although it failed for us.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::Unreadable { .. } | Self::TooLarge { .. } => true,
            Self::Unreachable { was_sent, .. } => *was_sent,
            // 408 is Twirp's `deadline_exceeded`.
            Self::Status { status, .. } => *status >= 500 || *status == 408,
        }
    }
}

/// Why there is no client for LiveKit.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for LiveKit cannot be set up: {0}")]
pub struct LiveKitSetupError(#[from] reqwest::Error);

pub(super) struct Twirp {
    http: reqwest::Client,
    base: String,
    issuer: String,
    key: EncodingKey,
    clock: Clock,
}

#[derive(Deserialize)]
struct TwirpFault {
    #[serde(default)]
    code: String,
    #[serde(default)]
    msg: String,
}

impl Twirp {
    pub(super) fn new(config: &LiveKitConfig, clock: Clock) -> Result<Self, LiveKitSetupError> {
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .redirect(reqwest::redirect::Policy::none())
            // Only `config.rs` reads the environment: no HTTP_PROXY behind its back.
            .no_proxy()
            // Requests are small, and a mute should take milliseconds.
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(90))
            .build()?;
        Ok(Self {
            http,
            base: base(&config.url),
            issuer: config.api_key.key.clone(),
            key: EncodingKey::from_secret(config.api_key.secret.expose_secret().as_bytes()),
            clock,
        })
    }

    /// Calls `method` with a token that grants `grants`, and waits for the answer until `deadline`.
    pub(super) async fn call<Req: Message, Res: Message + Default>(
        &self,
        method: &'static str,
        grants: VideoGrants,
        request: &Req,
        shape: &'static Shape,
        deadline: Instant,
    ) -> Result<Res, LiveKitError> {
        let answer = async {
            let answer = self
                .read(method, grants, request, shape, |_| Ok(()))
                .await?;
            let (kept, oversized) = answer;
            if !oversized.is_empty() {
                return Err(LiveKitError::TooLarge { method });
            }
            decode(method, &kept)
        };
        in_time(method, deadline, answer).await
    }

    /// The same of an answer that is one list: calls `each` with every element of it, of any number. Those that are too
    /// large are left out, and returned.
    pub(super) async fn list<Req: Message, Element: Message + Default>(
        &self,
        method: &'static str,
        grants: VideoGrants,
        request: &Req,
        shape: &'static Shape,
        deadline: Instant,
        mut each: impl FnMut(Element),
    ) -> Result<Vec<Oversized>, LiveKitError> {
        let answer = async {
            let each = |element: Vec<u8>| {
                each(decode(method, &element)?);
                Ok(())
            };
            let answer = self.read(method, grants, request, shape, each).await?;
            Ok(answer.1)
        };
        in_time(method, deadline, answer).await
    }

    async fn read<Req: Message>(
        &self,
        method: &'static str,
        grants: VideoGrants,
        request: &Req,
        shape: &'static Shape,
        mut each: impl FnMut(Vec<u8>) -> Result<(), LiveKitError>,
    ) -> Result<(Vec<u8>, Vec<Oversized>), LiveKitError> {
        let mut response = self.send(method, grants, request.encode_to_vec()).await?;
        let mut answer = Answer::new(shape);
        let unreadable = |reason: &str| LiveKitError::Unreadable {
            method,
            reason: reason.to_owned(),
        };
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| unreachable(method, error))?
        {
            answer.push(&chunk).map_err(unreadable)?;
            while let Some(element) = answer.next() {
                each(element)?;
            }
        }
        answer.end().map_err(unreadable)
    }

    /// Sends a request; the answer is a success, and protobuf.
    async fn send(
        &self,
        method: &'static str,
        grants: VideoGrants,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, LiveKitError> {
        let response = self
            .http
            .post(format!("{}/twirp/livekit.RoomService/{method}", self.base))
            .header(CONTENT_TYPE, "application/protobuf")
            .bearer_auth(self.token(method, grants)?)
            .body(body)
            .send()
            .await
            .map_err(|error| unreachable(method, error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let body = whole(method, response).await?;
            let fault = serde_json::from_slice(&body).unwrap_or_else(|_| not_twirp(status));
            return Err(LiveKitError::Status {
                method,
                status,
                code: if fault.code.is_empty() {
                    "unknown".to_owned()
                } else {
                    fault.code
                },
                message: fault.msg,
            });
        }
        let is_protobuf = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/protobuf"));
        if !is_protobuf {
            return Err(LiveKitError::Unreadable {
                method,
                reason: "it is not protobuf: does LIVEKIT_URL point at LiveKit?".to_owned(),
            });
        }
        Ok(response)
    }

    fn token(&self, method: &'static str, video: VideoGrants) -> Result<String, LiveKitError> {
        let now = self.clock.unix_seconds();
        let seconds = |at: i64| usize::try_from(at).unwrap_or_default();
        let claims = Claims {
            iss: self.issuer.clone(),
            nbf: seconds(now),
            exp: seconds(now.saturating_add(TOKEN_TTL_SECS)),
            video,
            ..Claims::default()
        };
        quell_jwt::encode(&Header::new(Algorithm::HS256), &claims, &self.key).map_err(|error| {
            LiveKitError::Unreachable {
                method,
                reason: format!("its token cannot be signed: {error}"),
                was_sent: false,
            }
        })
    }
}

impl std::fmt::Debug for Twirp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twirp")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// What comes of `answer` until `deadline`.
async fn in_time<T>(
    method: &'static str,
    deadline: Instant,
    answer: impl Future<Output = Result<T, LiveKitError>>,
) -> Result<T, LiveKitError> {
    let begun = Instant::now();
    // A call is never sent late: whoever makes it holds a lease that ends soon after.
    if begun >= deadline {
        return Err(LiveKitError::Unreachable {
            method,
            reason: "there was no time left to ask it".to_owned(),
            was_sent: false,
        });
    }
    let span = traces::call(method);
    let answer = tokio::time::timeout_at(deadline, answer)
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| Err(LiveKitError::out_of_time(method, begun)));
    if let Err(error) = &answer {
        traces::call_failed(&span, &error.kind());
    }
    answer
}

fn decode<Res: Message + Default>(method: &'static str, bytes: &[u8]) -> Result<Res, LiveKitError> {
    Res::decode(bytes).map_err(|error| LiveKitError::Unreadable {
        method,
        reason: error.to_string(),
    })
}

/// The whole of an answer that is no success, which is bounded.
async fn whole(
    method: &'static str,
    mut response: reqwest::Response,
) -> Result<Vec<u8>, LiveKitError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| unreachable(method, error))?
    {
        if bytes.len() + chunk.len() > REFUSAL_BYTES_MAX {
            return Err(LiveKitError::TooLarge { method });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unreachable(method: &'static str, error: reqwest::Error) -> LiveKitError {
    LiveKitError::Unreachable {
        method,
        was_sent: !error.is_connect(),
        reason: root_cause(&error.without_url()),
    }
}

/// An answer that is not Twirp's. Its text is not shown: LiveKit's 401 repeats the token in it.
fn not_twirp(status: u16) -> TwirpFault {
    let msg = if status == 401 {
        "it does not accept the token: compare LIVEKIT_API_KEY and LIVEKIT_API_SECRET with LiveKit's `keys`, and the two clocks"
    } else {
        "the answer is not LiveKit's: look at what stands before it"
    };
    TwirpFault {
        code: String::new(),
        msg: msg.to_owned(),
    }
}

fn base(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// The innermost error. It says what happened ("connection refused"); the outer ones say only where.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
