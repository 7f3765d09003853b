//! JWTs checked here: is a token ours to judge, and if so, whom does it stand for?
//!
//! A token is **ours** where one of these holds; then the verdict is final, and no auth service
//! is asked:
//! - its `iss` is `QUELL_JWT_ISSUER`;
//! - its `kid` is one of our keys';
//! - no issuer is configured, and one of our keys verifies its signature.
//!
//! Keys that a token is tried with: those of its `kid` and those without a `kid` (a secret, a PEM
//! file), or all of them where it names none, and of these only the keys whose own algorithm is
//! the one that it names.
//!
//! Claims: `exp` is needed and, like `nbf`, checked with 60 s of leeway; `iss` and `aud` are checked
//! where they are configured; the id claim must be a string that is not blank, and so must the actor claim where
//! one is configured and there. Scopes are the
//! first of `scope`, `scp` and `scopes` that is there, as words between spaces or a list of them;
//! words of others mean nothing here, and a claim of another type grants nothing. A token without
//! any of the three may do all that its tenant may.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quell_jwt::errors::ErrorKind;
use quell_jwt::{Algorithm, Validation};
use serde_json::{Map, Value};

use super::caller::{Id, Identity, Scope};
use super::jwks::{Known, RemoteKeys};
use super::key::VerifyingKey;
use super::refusal::Refusal;
use crate::metrics::AuthFailure;
use quell_clock::Clock;

const LEEWAY_SECS: u64 = 60;
const SCOPE_CLAIMS: [&str; 3] = ["scope", "scp", "scopes"];

type Claims = Map<String, Value>;

/// Checks JWTs.
pub(super) struct Jwts {
    pub(super) keys: Vec<VerifyingKey>,
    pub(super) remote: Option<RemoteKeys>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) id_claim: String,
    /// The claim that names the person for whom the token is used.
    pub(super) actor_claim: Option<String>,
    pub(super) clock: Clock,
}

/// What the check of a token came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JwtVerdict {
    /// Ours and good.
    Caller(Identity),
    /// Ours and bad, and why.
    Refused(Refusal),
    /// No JWT, or another's.
    NotOurs,
    /// Ours, but the keys to check it with could not be fetched.
    NoKeys,
    /// Perhaps ours: the keys that it would be checked with could not be fetched.
    Unknown,
}

/// What a token says of itself, unchecked.
struct Unchecked {
    /// None where jsonwebtoken cannot read the header, `alg: none` for one.
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    issuer: Option<String>,
    /// RFC 7515, 4.1.11: extensions that must be understood. We understand none.
    critical: bool,
}

impl Jwts {
    pub(super) async fn check(&self, token: &str) -> JwtVerdict {
        let Some(unchecked) = Unchecked::read(token) else {
            return JwtVerdict::NotOurs;
        };
        let names_us = self.issuer.is_some() && unchecked.issuer == self.issuer;
        let names_another = self.issuer.is_some() && !names_us;

        let mut known = self.known(!names_another).await;
        let mut verified = self.verify(token, &unchecked, &known.keys);
        if let Some(remote) = &self.remote
            && verified.is_none()
            && !names_another
            && self.lacks(&unchecked, &known)
        {
            known = remote.fetched().await;
            verified = self.verify(token, &unchecked, &known.keys);
        }

        let kid_is_ours = unchecked.kid.is_some() && !self.lacks(&unchecked, &known);
        let keys_are_missing = known.failed
            && match &unchecked.kid {
                Some(_) => !kid_is_ours,
                None => known.fetched_at.is_none(),
            };
        let ours = names_us || kid_is_ours || (self.issuer.is_none() && verified.is_some());
        match verified {
            Some(Ok(claims)) if ours => self.judge(&unchecked, &claims),
            Some(Err(why)) if ours => JwtVerdict::Refused(why),
            None if ours && keys_are_missing => JwtVerdict::NoKeys,
            None if ours => JwtVerdict::Refused(Refusal::new(
                AuthFailure::BadSignature,
                "the token's signature is not valid",
            )),
            Some(_) | None if keys_are_missing && !names_another => JwtVerdict::Unknown,
            Some(_) | None => JwtVerdict::NotOurs,
        }
    }

    /// The keys of the JWKS URL. Nothing is fetched for a token that would be refused anyway.
    async fn known(&self, fetch: bool) -> Arc<Known> {
        match &self.remote {
            Some(remote) if fetch => remote.current().await,
            Some(remote) => remote.so_far(),
            None => Arc::default(),
        }
    }

    fn keys<'a>(&'a self, remote: &'a [VerifyingKey]) -> impl Iterator<Item = &'a VerifyingKey> {
        self.keys.iter().chain(remote)
    }

    /// Whether the token names a key that is not among ours.
    fn lacks(&self, unchecked: &Unchecked, known: &Known) -> bool {
        unchecked.kid.is_some() && self.keys(&known.keys).all(|key| key.kid != unchecked.kid)
    }

    /// The claims, or why they are refused, where one of our keys verifies the signature.
    fn verify(
        &self,
        token: &str,
        unchecked: &Unchecked,
        remote: &[VerifyingKey],
    ) -> Option<Result<Claims, Refusal>> {
        self.keys(remote)
            .filter(|key| Some(key.algorithm) == unchecked.algorithm)
            .filter(|key| unchecked.kid.is_none() || key.kid.is_none() || key.kid == unchecked.kid)
            .find_map(|key| self.verify_with(token, key))
    }

