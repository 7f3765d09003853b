//! The delegated auth service: it is told of the request in a JWT that we sign, and says who calls.
//!
//! We `POST` to `AUTH_SERVICE_URL`, as `application/jwt`, a JWT with the claims `sub` (`quell`),
//! `iat`, `exp` (5 minutes later) and `auth_data`: `{token, request_body, request_headers,
//! request_path, request_method}`. The body is parsed JSON, `{}` where it is none. Headers are by
//! lower-case name; those that carry secrets are left out. The path is without its query.
//!
//! | answer | means |
//! |---|---|
//! | 200 `{"id": "acme"}` | the caller is `acme` |
//! | 200 `{}`, `{"id": null}` | a caller without an id where `QUELL_ALLOW_NO_ID=true`, else 401 |
//! | 200 with a blank id | 401 |
//! | 200 with anything else, other statuses below 400, 5xx | 502: the service is at fault, and nobody is let in |
//! | 4xx | 401 |
//! | none in `AUTH_TIMEOUT_SECONDS` | 503 |

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use axum::http::HeaderMap;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

use super::answers::Answers;
use super::caller::Id;
use super::fetch::{self, ResponseError};
use super::refusal::Refusal;
use super::signing::SigningKey;
use super::{AuthError, AuthRequest};
use crate::http::problem::chain;
use crate::metrics::AuthFailure;
use quell_clock::Clock;

/// How long our request stays valid.
const REQUEST_SECS: i64 = 300;
/// The longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Questions under way at once: strangers can make up tokens.
pub(super) const ASKED_AT_ONCE_MAX: usize = 32;
/// A body that arrives within this time needs none of the places for slow ones.
const READ_FREELY: Duration = Duration::from_secs(1);
/// Bodies of unknown callers that take longer: strangers' take no more connections than this.
pub(super) const SLOW_AT_ONCE_MAX: usize = 64;
/// Parts of the names of headers that carry secrets.
const SECRET_NAMES: [&str; 13] = [
    "authorization",
    "cookie",
    "secret",
    "token",
    "api-key",
    "apikey",
    "password",
    "credential",
    "jwt",
    "assertion",
    "session",
    "signature",
    "functions-key",
];

/// Asks the auth service.
pub(super) struct AuthService {
    pub(super) url: Url,
    pub(super) client: Client,
    pub(super) key: SigningKey,
    pub(super) allow_no_id: bool,
    pub(super) clock: Clock,
    /// How long a question waits until others have their answers, and for its own.
    pub(super) timeout: Duration,
    pub(super) asked: Semaphore,
    /// Bodies that come slowly: their callers are nobody yet, and are to take up little.
    pub(super) slow: Semaphore,
    pub(super) answers: Option<Answers>,
}

#[derive(Serialize)]
struct ServiceClaims<'a> {
    sub: &'static str,
    iat: i64,
    exp: i64,
    auth_data: AuthData<'a>,
}

#[derive(Serialize)]
struct AuthData<'a> {
    token: &'a str,
    request_body: Value,
    request_headers: BTreeMap<&'a str, String>,
    request_path: &'a str,
    request_method: &'a str,
}

impl AuthService {
    /// Whom the token stands for; none where the service lets in a caller without an id.
    pub(super) async fn check(
        &self,
        token: &str,
        request: &AuthRequest<'_>,
    ) -> Result<Option<Id>, AuthError> {
        let kept = self.answers.as_ref().and_then(|kept| kept.get(token));
        if let Some(answer) = kept {
            return Ok(answer.id);
        }
        let body = {
            let mut reading = pin!(request.body.bytes());
            if let Ok(body) = timeout(READ_FREELY, reading.as_mut()).await {
                body?
            } else {
                let slow = self.slow.try_acquire();
                let _slow = slow.map_err(|_| AuthError::ServiceUnavailable {
                    cause: format!(
                        "{SLOW_AT_ONCE_MAX} requests of unknown callers were being read"
                    ),
                })?;
                reading.await?
            }
        };
        let asking = timeout(self.timeout, self.asked.acquire()).await;
        // Nothing closes the semaphore.
        let _asking = asking.ok().and_then(Result::ok).ok_or_else(|| {
            let cause = format!("{ASKED_AT_ONCE_MAX} questions to it were under way all the time");
            AuthError::ServiceUnavailable { cause }
        })?;
        let id = self.ask(token, request, body).await?;
        if let Some(answers) = &self.answers {
            answers.keep(token, id.clone());
        }
        Ok(id)
    }

