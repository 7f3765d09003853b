//! Who is calling: the token of a request, checked in turn as an API secret, as a JWT of ours, and
//! by the auth service; the first that knows it decides.
//!
//! | token | `AUTH_REQUIRED=true` | `AUTH_REQUIRED=false` |
//! |---|---|---|
//! | none | 401 | a caller without an id, on the mute endpoint only |
//! | good | its caller | its caller |
//! | bad | 401 | 401; where no way to check is configured, as if there were none |
//!
//! A token is also bad where it is empty, over 16 KiB, in another scheme than `Bearer`, or in more
//! than one `Authorization` header. `jwt` says which JWTs are *ours*: for those the auth service is not
//! asked. `service` says how its answer is read.

mod actor;
mod answers;
mod caller;
mod fetch;
mod jwks;
mod jwt;
mod key;
mod refusal;
mod secrets;
mod service;
mod setup;
mod signing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};

use self::caller::{Id, Identity};
use self::jwt::{JwtVerdict, Jwts};
use self::secrets::{SecretMatch, Secrets};
use self::service::AuthService;
use self::token::Sent;
use super::body::{BodyError, RequestBody};
use super::codes;
use super::log;
use super::problem::Problem;
use crate::config::AuthConfig;
use crate::metrics::AuthFailure;
use quell_clock::Clock;

pub use self::caller::{Caller, Scope};
pub use self::refusal::Refusal;
pub use self::setup::AuthSetupError;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// 401 `UNAUTHORIZED`: no token, or a bad one.
    #[error("{0}")]
    Unauthorized(Refusal),
    /// 403 `FORBIDDEN`: the token does not allow this.
    #[error("the token lacks the scope {}", .0.as_str())]
    Forbidden(Scope),
    /// 400 `INVALID_REQUEST`: the header `X-Actor` cannot be taken.
    #[error("{0}")]
    Actor(String),
    /// The body, which the auth service is to be told of, cannot be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// 502 `AUTH_SERVICE_FAILED`: the auth service's answer is a failure, or cannot be understood.
    #[error("the auth service failed; try again later")]
    ServiceFailed {
        /// What it did, for the log.
        cause: String,
    },
    /// 503 `AUTH_SERVICE_UNAVAILABLE`: the auth service did not answer in time.
    #[error("the auth service cannot be reached; try again later")]
    ServiceUnavailable {
        /// What kept it, for the log.
        cause: String,
    },
    /// 503 `AUTH_SERVICE_UNAVAILABLE`: the keys (JWKS) to check the token with cannot be fetched.
    #[error("the keys to check the token with cannot be fetched; try again later")]
    KeysUnavailable,
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        let text = error.to_string();
        let unavailable = |text| Self::new(codes::AUTH_SERVICE_UNAVAILABLE, text);
        match error {
            AuthError::Unauthorized(refusal) => refusal.into(),
            AuthError::Forbidden(_) => Self::forbidden(text),
            AuthError::Actor(_) => Self::invalid_request(text),
            AuthError::Body(error) => error.into(),
            AuthError::ServiceFailed { cause } => {
                Self::new(codes::AUTH_SERVICE_FAILED, text).because(cause)
            }
            AuthError::ServiceUnavailable { cause } => unavailable(text).because(cause),
            AuthError::KeysUnavailable => unavailable(text),
        }
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// What a check needs of a request.
#[derive(Clone, Copy)]
pub struct AuthRequest<'a> {
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The value of `?api_key=`, decoded.
    pub api_key: Option<&'a str>,
    /// The body, which is read only where the auth service is to be told of it.
    pub body: &'a RequestBody,
}

impl fmt::Debug for AuthRequest<'_> {
    /// Method and path: the rest may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthRequest({} {})", self.method, self.path)
    }
}

/// Tells who is calling. Clones share everything.
#[derive(Clone)]
pub struct Authenticator(Arc<AuthenticatorInner>);

struct AuthenticatorInner {
    required: bool,
    operator_ids: BTreeSet<String>,
    secrets: Secrets,
    jwts: Option<Jwts>,
    service: Option<AuthService>,
}

impl Authenticator {
    /// Reads the keys that `config` names. A JWKS URL is fetched with the first token that needs
    /// it: a JWKS host that is down does not keep quell from starting.
    pub async fn new(config: &AuthConfig, clock: Clock) -> Result<Self, AuthSetupError> {
        setup::inner(config, clock)
            .await
            .map(|inner| Self(Arc::new(inner)))
    }

