//! Access tokens, checked as LiveKit's own middleware does, with its very words.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use quell_jwt::errors::ErrorKind;
use quell_jwt::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::ApiKey;
use super::refusal::Refusal;
use quell_clock::Clock;

/// How far clocks may differ.
const LEEWAY_SECS: f64 = 60.0;

/// What a token allows; nothing where there is no token.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Grants {
    room_list: bool,
    room_admin: bool,
    room: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Claims {
    iss: String,
    exp: Option<f64>,
    nbf: Option<f64>,
    video: Option<Grants>,
}

impl Grants {
    pub(super) fn may_list(&self) -> Result<(), Refusal> {
        allow(self.room_list)
    }

    pub(super) fn may_administer(&self, room: &str) -> Result<(), Refusal> {
        allow(self.room_admin && self.room == room)
    }
}

fn allow(allowed: bool) -> Result<(), Refusal> {
    if allowed {
        Ok(())
    } else {
        Err(Refusal::unauthenticated("permissions denied"))
    }
}

/// What the request's token allows. A bad token is refused in plain text, before any routing.
pub(super) fn grants(parts: &Parts, keys: &[ApiKey], clock: &Clock) -> Result<Grants, Refusal> {
    let refuse = |text: &str| Refusal::Text(StatusCode::UNAUTHORIZED, text.to_owned());
    let Some(token) = token(parts)? else {
        return Ok(Grants::default());
    };
    let claims: Claims = quell_jwt::dangerous::insecure_decode_claims(&token)
        .map_err(|_| refuse("invalid authorization token"))?;
    let key = keys.iter().find(|key| key.key == claims.iss);
    let key = key.ok_or_else(|| refuse(&format!("invalid API key: {}", claims.iss)))?;
    verify(&token, key, clock)
        .map_err(|why| refuse(&format!("invalid token: {token}, error: {why}")))
}

fn verify(token: &str, key: &ApiKey, clock: &Clock) -> Result<Grants, String> {
    // Times are checked below, against our clock.
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let secret = DecodingKey::from_secret(key.secret.expose_secret().as_bytes());
    let claims = quell_jwt::decode::<Claims>(token, &secret, &validation)
        .map_err(|error| {
            if matches!(error.kind(), ErrorKind::InvalidAlgorithm) {
                let header = quell_jwt::decode_header(token);
                let algorithm = header.map(|header| format!("{:?}", header.alg));
                format!(
                    "token signature is invalid: signing method {} is invalid",
                    algorithm.unwrap_or_default()
                )
            } else {
                "token signature is invalid: signature is invalid".to_owned()
            }
        })?
        .claims;
    let now = clock
        .now()
        .signed_duration_since(chrono::DateTime::UNIX_EPOCH);
    let now = now.as_seconds_f64();
    if claims.exp.is_some_and(|exp| now >= exp + LEEWAY_SECS) {
        return Err("token has invalid claims: token is expired".to_owned());
    }
    if claims.nbf.is_some_and(|nbf| now < nbf - LEEWAY_SECS) {
        return Err("token has invalid claims: token is not valid yet".to_owned());
    }
    Ok(claims.video.unwrap_or_default())
}

/// From the header, or `?access_token=` where there is none.
fn token(parts: &Parts) -> Result<Option<String>, Refusal> {
    let token = if let Some(header) = parts.headers.get(AUTHORIZATION) {
        bearer(header).ok_or_else(|| {
            Refusal::Text(
                StatusCode::UNAUTHORIZED,
                "invalid authorization header. Must start with Bearer ".to_owned(),
            )
        })?
    } else {
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
            .find(|(name, _)| name == "access_token")
            .map(|(_, token)| token.into_owned())
            .unwrap_or_default()
    };
    Ok(Some(token).filter(|token| !token.is_empty()))
}

/// The real server wants exactly `Bearer `, in this case.
fn bearer(header: &HeaderValue) -> Option<String> {
    let token = header.to_str().ok()?.strip_prefix("Bearer ")?;
    Some(token.to_owned())
}