    async fn ask(
        &self,
        token: &str,
        request: &AuthRequest<'_>,
        body: &[u8],
    ) -> Result<Option<Id>, AuthError> {
        let jwt = self.request(token, request, body)?;
        let response = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/jwt")
            .body(jwt)
            .send()
            .await
            .map_err(|error| self.unavailable(error))?;
        match response.status() {
            StatusCode::OK => {
                let body = match fetch::body(response, ANSWER_BYTES_MAX).await {
                    Ok(body) => body,
                    Err(ResponseError::Broken(error)) => return Err(self.unavailable(error)),
                    Err(ResponseError::TooLong(_)) => return Err(self.failed("a body over 64 KiB")),
                };
                self.caller(&body)
            }
            status if status.is_client_error() => Err(REFUSED),
            status => Err(self.failed(status.as_str())),
        }
    }

    fn request(
        &self,
        token: &str,
        request: &AuthRequest<'_>,
        body: &[u8],
    ) -> Result<String, AuthError> {
        let iat = self.clock.unix_seconds();
        // Not the query: it holds the token where `?api_key=` is used.
        let path = request.path.split_once('?').map_or(request.path, |it| it.0);
        let claims = ServiceClaims {
            sub: "quell",
            iat,
            exp: iat.saturating_add(REQUEST_SECS),
            auth_data: AuthData {
                token,
                // Services of this protocol expect an empty object for a body that is not JSON.
                request_body: serde_json::from_slice(body)
                    .unwrap_or_else(|_| Value::Object(Map::new())),
                request_headers: harmless(request.headers, token),
                request_path: path,
                request_method: request.method.as_str(),
            },
        };
        self.key.sign(&claims).map_err(|error| {
            let cause = format!("a request to it could not be signed: {error}");
            AuthError::ServiceFailed { cause }
        })
    }

    /// Reads a 200. An answer that cannot be understood lets nobody in.
    fn caller(&self, body: &[u8]) -> Result<Option<Id>, AuthError> {
        let Ok(answer) = serde_json::from_slice::<Map<String, Value>>(body) else {
            return Err(self.failed("200 without a JSON object"));
        };
        match answer.get("id") {
            None | Some(Value::Null) if self.allow_no_id => Ok(None),
            None | Some(Value::Null) => Err(AuthError::Unauthorized(Refusal::new(
                AuthFailure::BadId,
                "the auth service gave no id for this token",
            ))),
            Some(Value::String(id)) => Id::new(id).map(Some).map_err(AuthError::Unauthorized),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.failed("200 with an id that is no string"))
            }
        }
    }

    fn failed(&self, answer: &str) -> AuthError {
        let host = self.url.host_str().unwrap_or_default();
        let cause = format!("{host} gave no usable answer: {answer}");
        AuthError::ServiceFailed { cause }
    }

    fn unavailable(&self, error: reqwest::Error) -> AuthError {
        let host = self.url.host_str().unwrap_or_default();
        // The URL may hold a password, and reqwest shows it.
        let cause = format!("{host}: {}", chain(&error.without_url()));
        AuthError::ServiceUnavailable { cause }
    }
}

const REFUSED: AuthError = AuthError::Unauthorized(Refusal::new(
    AuthFailure::AuthService,
    "the auth service refused the token",
));

/// The headers without those that carry secrets: by their name, and by a value that holds the
/// token or an address with one (`Referer`, and what proxies add).
fn harmless<'a>(headers: &'a HeaderMap, token: &str) -> BTreeMap<&'a str, String> {
    let mut shown = BTreeMap::new();
    for name in headers.keys() {
        let name = name.as_str();
        let values: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let value = values.join(", ");
        let secret = SECRET_NAMES.iter().any(|part| name.contains(part))
            || value.to_ascii_lowercase().contains("api_key=")
            || value.contains(token);
        if !secret {
            shown.insert(name, value);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
