//! What the tests of this module share: keys, tokens, and a server to play others' parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use quell_jwt::jwk::Jwk;
use quell_jwt::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use url::Url;

use super::{AuthError, AuthRequest, Authenticator, Caller, Scope};
use crate::config::{ApiSecret, AuthConfig, AuthServiceConfig, JwtConfig, JwtKeySource};
use crate::http::body::RequestBody;
use crate::http::problem::Problem;
use crate::inbox::BodyBytes;
use quell_clock::ManualClock;

/// Keys made up for the tests.
pub(super) mod keys {
    macro_rules! keys {
        ($($name:ident = $file:literal),* $(,)?) => {
            $(pub(in super::super) const $name: &str =
                include_str!(concat!("../../../tests/fixtures/keys/", $file));)*
        };
    }
    keys! {
        RSA = "rsa.pem",
        RSA_PUB = "rsa.pub.pem",
        RSA_PKCS1 = "rsa.pkcs1.pem",
        RSA_PKCS1_PUB = "rsa.pkcs1.pub.pem",
        RSA_OTHER = "rsa-other.pem",
        RSA_1024 = "rsa-1024.pem",
        RSA_1024_PUB = "rsa-1024.pub.pem",
        EC = "ec.pem",
        EC_SEC1 = "ec.sec1.pem",
        EC_WITHOUT_PUBLIC = "ec.without-public.pem",
        EC_PUB = "ec.pub.pem",
        P384 = "ec-p384.pem",
        P384_SEC1 = "ec-p384.sec1.pem",
        P384_PUB = "ec-p384.pub.pem",
        ED25519 = "ed25519.pem",
        ED25519_PUB = "ed25519.pub.pem",
        CERTIFICATE = "certificate.pem",
        ENCRYPTED = "encrypted.pem",
    }
    pub(in super::super) const SECRET: &str = "a secret that is long enough for HS256";
}

/// When the tests' clock starts.
pub(super) const NOW: i64 = 1_700_000_000;

pub(super) fn clock() -> ManualClock {
    ManualClock::new(DateTime::from_timestamp(NOW, 0).unwrap())
}

/// What signs a token in a test.
pub(super) fn private(algorithm: Algorithm) -> EncodingKey {
    match (algorithm.family(), algorithm) {
        (AlgorithmFamily::Ec, Algorithm::ES384) => private_key(keys::P384),
        (AlgorithmFamily::Ec, _) => private_key(keys::EC),
        (AlgorithmFamily::Ed, _) => private_key(keys::ED25519),
        (AlgorithmFamily::Rsa, _) => private_key(keys::RSA),
        (AlgorithmFamily::Hmac, _) => EncodingKey::from_secret(keys::SECRET.as_bytes()),
    }
}

pub(super) fn private_key(pem: &str) -> EncodingKey {
    let block = pem::parse(pem).unwrap();
    quell_jwt::private_key(block.contents()).unwrap().1
}

pub(super) fn public_key(pem: &str) -> DecodingKey {
    let block = pem::parse(pem).unwrap();
    quell_jwt::public_key(block.contents()).unwrap().1
}

/// A token signed with the tests' key for this algorithm.
pub(super) fn token(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    quell_jwt::encode(&header, claims, &private(algorithm)).unwrap()
}

