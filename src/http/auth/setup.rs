//! Reads the keys that the settings name, and says what is wrong with them.

use std::io;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;

use super::AuthenticatorInner;
use super::answers::Answers;
use super::fetch;
use super::jwks::{FETCH_TIMEOUT, RemoteKeys};
use super::jwt::Jwts;
use super::key::{HMAC_BYTES_MIN, JwksSource, KeyError, VerifyingKey};
use super::secrets::Secrets;
use super::service::{ASKED_AT_ONCE_MAX, AuthService, SLOW_AT_ONCE_MAX};
use super::signing::SigningKey;
use crate::config::{AuthConfig, AuthServiceConfig, JwtConfig, JwtKeySource};
use quell_clock::Clock;

/// The longest key file.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Why callers cannot be checked as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// A file cannot be read.
    #[error("{variable}: cannot read {}: {source}", path.display())]
    File {
        /// The setting that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds no key that can be used.
    #[error("{variable}: {}: {problem}", path.display())]
    Key {
        /// The setting that names the file.
        variable: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// One API secret has two ids.
    #[error(
        "AUTH_API_SECRETS_JSON, AUTH_API_SECRET: two ids have the same secret: give each its own"
    )]
    SharedSecret,
    /// The HTTP client could not be made.
    #[error("cannot prepare HTTPS requests: {0}")]
    Client(#[from] reqwest::Error),
}

pub(super) async fn inner(
    config: &AuthConfig,
    clock: Clock,
) -> Result<AuthenticatorInner, AuthSetupError> {
    let secrets = Secrets::new(&config.api_secrets).ok_or(AuthSetupError::SharedSecret)?;
    let jwts = match &config.jwt {
        Some(jwt) => Some(jwts(jwt, &clock).await?),
        None => None,
    };
    let service = match &config.service {
        Some(service) => Some(auth_service(service, config.allow_no_id, clock).await?),
        None => None,
    };
    let inner = AuthenticatorInner {
        required: config.required,
        operator_ids: config.operator_ids.clone(),
        secrets,
        jwts,
        service,
    };
    if inner.required && !inner.can_check() {
        tracing::warn!(
            "AUTH_REQUIRED is true, but no way to check a token is set: every caller is refused \
             (set AUTH_API_SECRETS_JSON, a QUELL_JWT_* key or AUTH_SERVICE_URL)"
        );
    }
    if inner.secrets.without_id() > 0 {
        tracing::warn!(
            count = inner.secrets.without_id(),
            "API secrets with a blank id are refused when they are sent: give each an id (AUTH_API_SECRETS_JSON, AUTH_API_SECRET_ID)"
        );
    }
    Ok(inner)
}

async fn jwts(config: &JwtConfig, clock: &Clock) -> Result<Jwts, AuthSetupError> {
    let mut keys = Vec::new();
    let mut remote = None;
    for source in &config.keys {
        match source {
            JwtKeySource::Secret(secret) => {
                if secret.expose_secret().len() < HMAC_BYTES_MIN {
                    tracing::warn!("QUELL_JWT_SECRET is shorter than 32 bytes: it can be guessed");
                }
                keys.push(VerifyingKey::from_secret(secret));
            }
            JwtKeySource::PemFile(path) => {
                let file = KeyFile::read("QUELL_JWT_PUBLIC_KEY_PATH", path).await?;
                keys.push(file.parsed(VerifyingKey::from_pem)?);
            }
            JwtKeySource::JwksFile(path) => {
                let file = KeyFile::read("QUELL_JWT_JWKS_PATH", path).await?;
                let found =
                    file.parsed(|text| VerifyingKey::from_jwks(text.as_bytes(), JwksSource::File))?;
                if found.is_empty() {
                    return file.parsed(|_| Err(KeyError::new("it holds no key that can be used")));
                }
                keys.extend(found);
            }
            JwtKeySource::JwksUrl(url) => {
                remote = Some(RemoteKeys::new(url.clone(), FETCH_TIMEOUT, clock.clone())?);
            }
        }
    }
    Ok(Jwts {
        keys,
        remote,
        issuer: config.issuer.clone(),
        audience: config.audience.clone(),
        id_claim: config.id_claim.clone(),
        actor_claim: config.actor_claim.clone(),
        clock: clock.clone(),
    })
}

async fn auth_service(
    config: &AuthServiceConfig,
    allow_no_id: bool,
    clock: Clock,
) -> Result<AuthService, AuthSetupError> {
    let file = KeyFile::read("AUTH_SIGNING_KEY_PATH", &config.signing_key_path).await?;
    Ok(AuthService {
        url: config.url.clone(),
        client: fetch::client(config.timeout)?,
        key: file.parsed(SigningKey::from_pem)?,
        allow_no_id,
        clock,
        timeout: config.timeout,
        asked: Semaphore::new(ASKED_AT_ONCE_MAX),
        slow: Semaphore::new(SLOW_AT_ONCE_MAX),
        answers: config.cache.map(Answers::new),
    })
}

/// A file that a setting names.
struct KeyFile<'a> {
    variable: &'static str,
    path: &'a Path,
    text: String,
}

impl<'a> KeyFile<'a> {
    async fn read(variable: &'static str, path: &'a Path) -> Result<Self, AuthSetupError> {
        let text = async {
            let mut text = String::new();
            let file = File::open(path).await?;
            file.take(FILE_BYTES_MAX).read_to_string(&mut text).await?;
            Ok(text)
        };
        match text.await {
            Ok(text) => Ok(Self {
                variable,
                path,
                text,
            }),
            Err(source) => Err(AuthSetupError::File {
                variable,
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn parsed<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, KeyError>,
    ) -> Result<T, AuthSetupError> {
        parse(&self.text).map_err(|KeyError(problem)| AuthSetupError::Key {
            variable: self.variable,
            path: self.path.to_owned(),
            problem,
        })
    }
}

#[cfg(test)]
mod tests;
