//! Reads and checks each variable, and gathers everything that is wrong before it gives up.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::{
    ApiKey, ApiSecret, AuthConfig, AuthServiceConfig, Config, DatabaseConfig, JwtConfig,
    JwtKeySource, LiveKitConfig, LogFormat, WorkerConfig,
};

/// What is wrong with the settings: one line a variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the settings cannot be used:")?;
        for problem in &self.0 {
            writeln!(f, "  - {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub(super) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Events are kept for a day at least, and what people decided too: no job may be older.
const DEADLINE_MAX: Duration = Duration::from_hours(12);

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    /// The variable's value; blank is the same as not set.
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn secret(&self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    fn parsed<T: FromStr>(&mut self, name: &str, default: T, want: &str) -> T {
        let Some(value) = self.text(name) else {
            return default;
        };
        value.trim().parse().unwrap_or_else(|_| {
            self.problems
                .push(format!("{name} is {value:?}, but must be {want}"));
            default
        })
    }

    fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.text(name) else {
            return default;
        };
        match value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.problems
                    .push(format!("{name} is {value:?}, but must be true or false"));
                default
            }
        }
    }

    fn seconds(&mut self, name: &str, default: u64) -> Duration {
        let seconds = self.parsed(name, default, "a whole number of seconds of at least 1");
        if seconds == 0 {
            self.problems
                .push(format!("{name} is 0, but must be at least 1 second"));
        }
        Duration::from_secs(seconds)
    }

    fn millis(&mut self, name: &str, default: u64) -> Duration {
        let millis = self.parsed(
            name,
            default,
            "a whole number of milliseconds of at least 1",
        );
        if millis == 0 {
            self.problems
                .push(format!("{name} is 0, but must be at least 1 millisecond"));
        }
        Duration::from_millis(millis)
    }

    fn url(&mut self, name: &str, schemes: &[&str]) -> Option<Url> {
        let value = self.text(name)?;
        // The value itself is not shown: URLs may hold a password.
        match Url::parse(value.trim()) {
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => Some(url),
            Ok(_) | Err(_) => {
                self.problems.push(format!(
                    "{name} is not a URL that starts with {}://",
                    schemes.join(":// or ")
                ));
                None
            }
        }
    }
}

pub(super) fn config(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let mut reader = Reader {
        lookup,
        problems: Vec::new(),
    };
    let livekit = livekit(&mut reader);
    let webhook_keys = webhook_keys(&mut reader, livekit.as_ref());
    let config = Config {
        host: reader
            .text("HOST")
            .unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: reader.parsed("PORT", 8080, "a port number from 0 to 65535"),
        livekit,
        webhook_keys,
        database: database(&mut reader),
        auth: auth(&mut reader),
        worker: WorkerConfig {
            concurrency: reader.parsed("QUELL_WORKERS", 32, "a whole number"),
            deadline: reader.seconds("QUELL_JOB_DEADLINE_SECONDS", 120),
            lease: reader.seconds("QUELL_JOB_LEASE_SECONDS", 30),
        },
        event_retention_days: retention(&mut reader),
        log_filter: reader
            .text("QUELL_LOG")
            .unwrap_or_else(|| "info".to_owned()),
        log_format: log_format(&mut reader),
    };
    let livekit_timeout = config
        .livekit
        .as_ref()
        .map_or(Duration::ZERO, |l| l.timeout);
    if config.worker.lease < livekit_timeout * 2 {
        reader.problems.push(
            "QUELL_JOB_LEASE_SECONDS is less than twice QUELL_LIVEKIT_TIMEOUT_MS: \
             another replica would take over jobs that are still worked on"
                .to_owned(),
        );
    }
    // One is kept for listening to changes of policies.
    if config.database.connections_max < 2 {
        reader.problems.push(
            "QUELL_DATABASE_CONNECTIONS is less than 2: one connection only listens".to_owned(),
        );
    }
    if config.worker.deadline > DEADLINE_MAX {
        reader.problems.push(
            "QUELL_JOB_DEADLINE_SECONDS is more than 43200 (12 hours): what a job needs to know is not kept for as long"
                .to_owned(),
        );
    }
    if reader.problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError(reader.problems))
    }
}