/// A token of these parts, whose signature is the text of the last.
pub(super) fn crafted(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Claims that are good in every test: `sub` is `acme`, and an hour is left.
pub(super) fn good_claims() -> Value {
    json!({"sub": "acme", "exp": NOW + 3600})
}

/// `base` with the fields of `changes`; null takes one away.
pub(super) fn with(mut base: Value, changes: &Value) -> Value {
    let fields = base.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    base
}

/// The public half of the tests' key for this algorithm, as a JWK.
pub(super) fn jwk(algorithm: Algorithm, kid: Option<&str>) -> Value {
    let key = match (algorithm.family(), algorithm) {
        (AlgorithmFamily::Ec, Algorithm::ES384) => public_key(keys::P384_PUB),
        (AlgorithmFamily::Ec, _) => public_key(keys::EC_PUB),
        (AlgorithmFamily::Ed, _) => public_key(keys::ED25519_PUB),
        (AlgorithmFamily::Rsa, _) => public_key(keys::RSA_PUB),
        (AlgorithmFamily::Hmac, _) => DecodingKey::from_secret(keys::SECRET.as_bytes()),
    };
    let mut jwk = Jwk::from_decoding_key(&key, Some(algorithm)).unwrap();
    jwk.common.key_id = kid.map(str::to_owned);
    serde_json::to_value(jwk).unwrap()
}

pub(super) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// How the server answers.
#[derive(Clone)]
pub(super) enum Answer {
    Status(StatusCode),
    Json(StatusCode, String),
    Redirect(String),
    Hang,
    /// 200 with this body, once told to.
    Held(Arc<Notify>, String),
}

impl Answer {
    pub(super) fn ok(body: &impl ToString) -> Self {
        Self::Json(StatusCode::OK, body.to_string())
    }
}

/// What the server was sent.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A server on loopback that answers everything alike.
pub(super) struct Server {
    pub(super) url: Url,
    state: Shared,
    _task: AbortOnDropHandle<()>,
}

type Shared = Arc<Mutex<Seen>>;

struct Seen {
    answer: Answer,
    received: Vec<Received>,
    arrived: Arc<Notify>,
}

impl Server {
    pub(super) async fn start(answer: Answer) -> Self {
        let state = Arc::new(Mutex::new(Seen {
            answer,
            received: Vec::new(),
            arrived: Arc::default(),
        }));
        let router = Router::new()
            .fallback(respond)
            .with_state(Arc::clone(&state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/here", listener.local_addr().unwrap());
        let serve = async move { axum::serve(listener, router).await.unwrap() };
        Self {
            url: url.parse().unwrap(),
            state,
            _task: AbortOnDropHandle::new(TaskTracker::new().spawn(serve)),
        }
    }

    /// Answers like this from now on.
    pub(super) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// Returns when a request has arrived.
    pub(super) async fn arrival(&self) {
        let arrived = Arc::clone(&self.state.lock().unwrap().arrived);
        arrived.notified().await;
    }
}

async fn respond(
    State(state): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let answer = {
        let mut state = state.lock().unwrap();
        state.arrived.notify_one();
        state.received.push(Received {
            method,
            path: uri.path().to_owned(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        state.answer.clone()
    };
    match answer {
        Answer::Status(status) => status.into_response(),
        Answer::Json(status, body) => (status, body).into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Answer::Hang => std::future::pending().await,
        Answer::Held(go, body) => {
            go.notified().await;
            body.into_response()
        }
    }
}

/// An address where nobody listens: no free port is ever this one.
pub(super) fn nowhere() -> Url {
    "http://127.0.0.1:1/".parse().unwrap()
}

pub(super) fn config() -> AuthConfig {
    AuthConfig {
        required: true,
        allow_no_id: false,
        operator_ids: BTreeSet::from(["root".to_owned(), String::new()]),
        api_secrets: Vec::new(),
        jwt: None,
        service: None,
    }
}

pub(super) fn secret(id: &str, secret: &str) -> ApiSecret {
    ApiSecret {
        id: id.to_owned(),
        secret: secret.into(),
    }
}

pub(super) fn jwt(source: JwtKeySource) -> JwtConfig {
    JwtConfig {
        keys: vec![source],
        issuer: None,
        audience: None,
        id_claim: "sub".to_owned(),
        actor_claim: None,
    }
}

pub(super) fn hs256() -> JwtConfig {
    jwt(JwtKeySource::Secret(keys::SECRET.into()))
}

pub(super) fn service(url: Url) -> AuthServiceConfig {
    AuthServiceConfig {
        url,
        signing_key_path: fixture("ec.pem"),
        timeout: Duration::from_secs(20),
        cache: None,
    }
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/keys")
        .join(name)
}

pub(super) async fn authenticator(config: &AuthConfig) -> Authenticator {
    Authenticator::new(config, clock().clock()).await.unwrap()
}

/// Who calls the mute endpoint, in a word.
pub(super) async fn mute(
    auth: &Authenticator,
    sent: Option<&str>,
    api_key: Option<&str>,
) -> String {
    let headers = headers(sent);
    let caller = auth.caller_of_mute(&request(&headers, api_key)).await;
    outcome(caller.and_then(|caller| super::allowed(caller, Scope::Mute)))
}

/// Who calls `/v1/*`, in a word.
pub(super) async fn api(auth: &Authenticator, sent: Option<&str>, scope: Scope) -> String {
    let headers = headers(sent);
    outcome(auth.caller_of_api(&request(&headers, None), scope).await)
}

pub(super) fn headers(sent: Option<&str>) -> HeaderMap {
    sent.iter()
        .map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap()))
        .collect()
}

pub(super) fn request<'a>(headers: &'a HeaderMap, api_key: Option<&'a str>) -> AuthRequest<'a> {
    AuthRequest {
        headers,
        method: &Method::POST,
        path: "/livekit/participant/mute",
        api_key,
        body: body("{}"),
    }
}

/// A body, kept for as long as the tests run.
pub(super) fn body(text: &'static str) -> &'static RequestBody {
    let reservation = BodyBytes::new(text.len(), 0).reservation();
    Box::leak(Box::new(RequestBody::new(
        Body::from(text),
        text.len(),
        reservation,
    )))
}

pub(super) fn outcome(result: Result<Caller, AuthError>) -> String {
    match result {
        Ok(caller) => caller.id().map_or("(no id)", |id| id.as_str()).to_owned(),
        Err(error) => Problem::from(error).code.code.to_owned(),
    }
}

pub(super) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
