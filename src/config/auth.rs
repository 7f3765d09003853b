//! Reads who may call: API secrets, JWTs and the auth service.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Deserialize;

use super::reader::EnvReader;
use super::{ApiSecret, AuthConfig, AuthServiceConfig, JwtConfig, JwtKeySource};
use crate::caller_id::{self, IdError};
use quell_policy::TenantIdError;
use quell_policy::terminal::quoted;

/// Who may call, and what is wrong with that.
pub(super) fn read(reader: &mut EnvReader<'_>) -> AuthConfig {
    AuthConfig {
        required: reader.flag("AUTH_REQUIRED", true),
        allow_no_id: reader.flag("QUELL_ALLOW_NO_ID", false),
        operator_ids: operator_ids(reader),
        api_secrets: api_secrets(reader),
        jwt: jwt(reader),
        service: auth_service(reader),
    }
}

fn api_secrets(reader: &mut EnvReader<'_>) -> Vec<ApiSecret> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct SecretEntry {
        id: String,
        secret: String,
    }
    let mut secrets = Vec::new();
    let json = reader.secret("AUTH_API_SECRETS_JSON", "AUTH_API_SECRETS_JSON_FILE");
    if let Some(json) = json {
        match serde_json::from_str::<Vec<SecretEntry>>(json.expose_secret()) {
            Ok(entries) => secrets.extend(entries),
            // serde's message could quote a secret: only its place is told.
            Err(error) => reader.problems.push(format!(
                r#"AUTH_API_SECRETS_JSON must be [{{"id": "...", "secret": "..."}}, ...] (line {}, column {})"#,
                error.line(),
                error.column()
            )),
        }
    }
    // Set and blank is kept blank, so that its use is refused and not overlooked.
    let id = reader.even_blank("AUTH_API_SECRET_ID");
    let secret = reader.secret("AUTH_API_SECRET", "AUTH_API_SECRET_FILE");
    if secret.is_none() && reader.environment.is_set("AUTH_API_SECRET_ID") {
        does_nothing(reader, "AUTH_API_SECRET_ID", &["AUTH_API_SECRET"]);
    }
    if let Some(secret) = secret {
        let id = id.unwrap_or_else(|| "default".to_owned());
        let secret = secret.expose_secret().to_owned();
        secrets.push(SecretEntry { id, secret });
    }
    let secrets: Vec<_> = secrets
        .into_iter()
        .map(|SecretEntry { id, secret }| ApiSecret {
            id,
            secret: secret.into(),
        })
        .collect();
    check_secrets(reader, &secrets);
    secrets
}

/// The longest secret: longer tokens are refused without a check.
const SECRET_BYTES_MAX: usize = 16 << 10;
const API_SECRETS: &str = "AUTH_API_SECRETS_JSON, AUTH_API_SECRET";

fn check_secrets(reader: &mut EnvReader<'_>, secrets: &[ApiSecret]) {
    let mut shared = BTreeSet::new();
    for (at, ApiSecret { id, secret }) in secrets.iter().enumerate() {
        let secret = secret.expose_secret();
        let blank = IdError::Tenant(TenantIdError::Blank);
        if let Err(why) = caller_id::read(id)
            && why != blank
        {
            reader.problems.push(format!(
                "{API_SECRETS}: the id {} {why}: give it another",
                quoted(id)
            ));
        }
        if secret.trim().is_empty() {
            reader.problems.push(format!(
                "{API_SECRETS}: the secret of {} is empty: give each entry its own",
                quoted(id)
            ));
        } else if secret.trim().len() < secret.len() {
            // A header's value is trimmed.
            reader.problems.push(format!(
                "{API_SECRETS}: the secret of {} begins or ends with white space, and cannot be sent: take that off",
                quoted(id)
            ));
        } else if secret.len() > SECRET_BYTES_MAX || secret.contains(char::is_control) {
            reader.problems.push(format!(
                "{API_SECRETS}: the secret of {} cannot be sent: it has control characters, or more than {SECRET_BYTES_MAX} bytes",
                quoted(id)
            ));
        }
        let others = secrets.iter().take(at);
        let same = others.filter(|other| other.id != *id && other.secret.expose_secret() == secret);
        shared.extend(same.map(|other| (other.id.as_str(), id.as_str())));
    }
    for (one, other) in shared {
        reader.problems.push(format!(
            "{API_SECRETS}: {} and {} have the same secret, so that nobody can tell who calls: give each its own",
            quoted(one),
            quoted(other)
        ));
    }
}

