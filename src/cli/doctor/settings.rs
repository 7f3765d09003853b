//! What can be wrong with the settings although each can be read.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use quell_jwt::jwk::JwkSet;
use secrecy::{ExposeSecret, SecretString};

use super::Finding;
use crate::config::{AuthConfig, Config, Environment, JwtKeySource};
use quell_clock::Clock;

/// HS256 wants a key as long as its digest; `LiveKit` warns below it, too.
const SECRET_BYTES_MIN: usize = 32;
const TICKS_SHOWN: usize = 3;
const HOW_TO_MAKE_ONE: &str = "make one with `openssl rand -hex 32`";

pub(super) fn check(environment: &Environment, config: &Config, clock: &Clock) -> Vec<Finding> {
    let mut findings = vec![livekit(environment, config)];
    let warnings = config.warnings.iter();
    findings.extend(warnings.map(|warning| Finding::warn(warning, "mend it, or take it away")));
    findings.extend(clear_text(config));
    findings.push(who_may_call(config));
    findings.extend(blank_ids(&config.auth));
    findings.extend(no_id(&config.auth));
    findings.extend(files(&config.auth));
    findings.extend(short_secrets(config));
    if config.worker.concurrency == 0 {
        findings.push(Finding::warn(
            "QUELL_WORKERS is 0: webhooks are stored, and nobody is muted by policy here",
            "leave it unset, unless another quell on the same database does the work",
        ));
    }
    findings.push(sweeps(config, clock));
    findings
}

fn sweeps(config: &Config, clock: &Clock) -> Finding {
    let Some(schedule) = &config.sweep.schedule else {
        return Finding::warn(
            "QUELL_SWEEP_CRON is off: what no webhook tells (a window that opens, a changed policy, a lost webhook) mutes nobody who speaks already",
            "leave it unset, unless another quell on the same database sweeps",
        );
    };
    let mut ticks = Vec::new();
    let mut at = clock.now();
    while let Some(next) = schedule.next(at).filter(|_| ticks.len() < TICKS_SHOWN) {
        ticks.push(next.format("%Y-%m-%d %H:%M:%SZ").to_string());
        at = next;
    }
    Finding::ok(format!("all rooms are swept next at {}", ticks.join(", ")))
}

fn livekit(environment: &Environment, config: &Config) -> Finding {
    if let Some(livekit) = &config.livekit {
        return Finding::ok(format!("LiveKit is set: {}", livekit.url));
    }
    let missing: Vec<&str> = ["LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"]
        .into_iter()
        .filter(|name| !environment.is_set(name) && !environment.is_set(&format!("{name}_FILE")))
        .collect();
    let what = if missing.len() == 3 {
        "LiveKit is not set: nobody can be muted, and every webhook is refused"
    } else {
        "LiveKit is set in part, which counts as not at all"
    };
    Finding::fail(
        what,
        format!(
            "set {}, to the values of LiveKit's own configuration",
            missing.join(" and ")
        ),
    )
}

fn clear_text(config: &Config) -> Option<Finding> {
    let url = &config.livekit.as_ref()?.url;
    let host = url.host_str()?.trim_matches(['[', ']']);
    (url.scheme() == "http" && !is_loopback(host)).then(|| {
        Finding::warn(
            "LIVEKIT_URL is not encrypted: tokens that may mute travel in the clear",
            "use wss:// or https://, unless the network between is your own",
        )
    })
}

