//! Who signed this webhook: a JWT over the SHA-256 digest of the raw body.
//!
//! LiveKit sends the bare JWT in `Authorization` (HS256, `iss` = API key, `exp` after 5 minutes)
//! with the claim `sha256`, the padded standard base64 of the body's digest.
//! Source: <https://docs.livekit.io/home/server/webhooks/>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use quell_jwt::{Algorithm, DecodingKey, Validation};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::ApiKey;
use quell_clock::Clock;

/// How far the clocks of LiveKit and quell may be apart.
const LEEWAY_SECS: i64 = 60;

/// Checks webhooks against a set of API keys; several at once, so that keys can be rotated.
pub struct Verifier {
    keys: Vec<(DecodingKey, Validation)>,
    clock: Clock,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

/// Why a webhook is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone, Copy)]
pub enum SignatureError {
    /// There is nothing to check against.
    #[error(
        "no LiveKit API key is configured, so no webhook can be verified: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET"
    )]
    NoKeys,
    /// The header is missing.
    #[error("the Authorization header is missing: LiveKit sends its signature there")]
    Missing,
    /// No configured key made this signature.
    #[error(
        "the signature is not by any configured LiveKit API key: compare webhook.api_key in LiveKit's settings with LIVEKIT_API_KEY"
    )]
    NotOurs,
    /// The token's time is over.
    #[error("the signature has expired: compare the clocks of LiveKit and quell")]
    Expired,
    /// The token's time has not come.
    #[error("the signature is not valid yet: compare the clocks of LiveKit and quell")]
    NotYet,
    /// The body is not the one that was signed.
    #[error("the body is not the one that was signed: a proxy may have changed it")]
    BodyChanged,
}

/// What a signature that holds says of its webhook.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Signed {
    /// The body's digest, as it was signed.
    digest: String,
    /// When LiveKit made the token: the same on every retry.
    pub issued_at: DateTime<Utc>,
}

impl Signed {
    /// Checks that `body` is the one that was signed.
    pub fn check(&self, body: &[u8]) -> Result<(), SignatureError> {
        let digest = STANDARD.encode(Sha256::digest(body));
        if bool::from(digest.as_bytes().ct_eq(self.digest.as_bytes())) {
            Ok(())
        } else {
            Err(SignatureError::BodyChanged)
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    sha256: String,
}

impl Verifier {
    /// A verifier that accepts any of `keys`.
    #[must_use]
    pub fn new(keys: &[ApiKey], clock: Clock) -> Self {
        let keys = keys
            .iter()
            .map(|key| {
                let mut validation = Validation::new(Algorithm::HS256);
                validation.set_required_spec_claims(&["exp", "iss"]);
                validation.set_issuer(&[&key.key]);
                // Times are checked below, against `Clock`.
                validation.validate_exp = false;
                validation.validate_nbf = false;
                validation.validate_aud = false;
                let secret = key.secret.expose_secret().as_bytes();
                (DecodingKey::from_secret(secret), validation)
            })
            .collect();
        Self { keys, clock }
    }

    /// Checks the signature and the times of a webhook's token; `authorization` is that header's value.
    /// This comes before the body is read, so that nobody without a key can make us keep one in memory.
    pub fn verify(&self, authorization: Option<&str>) -> Result<Signed, SignatureError> {
        if self.keys.is_empty() {
            return Err(SignatureError::NoKeys);
        }
        let token = without_bearer(authorization.unwrap_or_default());
        if token.is_empty() {
            return Err(SignatureError::Missing);
        }
        let claims = self.claims(token)?;
        let now = self.clock.unix_seconds();
        if claims.exp < now.saturating_sub(LEEWAY_SECS) {
            return Err(SignatureError::Expired);
        }
        if claims
            .nbf
            .is_some_and(|nbf| nbf > now.saturating_add(LEEWAY_SECS))
        {
            return Err(SignatureError::NotYet);
        }
        let issued_at = claims.iat.or(claims.nbf).unwrap_or(now);
        Ok(Signed {
            digest: claims.sha256,
            issued_at: DateTime::from_timestamp(issued_at, 0).ok_or(SignatureError::NotOurs)?,
        })
    }

    fn claims(&self, token: &str) -> Result<Claims, SignatureError> {
        self.keys
            .iter()
            .find_map(|(key, validation)| quell_jwt::decode::<Claims>(token, key, validation).ok())
            .map(|token| token.claims)
            .ok_or(SignatureError::NotOurs)
    }
}

/// LiveKit sends the token bare; some proxies and older clients put `Bearer` before it.
fn without_bearer(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => value,
    }
}

#[cfg(test)]
mod tests;