fn livekit(reader: &mut Reader<'_>) -> Option<LiveKitConfig> {
    let url = reader.url("LIVEKIT_URL", &["ws", "wss", "http", "https"]);
    let key = reader.text("LIVEKIT_API_KEY");
    let secret = reader.secret("LIVEKIT_API_SECRET");
    let connect_timeout = reader.millis("QUELL_LIVEKIT_CONNECT_TIMEOUT_MS", 1000);
    let timeout = reader.millis("QUELL_LIVEKIT_TIMEOUT_MS", 5000);
    Some(LiveKitConfig {
        url: to_http(&url?)?,
        api_key: ApiKey {
            key: key?,
            secret: secret?,
        },
        connect_timeout,
        timeout,
    })
}

/// `ws://host/prefix/` is `http://host/prefix`: the API is on the signalling port.
fn to_http(url: &Url) -> Option<Url> {
    let scheme = match url.scheme() {
        "ws" | "http" => "http",
        _ => "https",
    };
    // `Url::set_scheme` refuses some changes, so the text is changed.
    let rest = url.as_str().split_once(':')?.1;
    let mut http = Url::parse(&format!("{scheme}:{rest}")).ok()?;
    http.set_query(None);
    http.set_fragment(None);
    let path = http.path().trim_end_matches('/').to_owned();
    http.set_path(&path);
    Some(http)
}

fn webhook_keys(reader: &mut Reader<'_>, livekit: Option<&LiveKitConfig>) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = livekit.map(|l| l.api_key.clone()).into_iter().collect();
    let Some(json) = reader.text("QUELL_WEBHOOK_KEYS_JSON") else {
        return keys;
    };
    match serde_json::from_str::<std::collections::BTreeMap<String, String>>(&json) {
        Ok(more) => keys.extend(more.into_iter().map(|(key, secret)| ApiKey {
            key,
            secret: secret.into(),
        })),
        Err(error) => reader.problems.push(format!(
            r#"QUELL_WEBHOOK_KEYS_JSON must be {{"key": "secret", ...}} (line {}, column {})"#,
            error.line(),
            error.column()
        )),
    }
    keys
}