    fn verify_with(&self, token: &str, key: &VerifyingKey) -> Option<Result<Claims, Refusal>> {
        let mut validation = Validation::new(key.algorithm);
        let mut required = vec!["exp"];
        // jsonwebtoken reads the system clock: the times are checked against ours, below.
        validation.validate_exp = false;
        validation.validate_aud = self.audience.is_some();
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        match quell_jwt::decode::<Claims>(token, &key.decoding, &validation) {
            Ok(read) => Some(Ok(read.claims)),
            Err(error) => refusal(error.kind()).map(Err),
        }
    }

    /// The verdict on a token whose signature, issuer and audience are right.
    fn judge(&self, unchecked: &Unchecked, claims: &Claims) -> JwtVerdict {
        if unchecked.critical {
            return JwtVerdict::Refused(Refusal::new(
                AuthFailure::BadClaims,
                "the token demands an extension that is not supported",
            ));
        }
        // jsonwebtoken also takes a list of issuers that holds ours.
        if self.issuer.is_some() && unchecked.issuer != self.issuer {
            return JwtVerdict::Refused(Refusal::new(
                AuthFailure::NotForUs,
                "the token is from another issuer",
            ));
        }
        if let Err(why) = self.check_times(claims) {
            return JwtVerdict::Refused(why);
        }
        let Some(id) = claims.get(&self.id_claim).and_then(Value::as_str) else {
            return JwtVerdict::Refused(Refusal::new(
                AuthFailure::BadId,
                "the token's id claim is missing or no text",
            ));
        };
        let id = match Id::new(id) {
            Ok(id) => id,
            Err(refusal) => return JwtVerdict::Refused(refusal),
        };
        match self.on_behalf_of(claims) {
            Ok(on_behalf_of) => JwtVerdict::Caller(Identity {
                id,
                on_behalf_of,
                scopes: scopes(claims),
            }),
            Err(refusal) => JwtVerdict::Refused(refusal),
        }
    }

    /// The actor claim, or its `sub` (RFC 8693, 4.1). A token without it is nobody else's.
    fn on_behalf_of(&self, claims: &Claims) -> Result<Option<Id>, Refusal> {
        let claim = self.actor_claim.as_ref().and_then(|name| claims.get(name));
        let Some(claim) = claim else {
            return Ok(None);
        };
        let person = claim.get("sub").unwrap_or(claim).as_str();
        let person = person.and_then(|person| Id::new(person).ok());
        person.map(Some).ok_or(Refusal::new(
            AuthFailure::BadClaims,
            "the token's actor claim names nobody: it must be a text of 1 to 256 characters, or an object with such a `sub`",
        ))
    }

    fn check_times(&self, claims: &Claims) -> Result<(), Refusal> {
        let now = u64::try_from(self.clock.unix_seconds()).unwrap_or_default();
        let expires = claims.get("exp").and_then(seconds);
        let Some(expires) = expires else {
            return Err(missing("exp"));
        };
        if now >= expires.saturating_add(LEEWAY_SECS) {
            return Err(Refusal::new(AuthFailure::Expired, "the token has expired"));
        }
        match claims.get("nbf").map(seconds) {
            None => Ok(()),
            Some(Some(start)) if start <= now.saturating_add(LEEWAY_SECS) => Ok(()),
            Some(Some(_)) => Err(Refusal::new(
                AuthFailure::NotYetValid,
                "the token is not valid yet",
            )),
            Some(None) => Err(Refusal::new(
                AuthFailure::BadClaims,
                "the token's nbf is no time",
            )),
        }
    }
}

impl Unchecked {
    /// None where the token is no JWT: three parts, the first two JSON objects in base64url.
    fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, claims) = (object(parts.next()?)?, object(parts.next()?)?);
        parts.next()?;
        if parts.next().is_some() {
            return None;
        }
        let text = |object: &Claims, name| Some(object.get(name)?.as_str()?.to_owned());
        Some(Self {
            algorithm: quell_jwt::decode_header(token).ok().map(|it| it.alg),
            kid: text(&header, "kid"),
            issuer: text(&claims, "iss"),
            critical: header.contains_key("crit"),
        })
    }
}

fn object(part: &str) -> Option<Claims> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Why a token is refused whose signature was verified; none where it was not.
fn refusal(error: &ErrorKind) -> Option<Refusal> {
    if let ErrorKind::MissingRequiredClaim(claim) = error {
        Some(missing(claim))
    } else if matches!(error, ErrorKind::InvalidIssuer) {
        Some(Refusal::new(
            AuthFailure::NotForUs,
            "the token is from another issuer",
        ))
    } else if matches!(error, ErrorKind::InvalidAudience) {
        Some(Refusal::new(
            AuthFailure::NotForUs,
            "the token is for another audience",
        ))
    } else if matches!(error, ErrorKind::Json(_)) {
        // The header was read before, so these are the claims: a `sub` that is a list, for one.
        Some(Refusal::new(
            AuthFailure::BadClaims,
            "the token's claims cannot be read",
        ))
    } else {
        None
    }
}

fn missing(claim: &str) -> Refusal {
    let text = match claim {
        "exp" => "the token has no exp",
        "iss" => "the token has no iss",
        _ => "the token has no aud",
    };
    Refusal::new(AuthFailure::BadClaims, text)
}

/// A JWT time (RFC 7519, `NumericDate`): seconds, perhaps with a fraction.
fn seconds(value: &Value) -> Option<u64> {
    let fraction = || Duration::try_from_secs_f64(value.as_f64()?).ok();
    value.as_u64().or_else(|| Some(fraction()?.as_secs()))
}

fn scopes(claims: &Claims) -> BTreeSet<Scope> {
    let Some(claim) = SCOPE_CLAIMS.iter().find_map(|name| claims.get(*name)) else {
        return Scope::all();
    };
    let words: Vec<&str> = match claim {
        Value::String(words) => words.split_whitespace().collect(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    words.into_iter().filter_map(Scope::from_word).collect()
}

#[cfg(test)]
mod tests;