fn who_may_call(config: &Config) -> Finding {
    let auth = &config.auth;
    let ways: Vec<&str> = [
        (!auth.api_secrets.is_empty(), "API secrets"),
        (auth.jwt.is_some(), "JWTs"),
        (auth.service.is_some(), "an auth service"),
    ]
    .into_iter()
    .filter_map(|(is_set, way)| is_set.then_some(way))
    .collect();
    if auth.required && ways.is_empty() {
        return Finding::fail(
            "AUTH_REQUIRED is on and nothing can check a token: every call is answered 401",
            "set AUTH_API_SECRETS_JSON, a QUELL_JWT_* key, or AUTH_SERVICE_URL",
        );
    }
    if !auth.required && !is_loopback(&config.host) {
        return Finding::warn(
            format!(
                "AUTH_REQUIRED is off and HOST is {}: whoever reaches this port may mute anyone",
                config.host
            ),
            "set AUTH_REQUIRED=true, or HOST=127.0.0.1 with a proxy before it that checks callers",
        );
    }
    let how = if ways.is_empty() {
        "nobody is asked for a token, on this machine only".to_owned()
    } else if auth.required {
        format!("callers are checked by {}", ways.join(", "))
    } else {
        format!(
            "callers who send a token are checked by {}",
            ways.join(", ")
        )
    };
    Finding::ok(how)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

fn blank_ids(auth: &AuthConfig) -> Option<Finding> {
    let blank = auth
        .api_secrets
        .iter()
        .any(|secret| secret.id.trim().is_empty());
    blank.then(|| {
        Finding::fail(
            "an API secret has no id: whoever uses it is answered 401",
            "set AUTH_API_SECRET_ID, or the entry's \"id\" in AUTH_API_SECRETS_JSON, to the \
             tenant's auth_id",
        )
    })
}

fn no_id(auth: &AuthConfig) -> Option<Finding> {
    (auth.allow_no_id && auth.service.is_none()).then(|| {
        Finding::warn(
            "QUELL_ALLOW_NO_ID is on, but it is about an auth service and none is set",
            "unset it, or set AUTH_SERVICE_URL",
        )
    })
}

fn short_secrets(config: &Config) -> Vec<Finding> {
    let mut secrets: Vec<(String, &SecretString)> = Vec::new();
    for key in &config.webhook_keys {
        secrets.push((
            format!("the secret of LiveKit's key {}", key.key),
            &key.secret,
        ));
    }
    for secret in &config.auth.api_secrets {
        secrets.push((format!("the API secret of {:?}", secret.id), &secret.secret));
    }
    let jwt_keys = config.auth.jwt.iter().flat_map(|jwt| &jwt.keys);
    for key in jwt_keys {
        if let JwtKeySource::Secret(secret) = key {
            secrets.push(("QUELL_JWT_SECRET".to_owned(), secret));
        }
    }
    secrets
        .into_iter()
        .filter(|(_, secret)| secret.expose_secret().len() < SECRET_BYTES_MIN)
        .map(|(whose, _)| {
            Finding::warn(
                format!("{whose} is shorter than {SECRET_BYTES_MIN} bytes and may be guessed"),
                HOW_TO_MAKE_ONE,
            )
        })
        .collect()
}

fn files(auth: &AuthConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    for key in auth.jwt.iter().flat_map(|jwt| &jwt.keys) {
        match key {
            JwtKeySource::PemFile(path) => findings.push(public_key(path)),
            JwtKeySource::JwksFile(path) => findings.push(jwks(path)),
            JwtKeySource::Secret(_) | JwtKeySource::JwksUrl(_) => {}
        }
    }
    findings.extend(
        auth.service
            .iter()
            .map(|service| signing_key(&service.signing_key_path)),
    );
    findings
}

fn read(variable: &str, path: &Path) -> Result<String, Finding> {
    std::fs::read_to_string(path).map_err(|error| {
        Finding::fail(
            format!("{variable}: {} cannot be read: {error}", path.display()),
            "set it to the file's path, readable to the user who runs quell",
        )
    })
}

fn public_key(path: &Path) -> Finding {
    let variable = "QUELL_JWT_PUBLIC_KEY_PATH";
    let pem = match read(variable, path) {
        Ok(pem) => pem,
        Err(finding) => return finding,
    };
    if pem.contains("PRIVATE KEY-----") {
        return Finding::fail(
            format!("{variable}: {} holds a private key", path.display()),
            "keep that at the issuer; give quell `openssl pkey -in private.pem -pubout`",
        );
    }
    if !pem.contains("-----BEGIN") {
        return Finding::fail(
            format!("{variable}: {} is no PEM file", path.display()),
            "it must hold a public key: -----BEGIN PUBLIC KEY-----",
        );
    }
    Finding::ok(format!("{variable}: {} is there", path.display()))
}

fn jwks(path: &Path) -> Finding {
    let variable = "QUELL_JWT_JWKS_PATH";
    let text = match read(variable, path) {
        Ok(text) => text,
        Err(finding) => return finding,
    };
    match serde_json::from_str::<JwkSet>(&text) {
        Ok(set) if !set.keys.is_empty() => Finding::ok(format!(
            "{variable}: {} holds {} keys",
            path.display(),
            set.keys.len()
        )),
        Ok(_) => Finding::fail(
            format!("{variable}: {} holds no key", path.display()),
            "fetch it anew from the issuer",
        ),
        // serde's message could quote key material: only the place is told.
        Err(error) => Finding::fail(
            format!(
                "{variable}: {} is no JWKS (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            ),
            r#"it must be {"keys": [...]}; fetch it anew from the issuer"#,
        ),
    }
}

fn signing_key(path: &Path) -> Finding {
    let variable = "AUTH_SIGNING_KEY_PATH";
    let pem = match read(variable, path) {
        Ok(pem) => pem,
        Err(finding) => return finding,
    };
    if !pem.contains("PRIVATE KEY-----") {
        return Finding::fail(
            format!("{variable}: {} holds no private key", path.display()),
            "it must be the RSA or EC private key whose public half the auth service knows",
        );
    }
    let open = path
        .metadata()
        .is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    if open {
        return Finding::warn(
            format!("{variable}: {} can be read by other users", path.display()),
            format!("chmod 600 {}", path.display()),
        );
    }
    Finding::ok(format!("{variable}: {} is there", path.display()))
}

#[cfg(test)]
mod tests;