fn database(reader: &mut Reader<'_>) -> DatabaseConfig {
    let data_home = reader
        .text("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(reader.text("HOME")?).join(".local/share")));
    // Checked here and used later: a wrong URL is a wrong setting, not a failed connection.
    for name in ["DATABASE_URL", "QUELL_MIGRATE_DATABASE_URL"] {
        let scheme_is_known = reader
            .text(name)
            .is_none_or(|url| url.starts_with("postgres://") || url.starts_with("postgresql://"));
        if !scheme_is_known {
            reader
                .problems
                .push(format!("{name} is not a URL that starts with postgres://"));
        }
    }
    DatabaseConfig {
        url: reader.secret("DATABASE_URL"),
        migrate_url: reader.secret("QUELL_MIGRATE_DATABASE_URL"),
        pg_bin: reader.text("QUELL_PG_BIN").map(PathBuf::from),
        pg_data: reader.text("QUELL_PG_DATA").map(PathBuf::from),
        data_home,
        search_path: reader
            .text("PATH")
            .map(|path| std::env::split_paths(&path).collect())
            .unwrap_or_default(),
        connections_max: reader.parsed("QUELL_DATABASE_CONNECTIONS", 16, "a whole number"),
    }
}

fn auth(reader: &mut Reader<'_>) -> AuthConfig {
    AuthConfig {
        required: reader.flag("AUTH_REQUIRED", true),
        allow_no_id: reader.flag("QUELL_ALLOW_NO_ID", false),
        operator_ids: reader
            .text("QUELL_OPERATOR_IDS")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect(),
        api_secrets: api_secrets(reader),
        jwt: jwt(reader),
        service: auth_service(reader),
    }
}

fn api_secrets(reader: &mut Reader<'_>) -> Vec<ApiSecret> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        id: String,
        secret: String,
    }
    let mut secrets = Vec::new();
    if let Some(json) = reader.text("AUTH_API_SECRETS_JSON") {
        match serde_json::from_str::<Vec<Entry>>(&json) {
            Ok(entries) => secrets.extend(entries),
            // serde's message could quote a secret: only its place is told.
            Err(error) => reader.problems.push(format!(
                r#"AUTH_API_SECRETS_JSON must be [{{"id": "...", "secret": "..."}}, ...] (line {}, column {})"#,
                error.line(),
                error.column()
            )),
        }
    }
    if let Some(secret) = reader.text("AUTH_API_SECRET") {
        // Set and blank is kept blank, so that its use is refused and not overlooked.
        let id = (reader.lookup)("AUTH_API_SECRET_ID").unwrap_or_else(|| "default".to_owned());
        secrets.push(Entry { id, secret });
    }
    if secrets.iter().any(|entry| entry.secret.trim().is_empty()) {
        reader.problems.push(
            "AUTH_API_SECRETS_JSON holds an empty secret: give each entry its own".to_owned(),
        );
    }
    secrets
        .into_iter()
        .map(|Entry { id, secret }| ApiSecret {
            id,
            secret: secret.into(),
        })
        .collect()
}

fn jwt(reader: &mut Reader<'_>) -> Option<JwtConfig> {
    let mut keys = Vec::new();
    keys.extend(reader.secret("QUELL_JWT_SECRET").map(JwtKeySource::Secret));
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
            .url("QUELL_JWT_JWKS_URL", &["https", "http"])
            .map(JwtKeySource::JwksUrl),
    );
    let config = JwtConfig {
        keys,
        issuer: reader.text("QUELL_JWT_ISSUER"),
        audience: reader.text("QUELL_JWT_AUDIENCE"),
        id_claim: reader
            .text("QUELL_JWT_ID_CLAIM")
            .unwrap_or_else(|| "sub".to_owned()),
    };
    (!config.keys.is_empty()).then_some(config)
}

fn auth_service(reader: &mut Reader<'_>) -> Option<AuthServiceConfig> {
    let timeout = reader.seconds("AUTH_TIMEOUT_SECONDS", 5);
    let url = reader.url("AUTH_SERVICE_URL", &["https", "http"])?;
    let Some(path) = reader.text("AUTH_SIGNING_KEY_PATH") else {
        reader.problems.push(
            "AUTH_SERVICE_URL is set without AUTH_SIGNING_KEY_PATH: \
             put there the path of the RSA or EC private key (PEM) that signs requests to it"
                .to_owned(),
        );
        return None;
    };
    Some(AuthServiceConfig {
        url,
        signing_key_path: path.into(),
        timeout,
    })
}

fn retention(reader: &mut Reader<'_>) -> u32 {
    let Some(value) = reader.text("QUELL_EVENT_RETENTION") else {
        return 30;
    };
    let days = value.trim();
    let days = days.strip_suffix('d').unwrap_or(days).parse().unwrap_or(0);
    if days == 0 {
        reader.problems.push(format!(
            "QUELL_EVENT_RETENTION is {value:?}, but must be a number of days of at least 1, such as 30d"
        ));
    }
    days
}

fn log_format(reader: &mut Reader<'_>) -> LogFormat {
    match reader.text("QUELL_LOG_FORMAT").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            reader.problems.push(format!(
                "QUELL_LOG_FORMAT is {other:?}, but must be text or json"
            ));
            LogFormat::Text
        }
    }
}