fn operator_ids(reader: &mut EnvReader<'_>) -> BTreeSet<String> {
    let text = reader.text("QUELL_OPERATOR_IDS").unwrap_or_default();
    if text.trim().starts_with(['[', '"']) {
        let problem = "QUELL_OPERATOR_IDS is a list of ids with commas between: write it without brackets and quotes";
        reader.problems.push(problem.to_owned());
    } else if text.contains(';') {
        let warning = "QUELL_OPERATOR_IDS has a `;` in it: ids are separated by commas";
        reader.warnings.push(warning.to_owned());
    }
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    ids.map(|id| {
        if let Err(why) = caller_id::read(id) {
            reader.problems.push(format!(
                "QUELL_OPERATOR_IDS: the id {} {why}: no caller can have it",
                quoted(id)
            ));
        }
        id.to_owned()
    })
    .collect()
}

/// Says that `name` is set for nothing, since none of `without` is.
fn does_nothing(reader: &mut EnvReader<'_>, name: &str, without: &[&str]) {
    let missing = match without {
        [one] => format!("{one} is not set"),
        several => format!("none of {} is set", several.join(", ")),
    };
    let warning = format!("{name} is set and does nothing, since {missing}");
    reader.warnings.push(warning);
}

const JWT_KEYS: [&str; 4] = [
    "QUELL_JWT_SECRET",
    "QUELL_JWT_PUBLIC_KEY_PATH",
    "QUELL_JWT_JWKS_PATH",
    "QUELL_JWT_JWKS_URL",
];

fn jwt(reader: &mut EnvReader<'_>) -> Option<JwtConfig> {
    let mut keys = Vec::new();
    let secret = reader.secret("QUELL_JWT_SECRET", "QUELL_JWT_SECRET_FILE");
    keys.extend(secret.map(JwtKeySource::Secret));
    keys.extend(
        reader
            .text("QUELL_JWT_PUBLIC_KEY_PATH")
            .map(|path| JwtKeySource::PemFile(path.into())),
    );
    keys.extend(
        reader
            .text("QUELL_JWT_JWKS_PATH")
            .map(|path| JwtKeySource::JwksFile(path.into())),
    );
    keys.extend(
        reader
            .secret_url(
                "QUELL_JWT_JWKS_URL",
                "QUELL_JWT_JWKS_URL_FILE",
                &["https", "http"],
            )
            .map(JwtKeySource::JwksUrl),
    );
    let mut checked = |name| {
        let value = reader.exact(name);
        if value.is_some() && keys.is_empty() {
            does_nothing(reader, name, &JWT_KEYS);
        }
        value
    };
    let issuer = checked("QUELL_JWT_ISSUER");
    let audience = checked("QUELL_JWT_AUDIENCE");
    let id_claim = checked("QUELL_JWT_ID_CLAIM").unwrap_or_else(|| "sub".to_owned());
    let actor_claim = checked("QUELL_JWT_ACTOR_CLAIM");
    (!keys.is_empty()).then_some(JwtConfig {
        keys,
        issuer,
        audience,
        id_claim,
        actor_claim,
    })
}

fn auth_service(reader: &mut EnvReader<'_>) -> Option<AuthServiceConfig> {
    let timeout = reader.seconds("AUTH_TIMEOUT_SECONDS", 5);
    let cache: Option<u64> = reader.optional(
        "QUELL_AUTH_CACHE_SECONDS",
        "a whole number of seconds; 0 keeps no answers",
    );
    let signing_key_path = reader.text("AUTH_SIGNING_KEY_PATH").map(PathBuf::from);
    let set = ["AUTH_SERVICE_URL", "AUTH_SERVICE_URL_FILE"];
    let Some(url) = reader.secret_url(set[0], set[1], &["https", "http"]) else {
        if !set.iter().any(|name| reader.environment.is_set(name)) {
            for name in [
                "AUTH_SIGNING_KEY_PATH",
                "AUTH_TIMEOUT_SECONDS",
                "QUELL_AUTH_CACHE_SECONDS",
            ] {
                if reader.environment.is_set(name) {
                    does_nothing(reader, name, &["AUTH_SERVICE_URL"]);
                }
            }
        }
        return None;
    };
    let Some(signing_key_path) = signing_key_path else {
        reader.problems.push(
            "AUTH_SERVICE_URL is set without AUTH_SIGNING_KEY_PATH: \
             put there the path of the RSA or EC private key (PEM) that signs requests to it"
                .to_owned(),
        );
        return None;
    };
    Some(AuthServiceConfig {
        url,
        signing_key_path,
        timeout,
        cache: cache.filter(|secs| *secs > 0).map(Duration::from_secs),
    })
}