    /// Who calls the mute endpoint; the caller may have no id. Whether its scopes hold `mute` is
    /// for the endpoint to ask, which writes a refusal down with what was asked for.
    pub async fn caller_of_mute(&self, request: &AuthRequest<'_>) -> Result<Caller, AuthError> {
        let sent = token::of_headers_or_query(request.headers, request.api_key);
        let anonymous = !self.0.required && (sent == Sent::Nothing || !self.0.can_check());
        if anonymous {
            actor::refuse(request.headers)?;
            Ok(Caller::without_id())
        } else {
            self.0.caller(sent, request).await
        }
    }

    /// Who calls `/v1/*`. A token in the header is always needed, and so are an id and `scope`.
    pub async fn caller_of_api(
        &self,
        request: &AuthRequest<'_>,
        scope: Scope,
    ) -> Result<Caller, AuthError> {
        allowed(self.caller_with_id(request).await?, scope)
    }

    /// The same, whatever its scopes.
    pub(super) async fn caller_with_id(
        &self,
        request: &AuthRequest<'_>,
    ) -> Result<Caller, AuthError> {
        let sent = token::of_headers(request.headers);
        let caller = self.0.caller(sent, request).await?;
        if caller.id().is_none() {
            return Err(WITHOUT_ID);
        }
        Ok(caller)
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("required", &self.0.required)
            .field("secrets", &self.0.secrets.len())
            .field("jwts", &self.0.jwts.is_some())
            .field("service", &self.0.service.is_some())
            .finish_non_exhaustive()
    }
}

impl AuthenticatorInner {
    /// Whether there is any way to check a token.
    fn can_check(&self) -> bool {
        !self.secrets.is_empty() || self.jwts.is_some() || self.service.is_some()
    }

    async fn caller(&self, sent: Sent<'_>, request: &AuthRequest<'_>) -> Result<Caller, AuthError> {
        match sent {
            Sent::Nothing => Err(refused(
                AuthFailure::NoToken,
                "a token is needed: Authorization: Bearer <token>",
            )),
            Sent::Bad(why) => Err(refused(AuthFailure::NoBearerToken, why)),
            Sent::Token(token) => {
                let caller = self.check(token, request).await?;
                if let Some(id) = caller.id() {
                    log::caller(id.as_str());
                }
                Ok(caller)
            }
        }
    }

    async fn check(&self, token: &str, request: &AuthRequest<'_>) -> Result<Caller, AuthError> {
        match self.secrets.find(token) {
            SecretMatch::Caller(id) => {
                let on_behalf_of = actor::of_headers(request.headers)?;
                return Ok(self.with_all_scopes(id.clone(), on_behalf_of));
            }
            SecretMatch::WithoutId => {
                return Err(refused(
                    AuthFailure::BadId,
                    "this API secret has a blank id",
                ));
            }
            SecretMatch::NoSecret => {}
        }
        let mut otherwise = refused(AuthFailure::UnknownToken, "the token is not valid");
        if let Some(jwts) = &self.jwts {
            match jwts.check(token).await {
                JwtVerdict::Caller(identity) => {
                    actor::refuse(request.headers)?;
                    return Ok(self.identified(identity));
                }
                JwtVerdict::Refused(why) => return Err(AuthError::Unauthorized(why)),
                JwtVerdict::NoKeys => return Err(AuthError::KeysUnavailable),
                JwtVerdict::Unknown => otherwise = AuthError::KeysUnavailable,
                JwtVerdict::NotOurs => {}
            }
        }
        let Some(service) = &self.service else {
            return Err(otherwise);
        };
        let id = service.check(token, request).await?;
        actor::refuse(request.headers)?;
        Ok(match id {
            Some(id) => self.with_all_scopes(id, None),
            None => Caller::without_id(),
        })
    }

    fn with_all_scopes(&self, id: Id, on_behalf_of: Option<Id>) -> Caller {
        self.identified(Identity {
            id,
            on_behalf_of,
            scopes: Scope::all(),
        })
    }

    fn identified(&self, identity: Identity) -> Caller {
        Caller::identified(identity, &self.operator_ids)
    }
}

/// `/v1` takes nobody who has no id.
pub(super) const WITHOUT_ID: AuthError =
    refused(AuthFailure::BadId, "this needs a caller with an id");

const fn refused(reason: AuthFailure, text: &'static str) -> AuthError {
    AuthError::Unauthorized(Refusal::new(reason, text))
}

fn allowed(caller: Caller, scope: Scope) -> Result<Caller, AuthError> {
    if caller.has(scope) {
        Ok(caller)
    } else {
        Err(AuthError::Forbidden(scope))
    }
}
