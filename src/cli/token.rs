//! `quell token` and `quell secret`: what callers show.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use clap::builder::PossibleValuesParser;
use quell_jwt::{EncodingKey, Header};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::policy::output::print_out;
use crate::backtest::ago;
use crate::caller_id;
use crate::config::{Config, Environment, JwtKeySource};
use crate::http::auth::Scope;
use quell_clock::Clock;

/// Bytes of a secret that is made: as many as HMAC-SHA-256 takes (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    /// Whom it stands for: the `auth_id` in the metadata of its rooms, or an operator's id
    #[arg(long, value_parser = caller)]
    id: String,
    /// What it may be used for; everything without it. May be repeated
    #[arg(long = "scope", value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)))]
    scopes: Vec<String>,
    /// How long it is valid: 90m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: String,
}

#[derive(Debug, Args)]
pub(super) struct SecretArguments {
    /// Whom it stands for: the `auth_id` in the metadata of its rooms, or an operator's id
    #[arg(long, value_parser = caller)]
    id: String,
}

fn caller(text: &str) -> Result<String, String> {
    match caller_id::read(text) {
        Ok(id) => Ok(id.as_str().to_owned()),
        Err(why) => Err(format!("it {why}")),
    }
}

/// Signs a JWT with `QUELL_JWT_SECRET`.
pub(super) fn token(arguments: &TokenArguments) -> anyhow::Result<()> {
    let config = Config::from_environment(&Environment::of_process())?;
    let jwt = config.auth.jwt.context(
        "QUELL_JWT_SECRET is not set, by which quell checks what this signs: set it, for serve as well",
    )?;
    let secret = jwt.keys.iter().find_map(|key| match key {
        JwtKeySource::Secret(secret) => Some(secret),
        JwtKeySource::PemFile(_) | JwtKeySource::JwksFile(_) | JwtKeySource::JwksUrl(_) => None,
    });
    let secret = secret.context(
        "QUELL_JWT_SECRET is not set: with public keys alone, whoever has the private one signs tokens",
    )?;
    let ttl = ago(&arguments.ttl).filter(|ttl| ttl.num_seconds() > 0);
    let ttl = ttl.with_context(|| format!("--ttl {}: write 90m, 1h or 7d", arguments.ttl))?;
    let now = Clock::system().now();
    let mut claims = Map::new();
    claims.insert(jwt.id_claim, arguments.id.clone().into());
    claims.insert("iat".to_owned(), now.timestamp().into());
    claims.insert("exp".to_owned(), (now + ttl).timestamp().into());
    for (name, value) in [("iss", jwt.issuer), ("aud", jwt.audience)] {
        claims.extend(value.map(|value| (name.to_owned(), Value::from(value))));
    }
    if !arguments.scopes.is_empty() {
        claims.insert("scope".to_owned(), arguments.scopes.join(" ").into());
    }
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    let token = quell_jwt::encode(&Header::default(), &claims, &key)?;
    print_out(&format!("{token}\n"))
}

/// Makes an API secret.
pub(super) fn secret(arguments: &SecretArguments) -> anyhow::Result<()> {
    let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; SECRET_BYTES]>());
    let entry = json!({"id": arguments.id, "secret": secret});
    eprintln!(
        "one more entry of AUTH_API_SECRETS_JSON='[...]'; callers send it as `Authorization: Bearer SECRET`"
    );
    print_out(&format!("{entry}\n"))
}
